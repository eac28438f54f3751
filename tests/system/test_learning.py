"""Learning from packet-in: which frames teach what, and that the frames themselves do not suffer by it."""

import time
from dataclasses import dataclass, replace

import pytest

from apps.lab import Capture, Frame, Host, Lab, Node, Peer, Tag
from apps.lab.frames import BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, TPID_SERVICE
from tests.system.nvc import arrivals, is_payload
from tests.system.support import (
    CONTROLLER,
    add_logical_switch,
    bind,
    identities,
    inner,
    new_frame,
    set_up,
    sources,
    table_flows,
    teach,
)

pytestmark = pytest.mark.timeout(120)

VNI = 5000
PEER = "10.2.2.9"
FAR = "02:00:00:00:99:01"


@dataclass(frozen=True)
class Site:
    """p0, p1 and p2 untagged and p3 with VLANs 10 and 11 are in ls0, p4 is in ls1; the peer is a VTEP of ls0."""

    node: Node
    p0: Host
    p1: Host
    p2: Host
    p3: Host
    p4: Host
    peer: Peer
    lab: Lab


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    node = lab.node("a", "10.2.2.1/24")
    peer = lab.peer("peer", f"{PEER}/24")
    hosts = [node.add_port(f"p{number}") for number in range(5)]
    set_up(node, "--verbose")
    add_logical_switch(node, "ls0", VNI, PEER)
    add_logical_switch(node, "ls1", VNI + 1)
    bind(node, "ls0", "p0", "p1", "p2")
    for vlan in (10, 11):
        bind(node, "ls0", "p3", vlan=vlan)
    bind(node, "ls1", "p4")
    node.wait_until(lambda: f"tun_src={PEER}" in table_flows(node, "classify"), what="the peer to be accepted")
    return Site(node, *hosts, peer, lab)


def came_before(marker: Frame, capture: Capture) -> list[Frame]:
    """The frames that arrived before the marker, those in VXLAN datagrams taken out of them."""
    return [inner(frame) or frame for frame in capture.until(lambda each: marker in (each, inner(each)))]


# Every form a first frame can come in. The program is handed no more than an Ethernet header; the rest must not care.
FIRST_FRAMES = {
    "tiny": Frame("", "", b"\x05\x06"),  # Open vSwitch does not see a VLAN tag in a shorter one.
    "small": Frame("", "", b"\x01" * 46),
    "large": Frame("", "", bytes(n % 251 for n in range(1496))),
    "inner tag": Frame("", "", b"\x02" * 60, tags=(Tag(20, pcp=3),)),
    "inner service tag": Frame("", "", b"\x03" * 60, tags=(Tag(30, tpid=TPID_SERVICE), Tag(31))),
    "length field": Frame("", "", b"\x42\x42\x03" + bytes(60), ethertype=63),
    "LLDP": Frame("", "", b"\x02\x07\x04" + bytes(60), ethertype=0x88CC),
    "broken ARP": Frame("", "", b"\xff" * 7, ethertype=ETHERTYPE_ARP),
    "broken IPv4": Frame("", "", b"\x4f" + bytes(30), ethertype=ETHERTYPE_IPV4),
    "broken IPv6": Frame("", "", b"\x60" + bytes(4), ethertype=0x86DD),
    "MPLS": Frame("", "", b"\x00\x01\x01\x40" * 12, ethertype=0x8847),
    "highest ethertype": Frame("", "", bytes(46), ethertype=0xFFFF),
}


@pytest.mark.parametrize(
    ("destination", "reached"),
    {
        "known": {"p1"},
        "remote": {"peer"},
        "02:00:00:00:99:02": {"p0", "p1", "peer"},
        "01:00:5e:00:00:05": {"p0", "p1", "peer"},
        BROADCAST: {"p0", "p1", "peer"},
    }.items(),
)
def test_the_frame_that_is_learned_from_arrives_exactly_once_byte_for_byte(
    site: Site, destination: str, reached: set[str]
) -> None:
    node, known = site.node, site.p1.mac
    teach(node, site.p1, known)
    if FAR not in table_flows(node, "unicast"):
        node.vtep_ctl("add-ucast-remote", "ls0", FAR, PEER)
        node.wait_until(lambda: FAR in table_flows(node, "unicast"), what="the remote address")
    target = {"known": known, "remote": FAR}.get(destination, destination)
    sent = {name: replace(frame, dst=target, src=site.lab.new_mac()) for name, frame in FIRST_FRAMES.items()}
    with site.p0.capture() as p0, site.p1.capture() as p1, site.peer.capture() as peer:
        # They come in by a VLAN of p3, for the tags that they have themselves to be inner ones.
        site.p3.send(*(replace(frame, tags=(Tag(10), *frame.tags)) for frame in sent.values()))
        wanted = {("ls0", frame.src) for frame in sent.values()}
        node.wait_until(lambda: wanted <= node.macs().keys(), what="all of them to be learned")
        # A copy that the program sent back would be out by now, and arrive before this.
        marker = new_frame(sent["small"].src)
        site.p3.send(marker.tagged(10))
        arrived = {place: came_before(marker, cap) for place, cap in {"p0": p0, "p1": p1, "peer": peer}.items()}
    for place, frames in arrived.items():
        packed = [frame.pack() for frame in frames]
        copies = {name: packed.count(frame.pack()) for name, frame in sent.items()}
        assert copies == dict.fromkeys(sent, int(place in reached)), f"at {place}"
        assert sum(each.src in {frame.src for frame in sent.values()} for each in frames) == sum(copies.values())


