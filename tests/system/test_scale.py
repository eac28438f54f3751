"""Replication to more members and bindings than Open vSwitch copies to in one go."""

import struct
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ipaddress import IPv4Address

import pytest

from apps.lab import Frame, Lab
from apps.lab.frames import BROADCAST, ETHERTYPE_IPV4, arp_request
from tests.system.nvc import VTEP, Nvc, Site, is_payload, new_frame, tunnelled

pytestmark = pytest.mark.timeout(180)

ROUTER, APART = "10.2.2.7", "10.2.2.6"
GROUP = "01:00:5e:01:02:03"
UNKNOWN = "02:99:00:00:00:01"
CHANGES = 10
"""How often the mode and the members are changed to and fro while frames are sent."""
VLANS = range(1, 4001)
BINDINGS = {("p0", 0), ("p1", 0), *(("p2", vlan) for vlan in (0, *VLANS))}
MEMBERS = [str(IPv4Address("10.64.0.1") + n) for n in range(4000)]


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """A VTEP with three hosts, a peer that is the router to all members, and one that may be a member itself."""
    site = Site(lab, ("p0", "p1", "p2"), [ROUTER, APART])
    site.node.ip("route", "add", "10.64.0.0/16", "via", ROUTER)
    for number, host in enumerate(site.hosts.values(), start=1):
        host.address = f"192.168.1.{number}/24"
        host.ip("address", "add", host.address, "dev", "eth0")
    return site


@pytest.fixture
def nvc(site: Site) -> Nvc:
    """The controller; ls0 replicates by itself, and has nobody in unknown-dst yet."""
    return site.reset(replication_mode="source_node")


@pytest.fixture
def many_bindings(nvc: Nvc, site: Site) -> Nvc:
    """The controller; ls0 has, besides VLAN 0 of every port, 4000 other VLANs of p2."""
    nvc.bind({"p2": dict.fromkeys((0, *VLANS), "ls0")})
    return nvc


def datagram(source: str, number: int) -> Frame:
    """A broadcast of UDP over IPv4 from a port of its own: it is by addresses and ports that Open vSwitch hashes."""
    udp = struct.pack("!HHHH", 1024 + number, 9, 30, 0) + f"{number:022}".encode()
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
    addresses = IPv4Address("192.168.1.1").packed + IPv4Address("192.168.1.255").packed
    return Frame(BROADCAST, source, header + addresses + udp, ETHERTYPE_IPV4)


def copies(site: Site, frame: Frame) -> Counter[tuple[str, int]]:
    """How many copies of a frame from p0 are sent to which address with which VNI."""
    with site.peers[ROUTER].capture() as arriving:
        site.hosts["p0"].send(frame)
        arriving.wait(is_payload(frame))
        return Counter((each.destination, each.vni) for each in tunnelled(arriving.quiet()) if each.frame == frame)


def vlan_of(frame: Frame) -> int:
    """The VLAN of a frame's tag; 0 without one."""
    return frame.tags[0].vid if frame.tags else 0


def local_copies(site: Site, frame: Frame, send: Callable[[], object]) -> Counter[tuple[str, int]]:
    """How many copies of a frame come out of which port with which VLAN (0: untagged) when it is sent."""
    with ExitStack() as stack:
        captures = {port: stack.enter_context(host.capture()) for port, host in site.hosts.items()}
        send()
        captures["p1"].wait(is_payload(frame))
        return Counter(
            (port, vlan_of(each))
            for port, capture in captures.items()
            for each in capture.quiet()
            if each.tagged() == frame.tagged()
        )


def once(members: Iterable[str]) -> Counter[tuple[str, int]]:
    """One copy to each member."""
    return Counter((ip, 5000) for ip in members)


