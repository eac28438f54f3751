"""How log lines look: ``2026-11-21T09:30:00.123Z INFO br0: ...``. Ryu writes the bare message, without a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

MOST_CHARACTERS = 500


class OneLine(logging.Formatter):
    """Writes a message of this program's as one line of bounded length, whatever the names in a database are.

    What cannot be printed is escaped as in Python, so that nobody can write log lines of his own.
    """

    converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The line, without a traceback that may follow it."""
        if record.name.startswith("vtep_ryu"):
            record.message = _printable(record.message)
        return super().formatMessage(record)


def set_format(handlers: Collection[logging.Handler]) -> bool:
    """Give the handlers that have no format of the operator's (--log-config-file) ours; return whether all have it.

    Times are UTC.
    """
    formatter = OneLine("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    for handler in handlers:
        if handler.formatter is None:
            handler.setFormatter(formatter)
    return all(handler.formatter is formatter for handler in handlers)


def forget_origins() -> None:
    """Have log lines not find out which thread and which line of the source they come from, which ours do not show.

    That is half of what a line takes, of which there can be thousands a second: see "Optimization" in Python's HOWTO.
    """
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # type: ignore[attr-defined]


def _printable(text: str) -> str:
    more = len(text) - MOST_CHARACTERS
    shown = text if more <= 0 else f"{text[:MOST_CHARACTERS]}... ({more} more)"
    if shown.isprintable():
        return shown
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown)
