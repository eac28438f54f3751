"""From units to what they are on the switch. What a unit depends on is read from its Vtep at the time of rendering."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from vtep_ryu.core import classify, egress, encapsulate, flood, forward, learn, storm_control
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import NOTHING, Action, Group, Rendering
from vtep_ryu.core.model import UNKNOWN_DST, Locator, Place
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
from vtep_ryu.core.vtep import Vtep


def render(vtep: Vtep, unit: Unit) -> Rendering:
    """What the switch needs for a unit; NOTHING for one that is not there any more, or waits for something."""
    match unit:
        case RemoteUnit(logical_switch, mac):
            return _remote(vtep, logical_switch, mac)
        case StationUnit(logical_switch, mac):
            return _station(vtep, logical_switch, mac)
        case AlwaysUnit():
            return Rendering((*p.misses(), *learn.always(), *forward.always()))
        case BindingUnit(place):
            return _binding(vtep, place)
        case StormUnit(port):
            return _storm(vtep, port)
        case FrozenUnit(logical_switch, mac):
            return _frozen(vtep, logical_switch, mac)
        case FloodUnit(logical_switch):
            return _flood(vtep, logical_switch)
        case SourceUnit(logical_switch, source):
            return _source(vtep, logical_switch, source)
        case TunnelUnit(remote):
            return _tunnel(vtep, remote)
        case MulticastUnit(logical_switch, mac):
            return _multicast(vtep, logical_switch, mac)


def _binding(vtep: Vtep, place: Place) -> Rendering:
    switch, port = vtep.bindings.logical_switch(place), vtep.ports.get(place.port)
    identity = vtep.identities.of(switch) if switch is not None else None
    if identity is None or port is None:
        return NOTHING
    return Rendering(
        (
            *classify.binding(port.number, place.vlan, identity.id),
            *egress.binding(port.number, place.vlan),
        )
    )


def _storm(vtep: Vtep, name: str) -> Rendering:
    port, rate = vtep.ports.get(name), vtep.storms.rate
    if port is None or not rate or not vtep.bindings.on_port(name):
        return NOTHING
    return Rendering(tuple(storm_control.metered(port.number)), meters=(storm_control.meter(port.number, rate),))


def _station(vtep: Vtep, switch: str, mac: str) -> Rendering:
    identity, place = vtep.identities.of(switch), vtep.stations.place(switch, mac)
    if identity is None or place is None or place.port not in vtep.ports:
        return NOTHING
    binding = p.binding_id(vtep.ports[place.port].number, place.vlan)
    return Rendering(
        (
            learn.station(identity.id, binding, mac, vtep.settings.mac_ageing_time, vtep.remote_note(switch, mac)),
            forward.local(identity.id, mac, binding),
        )
    )


def _frozen(vtep: Vtep, switch: str, mac: str) -> Rendering:
    identity = vtep.identities.of(switch)
    if identity is None or not vtep.moves.is_frozen(switch, mac):
        return NOTHING
    return Rendering((learn.frozen(identity.id, mac, vtep.settings.mac_move_window),))


def _flood(vtep: Vtep, switch: str) -> Rendering:
    unit, identity = FloodUnit(switch), vtep.identities.of(switch)
    if identity is None:
        return _without_groups(vtep, unit)
    bound = [place for place in vtep.bindings.places(switch) if place.port in vtep.ports]
    ids = [p.binding_id(vtep.ports[place.port].number, place.vlan) for place in bound]
    copies = {id: flood.to_binding(id) for id in ids}
    local = _every_member(vtep, unit, "local", p.group_id(p.GroupKind.LOCAL, identity.id), copies)
    remote = _replicate(vtep, unit, UNKNOWN_DST, p.group_id(p.GroupKind.REMOTE, identity.id))
    flows = flood.flood(identity.id, local[-1:], remote[-1:], p.note_on(switch))
    return Rendering((*flows, *flood.undelivered(identity.id, remote)), (*local, *remote))


def _multicast(vtep: Vtep, switch: str, mac: str) -> Rendering:
    unit, identity = MulticastUnit(switch, mac), vtep.identities.of(switch)
    if identity is None or not vtep.database.members(switch, mac):
        return _without_groups(vtep, unit)
    [id] = _numbered(vtep, unit, "address", [0])
    remote = _replicate(vtep, unit, mac, id)
    flow = flood.multicast(identity.id, mac, remote[-1:])
    return Rendering((flow, *flood.undelivered(identity.id, remote, mac)), remote)


def _replicate(vtep: Vtep, unit: FloodUnit | MulticastUnit, mac: str, id: int) -> tuple[Group, ...]:
    """The groups that replicate to the members of an address. The last one has this id and uses the others."""
    copies, row = _copies(vtep, unit.logical_switch, mac), vtep.database.logical_switch(unit.logical_switch)
    is_source_node = row is not None and row.replication_mode == "source_node"
    groups = _every_member(vtep, unit, "remote", id, copies if is_source_node else {})
    if copies and not is_source_node:
        watched = [_watch_port(vtep, member.ip) for member in copies]
        return (flood.first_alive(id, list(copies.values()), watched, vtep.tunnel_ports[0]),)
    return groups


def _every_member(
    vtep: Vtep, unit: Unit, sort: str, id: int, copies: Mapping[flood.Member, tuple[Action, ...]]
) -> tuple[Group, ...]:
    """The groups that make every copy, which are by member. The last one has this id and uses the others."""
    parts = flood.parts(list(copies))
    names = list(parts) if len(parts) > 1 else []
    part_ids, anew_ids = (_numbered(vtep, unit, f"{sort} {what}", names) for what in ("part", "anew"))
    numbered = list(zip(part_ids, anew_ids, strict=True))
    made = [[copies[member] for member in part] for part in parts.values()]
    return flood.every_member(id, numbered, made) if copies else ()


def _copies(vtep: Vtep, switch: str, mac: str) -> dict[Locator, tuple[Action, ...]]:
    """What makes a copy for each member of an address that a tunnel leads to. Two may come to the same: that is one."""
    if not vtep.tunnel_ports:
        return {}
    found = dict[tuple[int, str], Locator]()
    for member in vtep.database.members(switch, mac):
        vni = vtep.tunnels.vni(switch, member)
        if vni is not None:
            found.setdefault((vni, member.ip), member)
    return {member: encapsulate.copy(vni, ip) for (vni, ip), member in found.items()}


def _watch_port(vtep: Vtep, ip: str) -> int:
    """The port that is alive for as long as the VTEP at an address is, as far as that is known."""
    port = vtep.ports.get(vtep.sessions.port_with(ip) or "")
    return vtep.tunnel_ports[0] if port is None else port.number


def _numbered(vtep: Vtep, unit: Unit, what: str, names: Sequence[Hashable]) -> list[int]:
    """The ids of a unit's numbered groups of a sort; those of other names that it had are given back."""
    numbers = vtep.group_numbers.claim_exactly((unit, what), names)
    return [p.group_id(p.GroupKind.NUMBERED, number) for number in numbers]


