"""Bindings to ports that the bridge does not have: reported once when it lasts, and mended by the port."""

import re

import pytest

from apps.lab import Host, Lab, Node
from tests.system import support


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    """A VTEP with two logical switches."""
    made = lab.node("node", "10.2.2.1/24")
    support.set_up(made)
    support.add_logical_switch(made, "ls0", 5000)
    support.add_logical_switch(made, "ls1", 5001)
    return made


@pytest.fixture(scope="module")
def hosts(node: Node) -> list[Host]:
    """Two hosts in ls0."""
    hosts = [node.add_port(port) for port in ("p0", "p1")]
    support.bind(node, "ls0", "p0", "p1")
    return hosts


def gone(port: str, vlan: int = 0, switch: str = "ls0") -> str:
    """What is said of a binding whose port is gone."""
    return f"vlan_bindings: VLAN {vlan} is bound to {switch}, but the bridge has no port {port}"


def bind_ahead(node: Node, port: str, *vlans: int) -> None:
    """Bind VLANs of a port that does not exist to ls0, in one transaction."""
    bindings = (("--", "bind-ls", "br0", port, str(vlan), "ls0") for vlan in vlans)
    node.vtep_ctl("add-port", "br0", port, *(word for binding in bindings for word in binding))


def wait_portless(node: Node, port: str) -> None:
    """Wait until the fault of a port's row is there."""
    node.wait_until(lambda: support.port_faults(node, port) == ["unspecified_fault"], what=f"the fault of {port}")


def test_a_port_that_is_deleted_while_it_is_bound_is_reported_once_and_works_when_it_is_back(
    node: Node, hosts: list[Host]
) -> None:
    host = node.add_port("p9")
    support.bind(node, "ls0", "p9")
    support.bind(node, "ls1", "p9", vlan=7)
    for times in (1, 2):
        node.del_port("p9")
        wait_portless(node, "p9")
        support.reach(hosts[0], hosts[1])
        assert sorted(support.port_warnings(node, "p9")) == sorted([gone("p9"), gone("p9", 7, "ls1")] * times)
        assert support.port_faults(node, "p0") == []
        node.vsctl("add-port", "br0", "p9")
        node.wait_until(lambda: support.port_faults(node, "p9") == [], what="no fault")
        node.wait_until(lambda: support.reaches(hosts[0], host), what="the binding to work")
    node.del_port("p9")
    wait_portless(node, "p9")
    node.vtep_ctl("unbind-ls", "br0", "p9", "0")
    assert node.vtep_ctl("list-bindings", "br0", "p9").split() == ["0007", "ls1"]
    assert support.port_faults(node, "p9") == ["unspecified_fault"]
    node.vtep_ctl("unbind-ls", "br0", "p9", "7")
    node.wait_until(lambda: "p9" not in support.physical_ports(node), what="the row to go")
    assert len(support.port_warnings(node, "p9")) == 6


def test_a_port_that_never_was_is_reported_with_all_its_vlans_and_an_unusable_one_is_a_fault_of_its_own(
    node: Node, hosts: list[Host]
) -> None:
    bind_ahead(node, "p8", 0, 12)
    wait_portless(node, "p8")
    assert sorted(support.port_warnings(node, "p8")) == [gone("p8"), gone("p8", 12)]
    (switch,) = (row["_uuid"] for row in node.rows("Logical_Switch") if row["name"] == "ls0")
    mutation = ["vlan_bindings", "insert", ["map", [[4095, ["uuid", switch]]]]]
    node.transact({"op": "mutate", "table": "Physical_Port", "where": [["name", "==", "p8"]], "mutations": [mutation]})
    node.wait_until(
        lambda: sorted(support.port_faults(node, "p8")) == ["invalid_vlan_map", "unspecified_fault"], what="both faults"
    )
    assert len(support.port_warnings(node, "p8")) == 3
    node.transact(
        {
            "op": "update",
            "table": "Physical_Port",
            "where": [["name", "==", "p8"]],
            "row": {"vlan_bindings": ["map", []]},
        }
    )
    node.wait_until(lambda: "p8" not in support.physical_ports(node), what="the row to go")
    support.reach(hosts[0], hosts[1])


def test_ports_and_bindings_that_come_and_go_within_a_moment_are_not_reported(node: Node, hosts: list[Host]) -> None:
    add = "ovs-vsctl --no-wait add-port br0 {0} -- set Interface {0} type=internal"
    bind, unbind = "vtep-ctl add-port br0 {0} -- bind-ls br0 {0} 0 ls0", "vtep-ctl unbind-ls br0 {0} 0"
    delete = "ovs-vsctl --no-wait del-port br0 {0}"
    node.shell(f"{bind} && {add}".format("q0"))
    node.vsctl("add-port", "br0", "q1", "--", "set", "Interface", "q1", "type=internal")
    support.bind(node, "ls0", "q1")
    node.app.wait_log(r"^br0: port q0 is OpenFlow port")
    node.shell(f"{delete} && {unbind}".format("q0"))
    node.shell(f"{unbind} && {delete}".format("q1"))
    bind_ahead(node, "q2", 0)
    wait_portless(node, "q2")  # Which the others would have been before.
    assert support.port_warnings(node, "q0") == support.port_warnings(node, "q1") == []
    assert support.port_warnings(node, "q2") == [gone("q2")]
    node.vtep_ctl("unbind-ls", "br0", "q2", "0")
    node.wait_until(lambda: "q2" not in support.physical_ports(node), what="the row to go")


def test_a_start_reports_what_is_gone_and_nothing_else(node: Node, hosts: list[Host]) -> None:
    bind_ahead(node, "r0", 0)
    node.app.kill()
    node.start_app()
    node.app.wait_log(r"^br0: Physical_Port r0: vlan_bindings")
    assert support.port_warnings(node, "r0") == [gone("r0")]
    assert not re.search(r"^br0: Physical_Port p", node.app.log(), re.MULTILINE)
    wait_portless(node, "r0")

    before = len(node.app.log())
    node.ovsdb_server.kill()
    node.start_ovsdb()
    node.wait_until(lambda: node.app.log()[before:].count(": connected to") == 2, what="both databases to be back")
    bind_ahead(node, "r1", 0)
    wait_portless(node, "r1")
    wait_portless(node, "r0")
    assert support.port_warnings(node, "r0") == [gone("r0")]
    node.wait_until(lambda: support.reaches(hosts[0], hosts[1]), what="the others to work")
    for port in ("r0", "r1"):
        node.vtep_ctl("unbind-ls", "br0", port, "0")
    node.wait_until(lambda: support.physical_ports(node) == {"p0", "p1"}, what="the rows to go")