def test_a_learned_address_is_published_with_the_tunnel_ip_as_its_locator(site: Site) -> None:
    station = site.lab.new_mac()
    teach(site.node, site.p0, station)
    assert site.node.macs()["ls0", station] == ("10.2.2.1",)
    assert ("ls1", station) not in site.node.macs()


def test_an_address_can_be_in_two_logical_switches_and_is_two_stations(site: Site) -> None:
    station = site.lab.new_mac()
    teach(site.node, site.p0, station)
    teach(site.node, site.p4, station, logical_switch="ls1")
    assert {key for key in site.node.macs() if key[1] == station} == {("ls0", station), ("ls1", station)}
    with site.p4.capture() as other:
        assert goes_to(site, station) == {"p0"}
        assert other.quiet() == []


def test_once_learned_frames_go_to_the_station_alone(site: Site) -> None:
    station, stranger = site.lab.new_mac(), site.lab.new_mac()
    teach(site.node, site.p2, station)
    assert goes_to(site, stranger) == {"p0", "p2", "peer"}
    assert goes_to(site, station) == {"p2"}


def goes_to(site: Site, mac: str) -> set[str]:
    """Where a frame for an address arrives."""
    places = {"p0": site.p0, "p2": site.p2, "peer": site.peer}
    frame, marker = new_frame(site.p1.mac, mac), new_frame(site.p1.mac)
    came = arrivals(site.p1, frame, marker=marker, at=places.values())
    return {place for place, frames in zip(places, came, strict=True) if any(map(is_payload(frame), frames))}


@pytest.mark.parametrize(
    ("port", "vlan"), [("p2", 0), ("p3", 10)], ids=["to another port", "to a VLAN of another port"]
)
def test_a_station_that_moves_is_followed_at_once_and_stays_one_row(site: Site, port: str, vlan: int) -> None:
    station, destination = site.lab.new_mac(), getattr(site, port)
    teach(site.node, site.p0, station)
    move(site, station, site.p0, destination, vlan)
    move(site, station, destination, site.p0, 0)


def test_a_station_that_moves_between_two_vlans_of_a_port_is_followed(site: Site) -> None:
    station = site.lab.new_mac()
    teach(site.node, site.p3, station, vlan=10)
    before = identities(site.node, "Ucast_Macs_Local")
    site.p3.send(Frame(BROADCAST, station).tagged(11))
    with site.p3.capture() as arriving:
        probe = new_frame(site.p1.mac, station)

        def followed() -> bool:
            site.p1.send(probe)
            return probe.tagged(11) in arriving.frames

        site.node.wait_until(followed, timeout=2, what="frames in the new VLAN")
        site.p1.send(probe, marker := new_frame(site.p1.mac))
        last = came_before(marker.tagged(10), arriving)[-1]
        assert last in (probe.tagged(11), marker.tagged(11))
    assert identities(site.node, "Ucast_Macs_Local") == before


def move(site: Site, station: str, old: Host, new: Host, vlan: int) -> None:
    """A station appears elsewhere: traffic follows within two seconds and does not go to the old place any more."""
    before = identities(site.node, "Ucast_Macs_Local")
    new.send(Frame(BROADCAST, station).tagged(*[vlan][: bool(vlan)]))
    probe = new_frame(site.p1.mac, station)
    here = probe.tagged(*[vlan][: bool(vlan)])
    with new.capture() as arriving:

        def followed() -> bool:
            site.p1.send(probe)
            return here in arriving.frames

        site.node.wait_until(followed, timeout=2, what="frames at the new place")
    with old.capture() as past:
        site.p1.send(probe, marker := new_frame(site.p1.mac))
        came = {each.tagged() for each in past.until(lambda each: each.tagged() == marker)}
        assert probe not in came
    assert identities(site.node, "Ucast_Macs_Local") == before
    assert site.node.macs()["ls0", station] == ("10.2.2.1",), "and it is one row, else this raises"


