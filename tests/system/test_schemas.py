"""Older versions of the hardware_vtep schema, made of the installed one by leaving out what they did not have."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from apps.lab import KernelVtep, Lab, Node
from apps.lab.database import listed
from apps.lab.node import SCHEMA_DIRECTORY, SCHEMAS
from tests.system import support
from tests.system.command import outcome

pytestmark = pytest.mark.timeout(90)

REMOTE = "10.2.2.9"
STATION = "02:99:00:00:00:01"
SINCE_1_6 = ("Global.other_config", "Logical_Switch.replication_mode")
SINCE_1_4 = (
    *SINCE_1_6,
    "Physical_Locator.tunnel_key",
    "ACL",
    "ACL_entry",
    "Physical_Port.acl_bindings",
    *("Logical_Router." + column for column in ("acl_binding", "LR_fault_status", "other_config")),
    *(table + ".other_config" for table in ("Physical_Switch", "Physical_Port", "Logical_Switch")),
)
SINCE_1_1 = (
    *SINCE_1_4,
    *("Tunnel", "Physical_Switch.tunnels", "Arp_Sources_Local", "Arp_Sources_Remote"),
    *("Physical_Switch.switch_fault_status", "Physical_Port.port_fault_status"),
)
LOST_1_5 = ("Logical_Switch.replication_mode",)
LOST_1_3 = ("Physical_Port.acl_bindings", "Logical_Switch.replication_mode", "Physical_Locator.tunnel_key")
LOST_1_0 = (
    "Tunnel",
    *("Physical_Switch.tunnels", "Physical_Switch.switch_fault_status"),
    *("Physical_Port.port_fault_status", *LOST_1_3),
)
VERSIONS = {
    "1.5.0": (SINCE_1_6, LOST_1_5),
    "1.3.0": (SINCE_1_4, ("ACL", *LOST_1_3)),
    "1.0.0": (SINCE_1_1, ("ACL", *LOST_1_0)),
}
"""What the version did not have, and what of that the program uses."""


def write_schema(path: Path, version: str, without: tuple[str, ...]) -> Path:
    """The installed schema as this version, without some tables ("ACL") and columns ("Global.other_config")."""
    schema: dict[str, Any] = json.loads((SCHEMA_DIRECTORY / SCHEMAS["vtep"]).read_text())
    schema["version"] = version
    del schema["cksum"]
    tables = schema["tables"]
    for name in without:
        table, _, column = name.partition(".")
        if column:
            del tables[table]["columns"][column]
        else:
            del tables[table]
    for name, table in tables.items():
        indexes = ([column for column in index if column in table["columns"]] for index in table.get("indexes", ()))
        tables[name] = {**table, "indexes": list(indexes)}
    path.write_text(json.dumps(schema))
    return path


def start(node: Node, version: str, without: tuple[str, ...]) -> None:
    """Start everything but the program on a machine whose hardware_vtep has such a schema."""
    schema = write_schema(node.directory / "old.ovsschema", version, without)
    node.create_databases("ovs")
    node.run("ovsdb-tool", "create", str(node.directory / "vtep.db"), str(schema))
    node.start_ovsdb()
    node.start_vswitchd()
    node.add_bridge()


@pytest.fixture(scope="module")
def kernel(lab: Lab) -> KernelVtep:
    """The other VTEP."""
    return lab.kernel_vtep("kernel", f"{REMOTE}/24")


def fault_columns(node: Node) -> set[tuple[str, str]]:
    """(name, keyword) of all that the fault columns have, where there are any."""
    rows = [*node.rows("Physical_Switch"), *node.rows("Physical_Port")]
    columns = ("switch_fault_status", "port_fault_status")
    return {(row["name"], keyword) for row in rows for column in columns for keyword in listed(row.get(column, []))}


def convert(node: Node, schema: Path) -> None:
    """Give hardware_vtep another schema while it is in use."""
    node.run("ovsdb-client", "convert", f"unix:{node.socket}", str(schema))


@pytest.mark.parametrize(("number", "version"), list(enumerate(VERSIONS, 1)))
def test_with_an_older_schema_everything_works_that_can_and_one_line_says_what_does_not(
    lab: Lab, kernel: KernelVtep, number: int, version: str
) -> None:
    without, lost = VERSIONS[version]
    node, ip, vni = lab.node(f"v{number}", start=False), f"10.2.2.{number}", 5000 + number
    start(node, version, without)
    lab.join(node, f"{ip}/24")
    support.set_up(node, "--vtep-statistics-interval=1")
    line = f"hardware_vtep: schema version {version} has no {', '.join(lost)}: done without\n"
    assert node.app.log().count(line) == 1

    kernel.add_vni(vni, ip)
    there = kernel.add_host(vni, lab.host(f"there{number}", "192.168.1.9/24"))
    hosts = [node.add_port(port, address=f"192.168.1.{n}/24") for n, port in enumerate(("p0", "p1"), 1)]
    support.add_logical_switch(node, "ls0", vni, REMOTE)
    node.vtep_ctl("add-ucast-remote", "ls0", STATION, REMOTE)
    support.bind(node, "ls0", "p0", "p1")
    node.wait_until(lambda: hosts[0].ping(hosts[1], count=1) and hosts[0].ping(there, count=1), what="the answers")
    assert hosts[1].ping(there) == hosts[1].ping(hosts[0]) == 3
    node.wait_until(lambda: node.macs() == {("ls0", host.mac): (ip,) for host in hosts}, what="published stations")
    assert node.macs("Mcast_Macs_Local") == {("ls0", "unknown-dst"): (ip,)}
    assert STATION in support.table_flows(node, "unicast")
    node.wait_until(lambda: node.rows("Logical_Binding_Stats"), what="statistics")

    support.add_logical_switch(node, "ls1", vni)
    node.add_port("q0")
    support.bind(node, "ls1", "q0")
    node.vsctl("set", "Port", "p1", "tag=5")
    node.app.wait_log(rf"^br0: Logical_Switch ls1 has tunnel_key {vni}, which is ls0's already")
    node.app.wait_log(r"^br0: Physical_Port p1: vlan_bindings: VLAN 0 of p1: its Port row has tag 5; refused$")
    wanted = {("br0", "unspecified_fault"), ("p1", "invalid_vlan_map")} if version != "1.0.0" else set()
    node.wait_until(lambda: fault_columns(node) == wanted, what="the faults")
    node.vsctl("clear", "Port", "p1", "tag")
    node.vtep_ctl("unbind-ls", "br0", "q0", "0")
    node.wait_until(lambda: support.reaches(hosts[0], hosts[1]), what="the binding to work")
    node.wait_until(lambda: fault_columns(node) == set(), what="no fault")

    node.app.kill()
    node.start_app()
    node.app.wait_log(r"^br0: switch \w+ is served$")
    assert hosts[0].ping(there) == 3
    assert "refused" not in node.app.log()
    node.app.kill()

    assert outcome(node, "--cleanup", "br0") == (0, "", "")
    assert node.macs() == node.macs("Mcast_Macs_Local") == {}
    assert node.rows("Logical_Binding_Stats") == []


@pytest.mark.parametrize(
    ("without", "lacks"),
    [
        (("Mcast_Macs_Local",), "Mcast_Macs_Local"),
        (("Ucast_Macs_Remote", "Physical_Switch.tunnel_ips"), "Ucast_Macs_Remote, Physical_Switch.tunnel_ips"),
    ],
)
def test_a_schema_without_what_is_needed_is_said_and_waited_for(lab: Lab, without: tuple[str, ...], lacks: str) -> None:
    node = lab.node(f"lacks{len(without)}", start=False)
    start(node, "0.9.0", without)
    node.start_app()
    line = f"hardware_vtep: schema version 0.9.0 has no {lacks}; waiting for it"
    node.app.wait_log(f"^{re.escape(line)}$")
    node.vsctl("set-controller", "br0", support.CONTROLLER)
    node.app.wait_log(r"^switch \w+ connected$")

    convert(node, SCHEMA_DIRECTORY / SCHEMAS["vtep"])
    node.app.wait_log(r"^hardware_vtep: connected to ")
    assert node.app.log().count("hardware_vtep: schema") == 1
    node.vtep_ctl("add-ps", "br0")
    node.app.wait_log(r"^br0: switch \w+ is served$")
    node.app.kill()


def test_a_schema_that_becomes_another_one_while_running_is_used_as_it_is_then(lab: Lab) -> None:
    node = lab.node("converted", "10.2.2.11/24")
    support.set_up(node)
    support.add_logical_switch(node, "ls0", 5011)
    hosts = [node.add_port(port, address=f"192.168.1.{n}/24") for n, port in enumerate(("p0", "p1"), 1)]
    support.bind(node, "ls0", "p0", "p1")
    node.wait_until(lambda: hosts[0].ping(hosts[1], count=1), what="an answer")
    older = write_schema(node.directory / "older.ovsschema", "1.0.0", SINCE_1_1)
    useless = write_schema(node.directory / "useless.ovsschema", "0.9.0", ("Mcast_Macs_Local",))

    convert(node, older)
    node.app.wait_log(r"^hardware_vtep: schema version 1.0.0 has no .*: done without$")
    node.wait_until(lambda: node.app.log().count("hardware_vtep: connected to ") == 2, what="the database to be back")
    node.vsctl("set", "Port", "p1", "tag=5")
    node.app.wait_log(r"^br0: Physical_Port p1: .* tag 5; refused$")

    convert(node, useless)
    node.app.wait_log(r"^hardware_vtep: schema version 0.9.0 has no Mcast_Macs_Local; waiting for it$")
    convert(node, SCHEMA_DIRECTORY / SCHEMAS["vtep"])
    node.wait_until(lambda: fault_columns(node) == {("p1", "invalid_vlan_map")}, what="the fault")
    node.vsctl("clear", "Port", "p1", "tag")
    node.wait_until(lambda: hosts[0].ping(hosts[1], count=1), what="an answer")
    assert len(re.findall("^hardware_vtep: ", node.app.log(), re.MULTILINE)) == 7
    node.app.kill()


def test_local_addresses_that_the_server_refuses_are_named_and_all_others_are_written(lab: Lab) -> None:
    node = lab.node("full", "10.2.2.12/24")
    support.set_up(node)
    support.add_logical_switch(node, "ls0", 5012)
    host, stations = node.add_port("p0"), {lab.new_mac() for _ in range(5)}
    support.bind(node, "ls0", "p0")
    schema = json.loads((SCHEMA_DIRECTORY / SCHEMAS["vtep"]).read_text())
    del schema["cksum"]
    schema["tables"]["Ucast_Macs_Local"]["maxRows"] = 3
    small = node.directory / "small.ovsschema"
    small.write_text(json.dumps(schema))
    convert(node, small)
    node.wait_until(lambda: node.app.log().count("hardware_vtep: connected to ") == 2, what="the database to be back")
    host.send(*(support.new_frame(mac) for mac in stations))
    pattern = r"^hardware_vtep: local address '(\S+)' of the logical switch \S+ is refused: .*limit of 3 row"

    def refused() -> set[str]:
        return set(re.findall(pattern, node.app.log(), re.MULTILINE))

    node.wait_until(lambda: len(refused()) == 2, 30, "two that are one too many")
    assert {mac for _, mac in node.macs()} == stations - refused()
    node.app.kill()
