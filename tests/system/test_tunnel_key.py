"""tunnel_key: the VNI on the wire, while there is one, and what goes on without."""

from collections.abc import Iterator

import pytest

from apps.lab import Frame, Host, Lab, Node, Peer, Vxlan
from tests.system.nvc import UNSET, Nvc, arrivals, is_payload, new_frame, tunnelled, unordered
from tests.system.support import set_up

pytestmark = pytest.mark.timeout(60)

VTEP = "10.2.2.1"
REMOTE = "10.2.2.9"
REMOTE_MAC = "02:99:00:00:00:01"
MAX_VNI = 0xFFFFFF


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    """The VTEP under test."""
    node = lab.node("a", f"{VTEP}/24")
    set_up(node)
    return node


@pytest.fixture(scope="module")
def hosts(node: Node) -> tuple[Host, Host]:
    """Two hosts, at p0 and p1."""
    return node.add_port("p0"), node.add_port("p1")


@pytest.fixture(scope="module")
def peer(lab: Lab, node: Node) -> Peer:
    """The VTEP that the database names."""
    return lab.peer("peer", f"{REMOTE}/24")


@pytest.fixture(scope="module")
def controller(node: Node, hosts: tuple[Host, Host]) -> Nvc:
    """The node's NVC."""
    return Nvc(node)


@pytest.fixture
def nvc(controller: Nvc) -> Iterator[Nvc]:
    """The NVC, with ls0 that both ports are bound to and whose tunnels lead to the peer; it has no tunnel_key."""
    controller.clear()
    controller.logical_switch("ls0", settle=False)
    controller.multicast("ls0", "unknown-dst", REMOTE, settle=False)
    controller.unicast("ls0", {REMOTE_MAC: REMOTE}, settle=False)
    controller.bind({"p0": {0: "ls0"}, "p1": {0: "ls0"}})
    return controller


def assert_only_local(hosts: tuple[Host, Host], peer: Peer, *vnis: int) -> None:
    """Frames pass between the hosts; none leaves for the peer, and none of these VNIs comes in from it."""
    sender, receiver = hosts
    with peer.capture() as outside, receiver.capture() as inside, sender.capture() as back:
        for vni in vnis:
            peer.send_vxlan(new_frame(REMOTE_MAC), vni, to=VTEP)
        frames = [new_frame(sender.mac), new_frame(sender.mac, REMOTE_MAC), new_frame(sender.mac)]
        sender.send(*frames)
        inside.wait(is_payload(frames[-1]))
        assert unordered(inside.quiet()) == unordered(frames)
        assert back.quiet(0) == []
        assert tunnelled(outside.frames) == []


def assert_on_the_wire(hosts: tuple[Host, Host], peer: Peer, vni: int, refused: int) -> None:
    """Frames are carried both ways with this VNI; those with the one that is refused do not come in."""
    sender, receiver = hosts
    broadcast, unicast = new_frame(sender.mac), new_frame(sender.mac, REMOTE_MAC)
    with peer.capture() as outside, receiver.capture() as inside:
        sender.send(unicast, broadcast)
        outside.wait(is_payload(broadcast))
        datagrams = tunnelled(outside.quiet())
        assert inside.frames == [broadcast], "the address is known to be remote"
        assert {each.vni for each in datagrams} == {vni}
        assert unordered(each.frame for each in datagrams) == unordered([unicast, broadcast])
    stray, taken = new_frame(REMOTE_MAC), new_frame(REMOTE_MAC)
    with receiver.capture() as inside:
        peer.send_vxlan(stray, refused, to=VTEP)
        peer.send_vxlan(taken, vni, to=VTEP)
        inside.wait(is_payload(taken))
        assert inside.quiet() == [taken]


def test_without_a_tunnel_key_frames_pass_locally_and_not_through_tunnels(
    nvc: Nvc, hosts: tuple[Host, Host], peer: Peer
) -> None:
    assert_only_local(hosts, peer, 0, 1, 5000)


def test_without_a_tunnel_key_addresses_are_learned_and_published(
    nvc: Nvc, node: Node, hosts: tuple[Host, Host]
) -> None:
    first, second = hosts
    arrivals(first, marker=new_frame(first.mac), at=[second])
    arrivals(second, marker=new_frame(second.mac), at=[first])
    expected = {("ls0", host.mac): (VTEP,) for host in hosts}
    node.wait_until(lambda: expected.items() <= node.macs().items(), what="both hosts in Ucast_Macs_Local")
    assert node.macs("Mcast_Macs_Local")["ls0", "unknown-dst"] == (VTEP,)
    # What is learned is used: with its destination known, a frame is flooded no more.
    nvc.bind({"p0": {0: "ls0", 7: "ls0"}})
    known, marker = new_frame(second.mac, first.mac), new_frame(second.mac)
    with first.capture() as arriving:
        second.send(known, marker)
        arriving.wait(is_payload(marker))
        came = [each for each in arriving.quiet() if each.payload == known.payload]
        assert came == [known], "not with VLAN 7 as well"


