"""What has to be so after each step, whatever it was."""

import json
import re
from collections import Counter
from contextlib import ExitStack
from typing import Any

from apps.lab import Frame, LabError
from apps.lab.node import OPEN_VSWITCH as OPEN_VSWITCH_DATABASE
from apps.lab.node import SCHEMA_DIRECTORY, SCHEMAS
from tests.soak.site import PARTS, Site
from tests.soak.steps import LOCATOR_KEYS, MULTICAST, PEERS, PORTS, REMOTES, STATIONS, SWITCHES, VLANS
from tests.system.support import flows, forget_megaflows, new_frame, sources
from vtep_ryu.core.model import Place
from vtep_ryu.core.vtep import Vtep

PATIENCE = 30
"""Seconds until which everything has to be right; what was cut off is tried again after up to 8."""
_SWITCHES = len(SWITCHES) + 2
_LOCATORS = (len(PEERS) + 3) * (len(LOCATOR_KEYS) + 1)
_PORTS = len(PORTS) + 4
_GROUPS = _SWITCHES * len(MULTICAST)
MOST_ROWS = {
    "Logical_Switch": _SWITCHES,
    "Logical_Router": 1,
    "Logical_Binding_Stats": _PORTS * len(VLANS),
    "Physical_Switch": 1,
    "Physical_Port": _PORTS,
    "Physical_Locator": _LOCATORS,
    "Physical_Locator_Set": _GROUPS + _SWITCHES,
    "Tunnel": len(PEERS) + 1,
    "Ucast_Macs_Remote": _SWITCHES * (len(REMOTES) + 2),
    "Ucast_Macs_Local": 100 * STATIONS,
    "Mcast_Macs_Remote": _GROUPS,
    "Mcast_Macs_Local": _SWITCHES,
    "Global": 1,
}
"""Rows that there can be, table by table, at most; all other tables are empty."""
_TABLES = tuple(json.loads((SCHEMA_DIRECTORY / SCHEMAS["vtep"]).read_text())["tables"])


def check(site: Site, patience: float = PATIENCE) -> None:
    """Wait until the program has followed everything; then all is as it has to be.

    Raises LabError or AssertionError.
    """
    for part in PARTS:
        site.pid(part)
    site.nvc.follow()
    _learns(site)
    delivered(site, as_rendered(site, patience))
    unchanged(site)
    for part in PARTS:
        site.pid(part)
    logs(site)
    bounds(rows(site))


def as_rendered(site: Site, patience: float = PATIENCE) -> Vtep:
    """Wait until switch and rows are what a program that begins now would make of the databases: that is returned."""
    site.reference.connect()
    found: list[Any] = []

    def right() -> Vtep | None:
        vtep = site.reference.vtep()
        found[:] = [*site.reference.differences(vtep), *site.reference.unlike(vtep), *unlike(site, vtep)]
        return None if found else vtep

    try:
        made = site.node.wait_until(right, patience)
    except LabError as error:
        raise AssertionError("\n".join(map(str, found))) from error
    assert made
    return made


def _learns(site: Site) -> None:
    """A station that has never been seen is learned and published: what the reference has of them is the switch's."""
    mac = site.lab.new_mac()

    def seen() -> bool:
        site.send("p0", 0, mac)
        return ("ls0", mac) in site.node.macs() and mac in sources(site.node)

    site.node.wait_until(seen, PATIENCE, f"{mac} to be learned and published")


def delivered(site: Site, vtep: Vtep) -> None:
    """A broadcast from one place of each logical switch arrives at all others."""
    forget_megaflows(site.node)
    with ExitStack() as stack:
        captures = {port: stack.enter_context(host.capture()) for port, host in site.hosts.items()}
        up = {name for name, port in vtep.ports.items() if port.up} & captures.keys()
        for switch in vtep.bindings.logical_switches():
            places = [place for place in vtep.bindings.places(switch) if place.port in up]
            if len(places) < 2:
                continue
            first, *others = places
            frame = new_frame(f"02:51:00:{ord(first.port[0]):02x}:{ord(first.port[1]):02x}:{first.vlan:02x}")
            site.hosts[first.port].send(_tagged(frame, first))
            for place in others:
                captures[place.port].wait(_tagged(frame, place).__eq__)


def _tagged(frame: Frame, place: Place) -> Frame:
    return frame.tagged(place.vlan) if place.vlan else frame


def unlike(site: Site, vtep: Vtep) -> list[Any]:
    """Rows of statistics, and tunnel ports, that ought not to be there, or are not and ought to."""
    bound = Counter((row, place.vlan) for place, row in vtep.bindings.all_places())
    for row in vtep.bindings.rows():
        bound.update((row.uuid, vlan) for vlan in vtep.bindings.portless(row))
    counted = Counter(
        (row["_uuid"], int(vlan)) for row in site.node.rows("Physical_Port") for vlan in row["vlan_stats"]
    )
    ports = Counter(list(vtep.sessions.ports()))
    interfaces = site.node.rows("Interface", OPEN_VSWITCH_DATABASE)
    made = Counter(row["name"] for row in interfaces if row["type"] == "vxlan")
    pairs = {
        "vlan_stats": (counted, Counter(dict.fromkeys(bound, 1))),
        "tunnel ports": (made, ports),
    }
    return [(name, "too many", is_ - to, "missing", to - is_) for name, (is_, to) in pairs.items() if is_ != to]


def unchanged(site: Site) -> None:
    """What is the NVC's is as it has written it."""
    now, written = site.nvc.theirs(), site.nvc.written
    changed = [(written.get(uuid), now.get(uuid)) for uuid in {*now, *written} if now.get(uuid) != written.get(uuid)]
    assert not changed, f"rows of the NVC's that were written, and as they are: {changed}"


def logs(site: Site) -> None:
    """No traceback and no error in what the program has logged, in any of its lives."""
    for path in site.logs:
        bad = re.search(r"^(?:Traceback|\S+Z (?:ERROR|CRITICAL) ).*", path.read_text(), re.MULTILINE)
        if bad:
            raise AssertionError(f"{path}: {bad[0]}\n{path.read_text()[bad.start() :][:5000]}")
    del site.logs[:-1]  # What has ended says no more.


def bounds(found: dict[str, int]) -> None:
    """No table has more rows than can be wanted."""
    beyond = {table: count for table, count in found.items() if count > MOST_ROWS.get(table, 0)}
    assert not beyond, f"more rows than there can be: {beyond}"


def rows(site: Site) -> dict[str, int]:
    """How many rows each table of hardware_vtep has."""
    counts = ({"op": "select", "table": table, "where": [], "columns": ["_uuid"]} for table in _TABLES)
    return dict(zip(_TABLES, (len(each["rows"]) for each in site.node.transact(*counts)), strict=True))


def more_rows(site: Site) -> dict[str, int]:
    """What else can grow by number: flows and groups, and rows of Open_vSwitch."""
    tables = ("Port", "Interface", "Controller", "QoS", "Queue")
    counts = {table: len(site.node.rows(table, OPEN_VSWITCH_DATABASE)) for table in tables}
    return {"flows and groups": len(flows(site.node)), **counts}
