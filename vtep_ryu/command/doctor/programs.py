"""Checks of what runs: daemons, databases, versions, and the bridge's settings."""

from __future__ import annotations

from collections.abc import Iterator

from vtep_ryu.command.databases import HARDWARE_VTEP, OPEN_VSWITCH
from vtep_ryu.command.doctor.facts import UNKNOWN, Facts, Row, listed
from vtep_ryu.command.doctor.finding import Finding, error, fine, warning
from vtep_ryu.command.steps import NO_ANSWER, NOT_INSTALLED

ADD_DB = "ovs-appctl -t ovsdb-server ovsdb-server/add-db /etc/openvswitch/vtep.db"
CREATE_DB = "ovsdb-tool create /etc/openvswitch/vtep.db /usr/share/openvswitch/vtep.ovsschema"

SINCE = {
    ("Physical_Switch", "switch_fault_status"): "1.1.0: no faults are published",
    ("Tunnel", "bfd_status"): "1.3.0: there is no BFD",
    ("Physical_Locator", "tunnel_key"): "1.5.0: a locator has no tunnel_key of its own",
    ("Logical_Switch", "replication_mode"): "1.6.0: every logical switch is service_node",
}
"""What a schema can lack, with the version that has it first."""


def daemons(facts: Facts) -> Iterator[Finding]:
    """ovsdb-server, ovs-vswitchd and the application run and answer."""
    for name, found in ((OPEN_VSWITCH, facts.ovs), (HARDWARE_VTEP, facts.vtep)):
        where = ", ".join(facts.remotes[name])
        if found.problem == UNKNOWN:
            advice = f"{CREATE_DB}; {ADD_DB}" if name == HARDWARE_VTEP else "start ovsdb-server with conf.db"
            yield error("databases", name, f"the server at {where} does not have it", advice)
        elif found.problem:
            yield error("daemons", "ovsdb-server", f"{name} at {where}: {found.problem}", _advice(found.problem))
        else:
            yield fine("daemons", "ovsdb-server", f"{name} at {where} answers")
    if facts.vswitchd:
        yield error("daemons", "ovs-vswitchd", facts.vswitchd, "start it anew (systemctl restart ovs-vswitchd)")
    else:
        yield fine("daemons", "ovs-vswitchd", "runs")
    for name in facts.silent:
        yield error("daemons", "vtep_ryu", f"no answer from {name}", "see its log, and start it anew")
    if facts.silent:
        return
    if facts.application is None:
        advice = "start vtep-ryu --detach PS-NAME, or the service: systemctl start vtep_ryu"
        yield error("daemons", "vtep_ryu", "no application follows these databases", advice)
    else:
        yield fine("daemons", "vtep_ryu", f"runs (process {facts.application['pid']})")


def _advice(problem: str) -> str:
    if "Permission denied" in problem:
        return "run it as root"
    if problem.endswith(NOT_INSTALLED):
        return "install Open vSwitch's tools, or have PATH lead to them"
    if problem == NO_ANSWER:
        return "see its log, and start it anew"
    return "start ovsdb-server"


def versions(facts: Facts) -> Iterator[Finding]:
    """The schemas have what is used."""
    for (table, column), since in SINCE.items():
        if facts.vtep.version and column not in facts.vtep.columns.get(table, ()):
            says = f"schema {facts.vtep.version} lacks {table}.{column}, which came with {since}"
            advice = "ovsdb-tool convert vtep.db /usr/share/openvswitch/vtep.ovsschema, with the server stopped"
            yield warning("versions", HARDWARE_VTEP, says, advice)
    running = {str(version) for row in facts.ovs.rows("Open_vSwitch") for version in listed(row["ovs_version"])}
    for name, found in ((OPEN_VSWITCH, facts.ovs), (HARDWARE_VTEP, facts.vtep)):
        if found.version:
            yield fine("versions", name, f"schema {found.version}")
    if running:
        yield fine("versions", "ovs-vswitchd", ", ".join(sorted(running)))


def servers(facts: Facts) -> Iterator[Finding]:
    """Both databases are in one server: an NVC finds hardware_vtep where Open vSwitch's managers are."""
    if facts.ovs.problem or facts.vtep.problem:
        return
    if set(facts.remotes[OPEN_VSWITCH]) == set(facts.remotes[HARDWARE_VTEP]):
        yield fine("databases", HARDWARE_VTEP, "in the same server as Open_vSwitch")
    else:
        says = "in another server than Open_vSwitch: its managers are rows of its own Global table"
        yield warning("databases", HARDWARE_VTEP, says, f"if that is not meant: {ADD_DB}")


def bridges(facts: Facts) -> Iterator[Finding]:
    """Each physical switch has its bridge, which forwards nothing without flows and is connected."""
    if facts.ovs.problem or facts.vtep.problem:
        return
    switches = facts.physical_switches()
    if not switches:
        name = facts.name or "PS-NAME"
        yield error("bridge", facts.name or "-", "there is no Physical_Switch row of it", f"vtep-ctl add-ps {name}")
    for switch in switches:
        bridge, name = facts.bridge(switch), switch["name"]
        if bridge is None:
            yield error("bridge", name, "there is no bridge of this name", f"ovs-vsctl add-br {name}")
            continue
        yield fine("bridge", name, "has a Physical_Switch row")
        yield from _fail_mode(name, bridge)
        yield from _controller(facts, name, bridge)


def _fail_mode(name: str, bridge: Row) -> Iterator[Finding]:
    if listed(bridge["fail_mode"]) == ["secure"]:
        yield fine("fail_mode", name, "secure")
        return
    says = "is not secure: while no controller is connected the bridge forwards as an ordinary switch"
    yield warning("fail_mode", name, says, f"ovs-vsctl set-fail-mode {name} secure")


def _controller(facts: Facts, name: str, bridge: Row) -> Iterator[Finding]:
    rows = facts.ovs.by_uuid("Controller")
    controllers = [rows[uuid] for uuid in listed(bridge["controller"]) if uuid in rows]
    application = facts.application or {}
    places = application.get("listen", ())
    listens = ", ".join(places) or "tcp:127.0.0.1:6653"
    if not controllers:
        yield error("controller", name, "the bridge has none", f"ovs-vsctl set-controller {name} {listens}")
    # Open vSwitch says so up to five seconds late.
    served = places if name in application.get("bridges", ()) else ()
    connected = [row for row in controllers if row["is_connected"] is True or row["target"] in served]
    verdict = warning if connected else error
    for row in controllers:
        if row in connected:
            yield fine("controller", name, f"{row['target']} is connected")
        else:
            why = row["status"].get("last_error", "it does not answer")
            says = f"{row['target']} is not connected: {why}"
            advice = f"the application listens at {listens}: ovs-vsctl set-controller {name} {listens}"
            yield verdict("controller", name, says, advice)
