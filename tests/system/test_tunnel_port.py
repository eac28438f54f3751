"""The VXLAN port: created, marked, kept and removed; what follows tunnel_ips; what is left when the row goes."""

import re
from typing import Any

import pytest

from apps.lab import Host, Lab, Node, Peer, Vxlan
from apps.lab.node import OPEN_VSWITCH
from tests.system import support

VNI = 5000
FIRST, SECOND = "10.2.2.1", "10.2.2.21"
FIRST_PORT, SECOND_PORT = "vtep-0a020201", "vtep-0a020215"


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Peer:
    """The member of unknown-dst."""
    return lab.peer("peer", "10.2.2.9/24")


@pytest.fixture(scope="module")
def node(lab: Lab, peer: Peer) -> Node:
    """A machine with two addresses on the underlay, and a logical switch."""
    made = lab.node("node", f"{FIRST}/24")
    made.add_underlay_address(f"{SECOND}/24")
    lab.underlay.join(SECOND, lab.underlay.mac_of(FIRST))
    support.add_logical_switch(made, "ls0", VNI, peer.ip_address)
    return made


@pytest.fixture(scope="module")
def hosts(node: Node) -> list[Host]:
    """Two hosts behind br0."""
    return [node.add_port(port) for port in ("p0", "p1")]


@pytest.fixture
def vtep(node: Node, hosts: list[Host], peer: Peer) -> Node:
    """The machine as a VTEP whose two ports are bound, made anew whatever the test before has left."""
    node.vtep_ctl("--if-exists", "del-ps", "br0")
    if not node.app.running:
        node.start_app()
    node.vsctl("set-controller", "br0", support.CONTROLLER)
    expect_nothing_left(node)
    add_row(node)
    node.wait_until(lambda: support.reaches(hosts[0], hosts[1], peer), what="forwarding")
    return node


def add_row(node: Node, *more: str) -> None:
    """The Physical_Switch row, with both ports bound and maybe more ("p1 7"), in one transaction."""
    places = ("p0 0", "p1 0", *more)
    bindings = (f"-- --may-exist add-port br0 {place.split()[0]} -- bind-ls br0 {place} ls0" for place in places)
    row = f"--may-exist add-ps br0 -- set Physical_Switch br0 tunnel_ips={FIRST}"
    node.vtep_ctl(*row.split(), *" ".join(bindings).split())


def tunnel_ports(node: Node) -> dict[str, dict[str, Any]]:
    """The VXLAN ports by name: their Interface rows."""
    rows = node.rows("Interface", OPEN_VSWITCH)
    columns = ("_uuid", "ofport", "options", "external_ids")
    return {row["name"]: {column: row[column] for column in columns} for row in rows if row["type"] == "vxlan"}


def expect_nothing_left(node: Node) -> None:
    """Neither on the switch nor in the databases is anything that the program has put there."""
    node.wait_until(lambda: tunnel_ports(node) == {}, what="no tunnel port")
    node.wait_until(lambda: support.flows(node) == [], what="no flow and no group")
    node.wait_until(lambda: node.macs() | node.macs("Mcast_Macs_Local") == {}, what="no local address")
    assert node.rows("Physical_Port") == []


def lines(log: str, pattern: str) -> int:
    """How many lines of a log are this."""
    return len(re.findall(rf"^{pattern}$", log, re.MULTILINE))


def forwarding(node: Node, host: Host) -> list[str]:
    """The flows and groups but those of one station, with a word for the number of the tunnel port."""
    number = node.ofport(FIRST_PORT)
    text = (line for line in support.flows(node) if host.mac not in line)
    return sorted(re.sub(rf"(in_port=|output:|watch_port:){number}\b", r"\1TUNNEL", line) for line in text)


def sender_of(host: Host, peer: Peer) -> str:
    """The address from which the peer gets a broadcast."""
    frame = support.new_frame(host.mac)
    with peer.capture() as arriving:
        host.send(frame)
        datagram = Vxlan.parse(arriving.wait(lambda outer: support.inner(outer) == frame))
    assert datagram is not None
    return datagram.source


