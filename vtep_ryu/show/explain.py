"""mac/explain: where a frame for an address goes, why there, and what would have won otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vtep_ryu.core.flow import Flow, Group
from vtep_ryu.core.model import UNKNOWN_DST, LogicalSwitch, Place, UcastRemote
from vtep_ryu.core.units import (
    BindingUnit,
    FloodUnit,
    FrozenUnit,
    MulticastUnit,
    RemoteUnit,
    StationUnit,
    TunnelUnit,
    Unit,
)
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.show.addresses import replication
from vtep_ryu.show.commands import Unanswerable
from vtep_ryu.show.document import Document, Slices
from vtep_ryu.show.ofctl import bucket_text, flow_text
from vtep_ryu.show.site import Served, Site, described, vni_in_words

MOST_BUCKETS = 20
"""Of a group, in the text; the document has all."""

ADDRESS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def mac_address(text: str) -> str:
    """An address as it is written in the database.

    Raises Unanswerable.
    """
    if not ADDRESS.fullmatch(text.lower()):
        raise Unanswerable(f"'{text}' is no MAC address, as 00:11:22:33:44:55 is one")
    return text.lower()


def is_multicast(mac: str) -> bool:
    """Whether it is the address of several: multicast, broadcast."""
    return bool(int(mac[:2], 16) & 1)


def make(site: Site, name: str, mac: str) -> Slices[Document]:
    """The document. Ways are in the order in which they are tried: the first that can be taken is."""
    mac, row = mac_address(mac), site.logical_switch(name)
    switches = []
    for served in site.with_logical_switch(row):
        yield
        ways = list(
            _multicast_ways(served.vtep, row, mac) if is_multicast(mac) else _unicast_ways(served.vtep, row, mac)
        )
        taken = next(way for way in ways if way["why_not"] is None)
        units = _units(served.vtep, row.uuid, mac, taken["kind"])
        identity = served.vtep.identities.of(row.uuid)
        switches.append(
            {
                "name": served.vtep.name,
                "vni": None if identity is None else identity.vni,
                "served": served.served,
                "way": taken,
                "otherwise": [_passed_over(way, taken) for way in ways if way is not taken],
                "notes": list(_notes(served.vtep, row, mac, taken)) + _refused(served.vtep, units),
                "flows": [_flow(served, flow) for unit in units for flow in served.installed.rendering(unit).flows],
                "groups": [_group(served, each) for unit in units for each in served.installed.rendering(unit).groups],
            }
        )
    return {"mac": mac, "logical_switch": described(row), "physical_switches": switches}


def _way(kind: str, to: list[str], why: str, rows: list[tuple[str, str]], why_not: str | None = None) -> Document:
    named = [{"table": table, "uuid": uuid} for table, uuid in rows]
    return {"kind": kind, "to": to, "why": why, "rows": named, "why_not": why_not}


def _passed_over(way: Document, taken: Document) -> Document:
    """A way that is not taken: it cannot be, or it comes after one that can."""
    if way["why_not"] is not None:
        return way
    if way["kind"] == "remote":
        return way | {"why_not": "a frame from a local port came after the row was written"}
    known = {"local": "it is known here", "remote": "it is known elsewhere", "multicast": "it has VTEPs of its own"}
    return way | {"why_not": known[taken["kind"]]}


def _unicast_ways(vtep: Vtep, row: LogicalSwitch, mac: str) -> Iterator[Document]:
    where = vtep.stations.place(row.uuid, mac)
    if where is not None:
        yield _way("local", [str(where)], "it was learned there", _binding(vtep, where))
    rows = vtep.database.remote_rows(row.uuid, mac)
    for each in rows:
        why_not = _why_not(vtep, row, each)
        if each is not rows[0]:
            why_not = f"of several rows for the address the one with the lowest UUID counts, {rows[0].uuid}"
        vni = vtep.tunnels.vni(row.uuid, each.locator)
        to = [each.locator.ip if vni is None else f"{each.locator.ip} {vni_in_words(vni)}"]
        yield _way("remote", to, f"its row has locator {each.locator}", [("Ucast_Macs_Remote", each.uuid)], why_not)
    yield _flood(vtep, row, "nothing is known of it")


def _multicast_ways(vtep: Vtep, row: LogicalSwitch, mac: str) -> Iterator[Document]:
    found = replication(vtep, row, mac)
    if found["members"]:
        rows = [("Mcast_Macs_Remote", uuid) for uuid in found["mcast_macs_remote"]]
        yield _way("multicast", [*_bindings(vtep, row), *_members(found)], "it has VTEPs of its own", rows)
    yield _flood(vtep, row, "it is broadcast" if mac == "ff:ff:ff:ff:ff:ff" else "it has no VTEPs of its own")


def _flood(vtep: Vtep, row: LogicalSwitch, why: str) -> Document:
    found = replication(vtep, row, UNKNOWN_DST)
    rows = [("Mcast_Macs_Remote", uuid) for uuid in found["mcast_macs_remote"]]
    return _way("flood", [*_bindings(vtep, row), *_members(found)], why, rows)


def _bindings(vtep: Vtep, row: LogicalSwitch) -> list[str]:
    return [str(where) for where in vtep.bindings.places(row.uuid)]


def _members(found: Document) -> list[str]:
    return [f"{each['locator']} {vni_in_words(each['vni'])}" for each in found["members"] if each["used"]]


def _binding(vtep: Vtep, where: Place) -> list[tuple[str, str]]:
    uuid = vtep.bindings.row(where)
    return [] if uuid is None else [("Physical_Port", uuid)]


def _why_not(vtep: Vtep, row: LogicalSwitch, remote: UcastRemote) -> str | None:
    """Why no tunnel leads where a row says, if so."""
    locator, identity = remote.locator, vtep.identities.of(row.uuid)
    if locator.ip in vtep.tunnel_ips:
        return "its locator is this VTEP itself"
    if not vtep.tunnel_ips:
        return "Physical_Switch has no tunnel_ips"
    if not vtep.tunnel_ports:
        return "the switch has no tunnel port yet"
    if vtep.tunnels.vni(row.uuid, locator) is not None:
        return None
    if locator.tunnel_key == 0:
        return "the locator's tunnel_key is 0, which says that it is not ready"
    if locator.tunnel_key is None and (identity is None or identity.vni is None):
        return "the logical switch has no VNI"
    return "the VNI is another logical switch's there"


def _notes(vtep: Vtep, row: LogicalSwitch, mac: str, taken: Document) -> Iterator[str]:
    settings = vtep.settings
    if taken["kind"] == "remote":
        yield "a frame for it that comes from a tunnel goes to every binding, and never into a tunnel again"
    elif taken["kind"] != "local":
        yield "it goes to no binding by which it came, and from a tunnel to bindings only"
    if vtep.moves.is_frozen(row.uuid, mac):
        moves = f"it moved more than {settings.mac_move_limit} times within {settings.mac_move_window} s"
        yield f"it is frozen where it is: {moves}; frames from elsewhere do not move it"
    if vtep.is_pinned(row.uuid, mac):
        yield "it is pinned (pin_remote): frames from it are dropped where they come from a local port"
    if vtep.stations.place(row.uuid, mac) is None and vtep.stations.is_full(row.uuid):
        yield f"{row.name} has as many addresses as switch_mac_limit allows: no more are learned"


def _refused(vtep: Vtep, units: list[Unit]) -> list[str]:
    return [text for unit in units if (text := vtep.switch_faults.text_of(unit)) is not None]


def _units(vtep: Vtep, switch: str, mac: str, kind: str) -> list[Unit]:
    """What has to do with the address on the switch, and with the binding where it is, or with flooding."""
    if is_multicast(mac):
        return [MulticastUnit(switch, mac), FloodUnit(switch)]
    known: list[Unit] = [StationUnit(switch, mac), FrozenUnit(switch, mac), RemoteUnit(switch, mac)]
    where = vtep.stations.place(switch, mac)
    if where is not None:
        return [*known, BindingUnit(where)]
    locator = vtep.database.remote(switch, mac)
    if kind == "remote" and locator is not None:
        return [*known, TunnelUnit(locator.ip)]
    return [*known, FloodUnit(switch)]


def _flow(served: Served, flow: Flow) -> Document:
    packets, octets = served.installed.counter(flow) or (None, None)
    return {"table": flow.table.name, "flow": flow_text(flow), "packets": packets, "bytes": octets}


def _group(served: Served, group: Group) -> Document:
    counted = served.installed.bucket_counters(group)
    counters = counted if len(counted) == len(group.buckets) else [(None, None)] * len(group.buckets)
    buckets = [
        {"bucket": bucket_text(bucket), "packets": packets, "bytes": octets}
        for bucket, (packets, octets) in zip(group.buckets, counters, strict=True)
    ]
    return {"id": group.id, "type": group.type.value, "buckets": buckets}


def text(document: Document) -> Iterator[str]:
    """The document for people."""
    logical_switch = document["logical_switch"]
    yield f"{document['mac']} in {logical_switch['name']} (Logical_Switch {logical_switch['uuid']})\n"
    for switch in document["physical_switches"]:
        way = switch["way"]
        yield f"{switch['name']}, {vni_in_words(switch['vni'])}: a frame for it {_to(way)}\n"
        yield f"    since {way['why']}{_rows(way)}\n"
        for other in switch["otherwise"]:
            how = "flooded" if other["kind"] == "flood" else f"to {', '.join(other['to'])}"
            yield f"    not {how}{_rows(other)}: {other['why_not']}\n"
        yield from (f"    {note}\n" for note in switch["notes"])
        yield from _entries(switch)


def _to(way: Document) -> str:
    how = {"multicast": "is copied to ", "flood": "is flooded to "}.get(way["kind"], "goes to ")
    return how + (", ".join(way["to"]) or "nobody")


def _rows(way: Document) -> str:
    return "".join(f" ({row['table']} {row['uuid']})" for row in way["rows"])


def _entries(switch: Document) -> Iterator[str]:
    if not switch["served"]:
        yield "    the switch is not connected, or not served yet: what it has is not known\n"
    elif not switch["flows"]:
        yield "    the switch has no flow for it\n"
    for each in switch["flows"]:
        yield f"    {each['table']}: {_count(each)}{each['flow']}\n"
    for group in switch["groups"]:
        yield f"    group_id={group['id']},type={group['type']}\n"
        for bucket in group["buckets"][:MOST_BUCKETS]:
            yield f"        {_count(bucket)}{bucket['bucket']}\n"
        if (more := len(group["buckets"]) - MOST_BUCKETS) > 0:
            yield f"        and {more} more\n"


def _count(each: Document) -> str:
    return "" if each["packets"] is None else f"n_packets={each['packets']}, n_bytes={each['bytes']}, "
