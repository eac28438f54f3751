"""Several bridges and one program; what it sets on those that are VTEPs, and what it leaves alone on the others."""

from typing import Any

import pytest

from apps.lab import Host, Lab, Node, Peer, Vxlan
from apps.lab.node import OPEN_VSWITCH
from tests.system import support

ADDRESSES = {"br0": "10.2.2.1", "br1": "10.2.2.21"}
VNI = 5000


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Peer:
    """The member of unknown-dst."""
    return lab.peer("peer", "10.2.2.9/24")


@pytest.fixture(scope="module")
def node(lab: Lab, peer: Peer) -> Node:
    """A machine with three bridges, two of them VTEPs, and the program connected to all of them."""
    made = lab.node("node", "10.2.2.1/24")
    made.add_underlay_address("10.2.2.21/24")
    lab.underlay.join("10.2.2.21", lab.underlay.mac_of("10.2.2.1"))
    made.add_bridge("br1")
    made.add_bridge("br2", "fail_mode=standalone", "protocols=OpenFlow10,OpenFlow13")
    made.start_app()
    made.vsctl("set-controller", "br2", support.CONTROLLER)
    for bridge, address in ADDRESSES.items():
        made.vtep_ctl("add-ps", bridge, "--", "set", "Physical_Switch", bridge, f"tunnel_ips={address}")
        made.vsctl("set-controller", bridge, support.CONTROLLER)
        made.app.wait_log(rf"^{bridge}: switch \w+ is served$")
    support.add_logical_switch(made, "ls0", VNI, peer.ip_address)
    return made


@pytest.fixture(scope="module")
def hosts(node: Node) -> dict[str, Host]:
    """Two hosts behind each bridge; those of br0 and br1 are in one logical switch."""
    bridges = {"p0": "br0", "p1": "br0", "q0": "br1", "q1": "br1", "r0": "br2", "r1": "br2"}
    hosts = {port: node.add_port(port, bridge) for port, bridge in bridges.items()}
    support.bind(node, "ls0", "p0", "p1")
    support.bind(node, "ls0", "q0", "q1", bridge="br1")
    return hosts


def bridge_row(node: Node, name: str) -> dict[str, Any]:
    """The settings of a bridge."""
    (row,) = (row for row in node.rows("Bridge", OPEN_VSWITCH) if row["name"] == name)
    return {column: row[column] for column in ("fail_mode", "protocols", "ports", "external_ids", "other_config")}


def controller_rows(node: Node, bridge: str) -> list[dict[str, Any]]:
    """The settings of a bridge's controllers."""
    uuids = node.vsctl("get", "Bridge", bridge, "controller")
    rows = (row for row in node.rows("Controller", OPEN_VSWITCH) if row["_uuid"] in uuids)
    return [
        {key: value for key, value in row.items() if key not in ("_version", "status", "is_connected")} for row in rows
    ]


def is_connected(node: Node, bridge: str) -> bool:
    """Whether a bridge is connected to the program, which has been told of it."""
    uuids = node.vsctl("get", "Bridge", bridge, "controller")
    rows = (row for row in node.rows("Controller", OPEN_VSWITCH) if row["_uuid"] in uuids)
    return any(row["is_connected"] for row in rows if row["target"] == support.CONTROLLER)


def test_frames_of_one_bridge_do_not_reach_another_in_the_same_logical_switch(
    node: Node, hosts: dict[str, Host]
) -> None:
    for sender, beside, marker, elsewhere in (("p0", "p1", "q1", "q0"), ("q0", "q1", "p1", "p0")):
        with hosts[elsewhere].capture() as arriving:
            support.reach(hosts[sender], hosts[beside])
            support.reach(hosts[marker], hosts[elsewhere])
            assert [frame.src for frame in arriving.frames] == [hosts[marker].mac]


@pytest.mark.parametrize(("port", "bridge"), [("p0", "br0"), ("q0", "br1")])
def test_each_bridge_sends_from_its_own_tunnel_ip(hosts: dict[str, Host], peer: Peer, port: str, bridge: str) -> None:
    with peer.capture() as arriving:
        frame = support.new_frame(hosts[port].mac)
        hosts[port].send(frame)
        datagram = Vxlan.parse(arriving.wait(lambda outer: support.inner(outer) == frame))
    assert datagram is not None
    assert (datagram.source, datagram.vni) == (ADDRESSES[bridge], VNI)


@pytest.mark.parametrize(("address", "here", "there"), [("10.2.2.1", "p0", "q0"), ("10.2.2.21", "q0", "p0")])
def test_tunnelled_frames_go_to_the_bridge_they_are_addressed_to(
    hosts: dict[str, Host], peer: Peer, address: str, here: str, there: str
) -> None:
    frame, marker = (support.new_frame(peer.mac) for _ in range(2))
    (other,) = set(ADDRESSES.values()) - {address}
    with hosts[here].capture() as arriving, hosts[there].capture() as elsewhere:
        peer.send_vxlan(frame, VNI, to=address)
        arriving.wait(lambda each: each == frame)
        peer.send_vxlan(marker, VNI, to=other)
        assert elsewhere.until(lambda each: each == marker) == []


