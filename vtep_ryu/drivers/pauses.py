"""Keeps short what stops the main thread: Python's garbage collector, and its switching between threads.

A full collection looks at every object there is, 0.2 s for the rows and flows of 100,000 addresses, and comes whenever
a quarter has been added. Here what survived one is not looked at again: each looks at what is new. What is let go of is
freed as ever, but for cycles. Those of large things end with a connection that is lost; then all is looked at once.

While what will stay is made by the hundred thousand, looking at it again and again is a quarter of the work. So the
collector rests then, and does not look at what was made meanwhile.

A thread that computes gives way to another after 5 ms, each time that one has waited for anything. A tenth of that
costs nothing where only one computes.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

SWITCH_SECONDS = 0.0005

START = "start"
START_SECONDS = 60.0
"""How long the collector rests at most from the start on, if no switch comes that is to be served."""

_reasons: set[object] = set()


def shorten() -> None:
    """Do so from now on."""
    sys.setswitchinterval(SWITCH_SECONDS)
    if _keep not in gc.callbacks:
        gc.callbacks.append(_keep)


def hold(reason: object) -> None:
    """Have the collector rest for a reason, until go_on()."""
    _reasons.add(reason)
    gc.disable()


def go_on(reason: object) -> None:
    """Have it look at what is new from here on, unless there is another reason for it to rest."""
    if reason in _reasons:
        _reasons.remove(reason)
        if not _reasons:
            gc.freeze()
            gc.enable()


def let_go() -> None:
    """Say that something large is not used any more, and may be cycles: the next full collection looks at all."""
    gc.unfreeze()


def _keep(phase: str, info: dict[str, Any]) -> None:
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()
