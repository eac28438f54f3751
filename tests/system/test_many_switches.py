"""Thousands of logical switches on one VTEP, with members of unknown-dst each."""

import os
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from apps.lab import Lab
from tests.system.nvc import Site, is_payload, new_frame, tunnelled
from tests.system.support import physical_ports

pytestmark = pytest.mark.timeout(300)

VLANS = range(1, 2001 if os.environ.get("VTEP_TEST_LONG") == "1" else 201)
PORTS = ("p0", "p1")
ROUTER = "10.2.2.7"
LOCATORS = [str(IPv4Address("10.64.0.1") + n) for n in range(100)]
FIRST_KEY = 10000
AT_ONCE = 100


def members(vlan: int) -> list[str]:
    """The 20 members of the logical switch that this VLAN is bound to."""
    return [LOCATORS[(vlan + n) % len(LOCATORS)] for n in range(20)]


def insert(table: str, symbol: str, **row: Any) -> dict[str, Any]:
    """The operation that makes a row, which others in the transaction refer to by the symbol."""
    return {"op": "insert", "table": table, "uuid-name": symbol, "row": row}


def locator(ip: str) -> str:
    """The symbol of an address's locator."""
    return f"at{ip.replace('.', '_')}"


def logical_switch(vlan: int) -> list[dict[str, Any]]:
    """The operations that make the logical switch that this VLAN is bound to, with its members."""
    columns = {"name": f"switch{vlan}", "tunnel_key": FIRST_KEY + vlan, "replication_mode": "source_node"}
    locators = ["set", [["named-uuid", locator(ip)] for ip in members(vlan)]]
    refer = {"logical_switch": ["named-uuid", f"switch{vlan}"], "locator_set": ["named-uuid", f"set{vlan}"]}
    return [
        insert("Logical_Switch", f"switch{vlan}", **columns),
        insert("Physical_Locator_Set", f"set{vlan}", locators=locators),
        insert("Mcast_Macs_Remote", f"row{vlan}", MAC="unknown-dst", **refer),
    ]


def rows() -> Iterator[dict[str, Any]]:
    """The operations that make all logical switches, and bind a VLAN of each port to each."""
    for ip in LOCATORS:
        yield insert("Physical_Locator", locator(ip), dst_ip=ip, encapsulation_type="vxlan_over_ipv4")
    for vlan in VLANS:
        yield from logical_switch(vlan)
    bindings = ["map", [[vlan, ["named-uuid", f"switch{vlan}"]] for vlan in VLANS]]
    for port in PORTS:
        where = [["name", "==", port]]
        yield {"op": "update", "table": "Physical_Port", "where": where, "row": {"vlan_bindings": bindings}}


def test_each_of_many_logical_switches_reaches_its_20_members_and_nobody_else(lab: Lab) -> None:
    site = Site(lab, PORTS, [ROUTER])
    site.node.ip("route", "add", "10.64.0.0/16", "via", ROUTER)
    site.node.wait_until(lambda: physical_ports(site.node) >= set(PORTS), what="rows of the ports")
    site.nvc.write(*rows())
    site.nvc.settle()  # What is much is sent in several bundles, and the first settled after one of them, perhaps.

    sender, neighbour = site.hosts.values()
    for some in (VLANS[n : n + AT_ONCE] for n in range(0, len(VLANS), AT_ONCE)):
        frames = {new_frame(sender.mac): vlan for vlan in some}
        with site.peers[ROUTER].capture() as arriving, neighbour.capture() as local:
            for frame, vlan in frames.items():  # One by one: each is new to the datapath, which drops bursts of those.
                sender.send(frame.tagged(vlan))
                local.wait(is_payload(frame))
            datagrams = tunnelled(arriving.quiet())
            assert local.quiet(0) == [frame.tagged(vlan) for frame, vlan in frames.items()]
        came = Counter((each.frame, each.vni, each.destination) for each in datagrams if each.frame in frames)
        assert came == Counter((frame, FIRST_KEY + vlan, ip) for frame, vlan in frames.items() for ip in members(vlan))
    assert "refused" not in site.node.app.log()
