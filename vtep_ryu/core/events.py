"""What has happened last, for whoever asks: a bounded number of events, with names and fields that stay as they are."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeAlias

MOST = 1000


class Kind(StrEnum):
    """What can happen, each with the fields that tell of it."""

    LEARNED = "learned"
    """mac, logical_switch (its name), at (a binding in words)."""

    MOVED = "moved"
    """The same, and before (a binding in words)."""

    AGED = "aged"
    """An address was silent for mac_ageing_time: mac, logical_switch, at."""

    WITHDRAWN = "withdrawn"
    """An address is not here any more for another reason: the same, and why."""

    FROZEN = "frozen"
    """mac, logical_switch, at (where it stays), elsewhere."""

    THAWED = "thawed"
    """mac, logical_switch, why."""

    TUNNEL_UP = "tunnel_up"
    """BFD with another VTEP: remote (its address), info."""

    TUNNEL_DOWN = "tunnel_down"
    """The same."""

    FAILED_OVER = "failed_over"
    """Another service node carries what is flooded: logical_switch, before and now (addresses)."""

    FAULT_RAISED = "fault_raised"
    """keyword (of a fault column of vtep(5)), text."""

    FAULT_CLEARED = "fault_cleared"
    """The same."""

    CONNECTED = "connected"
    """The switch: datapath_id."""

    LOST = "lost"
    """The same."""

    DATABASE_CONNECTED = "database_connected"
    """A database is followed, by the switches of all: database (its name), remote."""

    DATABASE_LOST = "database_lost"
    """It is not any more, by what remote it was: the same."""


Note: TypeAlias = Callable[..., None]
"""Notes an event of one physical switch: its kind, and its fields by name."""


@dataclass(frozen=True, slots=True)
class Event:
    """number grows by one with each, time is in seconds of the clock."""

    number: int
    time: float
    kind: Kind
    physical_switch: str
    fields: Mapping[str, str]


class Events:
    """The last events, and how many of each kind there were. Each is told to whoever is to write it down."""

    def __init__(
        self,
        clock: Callable[[], float] = lambda: 0.0,
        most: int = MOST,
        tell: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._last: deque[Event] = deque(maxlen=most)
        self._number = 0
        self.counts: Counter[Kind] = Counter()

    def __iter__(self) -> Iterator[Event]:
        """Those that are kept, the oldest first."""
        return iter(tuple(self._last))

    def of(self, physical_switch: str) -> Note:
        """What notes the events of a physical switch."""
        return partial(self.note, physical_switch)

    def note(self, physical_switch: str, kind: Kind, **fields: object) -> None:
        """Take in that something has happened."""
        self._number += 1
        self.counts[kind] += 1
        words = {name: str(value) for name, value in fields.items()}
        self._last.append(Event(self._number, self._clock(), kind, physical_switch, words))
        self._tell(self._last[-1])

    def linked(self, database: str, before: str | None, now: str | None) -> None:
        """Take in by which remote a database is reached, if any. That is an event of no physical switch."""
        if before not in (None, now):
            self.note("", Kind.DATABASE_LOST, database=database, remote=before)
        if now not in (None, before):
            self.note("", Kind.DATABASE_CONNECTED, database=database, remote=now)