def wait_published(node: Node, host: Host, *addresses: str) -> None:
    """Wait until the host's MAC and unknown-dst are published with these locators, or not at all."""
    wanted = {("ls0", host.mac): addresses} if addresses else {}
    node.wait_until(lambda: node.macs() == wanted, what=f"the station at {addresses}")
    floods = {("ls0", "unknown-dst"): addresses} if addresses else {}
    node.wait_until(lambda: node.macs("Mcast_Macs_Local") == floods, what=f"unknown-dst at {addresses}")


def test_one_flow_based_vxlan_port_is_created_and_marked_and_logged(vtep: Node) -> None:
    ((name, row),) = tunnel_ports(vtep).items()
    assert name == FIRST_PORT
    assert row["options"] == {"remote_ip": "flow", "key": "flow", "local_ip": FIRST}
    assert row["external_ids"] == {"vtep-ryu": FIRST}
    (port,) = (port for port in vtep.rows("Port", OPEN_VSWITCH) if port["name"] == name)
    assert port["external_ids"] == {"vtep-ryu": FIRST}
    assert vtep.app.log().count(f"br0: tunnel port {FIRST_PORT} created for {FIRST}\n") == 1
    assert support.physical_ports(vtep) == {"p0", "p1"}


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_keeps_the_tunnel_port_and_the_frames_going(
    vtep: Node, hosts: list[Host], peer: Peer, how: str
) -> None:
    before = tunnel_ports(vtep)
    getattr(vtep.app, how)()
    support.reach(hosts[0], hosts[1], peer)
    assert tunnel_ports(vtep) == before
    vtep.start_app()
    vtep.app.wait_log(r"^br0: switch \w+ is served$")
    support.reach(hosts[0], hosts[1], peer)
    assert tunnel_ports(vtep) == before
    assert "created" not in vtep.app.log()


def test_a_tunnel_port_that_somebody_removes_comes_back(vtep: Node, hosts: list[Host], peer: Peer) -> None:
    (before,) = tunnel_ports(vtep).values()
    vtep.vsctl("del-port", "br0", FIRST_PORT)
    vtep.wait_until(lambda: [row["_uuid"] for row in tunnel_ports(vtep).values()] not in ([], [before["_uuid"]]))
    vtep.wait_until(lambda: support.reaches(hosts[0], hosts[1], peer), what="forwarding")


def test_tunnel_ips_can_change_while_it_runs(vtep: Node, hosts: list[Host], peer: Peer) -> None:
    support.reach(hosts[0], hosts[1], peer)
    wait_published(vtep, hosts[0], FIRST)

    vtep.vtep_ctl("set", "Physical_Switch", "br0", f"tunnel_ips={SECOND}")
    vtep.wait_until(lambda: set(tunnel_ports(vtep)) == {SECOND_PORT}, what="another tunnel port")
    wait_published(vtep, hosts[0], SECOND)
    vtep.wait_until(lambda: support.reaches(hosts[0], hosts[1], peer), what="forwarding")
    assert sender_of(hosts[0], peer) == SECOND
    lost, *markers = (support.new_frame(peer.mac) for _ in range(3))
    with hosts[0].capture() as arriving:
        peer.send_vxlan(lost, VNI, to=FIRST)
        for marker in markers:  # The first might overtake, the second cannot.
            peer.send_vxlan(marker, VNI, to=SECOND)
            assert lost not in arriving.until(lambda frame, marker=marker: frame == marker)

    vtep.vtep_ctl("clear", "Physical_Switch", "br0", "tunnel_ips")
    vtep.wait_until(lambda: tunnel_ports(vtep) == {}, what="no tunnel port")
    wait_published(vtep, hosts[0])
    support.reach(hosts[0], hosts[1])

    vtep.vtep_ctl("set", "Physical_Switch", "br0", f"tunnel_ips={FIRST}")
    vtep.wait_until(lambda: support.reaches(hosts[0], hosts[1], peer), what="forwarding")
    assert sender_of(hosts[0], peer) == FIRST
    wait_published(vtep, hosts[0], FIRST)


