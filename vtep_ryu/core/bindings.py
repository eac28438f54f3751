"""Which VLAN of which port is bound to which logical switch, as the rows of one Physical_Switch say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.model import Bridge, PhysicalPort, Place


class Bindings:
    """The bindings of one physical switch.

    A place that two Physical_Port rows of one name bind to different logical switches goes to the row with the lowest
    UUID. VLANs above 4094 are no VLANs. Tunnel ports are not bound, nor is what the bridge says to be unbindable. All
    this is reported by refusals().
    """

    def __init__(self, bridge: Bridge | None = None) -> None:
        self._bridge = bridge
        self._rows: dict[str, PhysicalPort] = {}
        self._requests: dict[str, dict[Place, str]] = {}
        self._claims: dict[Place, dict[str, str]] = defaultdict(dict)
        self._bound: dict[Place, str] = {}
        self._places: dict[str, set[Place]] = defaultdict(set)
        self._on_port: dict[str, set[Place]] = defaultdict(set)

    def logical_switch(self, place: Place) -> str | None:
        """The logical switch that a place is bound to."""
        return self._bound.get(place)

    def row(self, place: Place) -> str | None:
        """The UUID of the Physical_Port row by which a place is bound."""
        claims = self._claims.get(place)
        return min(claims) if claims else None

    def places(self, logical_switch: str) -> list[Place]:
        """The places bound to a logical switch, sorted."""
        return sorted(self._places.get(logical_switch, ()), key=lambda place: (place.port, place.vlan))

    def all_places(self) -> Iterable[tuple[Place, str]]:
        """Every place that is bound, with the UUID of the Physical_Port row by which it is."""
        return ((place, min(self._claims[place])) for place in self._bound)

    def count(self) -> int:
        """How many places are bound."""
        return len(self._bound)

    def is_bound(self, logical_switch: str) -> bool:
        """Whether any place is bound to the logical switch."""
        return bool(self._places.get(logical_switch))

    def on_port(self, port: str) -> Iterable[Place]:
        """The places of a port that are bound."""
        return self._on_port.get(port, ())

    def ports(self) -> list[str]:
        """The names of the ports of which any place is bound."""
        return [port for port, places in self._on_port.items() if places]

    def logical_switches(self) -> list[str]:
        """The logical switches that are bound here."""
        return [switch for switch, places in self._places.items() if places]

    def rows(self) -> Iterable[PhysicalPort]:
        """The Physical_Port rows of the physical switch."""
        return self._rows.values()

    def physical_port(self, uuid: str) -> PhysicalPort | None:
        """The Physical_Port row with this UUID, if it is the physical switch's."""
        return self._rows.get(uuid)

    def refusals(self, uuid: str) -> list[str]:
        """Why bindings of a Physical_Port row do not hold, in words; empty where all of them do."""
        row = self._rows.get(uuid)
        return [] if row is None else list(self._refusals(row))

    def portless(self, row: PhysicalPort) -> dict[int, str]:
        """The bindings of a row that would hold if the bridge had a port of its name: logical switches by VLAN."""
        if self._bridge is None or row.name in self._bridge.ports:
            return {}
        return {place.vlan: switch for place, switch in self._requests[row.uuid].items()}

    def update(self, uuid: str, row: PhysicalPort | None) -> dict[Place, tuple[str | None, str | None]]:
        """Take in a Physical_Port row, or that it is gone.

        Returns the places whose logical switch changed, with the one before and the one now.
        """
        self._rows.pop(uuid, None)
        before, now = self._requests.pop(uuid, {}), {}
        if row is not None:
            self._rows[uuid] = row
            now = self._requests[uuid] = self._requested(row)
        changed = {}
        for place in {place for place, _ in before.items() ^ now.items()}:
            if place in now:
                self._claims[place][uuid] = now[place]
            else:
                del self._claims[place][uuid]
                if not self._claims[place]:
                    del self._claims[place]
            was, becomes = self._bound.get(place), self._winner(place)
            if was != becomes:
                self._rebind(place, was, becomes)
                changed[place] = (was, becomes)
        return changed

    def set_bridge(self, bridge: Bridge) -> list[str]:
        """Take in the bridge. Returns the rows, by UUID, that what changed there concerns: they are to be updated."""
        if bridge == self._bridge:
            return []
        before, self._bridge = self._bridge, bridge
        names = set(bridge.ports.symmetric_difference(before.ports if before else ()))
        names.update(name for name, _ in bridge.unbindable.items() ^ (before.unbindable.items() if before else set()))
        return [row.uuid for row in self._rows.values() if row.name in names]

    def _winner(self, place: Place) -> str | None:
        row = self.row(place)
        return self._claims[place][row] if row is not None else None

    def _rebind(self, place: Place, was: str | None, becomes: str | None) -> None:
        if was is not None:
            self._places[was].discard(place)
            if not self._places[was]:
                del self._places[was]
        if becomes is None:
            del self._bound[place]
            self._on_port[place.port].discard(place)
            if not self._on_port[place.port]:
                del self._on_port[place.port]
        else:
            self._bound[place] = becomes
            self._places[becomes].add(place)
            self._on_port[place.port].add(place)

    def _refusals(self, row: PhysicalPort) -> Iterable[str]:
        for vlan, logical_switch in row.vlan_bindings:
            if (why := self._unbindable(row.name, vlan)) is not None:
                yield why
            elif self._bound[Place(row.name, vlan)] != logical_switch:
                yield f"VLAN {vlan} is bound to another logical switch by another row of this name"

    def _requested(self, row: PhysicalPort) -> dict[Place, str]:
        bindings = ((Place(row.name, vlan), switch) for vlan, switch in row.vlan_bindings)
        return {place: switch for place, switch in bindings if self._unbindable(place.port, place.vlan) is None}

    def _unbindable(self, port: str, vlan: int) -> str | None:
        """Why a VLAN of a port can be bound to nothing; None where it can."""
        if vlan > p.MAX_VLAN:
            return f"{vlan} is not a VLAN id (0 for untagged, or 1 to {p.MAX_VLAN})"
        if p.TUNNEL_PORT.fullmatch(port):
            return f"VLAN {vlan} of {port}: that is the name of a tunnel port"
        if self._bridge is not None and (why := self._bridge.unbindable.get(port)) is not None:
            return f"VLAN {vlan} of {port}: {why}"
        return None