def test_frames_from_tunnels_teach_nothing(site: Site) -> None:
    stranger, local = site.lab.new_mac(), site.lab.new_mac()
    teach(site.node, site.p0, local)
    with site.p0.capture() as p0, site.p1.capture() as p1:
        for source in (stranger, local):
            frame = new_frame(source)
            site.peer.send_vxlan(frame, VNI, to="10.2.2.1")
            p1.wait(lambda each, frame=frame: each == frame)
        teach(site.node, site.p1, site.lab.new_mac())
        assert ("ls0", stranger) not in site.node.macs()
        assert stranger not in table_flows(site.node, "learn") + table_flows(site.node, "unicast")
        site.p1.send(to_local := new_frame(site.p1.mac, local))
        p0.wait(lambda each: each == to_local)
    assert ("ls0", local) in site.node.macs()


@pytest.mark.parametrize("source", ["01:00:5e:01:02:03", BROADCAST, "00:00:00:00:00:00"])
def test_a_source_that_no_station_can_have_is_not_learned_and_its_frames_are_dropped(site: Site, source: str) -> None:
    marker = new_frame(site.lab.new_mac())
    assert arrivals(site.p0, Frame(BROADCAST, source), marker=marker, at=[site.p1]) == [[]]
    site.node.wait_until(lambda: ("ls0", marker.src) in site.node.macs(), what="the marker to be learned")
    assert ("ls0", source) not in site.node.macs()
    assert f"metadata=0x1388/0x1ffffffff,dl_src={source} " not in table_flows(site.node, "learn")


def test_a_remote_row_for_a_local_address_takes_it_away_until_it_is_seen_here_again(site: Site) -> None:
    node, station = site.node, site.lab.new_mac()
    for _ in range(2):
        teach(node, site.p0, station)
        assert goes_to(site, station) == {"p0"}
        node.vtep_ctl("add-ucast-remote", "ls0", station, PEER)
        node.wait_until(lambda: ("ls0", station) not in node.macs(), 3, "the local row to be withdrawn")
        node.wait_until(lambda: goes_to(site, station) == {"peer"}, 3, "its frames to go to the tunnel")
        teach(node, site.p0, station)
        assert goes_to(site, station) == {"p0"}, "the remote row is still there"
        node.vtep_ctl("del-ucast-remote", "ls0", station)
        node.wait_until(lambda: table_flows(node, "unicast").count(station) == 1, 3, "the remote row to go")
        assert goes_to(site, station) == {"p0"}
    assert ("ls0", station) in node.macs()


def test_a_remote_row_that_names_ourselves_takes_nothing_away(site: Site) -> None:
    """An NVC may tell every VTEP of all addresses, its own included."""
    node, station, other = site.node, site.lab.new_mac(), site.lab.new_mac()
    teach(node, site.p0, station)
    node.vtep_ctl("add-ucast-remote", "ls0", station, "10.2.2.1", "--", "add-ucast-remote", "ls0", other, PEER)
    node.wait_until(lambda: other in table_flows(node, "unicast"), what="the rows to be read")
    assert ("ls0", station) in node.macs()
    assert goes_to(site, station) == {"p0"}


def test_two_thousand_stations_are_all_learned_and_published_once(site: Site) -> None:
    stations = {f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}" for number in range(2000)}
    before = site.node.macs().keys()
    frames = [Frame(BROADCAST, mac) for mac in sorted(stations)]
    for start in range(0, len(frames), 50):
        site.p2.send(*frames[start : start + 50])
        time.sleep(0.05)  # About 1,000 a second.
    wanted = before | {("ls0", mac) for mac in stations}
    site.node.wait_until(lambda: len(site.node.rows("Ucast_Macs_Local")) >= len(wanted), 20, "2,000 more rows")
    assert site.node.macs().keys() == wanted, "and none twice, else this raises"
    site.node.wait_until(lambda: stations <= sources(site.node), 20, "them to be known to the switch")
    site.node.vtep_ctl("unbind-ls", "br0", "p2", "0")
    site.node.wait_until(lambda: not (wanted - before) & site.node.macs().keys(), 20, "them to be withdrawn")


def test_packet_ins_are_bounded_in_the_switch_by_the_controller_row(site: Site) -> None:
    def limits() -> list[tuple[int, int]]:
        rows = site.node.rows("Controller", db="Open_vSwitch")
        return [(row["controller_rate_limit"], row["controller_burst_limit"]) for row in rows]

    assert limits() == [(6000, 10000)]
    site.node.vsctl("del-controller", "br0", "--", "set-controller", "br0", CONTROLLER)
    site.node.wait_until(lambda: limits() == [(6000, 10000)], what="the limits of the new row")
