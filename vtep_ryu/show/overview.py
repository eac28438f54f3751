"""vtep/show: physical switches, what is bound to them, tunnels, and what is wrong, as a tree."""

from __future__ import annotations

from collections.abc import Iterator

from vtep_ryu.core.model import UNKNOWN_DST
from vtep_ryu.show.document import Document, Slices, counted
from vtep_ryu.show.site import Served, Site, described, place, place_in_words, vni_in_words


def make(site: Site, name: str | None = None) -> Slices[Document]:
    """The document."""
    switches = []
    for each in site.physical_switches(name):
        switch = yield from _physical_switch(each)
        switches.append(switch)
    return {"physical_switches": switches, "standby": list(site.standby)}


def _physical_switch(served: Served) -> Slices[Document]:
    vtep = served.vtep
    row = vtep.database.physical_switch(vtep.name)
    logical_switches = []
    for uuid in vtep.bindings.logical_switches():
        yield
        if (found := _logical_switch(served, uuid)) is not None:
            logical_switches.append(found)
    logical_switches.sort(key=lambda each: (each["name"], each["uuid"]))
    tunnels = []
    for remote in sorted(vtep.sessions.remotes(), key=_by_number):
        yield
        tunnels.append(_tunnel(served, remote))
    return {
        "name": vtep.name,
        "uuid": None if row is None else row.uuid,
        "tunnel_ips": list(vtep.tunnel_ips),
        "datapath_id": None if served.datapath_id is None else f"{served.datapath_id:016x}",
        "served": served.served,
        "logical_switches": logical_switches,
        "tunnels": tunnels,
        "faults": [*vtep.switch_faults.texts(), *vtep.port_faults.texts()],
    }


def _logical_switch(served: Served, uuid: str) -> Document | None:
    vtep = served.vtep
    row, identity = vtep.database.logical_switch(uuid), vtep.identities.of(uuid)
    if row is None:
        return None
    bindings = []
    for where in vtep.bindings.places(uuid):
        port = vtep.ports.get(where.port)
        state = "missing" if port is None else ("up" if port.up else "down")
        bindings.append({**place(where), "physical_port": vtep.bindings.row(where), "state": state})
    return {
        **described(row),
        "vni": None if identity is None else identity.vni,
        "bindings": bindings,
        "local_addresses": len(tuple(vtep.stations.of_switch(uuid))),
        "remote_addresses": len(tuple(vtep.database.remotes(uuid))),
        "frozen_addresses": len(vtep.moves.of_switch(uuid)),
        "unknown_dst": [str(member) for member in vtep.database.members(uuid, UNKNOWN_DST)],
    }


def _tunnel(served: Served, remote: str) -> Document:
    vtep = served.vtep
    local, status = vtep.tunnel_ips[0], vtep.sessions.status(remote) or {}
    row = vtep.database.tunnel(local, remote)
    has_bfd = vtep.sessions.port_with(remote) is not None
    return {
        "local": local,
        "remote": remote,
        "uuid": None if row is None else row.uuid,
        "bfd": has_bfd,
        "alive": vtep.sessions.is_alive(remote),
        "info": status.get("info", "BFD is not heard of yet") if has_bfd else "no BFD",
    }


def _by_number(ip: str) -> tuple[int, ...]:
    return tuple(map(int, ip.split(".")))


def text(document: Document) -> Iterator[str]:
    """The document for people."""
    if not document["physical_switches"] and not document["standby"]:
        yield "no bridge that has a controller has a Physical_Switch row of its name\n"
    for switch in document["physical_switches"]:
        yield f"{switch['name']}\n"
        yield from (f"    {line}\n" for line in _lines(switch))
    for name in document["standby"]:
        yield f"{name}\n"
        yield "    another instance has it, and this one stands by\n"


def _lines(switch: Document) -> Iterator[str]:
    yield f"Physical_Switch {switch['uuid']}: tunnel_ips {', '.join(switch['tunnel_ips']) or 'none'}"
    if switch["datapath_id"] is None:
        yield "the switch is not connected"
    else:
        yield f"switch {switch['datapath_id']} is {'served' if switch['served'] else 'connected, and not served yet'}"
    for each in switch["logical_switches"]:
        frozen = f", {each['frozen_addresses']} frozen" if each["frozen_addresses"] else ""
        addresses = f"{counted(each['local_addresses'], 'address', 'addresses')} here{frozen}"
        yield (
            f"Logical_Switch {each['name']}: {vni_in_words(each['vni'])}, {each['replication_mode']}; "
            f"{addresses}, {each['remote_addresses']} behind other VTEPs"
        )
        for binding in each["bindings"]:
            state = "" if binding["state"] == "up" else f": the port is {binding['state']}"
            yield f"    {place_in_words(binding)}{state}"
        if each["unknown_dst"]:
            yield f"    unknown-dst: {', '.join(each['unknown_dst'])}"
    for tunnel in switch["tunnels"]:
        yield f"tunnel to {tunnel['remote']}: {tunnel['info']}"
    yield from (f"fault: {fault}" for fault in switch["faults"])
    if not switch["faults"]:
        yield "no faults"