def test_a_late_tunnel_key_opens_the_tunnels_and_keeps_what_was_learned(
    nvc: Nvc, node: Node, hosts: tuple[Host, Host], peer: Peer
) -> None:
    arrivals(hosts[0], marker=new_frame(hosts[0].mac), at=[hosts[1]])
    row = node.wait_until(lambda: published(node, hosts[0]), what="the first host in Ucast_Macs_Local")
    nvc.logical_switch("ls0", tunnel_key=5000)
    assert_on_the_wire(hosts, peer, 5000, refused=0)
    assert published(node, hosts[0]) == row


def test_a_tunnel_key_that_changes_changes_the_vni_on_the_wire_and_ends_the_old_one(
    nvc: Nvc, node: Node, hosts: tuple[Host, Host], peer: Peer
) -> None:
    nvc.logical_switch("ls0", tunnel_key=5000)
    assert_on_the_wire(hosts, peer, 5000, refused=6000)
    row = node.wait_until(lambda: published(node, hosts[0]), what="the first host in Ucast_Macs_Local")
    nvc.logical_switch("ls0", tunnel_key=6000)
    assert_on_the_wire(hosts, peer, 6000, refused=5000)
    assert published(node, hosts[0]) == row
    node.app.wait_log(r"ls0 has VNI 6000$")


def test_a_tunnel_key_that_is_removed_closes_the_tunnels(nvc: Nvc, hosts: tuple[Host, Host], peer: Peer) -> None:
    nvc.logical_switch("ls0", tunnel_key=5000)
    assert_on_the_wire(hosts, peer, 5000, refused=6000)
    nvc.logical_switch("ls0", tunnel_key=UNSET)
    assert_only_local(hosts, peer, 5000, 0)
    nvc.logical_switch("ls0", tunnel_key=5000)
    assert_on_the_wire(hosts, peer, 5000, refused=6000)


@pytest.mark.parametrize(("vni", "refused"), [(1, 0), (MAX_VNI, MAX_VNI - 1)])
def test_the_least_and_the_greatest_vni_work(
    nvc: Nvc, hosts: tuple[Host, Host], peer: Peer, vni: int, refused: int
) -> None:
    nvc.logical_switch("ls0", tunnel_key=vni)
    assert_on_the_wire(hosts, peer, vni, refused)


@pytest.mark.parametrize(
    "key", [0, -1, -5000, MAX_VNI + 1, (1 << 24) + 5000, (1 << 32) + 5000, (1 << 63) - 1, -(1 << 63)]
)
def test_with_a_tunnel_key_that_is_no_vni_only_the_tunnels_wait(
    nvc: Nvc, node: Node, hosts: tuple[Host, Host], peer: Peer, key: int
) -> None:
    nvc.logical_switch("ls0", tunnel_key=key)
    node.app.wait_log(rf"Logical_Switch ls0 has tunnel_key {key}, .*local switching only")
    assert_only_local(hosts, peer, key & MAX_VNI, 5000)
    arrivals(hosts[0], marker=new_frame(hosts[0].mac), at=[hosts[1]])
    node.wait_until(lambda: published(node, hosts[0]), what="the first host in Ucast_Macs_Local")
    nvc.logical_switch("ls0", tunnel_key=5000)
    assert_on_the_wire(hosts, peer, 5000, refused=key & MAX_VNI if key & MAX_VNI != 5000 else 6000)


def test_a_frame_is_carried_with_every_change_of_the_key(nvc: Nvc, hosts: tuple[Host, Host], peer: Peer) -> None:
    with peer.capture() as outside:
        for vni in (5000, 6000, 5000, 7000):
            nvc.logical_switch("ls0", tunnel_key=vni)
            frame = new_frame(hosts[0].mac, REMOTE_MAC)
            hosts[0].send(frame)
            assert carried(outside.wait(is_payload(frame))).vni == vni


def carried(outer: Frame) -> Vxlan:
    """The datagram in a frame of the underlay."""
    datagram = Vxlan.parse(outer)
    assert datagram
    return datagram


def published(node: Node, host: Host) -> str | None:
    """The UUID of the row for a host in Ucast_Macs_Local."""
    return next((row["_uuid"] for row in node.rows("Ucast_Macs_Local") if row["MAC"] == host.mac), None)
