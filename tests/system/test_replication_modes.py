"""service_node and source_node with VTEPs of the Linux kernel, one of which repeats for the others as service nodes do.

The service node has two addresses, with a VXLAN device each and one bridge for both: what comes to the first goes to
the host behind it, and from the second to the other VTEPs. It cannot know our mode, and repeats whatever comes: in
source_node mode, where it is a member like the others, these get a second copy from it.
"""

import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle

import pytest

from apps.lab import Frame, Host, KernelVtep, Lab, Node
from apps.lab.frames import ETHERTYPE_IPV4
from tests.system import support
from tests.system.nvc import VTEP, is_payload, tunnelled

pytestmark = pytest.mark.timeout(120)

VNI = 5000
SERVICE, REPEATER, FIRST, SECOND = "10.2.2.5", "10.2.2.6", "10.2.2.7", "10.2.2.8"
MEMBERS = (SERVICE, FIRST, SECOND)
"""Of unknown-dst, in the order of their addresses: the first is the service node."""
SWITCHES = 10
"""How often at least the mode is changed while pings run."""
ICMP, ECHO_REPLY = 1, 0


@dataclass(frozen=True)
class Network:
    """Our VTEP with two hosts, and those of the kernel with one host each, by address."""

    node: Node
    here: Host
    neighbour: Host
    vteps: dict[str, KernelVtep]
    hosts: dict[str, Host]

    @property
    def everyone(self) -> list[Host]:
        """All hosts but one."""
        return [self.neighbour, *self.hosts.values()]


@pytest.fixture(scope="module")
def network(lab: Lab) -> Network:
    """All of it in one logical switch that has never had a mode; every remote VTEP is in unknown-dst."""
    node = lab.node("a", f"{VTEP}/24")
    support.set_up(node)
    here, neighbour = (node.add_port(f"p{n}", address=f"192.168.1.{n + 1}/24") for n in (0, 1))
    vteps = {ip: lab.kernel_vtep(f"k{ip.rpartition('.')[2]}", f"{ip}/24") for ip in (*MEMBERS, REPEATER)}
    for ip, sends_to in {
        SERVICE: [VTEP],
        REPEATER: [FIRST, SECOND],
        FIRST: [REPEATER, SECOND],
        SECOND: [REPEATER, FIRST],
    }.items():
        vteps[ip].add_vni(VNI, *sends_to)
    join_bridges(vteps[SERVICE], vteps[REPEATER])
    hosts = {
        ip: vteps[ip].add_host(VNI, lab.host(f"behind{ip.rpartition('.')[2]}", f"192.168.1.{number}/24"))
        for number, ip in enumerate(MEMBERS, 3)
    }
    support.add_logical_switch(node, "ls0", VNI, *MEMBERS)
    support.bind(node, "ls0", "p0", "p1")
    everywhere = "a broadcast everywhere"  # The kernel takes up to a second to find that a cable's other end is up.
    node.wait_until(lambda: support.reaches(here, neighbour, *hosts.values()), what=everywhere)
    return Network(node, here, neighbour, vteps, hosts)


def join_bridges(one: KernelVtep, other: KernelVtep) -> None:
    """A cable between the bridges of two of the kernel's VTEPs, which makes them one machine to all others."""
    one.ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", other.name)
    for vtep in (one, other):
        vtep.ip("link", "set", "cable", "master", f"br{VNI}")
        vtep.ip("link", "set", "cable", "up")


def set_mode(network: Network, mode: str) -> None:
    """`vtep-ctl set-replication-mode`, or no mode at all; returns once the switch has it."""
    node = network.node
    if mode == "unset":
        node.vtep_ctl("clear", "Logical_Switch", "ls0", "replication_mode")
    else:
        node.vtep_ctl("set-replication-mode", "ls0", mode)
    fails_over = mode != "source_node"
    node.wait_until(lambda: ("watch_port" in node.ofctl("dump-groups", "br0")) == fails_over, what=mode)


def copies(network: Network, frame: Frame, sender: Host) -> tuple[dict[str, Counter[str]], dict[str, int]]:
    """How many copies of a frame come to the underlay interface of each member, by the address that they come from, and
    how many to each other host."""
    with ExitStack() as stack:
        wires = {ip: stack.enter_context(network.vteps[ip].capture()) for ip in MEMBERS}
        ends = {host.name: stack.enter_context(host.capture()) for host in (network.here, *network.everyone)}
        sender.send(frame)
        for name, capture in ends.items():
            if name != sender.name:
                capture.wait(is_payload(frame))
        remote = {
            ip: Counter(each.source for each in tunnelled(capture.quiet(), ip) if each.frame == frame)
            for ip, capture in wires.items()
        }
        return remote, {name: capture.quiet(0).count(frame) for name, capture in ends.items()}


@pytest.mark.parametrize("destination", ["ff:ff:ff:ff:ff:ff", "02:99:00:00:00:01", "01:00:5e:01:02:03"])
@pytest.mark.parametrize("mode", ["unset", "service_node", "source_node"])
def test_who_receives_a_flooded_frame_from_whom_and_how_often(network: Network, mode: str, destination: str) -> None:
    set_mode(network, mode)
    support.forget_megaflows(network.node)
    remote, local = copies(network, support.new_frame(network.here.mac, destination), network.here)
    by_us = Counter({VTEP: 1} if mode == "source_node" else {})
    repeated = Counter({REPEATER: 1})
    assert remote == {SERVICE: Counter({VTEP: 1}), FIRST: by_us + repeated, SECOND: by_us + repeated}
    twice = {network.hosts[ip].name for ip in (FIRST, SECOND)} if mode == "source_node" else set()
    expected = {host.name: 2 if host.name in twice else 1 for host in network.everyone}
    assert local == {**expected, network.here.name: 0}


