"""service_node mode with members that are Open vSwitch with BFD, and fail: who carries frames, and how many are lost.

All frames that our VTEP sends to the underlay are recorded there, so that a frame that is sent to two members, or to
none, is seen.
"""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import pytest

from apps.lab import Host, Lab, Node, wait_until
from apps.lab.wire import packet_socket
from tests.system import support
from tests.system.nvc import tunnelled
from tests.system.tunnels import VNI, VTEP, configure, session, wait_status, wait_tunnels

pytestmark = pytest.mark.timeout(60)

MEMBERS = FIRST, SECOND = "10.2.2.5", "10.2.2.6"
INTERVAL = 0.1
"""What the sessions negotiate, in seconds."""
ALLOWED = 3 * INTERVAL + 0.5
PACE = 0.005
"""Seconds from frame to frame."""
OPTIONS = {"enable": True, "min_rx": int(1000 * INTERVAL), "min_tx": int(1000 * INTERVAL)}


class Network(NamedTuple):
    """Our VTEP, a host at it, and the members by their addresses."""

    lab: Lab
    node: Node
    host: Host
    members: dict[str, Node]


@pytest.fixture(scope="module")
def network(lab: Lab) -> Network:
    """All of it in one logical switch in service_node mode."""
    node = lab.node("a", f"{VTEP}/24")
    members = {ip: lab.node(name, f"{ip}/24") for name, ip in (("m1", FIRST), ("m2", SECOND))}
    for ip, member in members.items():
        options = (f"options:remote_ip={VTEP}", f"options:local_ip={ip}", "options:key=flow")
        bfd = (f"bfd:{key}={str(value).lower()}" for key, value in OPTIONS.items())
        member.vsctl("add-port", "br0", "vx", "--", "set", "Interface", "vx", "type=vxlan", *options, *bfd)
    support.set_up(node, "--vtep-statistics-interval=1")
    host = node.add_port("p0")
    support.add_logical_switch(node, "ls0", VNI, FIRST, SECOND)
    support.bind(node, "ls0", "p0")
    wait_tunnels(node, FIRST, SECOND)
    support.teach(node, host, host.mac)
    return Network(lab, node, host, members)


@pytest.fixture
def healthy(network: Network) -> Network:
    """The network, with BFD up with each member."""
    for ip in (FIRST, SECOND):
        configure(network.node, ip, "bfd_params", **OPTIONS)
    for ip in (FIRST, SECOND):
        wait_status(network.node, ip, forwarding="true", remote_state="up")
    # A session begins with an interval of a second, and negotiates once it is up (RFC 5880, section 6.8.3).
    agreed = f"RX Interval: Approx {OPTIONS['min_rx']}ms"
    for node in (network.node, *network.members.values()):
        sessions = len(MEMBERS) if node is network.node else 1
        node.wait_until(
            lambda node=node, sessions=sessions: node.appctl("ovs-vswitchd", "bfd/show").count(agreed) == sessions,
            what="the interval",
        )
    return network


@dataclass
class Stream:
    """Broadcasts that a host sends, one after the other: when each was sent, and to whom our VTEP sent it on."""

    sent: list[float] = field(default_factory=list)
    copies: dict[int, list[str]] = field(default_factory=dict)

    def go_on(self, count: int = 40) -> None:
        """Wait until so many more are sent."""
        enough = len(self.sent) + count
        wait_until(lambda: len(self.sent) >= enough, what=f"{count} frames more")

    @property
    def carriers(self) -> list[str]:
        """To whom each frame was sent; never to two, and never to nobody."""
        assert [number for number, members in self.copies.items() if len(members) != 1] == []
        return [member for (member,) in self.copies.values()]

    @property
    def order(self) -> list[str]:
        """The carriers, without repetition."""
        return [member for member, _ in groupby(self.carriers)]


@contextmanager
def stream(network: Network, copies: int = 1) -> Iterator[Stream]:
    """Send for as long as the block runs; afterwards wait until the last frame has as many copies."""
    found, end = Stream(), threading.Event()
    marker, source = time.monotonic_ns().to_bytes(8), bytes.fromhex(network.host.mac.replace(":", ""))

    def send() -> None:
        with packet_socket(network.host.path, "eth0", receive=False) as wire:
            while not end.is_set():
                number = len(found.sent)
                found.sent.append(time.monotonic())
                wire.send(bytes([255] * 6) + source + b"\x88\xb5" + marker + number.to_bytes(4) + bytes(34))
                time.sleep(PACE)

    sender = threading.Thread(target=send)
    with network.lab.underlay.capture("port1") as capture:  # Our VTEP was the first to be plugged in.
        sender.start()
        try:
            yield found
        finally:
            end.set()
            sender.join()
        last = len(found.sent) - 1

        def arrived() -> bool:
            found.copies = {number: [] for number in range(len(found.sent))}
            for datagram in tunnelled(capture.frames):
                if datagram.frame.payload.startswith(marker):
                    found.copies[int.from_bytes(datagram.frame.payload[8:12])].append(datagram.destination)
            return len(found.copies[last]) >= copies

        wait_until(arrived, what="the last frame")


