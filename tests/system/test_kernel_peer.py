"""The Linux kernel's vxlan device as the remote VTEP, on an underlay that has no byte to spare."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from apps.lab import Frame, Host, KernelVtep, Lab, Node
from tests.system.nvc import VTEP, Nvc, is_payload, new_frame, tunnelled, unordered
from tests.system.support import set_up

pytestmark = pytest.mark.timeout(90)

FIRST, SECOND = "10.2.2.8", "10.2.2.9"
PATH_MTU = 1550
"""Bytes of the largest packet on the underlay: a whole frame of 1,514 bytes in VXLAN, UDP and IPv4."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab whose underlay carries frames of 1,500 bytes in tunnels, and not one more."""
    with Lab("kernel_peer-", mtu=PATH_MTU) as made:
        yield made


@dataclass(frozen=True)
class Network:
    """A VTEP of ours with two hosts, and two of the kernel's with one host each, in one logical switch."""

    node: Node
    nvc: Nvc
    first: KernelVtep
    second: KernelVtep
    here: Host
    neighbour: Host
    there: Host
    elsewhere: Host


@pytest.fixture(scope="module")
def network(lab: Lab) -> Network:
    """All of it, with ls0 at VNI 5000; only the first kernel VTEP is known to ours."""
    node = lab.node("a", f"{VTEP}/24")
    set_up(node)
    here, neighbour = (node.add_port(f"p{n}", address=f"192.168.1.{n + 1}/24") for n in (0, 1))
    first, second = lab.kernel_vtep("kernel1", f"{FIRST}/24"), lab.kernel_vtep("kernel2", f"{SECOND}/24")
    for kernel in (first, second):
        kernel.add_vni(5000, VTEP)
    there = first.add_host(5000, lab.host("there", "192.168.1.3/24"))
    elsewhere = second.add_host(5000, lab.host("elsewhere", "192.168.1.4/24"))
    network = Network(node, Nvc(node), first, second, here, neighbour, there, elsewhere)
    reset(network)
    return network


def reset(network: Network) -> None:
    """The logical switch with both ports and the first kernel VTEP, and nothing else."""
    network.nvc.clear()
    network.nvc.logical_switch("ls0", tunnel_key=5000, replication_mode="source_node", settle=False)
    network.nvc.multicast("ls0", "unknown-dst", FIRST, settle=False)
    network.nvc.bind({"p0": {0: "ls0"}, "p1": {0: "ls0"}})
    for host in (network.here, network.neighbour, network.there, network.elsewhere):
        host.ip("neighbour", "flush", "all")


@pytest.fixture
def nvc(network: Network) -> Nvc:
    """The controller of the network, as it is at first."""
    reset(network)
    return network.nvc


def echoes(sender: Host, receiver: Host, packet: int) -> bool:
    """Whether an IPv4 packet of so many bytes, which may not be fragmented, is answered."""
    argv = ("ping", "-n", "-q", "-c", "1", "-W", "2", "-M", "do", "-s", str(packet - 28), receiver.ip_address)
    return " 1 received" in sender.run(*argv, check=False)


@pytest.mark.parametrize("known", [False, True], ids=["flooded", "known"])
def test_hosts_ping_each_other_both_ways(nvc: Nvc, network: Network, known: bool) -> None:
    if known:
        nvc.unicast("ls0", {network.there.mac: FIRST})
    for host in (network.here, network.neighbour):
        assert host.ping(network.there) == 3
        assert network.there.ping(host) == 3


def test_each_side_learns_where_the_other_sides_hosts_are(nvc: Nvc, network: Network) -> None:
    nvc.unicast("ls0", {network.there.mac: FIRST})
    assert network.there.ping(network.here) == 3
    assert network.first.learned(5000)[network.here.mac] == VTEP
    network.node.wait_until(lambda: ("ls0", network.here.mac) in network.node.macs(), what="the host to be published")
    assert ("ls0", network.there.mac) not in network.node.macs(), "it is not one of ours"


def test_tcp_passes_both_ways(nvc: Nvc, network: Network) -> None:
    nvc.unicast("ls0", {network.there.mac: FIRST})
    assert network.here.iperf(network.there) > 1e6
    assert network.there.iperf(network.here) > 1e6


