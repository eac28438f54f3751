"""What logical switches are called, and what was last said of their tunnel keys."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from vtep_ryu.core.database import Database
from vtep_ryu.core.identity import Identities
from vtep_ryu.core.model import LogicalSwitch
from vtep_ryu.core.words import key_in_words

LOG = logging.getLogger(__name__)


class Titles:
    """Names for log lines. One that goes at this moment has its last."""

    def __init__(self, physical_switch: str, database: Database, identities: Identities) -> None:
        self._physical_switch = physical_switch
        self._database = database
        self._identities = identities
        self._names: dict[str, str] = {}
        self._announced: dict[str, str] = {}

    def title(self, logical_switch: str) -> str:
        """The name of a logical switch."""
        row = self._database.logical_switch(logical_switch)
        return self._names.get(logical_switch, logical_switch) if row is None else row.name

    def follow(self, rows: Mapping[str, LogicalSwitch | None]) -> None:
        """Take in the present rows of logical switches that are bound."""
        self._names.update((switch, row.name) for switch, row in rows.items() if row is not None)

    def forget(self, logical_switch: str) -> None:
        """Take in that a logical switch is gone and has nothing left."""
        self._names.pop(logical_switch, None)

    def announce(self, logical_switch: str) -> None:
        """Say what a logical switch goes by, unless that was the last thing said of it."""
        identity, row = self._identities.of(logical_switch), self._database.logical_switch(logical_switch)
        if identity is None or row is None:
            self._announced.pop(logical_switch, None)
            return
        text = key_in_words(row, identity, self._identities.owner(row))
        if text != self._announced.get(logical_switch):
            self._announced[logical_switch] = text
            level = logging.WARNING if self._identities.is_refused(logical_switch) else logging.INFO
            LOG.log(level, "%s: %s", self._physical_switch, text)
