"""What the application writes to stderr, as records: a level, and a message with the lines that belong to it."""

from __future__ import annotations

import re

LEVELS = {"DEBUG": "dbg", "INFO": "info", "WARNING": "warn", "ERROR": "err", "CRITICAL": "emer"}
"""Python's levels as Open vSwitch calls them."""

_RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (" + "|".join(LEVELS) + r") (.*)", re.DOTALL)
NO_LEVEL = "err"
"""Nothing that is well is written without a level: so is a usage message, or how the interpreter ends."""


class LogLines:
    """Puts records together from what comes through a pipe."""

    def __init__(self) -> None:
        self._rest = b""
        self.last = ""

    def feed(self, data: bytes) -> list[tuple[str, str]]:
        """(level, message) of each record in what has come; b"" says that no more will.

        A record is written at once, so the lines after it that came with it, a traceback, are its own.
        """
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop() if data else b""
        records: list[tuple[str, str]] = []
        for line in (line.decode(errors="replace") for line in lines if line):
            self.last = line
            if match := _RECORD.fullmatch(line):
                records.append((LEVELS[match[1]], match[2]))
            elif records:
                level, message = records.pop()
                records.append((level, f"{message}\n{line}"))
            else:
                records.append((NO_LEVEL, line))
        return records
