"""Keeps short what stops the main thread: Python's garbage collector, and its switching between threads.

A full collection looks at every object there is, 0.2 s for the rows and flows of 100,000 addresses, and comes whenever
a quarter has been added. Here what survived one is not looked at again: each looks at what is new. What is let go of is
freed as ever, but for cycles. Those of large things end with a connection that is lost; then all is looked at once.

A thread that computes gives way to another after 5 ms, each time that one has waited for anything. A tenth of that
costs nothing where only one computes.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

SWITCH_SECONDS = 0.0005


def shorten() -> None:
    """Do so from now on."""
    sys.setswitchinterval(SWITCH_SECONDS)
    if _keep not in gc.callbacks:
        gc.callbacks.append(_keep)


def let_go() -> None:
    """Say that something large is not used any more, and may be cycles: the next full collection looks at all."""
    gc.unfreeze()


def _keep(phase: str, info: dict[str, Any]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()