def test_4000_members_get_each_frame_once_and_local_traffic_goes_on(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", *MEMBERS)
    sender, neighbour, other = site.hosts.values()
    site.node.wait_until(lambda: neighbour.ping(other) == 3, what="answers to neighbours, who asked for addresses")
    frames = [
        *(new_frame(sender.mac, destination) for destination in (BROADCAST, UNKNOWN, GROUP)),
        arp_request(sender.mac, sender.ip_address, "192.168.1.77"),
        *(datagram(sender.mac, number) for number in range(10)),
    ]
    with ThreadPoolExecutor(1) as pool, neighbour.capture() as local, sender.capture() as own:
        answered = pool.submit(neighbour.ping, other, count=200, interval=0.05)
        for frame in frames * 2:  # Open vSwitch has looked at all that it cached again before the second time.
            assert copies(site, frame) == once(MEMBERS)
        assert answered.result() > 100  # Between the frames; while one is copied, on a busy machine, some are lost.
        assert Counter(each for each in local.quiet() if each in frames) == Counter(frames * 2)
        assert [each for each in own.quiet() if each in frames] == []


def test_a_multicast_address_may_have_4000_members_too(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", *MEMBERS[:3])
    nvc.multicast("ls0", GROUP, *MEMBERS)
    sender = site.hosts["p0"].mac
    with site.hosts["p1"].capture() as local:
        frame = new_frame(sender, GROUP)
        assert copies(site, frame) == once(MEMBERS)
        assert local.quiet().count(frame) == 1
    assert copies(site, new_frame(sender)) == once(MEMBERS[:3])


def test_a_frame_from_a_tunnel_goes_to_none_of_4000_members(nvc: Nvc, site: Site) -> None:
    for mac in ("unknown-dst", GROUP):
        nvc.multicast("ls0", mac, *MEMBERS)
    source = "02:99:00:00:00:07"
    frames = [new_frame(source, destination) for destination in (BROADCAST, UNKNOWN, GROUP)]
    with site.peers[ROUTER].capture() as leaving:
        came = site.delivered(ROUTER, 5000, *frames, marker=new_frame(source), sent_by=MEMBERS[-1])
        assert [len(each) for each in came] == [len(frames)] * len(site.hosts)
        assert tunnelled(leaving.quiet()) == []


def test_4000_bindings_get_each_frame_once_and_the_senders_own_none(many_bindings: Nvc, site: Site) -> None:
    for port, vlan in (("p0", 0), ("p2", 0), ("p2", 7)):
        sender = site.hosts[port]
        arp = arp_request(sender.mac, sender.ip_address, "192.168.1.77")
        frames = [new_frame(sender.mac), new_frame(sender.mac, UNKNOWN), arp]
        for frame in frames * 2:  # Open vSwitch has looked at all that it cached again before the second time.
            sent = frame.tagged(vlan) if vlan else frame
            came = local_copies(site, frame, lambda sender=sender, sent=sent: sender.send(sent))
            assert came == Counter(BINDINGS - {(port, vlan)})
    many_bindings.multicast("ls0", "unknown-dst", ROUTER)
    for destination in (BROADCAST, UNKNOWN, GROUP) * 2:
        frame = new_frame("02:99:00:00:00:07", destination)
        came = local_copies(site, frame, lambda frame=frame: site.peers[ROUTER].send_vxlan(frame, 5000, to=VTEP))
        assert came == Counter(BINDINGS)


def test_4000_bindings_and_4000_members_get_each_frame_once(many_bindings: Nvc, site: Site) -> None:
    many_bindings.multicast("ls0", "unknown-dst", *MEMBERS)
    many_bindings.multicast("ls0", GROUP, *MEMBERS)
    sender = site.hosts["p0"]
    for destination in (BROADCAST, UNKNOWN, GROUP) * 2:
        frame = new_frame(sender.mac, destination)
        with site.peers[ROUTER].capture() as arriving:
            here = local_copies(site, frame, lambda frame=frame: sender.send(frame))
            there = (each for each in tunnelled(arriving.quiet()) if each.frame == frame)
        assert here == Counter(BINDINGS - {("p0", 0)})
        assert Counter((each.destination, each.vni) for each in there) == once(MEMBERS)


def test_bindings_come_and_go_one_by_one_and_the_others_get_every_frame_once(nvc: Nvc, site: Site) -> None:
    """The group of all bindings becomes one of parts, and that one of all again."""
    stay, come_and_go, sent = range(498), range(498, 503), []
    nvc.bind({"p2": dict.fromkeys(stay, "ls0")})
    sender = site.hosts["p0"]

    def change() -> None:
        for n in (*range(1, 6), *range(4, -1, -1)):
            nvc.bind({"p2": dict.fromkeys((*stay, *come_and_go[:n]), "ls0")})
            before = len(sent)
            site.node.wait_until(lambda before=before: len(sent) >= before + 3, what="some frames")

    with ThreadPoolExecutor(1) as pool, site.hosts["p2"].capture() as arriving:
        changing = pool.submit(change)
        while not changing.done() or len(sent) < 20:
            sent.append(new_frame(sender.mac))
            sender.send(sent[-1])
            arriving.quiet(0.05)
        changing.result()
        came = Counter((each.tagged(), vlan_of(each)) for each in arriving.quiet())
    wrong = {(frame, vlan): came[frame, vlan] for frame in sent for vlan in stay if came[frame, vlan] != 1}
    assert wrong == {}
    assert any(came[frame, come_and_go[-1]] for frame in sent)


@pytest.mark.parametrize(
    ("one", "other", "pause"),
    [
        (("service_node", 1), ("source_node", 3), 0.003),
        (("service_node", 3), ("source_node", 1), 0.003),
        (("service_node", 1), ("source_node", 600), 0.03),  # Beyond 500 they are in parts.
        (("source_node", 3), ("source_node", 600), 0.03),
    ],
)
def test_a_member_that_stays_gets_every_frame_once_while_the_mode_and_other_members_change_together(
    nvc: Nvc, site: Site, one: tuple[str, int], other: tuple[str, int], pause: float
) -> None:
    """It is a member in both; in service_node mode it is the service node."""
    nvc.replicate("ls0", one[0], APART, *MEMBERS[: one[1]])
    sender, sent = site.hosts["p0"], []

    def change() -> None:
        for mode, count in [other, one] * CHANGES:
            nvc.replicate("ls0", mode, APART, *MEMBERS[:count])

    with (
        ThreadPoolExecutor(1) as pool,
        site.peers[APART].capture() as remote,
        site.hosts["p1"].capture() as local,
    ):
        changing = pool.submit(change)
        while not changing.done():
            sent.append(new_frame(sender.mac))
            sender.send(sent[-1])
            time.sleep(pause)
        changing.result()
        there = Counter(each.frame for each in tunnelled(remote.quiet(), APART))
        here = Counter(local.quiet())
    for came in (there, here):
        assert {n: came[frame] for n, frame in enumerate(sent) if came[frame] != 1} == {}


def test_members_come_and_go_one_by_one_and_the_others_get_every_frame_once(nvc: Nvc, site: Site) -> None:
    stay, come_and_go = MEMBERS[:1500], MEMBERS[1500:1505]
    nvc.multicast("ls0", "unknown-dst", *stay)
    sender, sent = site.hosts["p0"], []

    def followed() -> int:
        groups = site.node.ofctl("dump-groups", "br0")
        return sum(f":{ip}->tun_dst" in groups for ip in come_and_go)

    def change() -> None:
        for n in (*range(1, 6), *range(4, -1, -1)):
            nvc.multicast("ls0", "unknown-dst", *stay, *come_and_go[:n], settle=False)
            site.node.wait_until(lambda n=n: followed() == n, what=f"{n} of the members that come and go")

    with ThreadPoolExecutor(1) as pool, site.peers[ROUTER].capture() as arriving:
        changing = pool.submit(change)
        while not changing.done() or len(sent) < 20:
            sent.append(new_frame(sender.mac))
            sender.send(sent[-1])
            arriving.quiet(0.05)
        changing.result()
        came = Counter((each.frame, each.destination) for each in tunnelled(arriving.quiet()))
    wrong = {(frame, ip): came[frame, ip] for frame in sent for ip in stay if came[frame, ip] != 1}
    assert wrong == {}
    assert any(came[frame, come_and_go[0]] for frame in sent)
    assert copies(site, new_frame(sender.mac)) == once(stay)