def _without_groups(vtep: Vtep, unit: Unit) -> Rendering:
    for what in ("address", "local part", "local anew", "remote part", "remote anew"):
        _numbered(vtep, unit, what, ())
    return NOTHING


def _source(vtep: Vtep, switch: str, source: str | None) -> Rendering:
    identity, note = vtep.identities.of(switch), p.note_on(switch)
    if identity is None:
        return NOTHING
    if source is not None:
        accepted = [(vni, ip) for vni in vtep.tunnels.accepted(switch, source) for ip in vtep.tunnel_ips]
        return Rendering(tuple(classify.tunnel(vni, source, ip, identity.id, note) for vni, ip in accepted))
    if identity.vni is None or not vtep.settings.accept_any_source:
        return NOTHING
    return Rendering(tuple(classify.any_tunnel(identity.vni, ip, identity.id, note) for ip in vtep.tunnel_ips))


def _tunnel(vtep: Vtep, remote: str | None) -> Rendering:
    if not vtep.tunnel_ports:
        return NOTHING
    if remote is None:
        return Rendering((encapsulate.way_out(vtep.tunnel_ports[0]),))
    if not vtep.sessions.leads_to(remote):
        return NOTHING
    return Rendering((encapsulate.counted(vtep.tunnel_ports[0], remote),))


def _remote(vtep: Vtep, switch: str, mac: str) -> Rendering:
    identity, destination = vtep.identities.of(switch), vtep.database.remote(switch, mac)
    if identity is None or destination is None or destination.ip in vtep.tunnel_ips:
        return NOTHING
    pinned = (learn.pinned(identity.id, mac),) if vtep.is_pinned(switch, mac) else ()
    vni = vtep.tunnels.vni(switch, destination)
    if vni is None or not vtep.tunnel_ports:
        return Rendering(pinned)
    return Rendering((*pinned, forward.remote(identity.id, mac, vni, destination.ip)))
