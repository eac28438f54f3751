"""Who serves which bridge, where several instances of the program share the switches.

Each bridge has a lock in the databases, and the instance that has the lock is the bridge's owner. An instance that the
bridge is connected to waits for its lock. One that it is not connected to takes the lock only where nobody else does,
since what is to be written in the databases does not wait for a connection, and lets others have it.

There is no talk between instances. What each sees is enough to share the bridges: which of them it owns, and how many
controllers each is connected to. Whose turn it is to give one away is a lock too: so one is moved at a time, whoever
has too many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from fractions import Fraction

TURN = ""
"""The name of the lock that who gives a bridge away has: no bridge has this name."""

QUIET_SECONDS = 2.0
"""How long nothing may have changed until a bridge is given away: who joins or leaves does so with all its bridges."""

HANDING_SECONDS = 5.0
"""How long another may take until it is the master of a bridge that it was given; then it is not waited for."""


class Ownership:
    """What one instance owns, asks for, and has too much of.

    owned are the bridges whose lock it has, in the order in which they came.
    """

    def __init__(self, rebalance: bool) -> None:
        self.owned: dict[str, None] = {}
        self.connected: frozenset[str] = frozenset()
        self._rebalance = rebalance
        self._known: frozenset[str] = frozenset()
        self._controllers: Mapping[str, int] = {}
        self._kept: set[str] = set()
        self._leaving = False
        self._handing: dict[str, bool] = {}
        self._wants_turn = False
        self._has_turn = False
        self._gave = 0.0
        self._changed = 0.0

    @property
    def standby(self) -> tuple[str, ...]:
        """The bridges that are connected and another instance's, or nobody's yet."""
        return tuple(sorted(self.connected - self.owned.keys()))

    def look(self, known: Set[str], connected: Set[str], controllers: Mapping[str, int], now: float) -> None:
        """Take in which bridges matter, which are connected here, and to how many controllers each is."""
        view = (frozenset(known), frozenset(connected) & frozenset(known), dict(controllers))
        if view != (self._known, self.connected, self._controllers):
            self._known, self.connected, self._controllers = view
            self._kept.clear()
            self._changed = now

    def requests(self) -> dict[str, bool]:
        """The bridges, and perhaps the turn, whose locks are asked for, and whether that is waited for.

        The lock of a bridge that has gone is kept as long as nobody else wants it: its rows are still to be removed.
        """
        if self._leaving:
            return dict.fromkeys(self.owned, True)
        turn = {TURN: True} if self._wants_turn else {}
        return turn | {name: name in self.connected for name in sorted(self._known | self.owned.keys())}

    def answered(self, name: str, has: bool, now: float) -> bool:
        """Take in whether it has the lock of a bridge; return whether that is news."""
        if has and self._handing.pop(name, None) is not None:
            self._kept.add(name)  # Nobody else waits for it.
            self._end_turn()
        if has == (name in self.owned):
            return False
        if has:
            self.owned[name] = None
        else:
            del self.owned[name]
        if name not in self._handing:
            self._changed = now
        self._finish(name)
        return True

    # Giving away.

    def surplus(self) -> int:
        """How many more bridges it owns than are its share of those that are connected."""
        shares = (Fraction(1, max(1, self._controllers.get(name, 1))) for name in self.connected)
        return len(self.connected & self.owned.keys()) - math.ceil(sum(shares))

    def has_heir(self, name: str) -> bool:
        """Whether a bridge that it owns is connected to another controller as well, which may be an instance."""
        return name in self.connected and name in self.owned and self._controllers.get(name, 1) > 1

    def to_give(self, now: float) -> str | None:
        """The bridge that is to be given away now, if any: one at a time, and last come, first gone.

        So one that comes to who has enough already goes on to the next in turn. Who gives goes on as soon as another is
        the master of what was given: what is its own doing is no reason to wait until all is quiet.
        """
        name = self._too_many(now)
        is_under_way = bool(self._handing) and now - self._gave < HANDING_SECONDS
        if name is None and not is_under_way:
            self._end_turn()
        self._wants_turn |= name is not None
        return name if self._has_turn else None

    def _too_many(self, now: float) -> str | None:
        """The bridge to give away when it is our turn."""
        if self._leaving or not self._rebalance or self.surplus() <= 0:
            return None
        if now - self._changed < QUIET_SECONDS or (self._handing and now - self._gave < HANDING_SECONDS):
            return None
        return next((name for name in reversed(self.owned) if self.has_heir(name) and name not in self._kept), None)

    @property
    def wants_turn(self) -> bool:
        """Whether there is one to give away when it is our turn."""
        return self._wants_turn

    def take_turn(self, has: bool) -> None:
        """Take in whether it has the lock of the turn."""
        self._has_turn = has and self._wants_turn

    def is_handing(self, name: str) -> bool:
        """Whether this bridge, of those that are owned, is being given away: then it is not worked on."""
        return name in self._handing and name in self.owned

    def is_under_way(self, name: str) -> bool:
        """Whether this bridge is being given away, and another is not its master yet."""
        return name in self._handing

    def give(self, name: str, now: float) -> None:
        """Take in that its lock is offered to others."""
        self._handing = {name: False}
        self._gave = now

    def handed(self, name: str) -> None:
        """Take in that another is the master of a bridge."""
        if name in self._handing:
            self._handing[name] = True
        self._finish(name)

    def leave(self) -> None:
        """Take in that this instance is about to end: it waits for nothing any more."""
        self._leaving = True

    def _finish(self, name: str) -> None:
        if self._handing.get(name) and name not in self.owned:
            del self._handing[name]
            self._end_turn()

    def _end_turn(self) -> None:
        self._wants_turn = self._has_turn = False
