"""Which stations were learned where: from packet-ins, from what the switch still knows, until they age or go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import Enum, auto

from vtep_ryu.core.model import Place


class Outcome(Enum):
    """What became of a sighting."""

    KNOWN = auto()
    LEARNED = auto()
    MOVED = auto()
    PORT_FULL = auto()
    SWITCH_FULL = auto()


class Stations:
    """The stations of one VTEP by logical switch and address, within limits.

    port_limit and switch_limit are how many stations are learned on one port and in one logical switch.
    """

    def __init__(self, port_limit: int, switch_limit: int) -> None:
        self._port_limit = port_limit
        self._switch_limit = switch_limit
        self._places: dict[str, dict[str, Place]] = defaultdict(dict)
        self._on_port: dict[str, set[tuple[str, str]]] = defaultdict(set)

    def place(self, logical_switch: str, mac: str) -> Place | None:
        """Where a station is, if it is known."""
        return self._places[logical_switch].get(mac)

    def of_switch(self, logical_switch: str) -> Iterable[str]:
        """The addresses that were learned in a logical switch."""
        return self._places[logical_switch]

    def on_port(self, port: str) -> tuple[tuple[str, str, Place], ...]:
        """(logical switch, address, place) of the stations behind a port."""
        return tuple((switch, mac, self._places[switch][mac]) for switch, mac in self._on_port[port])

    def is_full(self, where: str) -> bool:
        """Whether a port or a logical switch has as many stations as its limit allows."""
        on_port, in_switch = self._on_port.get(where, ()), self._places.get(where, ())
        return len(on_port) >= self._port_limit or len(in_switch) >= self._switch_limit

    def seen(self, logical_switch: str, mac: str, place: Place) -> Outcome:
        """Take in that a station sent a frame from a place.

        One that has left its place for a port that learns no more is at neither.
        """
        macs = self._places[logical_switch]
        before = macs.get(mac)
        if before == place:
            return Outcome.KNOWN
        if (before is None or before.port != place.port) and len(self._on_port[place.port]) >= self._port_limit:
            self.forget(logical_switch, mac)
            return Outcome.PORT_FULL
        if before is None and len(macs) >= self._switch_limit:
            return Outcome.SWITCH_FULL
        if before is not None:
            self._on_port[before.port].discard((logical_switch, mac))
        macs[mac] = place
        self._on_port[place.port].add((logical_switch, mac))
        return Outcome.LEARNED if before is None else Outcome.MOVED

    def forget(self, logical_switch: str, mac: str) -> Place | None:
        """Take in that a station is gone; return where it was."""
        place = self._places[logical_switch].pop(mac, None)
        if place is not None:
            self._on_port[place.port].discard((logical_switch, mac))
        return place
