"""Which stations were learned where: from packet-ins, from what the switch still knows, until they age or go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from enum import Enum, auto

from vtep_ryu.core.model import Place


class Outcome(Enum):
    """What became of a sighting."""

    KNOWN = auto()
    LEARNED = auto()
    MOVED = auto()
    BINDING_FULL = auto()
    SWITCH_FULL = auto()


class Stations:
    """The stations of one VTEP by logical switch and address, within limits.

    binding_limit and switch_limit are how many stations are learned at one place and in one logical switch.
    """

    def __init__(self, binding_limit: int, switch_limit: int) -> None:
        self._binding_limit = binding_limit
        self._switch_limit = switch_limit
        self._places: dict[str, dict[str, Place]] = defaultdict(dict)
        self._on_port: dict[str, dict[Place, set[tuple[str, str]]]] = defaultdict(dict)

    def place(self, logical_switch: str, mac: str) -> Place | None:
        """Where a station is, if it is known."""
        return self._places.get(logical_switch, {}).get(mac)

    def of_switch(self, logical_switch: str) -> Collection[str]:
        """The addresses that were learned in a logical switch."""
        return self._places.get(logical_switch, ())

    def on_port(self, port: str) -> tuple[tuple[str, str, Place], ...]:
        """(logical switch, address, place) of the stations behind a port."""
        places = self._on_port.get(port, {}).items()
        return tuple((switch, mac, place) for place, stations in places for switch, mac in stations)

    def at(self, place: Place) -> Collection[tuple[str, str]]:
        """(logical switch, address) of the stations behind a VLAN of a port."""
        return self._on_port.get(place.port, {}).get(place, ())

    def is_full(self, where: Place | str) -> bool:
        """Whether a binding, by its place, or a logical switch has as many stations as its limit allows."""
        if isinstance(where, Place):
            return len(self.at(where)) >= self._binding_limit
        return len(self._places.get(where, ())) >= self._switch_limit

    def seen(self, logical_switch: str, mac: str, place: Place) -> Outcome:
        """Take in that a station sent a frame from a place.

        One that has left its place for a binding that learns no more is at neither.
        """
        before = self.place(logical_switch, mac)
        if before == place:
            return Outcome.KNOWN
        if self.is_full(place):
            self.forget(logical_switch, mac)
            return Outcome.BINDING_FULL
        if before is None and self.is_full(logical_switch):
            return Outcome.SWITCH_FULL
        self.forget(logical_switch, mac)
        self._places[logical_switch][mac] = place
        self._on_port[place.port].setdefault(place, set()).add((logical_switch, mac))
        return Outcome.LEARNED if before is None else Outcome.MOVED

    def forget(self, logical_switch: str, mac: str) -> Place | None:
        """Take in that a station is gone; return where it was."""
        place = self.place(logical_switch, mac)
        if place is not None:
            macs, places = self._places[logical_switch], self._on_port[place.port]
            del macs[mac]
            places[place].discard((logical_switch, mac))
            # Nothing is kept for a logical switch or a port that may be gone.
            if not macs:
                del self._places[logical_switch]
            if not places[place]:
                del places[place]
            if not places:
                del self._on_port[place.port]
        return place
