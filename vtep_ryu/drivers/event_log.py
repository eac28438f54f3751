"""The event log: what happens, as lines of JSON at the end of a file."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from vtep_ryu.core.events import Event
from vtep_ryu.options import fail
from vtep_ryu.show.events import as_document

LOG = logging.getLogger(__name__)

MODE = 0o640


class EventLog:
    """Each event is written when it happens, in one piece, so that instances can share a file.

    One that logrotate has moved away is left, and another made, at the next event: nothing has to be told.
    """

    def __init__(self, path: str) -> None:
        """Open the file; where that cannot be, one line on stderr and SystemExit(1)."""
        self._path = Path(path)
        self._descriptor = -1
        self._problem = ""
        try:
            self._open()
        except OSError as error:
            fail(f"[vtep] event_log {path} cannot be written: {error.strerror}")

    def write(self, event: Event) -> None:
        """Write an event. That it cannot be written is said once, for as long as it is so."""
        line = json.dumps(as_document(event)).encode() + b"\n"
        try:
            if not self._is_there():
                self._open()
            os.write(self._descriptor, line)
            problem = ""
        except OSError as error:
            problem = error.strerror or str(error)
        if problem and problem != self._problem:
            LOG.warning("event_log %s cannot be written: %s", self._path, problem)
        self._problem = problem

    def _open(self) -> None:
        before = self._descriptor
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        if before >= 0:
            os.close(before)

    def _is_there(self) -> bool:
        """Whether the file is still the one at its path."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False