def test_when_the_row_goes_so_does_all_that_the_program_made(vtep: Node, hosts: list[Host]) -> None:
    wait_published(vtep, hosts[0], FIRST)
    before = len(vtep.app.log())
    vtep.vtep_ctl("del-ps", "br0")
    expect_nothing_left(vtep)
    assert lines(vtep.app.log()[before:], r"br0: not a VTEP any more") == 1
    assert lines(vtep.app.log()[before:], rf"br0: tunnel port {FIRST_PORT} removed") == 1


def test_when_the_row_comes_back_the_bridge_is_a_vtep_again(vtep: Node, hosts: list[Host], peer: Peer) -> None:
    support.reach(hosts[0], hosts[1], peer)
    before = forwarding(vtep, hosts[0])
    vtep.vtep_ctl("del-ps", "br0")
    expect_nothing_left(vtep)
    add_row(vtep)
    vtep.wait_until(lambda: support.reaches(hosts[0], hosts[1], peer), what="forwarding")
    assert forwarding(vtep, hosts[0]) == before


def test_a_row_that_goes_and_comes_in_quick_succession_leaves_a_whole_vtep(
    vtep: Node, hosts: list[Host], peer: Peer
) -> None:
    before = forwarding(vtep, hosts[0])
    for vlan in range(1, 6):
        vtep.vtep_ctl("del-ps", "br0")
        add_row(vtep, f"p1 {vlan}")
        egress = f"reg2={vtep.ofport('p1') << 12 | vlan:#x} "
        vtep.wait_until(lambda egress=egress: egress in support.table_flows(vtep, "egress"), what="the new row's flows")
        vtep.wait_until(lambda: support.reaches(hosts[0], hosts[1], peer), what="forwarding")
        vtep.vtep_ctl("unbind-ls", "br0", "p1", str(vlan))
        vtep.wait_until(lambda: forwarding(vtep, hosts[0]) == before, what="the same flows as before")
    support.reach(hosts[0], hosts[1], peer)


def test_what_was_left_by_a_row_that_went_while_the_program_was_down_goes_when_it_starts(
    vtep: Node, hosts: list[Host], peer: Peer
) -> None:
    wait_published(vtep, hosts[0], FIRST)
    vtep.app.kill()
    vtep.vtep_ctl("del-ps", "br0")
    assert support.flows(vtep) != []
    vtep.start_app()
    expect_nothing_left(vtep)
    add_row(vtep)
    vtep.wait_until(lambda: support.reaches(hosts[0], hosts[1], peer), what="forwarding")


def test_a_port_of_the_same_name_that_is_not_ours_is_reported_and_left_alone(vtep: Node) -> None:
    vtep.vsctl("add-port", "br0", SECOND_PORT, "--", "set", "Interface", SECOND_PORT, "type=internal")
    vtep.vtep_ctl("set", "Physical_Switch", "br0", f'tunnel_ips="{FIRST}","{SECOND}"')
    pattern = rf"br0: port {SECOND_PORT} is in the way of the tunnel port for {SECOND}"
    vtep.app.wait_log(rf"^{pattern}$")
    vtep.add_port("p9")
    vtep.wait_until(lambda: "p9" in support.physical_ports(vtep), what="a row of p9")
    assert set(tunnel_ports(vtep)) == {FIRST_PORT}
    assert lines(vtep.app.log(), pattern) == 1
    vtep.del_port("p9")
    vtep.vsctl("del-port", "br0", SECOND_PORT)
    vtep.wait_until(lambda: set(tunnel_ports(vtep)) == {FIRST_PORT, SECOND_PORT}, what="both tunnel ports")