def test_packets_of_the_hosts_mtu_fill_the_path_and_arrive_whole(nvc: Nvc, network: Network) -> None:
    for sender, receiver in ((network.here, network.there), (network.there, network.here)):
        assert echoes(sender, receiver, 1500)
        assert echoes(sender, receiver, 1499)
    frame = new_frame(network.here.mac, network.there.mac, size=1500)
    with network.first.capture() as outside, network.there.capture() as inside:
        network.here.send(frame)
        assert len(outside.wait(is_payload(frame)).payload) == PATH_MTU
        assert inside.wait(is_payload(frame)).pack() == frame.pack()
    back = new_frame(network.there.mac, network.here.mac, size=1500)
    with network.here.capture() as inside:
        network.there.send(back)
        assert inside.wait(is_payload(back)).pack() == back.pack()


def test_a_broadcast_reaches_the_other_side_once_and_byte_for_byte(nvc: Nvc, network: Network) -> None:
    out, back = new_frame(network.here.mac, size=1500), new_frame(network.there.mac)
    with (
        network.there.capture() as there,
        network.neighbour.capture() as neighbour,
        network.here.capture() as here,
    ):
        network.here.send(out)
        there.wait(is_payload(out))
        assert there.quiet() == [out]
        network.there.send(back)
        here.wait(is_payload(back))
        assert here.quiet() == [back]
        assert unordered(neighbour.quiet(0)) == unordered([out, back])
        assert there.quiet(0) == [out], "what it sent itself does not come back"


def test_a_second_kernel_vtep_joins_when_the_database_names_it_and_not_before(nvc: Nvc, network: Network) -> None:
    assert network.elsewhere.ping(network.here, count=1) == 0
    assert network.here.ping(network.elsewhere, count=1) == 0
    nvc.multicast("ls0", "unknown-dst", FIRST, SECOND)
    for host in (network.there, network.elsewhere):
        assert network.here.ping(host) == 3
        assert host.ping(network.here) == 3
    frame = new_frame(network.here.mac)
    with network.there.capture() as one, network.elsewhere.capture() as other:
        network.here.send(frame)
        for capture in (one, other):
            capture.wait(is_payload(frame))
            assert capture.quiet() == [frame]


def test_two_kernel_vteps_do_not_reach_each_other_through_ours(nvc: Nvc, network: Network) -> None:
    nvc.multicast("ls0", "unknown-dst", FIRST, SECOND)
    nvc.unicast("ls0", {network.elsewhere.mac: SECOND})
    assert network.there.ping(network.elsewhere, count=1) == 0
    strays: list[Frame] = [
        new_frame(network.there.mac, destination) for destination in ("ff:ff:ff:ff:ff:ff", network.elsewhere.mac)
    ]
    with network.second.capture() as underlay, network.elsewhere.capture() as arriving, network.here.capture() as ours:
        network.there.send(*strays)
        ours.wait(is_payload(strays[0]))
        ours.wait(is_payload(strays[1]))
        assert arriving.quiet() == []
        assert tunnelled(underlay.frames, SECOND) == []


def test_kernel_vteps_with_different_vnis_are_one_logical_switch_by_the_keys_of_their_locators(
    nvc: Nvc, network: Network, lab: Lab
) -> None:
    network.first.add_vni(7001, VTEP)
    network.second.add_vni(7002, VTEP)
    one = network.first.add_host(7001, lab.host("one", "192.168.1.7/24"))
    two = network.second.add_host(7002, lab.host("two", "192.168.1.8/24"))
    nvc.multicast("ls0", "unknown-dst", (FIRST, 7001), (SECOND, 7002), FIRST)
    for host in (one, two, network.there):
        assert network.here.ping(host) == 3
        assert host.ping(network.neighbour) == 3
    nvc.unicast("ls0", {one.mac: (FIRST, 7001), two.mac: (SECOND, 7002)})
    for host in (one, two):
        assert network.neighbour.ping(host) == 3
        assert host.ping(network.here) == 3
    nvc.rekey(((SECOND, 7002), 7003))
    for host in (network.here, network.neighbour):
        host.ip("neighbour", "flush", "all")
    assert network.here.ping(two, count=1) == 0
    nvc.rekey(((SECOND, 7003), 7002))
    assert network.here.ping(two) == 3
    assert network.here.ping(one) == 3


def test_hosts_follow_a_tunnel_key_that_changes_on_both_sides(nvc: Nvc, network: Network, lab: Lab) -> None:
    network.first.add_vni(6000, VTEP)
    moved = network.first.add_host(6000, lab.host("moved", "192.168.1.6/24"))
    assert network.here.ping(moved, count=1) == 0
    nvc.logical_switch("ls0", tunnel_key=6000)
    assert network.here.ping(moved) == 3
    assert moved.ping(network.neighbour) == 3
    network.here.ip("neighbour", "flush", "all")
    assert network.here.ping(network.there, count=1) == 0