def test_each_bridge_publishes_its_own_stations_with_its_own_tunnel_ip(node: Node, hosts: dict[str, Host]) -> None:
    for host in hosts.values():
        host.send(support.new_frame(host.mac))
    wanted = {("ls0", hosts[port].mac): (ADDRESSES["br0"],) for port in ("p0", "p1")}
    wanted |= {("ls0", hosts[port].mac): (ADDRESSES["br1"],) for port in ("q0", "q1")}
    node.wait_until(lambda: node.macs() == wanted, what=f"{wanted}")
    floods = node.vtep_ctl("list-local-macs", "ls0").partition("mcast-mac-local")[2].split()
    assert floods == [word for ip in ADDRESSES.values() for word in ("unknown-dst", "->", f"vxlan_over_ipv4/{ip}")]
    assert support.physical_ports(node, "br0") == {"p0", "p1"}
    assert support.physical_ports(node, "br1") == {"q0", "q1"}


def test_a_bridge_without_a_row_is_left_alone_until_it_has_one_and_when_it_has_none_any_more(
    node: Node, hosts: dict[str, Host]
) -> None:
    node.wait_until(lambda: is_connected(node, "br2"), what="br2 to connect")
    node.ofctl("add-group", "br2", "group_id=7,type=all,bucket=output:r1")
    node.ofctl("add-flow", "br2", "cookie=0x77,priority=5,in_port=r0,actions=group:7")
    own = support.flows(node, "br2")
    before = bridge_row(node, "br2"), controller_rows(node, "br2")

    # The program has seen br2: it has done what comes after it in the same database.
    node.add_port("p9")
    node.wait_until(lambda: "p9" in support.physical_ports(node), what="a row of p9")
    assert support.flows(node, "br2") == own
    assert (bridge_row(node, "br2"), controller_rows(node, "br2")) == before
    support.reach(hosts["r0"], hosts["r1"])

    node.vtep_ctl("add-ps", "br2", "--", "set", "Physical_Switch", "br2", "tunnel_ips=10.2.2.22")
    node.app.wait_log(r"^br2: switch \w+ is served$")
    assert set(own) < set(support.flows(node, "br2"))
    assert support.physical_ports(node, "br2") == {"r0", "r1"}
    node.wait_until(lambda: bridge_row(node, "br2")["fail_mode"] == "secure", what="fail_mode")
    assert bridge_row(node, "br2")["external_ids"] == {"vtep-ryu-fail-mode": "standalone"}
    support.add_logical_switch(node, "ls2", VNI + 2)
    support.bind(node, "ls2", "r0", "r1", bridge="br2")
    support.reach(hosts["r0"], hosts["r1"])

    node.vtep_ctl("del-ps", "br2")
    node.wait_until(lambda: support.flows(node, "br2") == own, what="br2 as it was")
    node.wait_until(lambda: set(node.vsctl("list-ports", "br2").split()) == {"r0", "r1"}, what="the tunnel port to go")
    support.reach(hosts["r0"], hosts["r1"])
    support.reach(hosts["p0"], hosts["p1"])
    node.del_port("p9")


def settled(node: Node, bridge: str = "br0") -> bool:
    """Whether everything that a VTEP needs is set on a bridge and its controllers."""
    controllers = controller_rows(node, bridge)
    wanted = {"connection_mode": "out-of-band", "max_backoff": 1000, "controller_rate_limit": 6000}
    return (
        bool(controllers)
        and all(wanted.items() <= row.items() for row in controllers)
        and bridge_row(node, bridge)["fail_mode"] == "secure"
    )


@pytest.mark.parametrize(
    "change",
    [
        ("set-controller", "br0", "tcp:127.0.0.1:6653"),
        ("del-controller", "br0", "--", "set-controller", "br0", "tcp:127.0.0.1:6653"),
        ("set-fail-mode", "br0", "standalone"),
        ("del-fail-mode", "br0"),
        ("set", "Controller", "br0", "connection_mode=in-band", "max_backoff=8000"),
        ("set-controller", "br0", "tcp:127.0.0.1:6653", "tcp:127.0.0.1:6699"),
    ],
    ids=" ".join,
)
def test_fail_mode_and_the_controllers_connection_are_set_again_whoever_changes_them(
    node: Node, hosts: dict[str, Host], change: tuple[str, ...]
) -> None:
    assert settled(node)
    flows = support.flows(node)
    node.vsctl(*change)
    node.wait_until(lambda: settled(node), what="what a VTEP needs")
    node.wait_until(lambda: support.flows(node) == flows, what="the flows")
    support.reach(hosts["p0"], hosts["p1"])


def test_an_empty_protocols_stays_empty(node: Node) -> None:
    assert settled(node, "br1")
    assert bridge_row(node, "br1")["protocols"] == []


def test_openflow_1_3_is_added_to_other_protocols_and_none_is_removed(node: Node, hosts: dict[str, Host]) -> None:
    node.vsctl("set", "Bridge", "br1", "protocols=OpenFlow10,OpenFlow15")
    wanted = {"OpenFlow10", "OpenFlow13", "OpenFlow15"}
    node.wait_until(lambda: set(bridge_row(node, "br1")["protocols"]) == wanted, what="OpenFlow13")
    node.app.wait_log(r"^br1: OpenFlow13 added to the bridge's protocols$")
    node.wait_until(lambda: support.reaches(hosts["q0"], hosts["q1"]), what="forwarding")
    node.vsctl("clear", "Bridge", "br1", "protocols")
    node.vsctl("set-fail-mode", "br1", "standalone")
    node.wait_until(lambda: settled(node, "br1"), what="fail_mode")
    assert bridge_row(node, "br1")["protocols"] == []
