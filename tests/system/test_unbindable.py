"""Ports that cannot be bound: bonds, their members, ports with VLANs of their own, the bridge's local port."""

import re
from collections.abc import Iterator

import pytest

from apps.lab import Host, Lab, Node, Peer
from tests.system import support

VNI = 5000


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Peer:
    """The member of unknown-dst."""
    return lab.peer("peer", "10.2.2.9/24")


@pytest.fixture(scope="module")
def node(lab: Lab, peer: Peer) -> Node:
    """A VTEP with a logical switch."""
    made = lab.node("node", "10.2.2.1/24")
    support.set_up(made)
    support.add_logical_switch(made, "ls0", VNI, peer.ip_address)
    return made


@pytest.fixture(scope="module")
def hosts(node: Node) -> dict[str, Host]:
    """Two hosts in ls0, and two more."""
    hosts = {port: node.add_port(port) for port in ("p0", "p1")}
    support.bind(node, "ls0", *hosts)
    return hosts | {port: node.add_cable(port) for port in ("m0", "m1")}


@pytest.fixture
def bond(node: Node, hosts: dict[str, Host]) -> Iterator[str]:
    """A bond of m0 and m1."""
    node.vsctl("add-bond", "br0", "bond0", "m0", "m1", "bond_mode=active-backup")
    yield "bond0"
    node.vsctl("--if-exists", "del-port", "br0", "bond0")
    node.wait_until(lambda: support.physical_ports(node) == {"p0", "p1"}, what="the rows of the two ports alone")


def egress(node: Node, port: str) -> list[str]:
    """The flows that send to an interface."""
    return re.findall(rf"output:{node.ofport(port)}\b", support.table_flows(node, "egress"))


def test_a_bond_has_a_row_its_members_have_none_and_neither_can_be_bound(
    node: Node, hosts: dict[str, Host], peer: Peer, bond: str
) -> None:
    node.wait_until(lambda: support.physical_ports(node) == {"p0", "p1", "bond0"}, what="a row of the bond")
    node.vtep_ctl("bind-ls", "br0", "bond0", "0", "ls0")
    node.vtep_ctl("add-port", "br0", "m0", "--", "bind-ls", "br0", "m0", "7", "ls0")
    for port in ("bond0", "m0"):
        node.wait_until(
            lambda port=port: support.port_faults(node, port) == ["invalid_vlan_map"], what=f"the fault of {port}"
        )
    node.app.wait_log(r"^br0: port m0 is OpenFlow port")
    support.reach(hosts["p0"], hosts["p1"], peer)
    assert egress(node, "p0")
    assert egress(node, "m0") == egress(node, "m1") == []
    assert support.port_warnings(node, "bond0") == ["vlan_bindings: VLAN 0 of bond0: it is a bond of m0, m1; refused"]
    assert support.port_warnings(node, "m0") == [
        "vlan_bindings: VLAN 7 of m0: it is a member of the bond bond0; refused"
    ]
    assert support.port_faults(node, "p0") == []

    node.vsctl("del-port", "br0", bond)
    node.vsctl("add-port", "br0", "m0")
    node.wait_until(lambda: support.port_faults(node, "m0") == [], what="no fault of m0")
    frame = support.new_frame(hosts["p0"].mac)
    node.wait_until(lambda: egress(node, "m0"), what="m0's flow")
    support.forget_megaflows(node)
    with hosts["m0"].capture() as arriving:
        hosts["p0"].send(frame)
        arriving.wait(lambda each: each == frame.tagged(7))
    node.vtep_ctl("unbind-ls", "br0", "m0", "7", "--", "unbind-ls", "br0", "bond0", "0")
    node.vsctl("del-port", "br0", "m0")