def kill(member: Node) -> Callable[[], None]:
    """Kill a member's ovs-vswitchd; returns what makes up for it."""
    member.vswitchd.kill()
    return member.start_vswitchd


def stop(member: Node) -> Callable[[], None]:
    """Have a member's ovs-vswitchd stand still."""
    member.vswitchd.signal(signal.SIGSTOP)
    return lambda: member.vswitchd.signal(signal.SIGCONT)


def wait_session(network: Network, ip: str, forwarding: bool) -> None:
    """Wait until Open vSwitch itself says whether a member can have frames."""
    wanted = str(forwarding).lower()
    said = lambda: (session(network.node, ip) or {"bfd_status": {}})["bfd_status"].get("forwarding")  # noqa: E731
    network.node.wait_until(lambda: said() == wanted, what=f"BFD with {ip}")


@contextmanager
def controller_stopped(network: Network) -> Iterator[None]:
    """While the block runs, our program stands still."""
    network.node.app.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        network.node.app.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("controller", [nullcontext, controller_stopped], ids=["controller running", "stopped"])
@pytest.mark.parametrize("fail", [kill, stop], ids=["killed", "stands still"])
def test_when_a_member_fails_the_next_carries_the_frames_soon_and_hands_back_without_loss(
    healthy: Network,
    fail: Callable[[Node], Callable[[], None]],
    controller: Callable[[Network], AbstractContextManager[None]],
) -> None:
    with controller(healthy), stream(healthy) as frames:
        frames.go_on()
        failed = time.monotonic()
        restore = fail(healthy.members[FIRST])
        wait_session(healthy, FIRST, forwarding=False)
        restore()
        wait_session(healthy, FIRST, forwarding=True)
        frames.go_on()
    assert frames.order == [FIRST, SECOND, FIRST]
    assert failed < frames.sent[frames.carriers.index(SECOND)] < failed + ALLOWED


def test_a_member_that_gets_bfd_is_passed_over_until_it_is_up_and_nothing_is_lost_or_doubled(healthy: Network) -> None:
    node = healthy.node
    with stream(healthy) as frames:
        for _ in range(2):
            configure(node, FIRST, "bfd_params", enable=False)
            node.wait_until(lambda: session(node, FIRST) is None, what="no BFD")
            configure(node, FIRST, "bfd_params", **OPTIONS)
            wait_status(node, FIRST, forwarding="true")
        frames.go_on()
    assert set(frames.order) <= {FIRST, SECOND}
    assert frames.order[0] == frames.order[-1] == FIRST


def undelivered(node: Node) -> int:
    """The frames that the switch has counted for ls0, as no member could get them."""
    found = re.search(rf"n_packets=(\d+), .*metadata={VNI:#x}/", node.ofctl("dump-flows", "br0", "table=9"))
    return int(found[1]) if found else 0


def test_when_all_members_are_down_frames_are_dropped_and_counted_and_it_is_said_once(healthy: Network) -> None:
    node, log = healthy.node, len(healthy.node.app.log())
    restore = [kill(member) for member in healthy.members.values()]
    for ip in healthy.members:
        wait_status(node, ip, forwarding="false")
    before = undelivered(node)
    with stream(healthy, copies=0) as frames:
        frames.go_on(100)
    assert set(map(len, frames.copies.values())) == {0}
    node.wait_until(lambda: undelivered(node) == before + len(frames.sent), what=f"{len(frames.sent)} more")
    told = lambda: support.counters(node)["br0"]["frames_undelivered"]  # noqa: E731
    node.wait_until(lambda: told() == before + len(frames.sent), what="vtep/status to tell of them")
    for each in restore:
        each()
    for ip in healthy.members:
        wait_status(node, ip, forwarding="true")
    assert undelivered(node) == before + len(frames.sent), "the count stays"
    said = re.findall(r"^br0: (Logical_Switch ls0: .*|tunnel to .*)$", node.app.log()[log:], re.MULTILINE)
    down, up = "BFD is down: Control Detection Time Expired", "BFD is up"
    assert sorted(said) == sorted(
        [
            *(f"tunnel to {ip}: {what}" for ip in healthy.members for what in (down, up)),
            "Logical_Switch ls0: all members of unknown-dst are down: frames for them are dropped",
            "Logical_Switch ls0: not all members of unknown-dst are down any more",
        ]
    )


def test_in_source_node_mode_every_member_gets_its_copy_up_or_down(healthy: Network) -> None:
    node = healthy.node
    node.vtep_ctl("set-replication-mode", "ls0", "source_node")
    node.wait_until(lambda: "watch_port" not in node.ofctl("dump-groups", "br0"), what="the mode")
    restore = stop(healthy.members[FIRST])
    wait_status(node, FIRST, forwarding="false")
    support.forget_megaflows(node)
    with stream(healthy, copies=2) as frames:
        frames.go_on()
    restore()
    node.vtep_ctl("set-replication-mode", "ls0", "service_node")
    node.wait_until(lambda: "watch_port" in node.ofctl("dump-groups", "br0"), what="the mode")
    assert {tuple(sorted(members)) for members in frames.copies.values()} == {(FIRST, SECOND)}