@pytest.mark.parametrize("mode", ["service_node", "source_node"])
@pytest.mark.parametrize("origin", MEMBERS)
def test_what_a_remote_host_broadcasts_comes_once_and_we_send_it_to_no_other_vtep(
    network: Network, mode: str, origin: str
) -> None:
    set_mode(network, mode)
    support.forget_megaflows(network.node)
    sender = network.hosts[origin]
    remote, local = copies(network, support.new_frame(sender.mac), sender)
    assert not any(counts[VTEP] for counts in remote.values())
    assert (local[network.here.name], local[network.neighbour.name], local[sender.name]) == (1, 1, 0)


@contextmanager
def pings(network: Network, number: int) -> Iterator[dict[tuple[str, str], Counter[int]]]:
    """While the block runs, hosts send so many echo requests each, 20 ms apart: ours to each remote one, these to ours.

    Afterwards: how often each was answered, by the addresses of (sender, receiver).
    """
    here, there = network.here, network.hosts.values()
    pairs = [*((here, host) for host in there), *((host, here) for host in there)]
    command = ("ping", "-n", "-q", "-i", "0.02", "-W", "1", "-c", str(number))
    answers: dict[tuple[str, str], Counter[int]] = {}
    with ExitStack() as stack:
        captures = {host.name: stack.enter_context(host.capture()) for host in (here, *there)}
        running = [sender.popen(*command, receiver.ip_address, stdout=subprocess.PIPE) for sender, receiver in pairs]
        yield answers
        for process in running:
            process.communicate(timeout=number * 0.02 + 20)
        for sender, receiver in pairs:
            arrived = (echo_reply(frame) for frame in captures[sender.name].quiet() if frame.src == receiver.mac)
            found = Counter(sequence for sequence in arrived if sequence is not None)
            answers[sender.ip_address, receiver.ip_address] = found


def echo_reply(frame: Frame) -> int | None:
    """The sequence number of an ICMP echo reply (RFC 792)."""
    packet = frame.payload
    if frame.ethertype != ETHERTYPE_IPV4 or packet[9] != ICMP or packet[20] != ECHO_REPLY:
        return None
    return int.from_bytes(packet[26:28])


@pytest.fixture(params=["flooded", "known"])
def known(request: pytest.FixtureRequest, network: Network) -> Iterator[bool]:
    """Whether the database says behind which VTEP each remote host is; otherwise frames to it are flooded."""
    node = network.node
    set_mode(network, "service_node")
    if request.param == "known":
        for ip, host in network.hosts.items():
            node.vtep_ctl("add-ucast-remote", "ls0", host.mac, ip)
        last = network.hosts[SECOND].mac
        node.wait_until(lambda: last in support.table_flows(node, "unicast"), what="the flow of the last")
    support.forget_megaflows(node)
    for host in network.hosts.values():
        assert network.here.ping(host) == 3
        assert host.ping(network.here) == 3
    yield request.param == "known"
    node.vtep_ctl("clear-remote-macs", "ls0", "--", *add_members())
    set_mode(network, "service_node")


def add_members() -> list[str]:
    """The rest of a `vtep-ctl` command line that makes the members of unknown-dst."""
    return " -- ".join(f"add-mcast-remote ls0 unknown-dst {ip}" for ip in MEMBERS).split()


def answers_to_a_ping(network: Network, pair: tuple[str, str], mode: str, known: bool) -> int:
    """Two where the host behind a VTEP gets our host's frame from us and from the service node."""
    second_copy = mode == "source_node" and not known and network.hosts[SERVICE].ip_address not in pair
    return 2 if second_copy else 1


def test_no_ping_is_lost_while_the_mode_is_switched_and_none_is_doubled_but_by_the_service_node(
    network: Network, known: bool
) -> None:
    """Every remote host is reached in either mode, so that no request and no answer has a reason to be lost."""
    modes, switched = cycle(["source_node", "service_node"]), 0
    with pings(network, 200) as answers:
        deadline = time.monotonic() + 200 * 0.02
        while time.monotonic() < deadline:
            set_mode(network, next(modes))
            switched += 1
    assert switched >= SWITCHES
    for pair, counts in answers.items():
        assert counts.keys() == set(range(1, 201)), pair
        assert max(counts.values()) <= answers_to_a_ping(network, pair, "source_node", known), pair


@pytest.mark.parametrize("mode", ["service_node", "source_node"])
def test_once_the_mode_has_settled_each_ping_is_answered_as_often_as_it_arrives(
    network: Network, known: bool, mode: str
) -> None:
    set_mode(network, mode)
    support.forget_megaflows(network.node)
    with pings(network, 20) as answers:
        pass
    for pair, counts in answers.items():
        assert counts == dict.fromkeys(range(1, 21), answers_to_a_ping(network, pair, mode, known)), pair
