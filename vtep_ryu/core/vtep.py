"""One VTEP: a physical switch's view of the database, its ports and its stations, and which units a change touches.

Nothing here says what a unit looks like on the switch: that is render.py. The methods only take in what happened; what
follows from it is read from dirty (units to render anew, once a switch is taken over) and news() (local addresses to
publish).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.bindings import Bindings
from vtep_ryu.core.counters import Counters
from vtep_ryu.core.database import Database
from vtep_ryu.core.events import Events, Kind, Note
from vtep_ryu.core.faults import UNSPECIFIED_FAULT, PortFaults, SwitchFaults
from vtep_ryu.core.identity import Identities, Numbers
from vtep_ryu.core.inventory import Inventory
from vtep_ryu.core.learning import Outcome, Stations
from vtep_ryu.core.measures import Measures
from vtep_ryu.core.mobility import Moves
from vtep_ryu.core.model import Bridge, PhysicalSwitch, Place, Port, Settings
from vtep_ryu.core.publication import News, Publication
from vtep_ryu.core.sessions import Sessions
from vtep_ryu.core.statistics import Drops
from vtep_ryu.core.storms import Storms
from vtep_ryu.core.titles import Titles
from vtep_ryu.core.tunnels import Tunnels
from vtep_ryu.core.units import (
    BindingUnit,
    FloodUnit,
    FrozenUnit,
    LogicalRouterTouched,
    LogicalSwitchTouched,
    MulticastUnit,
    PhysicalPortTouched,
    PhysicalSwitchTouched,
    RemoteUnit,
    SourceUnit,
    StationUnit,
    StormUnit,
    Touch,
    TunnelTouched,
    TunnelUnit,
    Unheeded,
    Unit,
)
from vtep_ryu.core.words import port_in_words, sighting_in_words, tunnel_ips_in_words, unit_in_words

LOG = logging.getLogger(__name__)

SIGHTINGS = {Outcome.LEARNED: Kind.LEARNED, Outcome.MOVED: Kind.MOVED}


class Vtep:
    """The VTEP of the Physical_Switch row that has the bridge's name."""

    def __init__(
        self, name: str, database: Database, settings: Settings, bridge: Bridge | None = None, note: Note | None = None
    ) -> None:
        self.name = name
        self.note = note or Events().of(name)
        self.database = database
        self.settings = settings
        self.bindings = Bindings(bridge)
        self.identities = Identities(settings.honour_vni_0)
        self._titles = Titles(name, database, self.identities)
        self._title = self._titles.title
        self.group_numbers = Numbers(p.UNKEYED)
        self.stations = Stations(settings.binding_mac_limit, settings.switch_mac_limit)
        self._publication = Publication(self.bindings, self.identities, self.stations, lambda: self.tunnel_ips)
        self.counters, self.measures = Counters(), Measures()
        self.storms = Storms(name, settings.storm_control, self.counters, lambda: self._names)
        self.drops = Drops(self.counters)
        self.moves = Moves(name, settings, self._title, lambda unit: self.dirty.add(unit), self.counters, self.note)
        self.inventory = Inventory(database, self.bindings, self.stations, self.moves)
        self.sessions = Sessions(name, database, self._title, self._touch_member, self.note)
        self.ports: dict[str, Port] = {}
        self.tunnel_ports: tuple[int, ...] = ()
        """The OpenFlow numbers of the tunnel ports that exist, in the order of their addresses."""
        self.dirty: set[Unit] = Unheeded()
        self._row: PhysicalSwitch | None = None
        self._names: dict[int, str] = {}
        self.switch_faults = SwitchFaults(name, self.note)
        self.tunnels = Tunnels(
            *(name, database, self.identities, self.switch_faults, settings),
            *(lambda: self.tunnel_ips, self._title),
        )
        self.port_faults = PortFaults(name, self.bindings, self._title, self.note)
        self._unidentified: set[str] = set()
        if bridge is not None:
            self._look_at_tunnels(bridge)
        self.touch({PhysicalSwitchTouched(name), *map(LogicalRouterTouched, database.logical_routers())})

    # What the rest of the program asks.

    @property
    def tunnel_ips(self) -> tuple[str, ...]:
        """The physical switch's tunnel addresses; the first is the one that is published and sent from."""
        return () if self._row is None else self._row.tunnel_ips

    def news(self) -> News:
        """What is published and may have changed since last asked."""
        return self._publication.news()

    def all_news(self) -> News:
        """The same for everything that this VTEP publishes."""
        return self._publication.everything()

    def faults(self) -> dict[str, frozenset[str]]:
        """What the fault columns have to say: of the Physical_Switch row and of Physical_Port rows, by UUID."""
        faults, found = self.port_faults.keywords(), self.switch_faults.keywords()
        if self.identities.any_refused():
            found |= {UNSPECIFIED_FAULT}
        if self._row is not None and found:
            faults[self._row.uuid] = found
        return faults

    def describe(self, unit: Unit) -> str:
        """A unit in words."""
        return unit_in_words(unit, self._title(getattr(unit, "logical_switch", "")))

    # What happens.

    def touch(self, touched: Iterable[Touch], received: float | None = None) -> None:
        """Take in what an update of the database touched, and when that was received."""
        ports, switches, has_row = set[str](), set[str](), False
        # Units first: whether they matter depends on what was bound, and what becomes bound is touched as a whole.
        for touch in set(touched):
            match touch:
                case RemoteUnit() | SourceUnit() | FloodUnit() | MulticastUnit():
                    if self.bindings.is_bound(touch.logical_switch):
                        self._touch_unit(touch)
                case LogicalRouterTouched(uuid):
                    self.switch_faults.look_at_router(uuid, self.database.logical_router(uuid))
                case TunnelTouched(local, remote):
                    self.sessions.follow_row(local, remote)
                case PhysicalSwitchTouched(name):
                    has_row |= name == self.name
                case PhysicalPortTouched(uuid):
                    ports.add(uuid)
                case LogicalSwitchTouched(uuid):
                    switches.add(uuid)
        if has_row:
            self._follow_row()
        self._follow_ports(ports)
        for uuid in filter(self.bindings.is_bound, switches):
            self._unidentified.add(uuid)
            self.dirty.update(self.inventory.replication(uuid))
        self._identify()
        for uuid in switches:
            if self.database.logical_switch(uuid) is None:
                self._titles.forget(uuid)
        if received is not None and self.dirty:
            self.measures.delays.came(received)

    def set_bridge(self, bridge: Bridge) -> None:
        """Take in the bridge as Open_vSwitch has it: which ports it has, and which of them cannot be bound."""
        self._look_at_tunnels(bridge)
        self._follow_ports(self.bindings.set_bridge(bridge))
        self._identify()

    def settle(self) -> bool:
        """Take in that a moment has passed: see PortFaults.settle()."""
        return self.port_faults.settle()

    def set_ports(self, ports: Mapping[str, Port]) -> None:
        """Take in the switch's ports, by name."""
        before, self.ports = self.ports, dict(ports)
        self._names = {port.number: port.name for port in ports.values()}
        tunnels = {p.tunnel_port_name(ip) for ip in self.tunnel_ips}
        for name in before.keys() | ports.keys():
            old, new = before.get(name), ports.get(name)
            if old == new:
                continue
            LOG.info("%s: %s", self.name, port_in_words(name, old, new))
            renumbered = old is None or new is None or old.number != new.number
            if renumbered or (new is not None and not new.up):
                for logical_switch, mac, _ in self.stations.on_port(name):
                    self._withdraw(logical_switch, mac, "its port is gone" if renumbered else "its port is down")
            if renumbered and name in tunnels:
                self._touch_overlays()
            if renumbered and (remote := p.remote_of_bfd_port(name)) is not None:
                self._touch_member(remote, self.sessions.users(remote))
            if renumbered:
                for place in self.bindings.on_port(name):
                    self._touch_place(place)

    def seen(self, switch_id: int, binding: int, mac: str, now: float) -> None:
        """Take in that a frame came from this address at this time, as the switch's packet-in names it."""
        logical_switch, place = self._locate(switch_id, binding)
        if logical_switch is None or place is None or not self.ports[place.port].up:
            self.counters.packet_ins_ignored += 1
            return
        if self.is_pinned(logical_switch, mac):
            self.measures.packet_ins["pinned"] += 1  # It was under way when the row came.
            return
        switch, before = self._title(logical_switch), self.stations.place(logical_switch, mac)
        if self.moves.seen(logical_switch, mac, before, place, now, self.database.remote_ip(logical_switch, mac)):
            self.measures.packet_ins["frozen"] += 1
            return
        outcome = self.stations.seen(logical_switch, mac, place)
        self.counters.sighted(outcome)
        self.measures.packet_ins[outcome.name.lower()] += 1
        if outcome is Outcome.BINDING_FULL:
            self.switch_faults.refuse(place, str(place), self.settings.binding_mac_limit, "binding_mac_limit")
        elif outcome is Outcome.SWITCH_FULL:
            self.switch_faults.refuse(logical_switch, switch, self.settings.switch_mac_limit, "switch_mac_limit")
        if self.stations.place(logical_switch, mac) != before:
            LOG.info("%s: %s", self.name, sighting_in_words(outcome, mac, switch, before, place))
            if (kind := SIGHTINGS.get(outcome)) is not None:
                self.note(kind, mac=mac, logical_switch=switch, at=place, **({"before": before} if before else {}))
            self._touch_station(logical_switch, mac)

    def aged(self, switch_id: int, binding: int, mac: str) -> StationUnit | FrozenUnit | None:
        """Take in that the switch's own entry of a station has run out; return the unit that lost it, if any.

        Without a binding (0) it is that of a frozen address, which no frame came from elsewhere.
        """
        if not binding:
            frozen_in, quiet = self.identities.logical_switch(switch_id), self.settings.mac_move_window
            return self.moves.thaw(frozen_in or "", mac, f"it was seen nowhere else for {quiet} s")
        logical_switch, place = self._locate(switch_id, binding)
        if logical_switch is None or self.stations.place(logical_switch, mac) != place:
            return None
        self._withdraw(logical_switch, mac, f"silent for {self.settings.mac_ageing_time} s", Kind.AGED)
        return StationUnit(logical_switch, mac)

    def restore(
        self, entries: Iterable[tuple[int, int, str, int]], kept: bool, forwarding: Iterable[tuple[int, int]] = ()
    ) -> None:
        """Take in the stations that a switch which has just connected still knows.

        entries are (switch id, binding id, address, note). The note is remote_note() of when the station was learned:
        if the NVC has put it behind another VTEP since, it is there. kept: the switch has kept our flows, so that a
        station which it does not know any more has been silent for too long. forwarding: see Identities.keep().
        """
        self._reidentified(self.identities.keep(forwarding))
        located = ((*self._locate(switch_id, binding), mac, note) for switch_id, binding, mac, note in entries)
        known = {
            (switch, mac): place
            for switch, place, mac, note in located
            if switch and place and self.ports[place.port].up and self.remote_note(switch, mac) in (0, note)
            if not self.is_pinned(switch, mac)
        }
        self.moves.thaw_all("the switch was away")
        before = {
            (switch, mac) for switch in self.bindings.logical_switches() for mac in self.stations.of_switch(switch)
        }
        for switch, mac in before - known.keys() if kept else ():
            self._withdraw(switch, mac, "it fell silent while the switch was away")
        for (switch, mac), place in known.items():
            if self.stations.place(switch, mac) is None and self.stations.seen(switch, mac, place) is Outcome.LEARNED:
                self._touch_station(switch, mac)
        if known.keys() - before:
            LOG.info("%s: the switch still knew %d learned addresses", self.name, len(known.keys() - before))

    def restore_tunnels(self, taking: Iterable[tuple[int, str | None, int]]) -> None:
        """Take in which tunnels a switch that has just connected takes frames from: see Tunnels.keep()."""
        self.dirty.update(self.inventory.towards(self.tunnels.keep(taking)))

    # What follows from it.

    def _follow_row(self) -> None:
        old, self._row = self._row, self.database.physical_switch(self.name)
        self._follow_ports((old.ports if old else frozenset()) ^ (self._row.ports if self._row else frozenset()))
        if old is None or self.tunnel_ips != old.tunnel_ips:
            if self._row is not None:
                level = logging.INFO if len(self.tunnel_ips) == 1 else logging.WARNING
                LOG.log(level, "%s: %s", self.name, tunnel_ips_in_words(self._row))
            self.sessions.set_addresses(self.tunnel_ips)
            self._touch_overlays()
            for logical_switch in self.bindings.logical_switches():
                self.tunnels.touch_all(logical_switch)
                for mac in tuple(self.stations.of_switch(logical_switch)):
                    if self.is_pinned(logical_switch, mac):
                        self._withdraw(logical_switch, mac, "the NVC says that it is behind another VTEP")
                self._publication.touch_all(logical_switch)
                self.dirty.update(self.inventory.stations(logical_switch))

    def _follow_ports(self, uuids: Collection[str]) -> None:
        names: set[str] = set()
        for uuid in uuids:
            row = self.database.physical_port(uuid) if self._row is not None and uuid in self._row.ports else None
            names.update(each.name for each in (self.bindings.physical_port(uuid), row) if each is not None)
            for place, (was, becomes) in self.bindings.update(uuid, row).items():
                self._rebound(place, was, becomes)
        for uuid in {*uuids, *(peer.uuid for peer in self.bindings.rows() if peer.name in names)}:
            self.port_faults.look(uuid)

    def _rebound(self, place: Place, was: str | None, becomes: str | None) -> None:
        for logical_switch, mac in tuple(self.stations.at(place)):
            self._withdraw(logical_switch, mac, f"{place} is bound otherwise")
        self._touch_place(place)
        if was is not None:
            LOG.info("%s: %s is not bound to %s any more", self.name, place, self._title(was))
            self.dirty.add(FloodUnit(was))
            self._unidentified.add(was)
            if not self.bindings.is_bound(was):
                self.moves.unbound(was)
        if becomes is not None:
            LOG.info("%s: %s is bound to %s", self.name, place, self._title(becomes))
            self._unidentified.add(becomes)

    def _look_at_tunnels(self, bridge: Bridge) -> None:
        self.switch_faults.look_at_tunnels(bridge.tunnel_errors)
        self.sessions.set_bridge(bridge)

    def _identify(self) -> None:
        """Find what logical switches go by: all that changed together at once, so that their order does not count."""
        switches, self._unidentified = self._unidentified, set()
        bound = filter(self.bindings.is_bound, switches)
        rows = dict.fromkeys(switches) | {switch: self.database.logical_switch(switch) for switch in bound}
        self._titles.follow(rows)
        for switch in switches:
            self.sessions.bind(switch, self.bindings.is_bound(switch))
        self.sessions.look_at_members()
        self._reidentified(self.identities.update(rows), switches)

    def _reidentified(self, changed: set[str], others: Collection[str] = ()) -> None:
        for switch in {*changed, *others}:
            self._titles.announce(switch)
        for switch in changed:
            self.dirty.update(self.inventory.all_of(switch))
            self._publication.touch_all(switch)
            self.tunnels.touch_all(switch)
        self.dirty.update(self.inventory.towards(self.tunnels.settle()))

    def _withdraw(self, logical_switch: str, mac: str, why: str, kind: Kind = Kind.WITHDRAWN) -> None:
        place, name = self.stations.forget(logical_switch, mac), self._title(logical_switch)
        LOG.info("%s: %s in %s at %s is gone: %s", self.name, mac, name, place, why)
        self.note(kind, mac=mac, logical_switch=name, at=place, why=why)
        self._touch_station(logical_switch, mac)
        self.moves.thaw(logical_switch, mac, "it is gone")

    def _touch_unit(self, unit: FloodUnit | SourceUnit | RemoteUnit | MulticastUnit) -> None:
        self.dirty.add(unit)
        match unit:
            case SourceUnit(switch, str(ip)):
                self.tunnels.touch(switch, ip)
                self.sessions.follow_source(switch, ip)
            case FloodUnit(switch):
                self.sessions.suspect(switch)
            case RemoteUnit(switch, mac) if self.stations.place(switch, mac):
                if self._is_elsewhere(switch, mac):
                    self._withdraw(switch, mac, "the NVC says that it is behind another VTEP")
                    self.moves.taken(switch, mac)
                self.dirty.add(StationUnit(switch, mac))
            case RemoteUnit(switch, mac) if not self._is_elsewhere(switch, mac):
                self.moves.released(switch, mac)

    def _is_elsewhere(self, logical_switch: str, mac: str) -> bool:
        """Whether the NVC says that an address is behind another VTEP: it may tell us of our own, too."""
        ip = self.database.remote_ip(logical_switch, mac)
        return ip is not None and ip not in self.tunnel_ips

    def is_pinned(self, logical_switch: str, mac: str) -> bool:
        """Whether an address may not be learned, since the NVC's rows have it behind another VTEP."""
        return self.settings.pin_remote and self._is_elsewhere(logical_switch, mac)

    def remote_note(self, logical_switch: str, mac: str) -> int:
        """What the learn flow of a station notes of the other VTEP that the NVC's rows name for it; 0 for none."""
        elsewhere = self._is_elsewhere(logical_switch, mac)
        return p.note_on(self.database.remote_ip(logical_switch, mac)) if elsewhere else 0

    def _touch_station(self, logical_switch: str, mac: str) -> None:
        self.dirty.add(StationUnit(logical_switch, mac))
        self._publication.touch(logical_switch, mac)
        self.switch_faults.make_room(self.stations.is_full)

    def _touch_place(self, place: Place) -> None:
        self.dirty.add(BindingUnit(place))
        if self.storms.rate:
            self.dirty.add(StormUnit(place.port))
        logical_switch = self.bindings.logical_switch(place)
        if logical_switch is not None:
            self.dirty.add(FloodUnit(logical_switch))

    def _touch_member(self, ip: str, users: Iterable[str]) -> None:
        units = [unit for switch in users for unit in self.inventory.replication_to(switch, ip)]
        self.dirty.update(units or [TunnelUnit(ip)])

    def _touch_overlays(self) -> None:
        ports = (self.ports.get(p.tunnel_port_name(ip)) for ip in self.tunnel_ips)
        self.tunnel_ports = tuple(port.number for port in ports if port is not None)
        self.dirty.update(self.inventory.overlays())

    def _locate(self, switch_id: int, binding: int) -> tuple[str | None, Place | None]:
        port, vlan = p.binding_of(binding)
        name, logical_switch = self._names.get(port), self.identities.logical_switch(switch_id)
        if name is None or logical_switch is None:
            return None, None
        place = Place(name, vlan)
        if self.bindings.logical_switch(place) != logical_switch:
            return None, None
        return logical_switch, place
