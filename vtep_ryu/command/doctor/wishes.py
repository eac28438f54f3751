"""Checks of what the NVC wants: whether it can be had."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from vtep_ryu.command.doctor.facts import Facts, Row, listed
from vtep_ryu.command.doctor.finding import Finding, error, fine, warning

MAX_VNI = 0xFFFFFF


def vnis(facts: Facts) -> Iterator[Finding]:
    """No two logical switches have one VNI, and each that is bound has one."""
    users: dict[int, list[str]] = defaultdict(list)
    for row in facts.vtep.rows("Logical_Switch"):
        for key in listed(row["tunnel_key"]):
            users[key].append(row["name"])
    clashes = {vni: sorted(names) for vni, names in users.items() if len(names) > 1 and vni != 0}
    for vni, names in sorted(clashes.items()):
        says = f"VNI {vni} is {' and '.join(names)}'s: one of them has it, the others switch locally only"
        yield error("vni", names[0], says, f"vtep-ctl set Logical_Switch {names[-1]} tunnel_key=ANOTHER")
    if not clashes:
        yield fine("vni", "-", "no two logical switches have the same")
    yield from _without(facts)


def _without(facts: Facts) -> Iterator[Finding]:
    bound = {uuid for switch in facts.physical_switches() for _, _, uuid in facts.bindings(switch)}
    rows = [row for row in facts.vtep.rows("Logical_Switch") if row["_uuid"] in bound]
    without = [row for row in rows if not _is_vni(row)]
    for row in sorted(without, key=lambda row: str(row["name"])):
        key = listed(row["tunnel_key"])
        says = f"is bound, and has {f'tunnel_key {key[0]}, which is no VNI' if key else 'no tunnel_key'}: no tunnels"
        advice = f"vtep-ctl set Logical_Switch {row['name']} tunnel_key=VNI, unless its locators have keys of their own"
        yield warning("vni", row["name"], says, advice)
    if rows and not without:
        yield fine("vni", "-", "each logical switch that is bound has one")


def _is_vni(row: Row) -> bool:
    return any(0 < key <= MAX_VNI for key in listed(row["tunnel_key"]))


def bindings(facts: Facts) -> Iterator[Finding]:
    """Each binding is to a port that the bridge has."""
    ports = facts.ovs.by_uuid("Port")
    for switch in facts.physical_switches():
        bridge = facts.bridge(switch)
        if bridge is None:
            continue
        names = {ports[uuid]["name"] for uuid in listed(bridge["ports"]) if uuid in ports}
        found = facts.bindings(switch)
        lost = sorted({(port, vlan) for port, vlan, _ in found if port not in names})
        for port, vlan in lost:
            says = f"VLAN {vlan} of {port} is bound, but the bridge has no port {port}"
            advice = f"ovs-vsctl add-port {switch['name']} {port}, or vtep-ctl unbind-ls {switch['name']} {port} {vlan}"
            yield error("bindings", switch["name"], says, advice)
        if not lost:
            yield fine("bindings", switch["name"], f"{len(found)}, each to a port that is there")


def faults(facts: Facts) -> Iterator[Finding]:
    """What the application itself says is wrong, in the columns that vtep(5) has for it."""
    ports = facts.vtep.by_uuid("Physical_Port")
    for switch in facts.physical_switches():
        name, there = switch["name"], [ports[uuid] for uuid in listed(switch["ports"]) if uuid in ports]
        said = [("", each) for each in listed(switch.get("switch_fault_status", []))]
        said += [(f"{row['name']}: ", each) for row in there for each in listed(row.get("port_fault_status", []))]
        for where, fault in sorted(said):
            yield warning("faults", name, f"{where}{fault}", "the log says why, and so does ovs-appctl vtep/show")
        if not said:
            yield fine("faults", name, "none is published")
