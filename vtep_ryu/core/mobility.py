"""Addresses that move too often (RFC 7432, section 15.1): counted, and frozen where they are."""

from __future__ import annotations

import logging
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable

from vtep_ryu.core.counters import Counters
from vtep_ryu.core.events import Kind, Note
from vtep_ryu.core.model import Place, Settings
from vtep_ryu.core.units import FrozenUnit

LOG = logging.getLogger(__name__)


class Moves:
    """The moves of the addresses of one VTEP: mac_move_limit of them within mac_move_window are followed.

    A move is a station that is seen at another place than before, or here after the NVC has put it behind another VTEP.
    title says what a logical switch is called, touch takes what to render anew. Times are seconds of any clock that
    never goes back. counters count what is frozen, note takes it as events.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        title: Callable[[str], str],
        touch: Callable[[FrozenUnit], None],
        counters: Counters,
        note: Note,
    ) -> None:
        self._counters = counters
        self._note = note
        self._name = name
        self._limit = settings.mac_move_limit
        self._window = settings.mac_move_window
        self._title = title
        self._touch = touch
        self._times: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()  # By the last move, the oldest first.
        self._taken: dict[str, set[str]] = defaultdict(set)
        self._frozen: dict[str, set[str]] = defaultdict(set)

    def of_switch(self, logical_switch: str) -> tuple[str, ...]:
        """The addresses of a logical switch that are frozen."""
        return tuple(self._frozen.get(logical_switch, ()))

    def is_frozen(self, logical_switch: str, mac: str) -> bool:
        """Whether an address stays where it is, wherever it is seen."""
        return mac in self._frozen.get(logical_switch, ())

    def seen(
        self, logical_switch: str, mac: str, before: Place | None, place: Place, now: float, remote: str | None = None
    ) -> bool:
        """Take in where an address is seen; return whether it is frozen, be it by this move.

        before is where it was; if it was nowhere here, remote is the other VTEP that the NVC says it is behind.
        """
        if self.is_frozen(logical_switch, mac):
            return True
        taken = mac in self._taken[logical_switch]
        self._taken[logical_switch].discard(mac)
        is_move = before != place and (before is not None or taken)
        if not self._limit or not is_move or not self._is_one_too_many(logical_switch, mac, now):
            return False
        self._frozen[logical_switch].add(mac)
        self._counters.addresses_frozen += 1
        self._counters.frozen_now += 1
        LOG.warning(
            "%s: %s in %s moves too often (mac_move_limit %d, mac_move_window %d s), now from %s to %s: "
            "it is frozen at %s; %d frozen so far",
            *(self._name, mac, self._title(logical_switch), self._limit, self._window),
            *(before or remote, place, before or remote, self._counters.addresses_frozen),
        )
        stays, name = before or remote, self._title(logical_switch)
        self._note(Kind.FROZEN, mac=mac, logical_switch=name, at=stays, elsewhere=place)
        self._touch(FrozenUnit(logical_switch, mac))
        return True

    def _is_one_too_many(self, logical_switch: str, mac: str, now: float) -> bool:
        while self._times and next(iter(self._times.values()))[-1] <= now - self._window:
            self._times.popitem(last=False)
        key = (logical_switch, mac)
        times = self._times.setdefault(key, deque(maxlen=self._limit))
        if len(times) == self._limit and times[0] > now - self._window:
            del self._times[key]
            return True
        times.append(now)
        self._times.move_to_end(key)
        return False

    def taken(self, logical_switch: str, mac: str) -> None:
        """Take in that the NVC has put a station behind another VTEP."""
        self._taken[logical_switch].add(mac)

    def released(self, logical_switch: str, mac: str) -> None:
        """Take in that the NVC has an address that is not here behind no other VTEP, either."""
        self._taken[logical_switch].discard(mac)
        self.thaw(logical_switch, mac, "no other VTEP has it any more")

    def unbound(self, logical_switch: str) -> None:
        """Take in that a logical switch is not here any more."""
        self._taken.pop(logical_switch, None)
        for mac in self.of_switch(logical_switch):
            self.thaw(logical_switch, mac, "its logical switch is not bound any more")

    def thaw_all(self, why: str) -> None:
        """Let every address move again."""
        for logical_switch in tuple(self._frozen):
            for mac in self.of_switch(logical_switch):
                self.thaw(logical_switch, mac, why)

    def thaw(self, logical_switch: str, mac: str, why: str) -> FrozenUnit | None:
        """Let an address move again; return what that changes, if it was frozen."""
        if not self.is_frozen(logical_switch, mac):
            return None
        self._frozen[logical_switch].discard(mac)
        self._counters.frozen_now -= 1
        if not self._frozen[logical_switch]:
            del self._frozen[logical_switch]
        name = self._title(logical_switch)
        LOG.info("%s: %s in %s is not frozen any more: %s", self._name, mac, name, why)
        self._note(Kind.THAWED, mac=mac, logical_switch=name, why=why)
        unit = FrozenUnit(logical_switch, mac)
        self._touch(unit)
        return unit
