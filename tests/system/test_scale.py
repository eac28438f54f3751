"""Replication to more members than Open vSwitch copies to in one go."""

import struct
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address

import pytest

from apps.lab import Frame, Lab
from apps.lab.frames import BROADCAST, ETHERTYPE_IPV4, arp_request
from tests.system.nvc import Nvc, Site, is_payload, new_frame, tunnelled

pytestmark = pytest.mark.timeout(180)

ROUTER = "10.2.2.7"
GROUP = "01:00:5e:01:02:03"
UNKNOWN = "02:99:00:00:00:01"
MEMBERS = [str(IPv4Address("10.64.0.1") + n) for n in range(4000)]


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """A VTEP with three hosts, and a peer that is the router to all members."""
    site = Site(lab, ("p0", "p1", "p2"), [ROUTER])
    site.node.ip("route", "add", "10.64.0.0/16", "via", ROUTER)
    for number, host in enumerate(site.hosts.values(), start=1):
        host.address = f"192.168.1.{number}/24"
        host.ip("address", "add", host.address, "dev", "eth0")
    return site


@pytest.fixture
def nvc(site: Site) -> Nvc:
    """The controller; ls0 replicates by itself, and has nobody in unknown-dst yet."""
    return site.reset(replication_mode="source_node")


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


def once(members: Iterable[str]) -> Counter[tuple[str, int]]:
    """One copy to each member."""
    return Counter((ip, 5000) for ip in members)


def test_4000_members_get_each_frame_once_and_local_traffic_goes_on(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", *MEMBERS)
    sender, neighbour, other = site.hosts.values()
    assert neighbour.ping(other) == 3
    frames = [
        *(new_frame(sender.mac, destination) for destination in (BROADCAST, UNKNOWN, GROUP)),
        arp_request(sender.mac, sender.ip_address, "192.168.1.77"),
        *(datagram(sender.mac, number) for number in range(10)),
    ]
    with ThreadPoolExecutor(1) as pool, neighbour.capture() as local, sender.capture() as own:
        answered = pool.submit(neighbour.ping, other, count=200, interval=0.05)
        for frame in frames * 2:  # Open vSwitch has looked at all that it cached again before the second time.
            assert copies(site, frame) == once(MEMBERS)
        assert answered.result() == 200
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
