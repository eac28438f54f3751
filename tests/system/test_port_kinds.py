"""Ports of every kind, a cable's end (as a physical interface), a TAP device and an internal port, are alike."""

from dataclasses import dataclass

import pytest

from apps.lab import Host, KernelVtep, Lab, Node
from tests.system import support
from tests.system.nvc import is_payload, new_frame

pytestmark = pytest.mark.timeout(120)

VNI, TAGGED_VNI = 5000, 5001
KINDS = {"veth": 5, "tap": 7, "internal": 9}
"""The VLAN that the port of each kind has in ls1; in ls0 they are untagged."""


@dataclass(frozen=True)
class Network:
    """A VTEP with a port of each kind and one more, and a VTEP of the kernel's with a host, all in ls0."""

    lab: Lab
    node: Node
    kernel: KernelVtep
    neighbour: Host
    there: Host
    ports: dict[str, Host]
    """The hosts by kind, which is their ports' name."""


@pytest.fixture(scope="module")
def network(lab: Lab) -> Network:
    """All of it; ls1 has the ports' VLANs."""
    node, kernel = lab.node("node", "10.2.2.1/24"), lab.kernel_vtep("kernel", "10.2.2.9/24")
    support.set_up(node)
    for name, vni in (("ls0", VNI), ("ls1", TAGGED_VNI)):
        support.add_logical_switch(node, name, vni, kernel.ip_address)
        kernel.add_vni(vni, node.underlay_ip)
    there = kernel.add_host(VNI, lab.host("there", "192.168.1.2/24"))
    neighbour = node.add_port("p0", address="192.168.1.1/24")
    ports = {kind: node.add_port(kind, address=f"192.168.1.{vlan}/24", kind=kind) for kind, vlan in KINDS.items()}
    support.bind(node, "ls0", "p0", *ports)
    for kind, vlan in KINDS.items():
        support.bind(node, "ls1", kind, vlan=vlan)
    return Network(lab, node, kernel, neighbour, there, ports)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each of the three."""
    name: str = request.param
    return name


def expect_working(network: Network, host: Host) -> None:
    """The host, its neighbour and the host beyond the tunnel reach each other, and the host is learned."""
    node, others = network.node, (network.neighbour, network.there)
    node.wait_until(lambda: support.reaches(host, *others), what="its broadcast to arrive")
    for other in others:
        support.reach(other, host)
        assert host.ping(other) == 3
        assert other.ping(host) == 3
    node.wait_until(lambda: node.macs().get(("ls0", host.mac)) == ("10.2.2.1",), what="it to be published")
    assert network.kernel.learned(VNI)[host.mac] == "10.2.2.1"


def test_it_learns_and_forwards_both_ways_here_and_over_the_tunnel(network: Network, kind: str) -> None:
    expect_working(network, network.ports[kind])


def test_hosts_at_ports_of_all_kinds_reach_each_other(network: Network) -> None:
    for sender in network.ports.values():
        for receiver in network.ports.values():
            assert sender is receiver or sender.ping(receiver) == 3


def test_tcp_passes_both_ways_over_the_tunnel(network: Network, kind: str) -> None:
    host = network.ports[kind]
    assert host.iperf(network.there) > 1e6
    assert host.iperf(network.there, reverse=True) > 1e6


def test_frames_of_every_size_arrive_byte_for_byte(network: Network, kind: str) -> None:
    host = network.ports[kind]
    for sender, receivers in ((host, (network.neighbour, network.there)), (network.there, (host,))):
        for size in (46, 1000, 1500):
            frame = new_frame(sender.mac, size=size)
            for receiver in receivers:
                with receiver.capture() as arriving:
                    sender.send(frame)
                    assert arriving.wait(is_payload(frame)).pack() == frame.pack()


def test_a_port_that_is_down_is_forgotten_and_left_out_until_it_is_up_again(network: Network, kind: str) -> None:
    node, host = network.node, network.ports[kind]
    expect_working(network, host)
    node.port_down(kind)
    node.app.wait_log(rf"^br0: {host.mac} in ls0 at {kind} untagged is gone: its port is down$")
    support.wait_gone(node, host.mac)
    with host.capture() as arriving:
        support.reach(network.neighbour, network.there)
        assert arriving.quiet() == []
    node.port_up(kind)
    expect_working(network, host)


def test_a_port_that_goes_with_its_interface_and_is_made_anew_has_its_bindings(network: Network, kind: str) -> None:
    """As a virtual machine that is started again does; Open vSwitch by itself does not take up an interface again."""
    node, host = network.node, network.ports[kind]
    bindings = node.vtep_ctl("list-bindings", "br0", kind)
    expect_working(network, host)
    for interface in (f"{kind}-lan", f"{kind}-host") if kind == "internal" else (kind,):
        node.ip("link", "delete", interface)
    node.del_port(kind)
    support.wait_gone(node, host.mac)
    support.reach(network.neighbour, network.there)

    name = f"{kind}-anew"
    network.ports[kind] = node.add_port(kind, address=host.address, mac=host.mac, host=name, kind=kind)
    expect_working(network, network.ports[kind])
    assert node.vtep_ctl("list-bindings", "br0", kind) == bindings


def test_ports_of_all_kinds_with_vlans_of_their_own_are_one_logical_switch(network: Network) -> None:
    """Each gets the frames with its own tag, and the tunnel without any."""
    node, kernel, ports = network.node, network.kernel, network.ports
    tagless = kernel.add_host(TAGGED_VNI, network.lab.host("tagless"))
    for kind, sender in ports.items():
        frame = new_frame(sender.mac)
        with tagless.capture() as beyond:
            captures = {other: host.capture() for other, host in ports.items() if other != kind}
            sender.send(frame.tagged(KINDS[kind]))
            for other, capture in captures.items():
                with capture:
                    capture.wait(is_payload(frame))
                    came = [each for each in capture.quiet(0.1) if is_payload(frame)(each)]
                    assert came == [frame.tagged(KINDS[other])]
            assert beyond.wait(is_payload(frame)) == frame
        node.wait_until(lambda mac=sender.mac: ("ls1", mac) in node.macs(), what="the sender to be published")
    frame, captures = new_frame(tagless.mac), {kind: host.capture() for kind, host in ports.items()}
    tagless.send(frame)
    for kind, capture in captures.items():
        with capture:
            assert capture.wait(is_payload(frame)) == frame.tagged(KINDS[kind])


def test_all_kinds_work_again_after_ovs_vswitchd_was_killed(network: Network) -> None:
    network.node.vswitchd.kill()
    network.node.start_vswitchd()
    network.node.app.wait_log(r"(?s)is served.*is served$", timeout=20)
    for host in network.ports.values():
        expect_working(network, host)
