"""Which units a VTEP can have in its present state, whatever led to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vtep_ryu.core.bindings import Bindings
from vtep_ryu.core.database import Database
from vtep_ryu.core.learning import Stations
from vtep_ryu.core.mobility import Moves
from vtep_ryu.core.model import UNKNOWN_DST
from vtep_ryu.core.units import (
    AlwaysUnit,
    BindingUnit,
    FloodUnit,
    FrozenUnit,
    MulticastUnit,
    RemoteUnit,
    SourceUnit,
    StationUnit,
    StormUnit,
    TunnelUnit,
    Unit,
)


class Inventory:
    """The units by what they have in common: most are those of one logical switch."""

    def __init__(self, database: Database, bindings: Bindings, stations: Stations, moves: Moves) -> None:
        self._database = database
        self._bindings = bindings
        self._stations = stations
        self._moves = moves

    def every(self) -> set[Unit]:
        """All of them."""
        switches, ports = self._bindings.logical_switches(), self._bindings.ports()
        of_switches = (unit for switch in switches for unit in self.all_of(switch))
        return {AlwaysUnit(), *self.tunnels(), *map(StormUnit, ports), *of_switches}

    def all_of(self, switch: str) -> Iterator[Unit]:
        """All of a logical switch."""
        yield from self.overlay(switch)
        yield from (BindingUnit(place) for place in self._bindings.places(switch))
        yield from self.stations(switch)
        yield from (FrozenUnit(switch, mac) for mac in self._moves.of_switch(switch))

    def overlays(self) -> Iterator[Unit]:
        """What has to do with other VTEPs, of all logical switches."""
        yield from self.tunnels()
        for switch in self._bindings.logical_switches():
            yield from self.overlay(switch)

    def tunnels(self) -> Iterator[Unit]:
        """The ways to other VTEPs."""
        yield TunnelUnit(None)
        for switch in self._bindings.logical_switches():
            yield from (TunnelUnit(ip) for ip in self._database.sources(switch))

    def overlay(self, switch: str) -> Iterator[Unit]:
        """The same of one, but for those ways."""
        yield from self.replication(switch)
        yield SourceUnit(switch, None)
        yield from (SourceUnit(switch, ip) for ip in self._database.sources(switch))
        yield from (RemoteUnit(switch, mac) for mac in self._database.remotes(switch))

    def replication(self, switch: str) -> Iterator[Unit]:
        """What replicates."""
        yield FloodUnit(switch)
        yield from (MulticastUnit(switch, mac) for mac in self._database.multicasts(switch))

    def towards(self, ips: Mapping[str, set[str]]) -> Iterator[Unit]:
        """What has to do with the VTEPs at these addresses, by logical switch. Looks at all rows of those."""
        for switch, theirs in ips.items():
            yield from self.replication(switch)
            yield from (SourceUnit(switch, ip) for ip in theirs)
            for mac in self._database.remotes(switch):
                locator = self._database.remote(switch, mac)
                if locator is not None and locator.ip in theirs:
                    yield RemoteUnit(switch, mac)

    def replication_to(self, switch: str, ip: str) -> Iterator[Unit]:
        """What replicates to one member."""
        for mac in (UNKNOWN_DST, *self._database.multicasts(switch)):
            if any(locator.ip == ip for locator in self._database.members(switch, mac)):
                yield FloodUnit(switch) if mac == UNKNOWN_DST else MulticastUnit(switch, mac)

    def stations(self, switch: str) -> Iterator[Unit]:
        """What was learned."""
        yield from (StationUnit(switch, mac) for mac in self._stations.of_switch(switch))
