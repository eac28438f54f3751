"""How log lines look: ``2026-11-21T09:30:00.123Z INFO br0: ...``. Ryu writes the bare message, without a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable


def set_format(handlers: Iterable[logging.Handler]) -> None:
    """Give the handlers that have no format of the operator's (--log-config-file) ours; times are UTC."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    for handler in handlers:
        if handler.formatter is None:
            handler.setFormatter(formatter)