def test_a_port_that_becomes_a_bond_while_it_is_bound_loses_its_bindings_and_gets_them_back(
    node: Node, hosts: dict[str, Host]
) -> None:
    node.vsctl("add-port", "br0", "m0")
    support.bind(node, "ls0", "m0")
    member = ("--id=@m1", "create", "Interface", "name=m1", "--", "add", "Port", "m0", "interfaces", "@m1")
    node.vsctl("--", *member)
    node.wait_until(lambda: support.port_faults(node, "m0") == ["invalid_vlan_map"], what="the fault of m0")
    node.wait_until(lambda: not egress(node, "m0"), what="no flow for m0")
    node.vsctl("del-port", "br0", "m0", "--", "add-port", "br0", "m0")
    node.wait_until(lambda: support.port_faults(node, "m0") == [], what="no fault of m0")
    node.wait_until(lambda: support.reaches(hosts["p0"], hosts["m0"]), what="m0's binding to work")
    node.vtep_ctl("unbind-ls", "br0", "m0", "0")
    node.vsctl("del-port", "br0", "m0")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("tag=5", "tag 5"),
        ("tag=0", "tag 0"),
        ("trunks=5,6", "trunks 5, 6"),
        ("vlan_mode=access", "vlan_mode access"),
        ("tag=5 vlan_mode=native-untagged", "tag 5 and vlan_mode native-untagged"),
    ],
)
def test_a_port_that_gets_vlans_of_its_own_loses_its_bindings_and_stations_until_it_has_none(
    node: Node, hosts: dict[str, Host], peer: Peer, setting: str, words: str
) -> None:
    support.teach(node, hosts["p1"], hosts["p1"].mac)
    support.teach(node, hosts["p0"], hosts["p0"].mac)
    node.vsctl("set", "Port", "p1", *setting.split())
    node.wait_until(lambda: support.port_faults(node, "p1") == ["invalid_vlan_map"], what="the fault")
    support.wait_gone(node, hosts["p1"].mac)
    node.wait_until(lambda: not egress(node, "p1"), what="no flow for p1")
    text = f"vlan_bindings: VLAN 0 of p1: its Port row has {words}; refused"
    assert support.port_warnings(node, "p1").count(text) == 1
    assert ("ls0", hosts["p0"].mac) in node.macs()

    frame = support.new_frame(hosts["p0"].mac)
    with hosts["p1"].capture() as nothing:
        support.reach(hosts["p0"], peer)
        hosts["p1"].send(support.new_frame(hosts["p1"].mac))
        hosts["p0"].send(frame)
        support.reach(hosts["p0"], peer)
        assert not [each for each in nothing.frames if each.src == hosts["p0"].mac]
    assert hosts["p1"].mac not in support.sources(node)

    node.vsctl(*(word for column in ("tag", "trunks", "vlan_mode") for word in ("--", "clear", "Port", "p1", column)))
    node.wait_until(lambda: support.port_faults(node, "p1") == [], what="no fault")
    node.wait_until(lambda: support.reaches(hosts["p0"], hosts["p1"]), what="the binding to work again")
    support.teach(node, hosts["p1"], hosts["p1"].mac)
    assert support.port_warnings(node, "p1").count(text) == 1


def test_a_port_with_a_tag_is_refused_from_the_start_and_after_a_restart(
    node: Node, hosts: dict[str, Host], peer: Peer
) -> None:
    node.vsctl("set", "Port", "p1", "tag=9")
    node.wait_until(lambda: support.port_faults(node, "p1") == ["invalid_vlan_map"], what="the fault")
    node.app.kill()
    node.start_app()
    node.app.wait_log(r"^br0: switch \w+ is served$")
    support.reach(hosts["p0"], peer)
    assert not egress(node, "p1")
    assert support.port_faults(node, "p1") == ["invalid_vlan_map"]
    assert support.port_warnings(node, "p1") == ["vlan_bindings: VLAN 0 of p1: its Port row has tag 9; refused"]
    assert "p1 untagged is bound" not in node.app.log()
    node.vsctl("clear", "Port", "p1", "tag")
    node.wait_until(lambda: support.reaches(hosts["p0"], hosts["p1"]), what="the binding to work")


def test_the_bridges_own_port_cannot_be_bound(node: Node, hosts: dict[str, Host], peer: Peer) -> None:
    (switch,) = (row["_uuid"] for row in node.rows("Logical_Switch"))
    row = {"name": "br0", "vlan_bindings": ["map", [[0, ["uuid", switch]]]]}
    node.transact(  # vtep-ctl finds no port of this name.
        {"op": "insert", "table": "Physical_Port", "row": row, "uuid-name": "port"},
        {
            "op": "mutate",
            "table": "Physical_Switch",
            "where": [],
            "mutations": [["ports", "insert", ["named-uuid", "port"]]],
        },
    )
    node.wait_until(lambda: support.port_faults(node, "br0") == ["invalid_vlan_map"], what="the fault")
    assert support.port_warnings(node, "br0") == ["vlan_bindings: VLAN 0 of br0: it is the bridge's own port; refused"]
    support.reach(hosts["p0"], hosts["p1"], peer)
    unbound = {"vlan_bindings": ["map", []]}
    node.transact({"op": "update", "table": "Physical_Port", "where": [["name", "==", "br0"]], "row": unbound})
    node.wait_until(lambda: support.physical_ports(node) == {"p0", "p1"}, what="the row to go")
