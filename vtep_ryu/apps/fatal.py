"""Exceptions end the program: going on without what should have been done would be wrong silently."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from typing import Any

LOG = logging.getLogger(__name__)


def fatal(handler: Callable[..., None]) -> Callable[..., None]:
    """End the program on an exception in a handler, with a traceback.

    Whoever supervises the program starts it again, and nothing is lost by that.
    """

    @functools.wraps(handler)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            handler(*args, **kwargs)
        except Exception as error:
            for message in (each.msg for each in args if hasattr(each, "msg")):
                error.add_note(f"taking in of switch {message.datapath.id or 0:016x}: {message}")
            LOG.critical("ending the program", exc_info=True)
            logging.shutdown()
            os._exit(1)

    return wrapper
