"""fdb/show and mdb/show: the addresses of a logical switch, and where frames for them go."""

from __future__ import annotations

from collections.abc import Iterator

from vtep_ryu.core.model import UNKNOWN_DST, LogicalSwitch
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.show.document import Document, Slices, columns, counted
from vtep_ryu.show.site import Site, described, place, place_in_words, vni_in_words


def unicast(site: Site, name: str) -> Slices[Document]:
    """The document of fdb/show."""
    row = site.logical_switch(name)
    switches = []
    for each in site.with_logical_switch(row):
        addresses = []
        stations, remotes = each.vtep.stations.of_switch(row.uuid), each.vtep.database.remotes(row.uuid)
        for mac in sorted({*stations, *remotes}):
            yield
            if (found := _address(each.vtep, row.uuid, mac)) is not None:
                addresses.append(found)
        switches.append({"name": each.vtep.name, "addresses": addresses})
    return {"logical_switch": described(row), "physical_switches": switches}


def _address(vtep: Vtep, switch: str, mac: str) -> Document | None:
    where, locator = vtep.stations.place(switch, mac), vtep.database.remote(switch, mac)
    if where is None and locator is None:
        return None
    rows = vtep.database.remote_rows(switch, mac)
    found: Document = {"mac": mac, "kind": "remote" if where is None else "local"}
    found |= {"port": None, "vlan": None} if where is None else place(where)
    return found | {
        "locator": None if locator is None else str(locator),
        "vni": None if locator is None else vtep.tunnels.vni(switch, locator),
        "ucast_macs_remote": [row.uuid for row in rows],
        "frozen": vtep.moves.is_frozen(switch, mac),
    }


def unicast_text(document: Document) -> Iterator[str]:
    """The document of fdb/show for people."""
    name = document["logical_switch"]["name"]
    for switch in document["physical_switches"]:
        addresses = switch["addresses"]
        here = sum(each["kind"] == "local" for each in addresses)
        yield (
            f"{switch['name']}: {name} has {counted(here, 'address', 'addresses')} here, "
            f"{len(addresses) - here} behind other VTEPs\n"
        )
        for each in addresses:
            yield f"    {each['mac']}  {_address_in_words(each)}\n"


def _address_in_words(each: Document) -> str:
    frozen = ", frozen" if each["frozen"] else ""
    behind = f"{each['locator']} {vni_in_words(each['vni'])}"
    if each["kind"] == "remote":
        return f"{behind}{frozen}"
    also = f", and not behind {behind}" if each["locator"] is not None else ""
    return f"{place_in_words(each)}{frozen}{also}"


def multicast(site: Site, name: str) -> Slices[Document]:
    """The document of mdb/show."""
    row = site.logical_switch(name)
    switches = []
    for each in site.with_logical_switch(row):
        addresses = []
        for mac in (UNKNOWN_DST, *sorted(each.vtep.database.multicasts(row.uuid))):
            yield
            addresses.append(replication(each.vtep, row, mac))
        bindings = [place(where) for where in each.vtep.bindings.places(row.uuid)]
        switches.append({"name": each.vtep.name, "bindings": bindings, "addresses": addresses})
    return {"logical_switch": described(row), "physical_switches": switches}


def replication(vtep: Vtep, row: LogicalSwitch, mac: str) -> Document:
    """An address's members. Of service nodes the first that is alive and can be reached is used, else all of these."""
    members: list[Document] = []
    for locator in vtep.database.members(row.uuid, mac):
        vni, has_bfd = vtep.tunnels.vni(row.uuid, locator), vtep.sessions.port_with(locator.ip) is not None
        alive, taken = vtep.sessions.is_alive(locator.ip), any(member["used"] for member in members)
        can = vni is not None and bool(vtep.tunnel_ports)
        used = can and (row.replication_mode == "source_node" or (alive and not taken))
        members.append({"locator": str(locator), "vni": vni, "bfd": has_bfd, "alive": alive, "used": used})
    rows = vtep.database.multicast_rows(row.uuid, mac)
    return {"mac": mac, "mcast_macs_remote": [each.uuid for each in rows], "members": members}


def multicast_text(document: Document) -> Iterator[str]:
    """The document of mdb/show for people."""
    logical_switch = document["logical_switch"]
    which = "all of" if logical_switch["replication_mode"] == "source_node" else "one of"
    for switch in document["physical_switches"]:
        yield f"{switch['name']}: {logical_switch['name']}, {logical_switch['replication_mode']}\n"
        yield f"    every binding: {', '.join(map(place_in_words, switch['bindings']))}\n"
        for each in switch["addresses"]:
            if not each["members"]:
                yield f"    {each['mac']}: no VTEP\n"
                continue
            yield f"    {each['mac']}: {which} (Mcast_Macs_Remote {', '.join(each['mcast_macs_remote'])})\n"
            yield from columns([_member(member) for member in each["members"]], "        ")


def _member(member: Document) -> tuple[str, ...]:
    bfd = ("BFD is up" if member["alive"] else "BFD is down") if member["bfd"] else "no BFD"
    return member["locator"], vni_in_words(member["vni"]), bfd, "gets frames" if member["used"] else ""
