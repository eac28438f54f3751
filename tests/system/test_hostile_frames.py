"""Frames that no well-behaved station or VTEP sends: each is dropped or passed on, and counted; nothing breaks."""

import random
import re
import struct
import sys
from collections.abc import Callable, Iterator

import pytest

from apps.lab import Frame, Lab, Tag
from apps.lab.frames import BROADCAST, ETHERTYPE_ARP, ETHERTYPE_IPV4, TPID_SERVICE, Vxlan
from tests.system.nvc import VTEP, Site, is_payload, new_frame
from tests.system.support import counters, forget_megaflows, reach
from vtep_ryu.core import pipeline as p

pytestmark = pytest.mark.timeout(90)

PEER, NOBODY = "10.2.2.9", "10.2.2.10"
FAR = "02:99:00:00:00:01"
IMPOSSIBLE = ["01:00:5e:01:02:03", BROADCAST, "00:00:00:00:00:00", "33:33:00:00:00:01"]
LINK_HEADER = 14
AT_ONCE = 75
"""Frames that find room in the queue of a port, however busy the machine is."""
RANDOM = random.Random(7348)


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """A VTEP with two hosts in ls0, whose unknown-dst is at the peer."""
    site = Site(lab, ("p0", "p1"), (PEER,), "--vtep-statistics-interval=1")
    site.reset().multicast("ls0", "unknown-dst", PEER)
    return site


@pytest.fixture(autouse=True)
def unharmed(site: Site) -> Iterator[None]:
    """After each test the program and its connection are the same, said nothing of an error, and all is carried."""
    app = site.node.app
    pid, before = app.process.pid, len(app.log())
    yield
    p0, p1 = site.hosts.values()
    site.node.wait_until(lambda: not reach(p0, p1, site.peers[PEER]), what="a broadcast from p0 to arrive")
    assert app.running
    assert app.process.pid == pid
    said = app.log()[before:]
    assert not re.search(r"Traceback|Error|ending|disconnected", said), said


def packets(site: Site, *flow: str) -> int:
    """How many frames the flows of classify have taken that these expressions all are in the text of."""
    forget_megaflows(site.node)  # What they have taken is counted then.
    lines = site.node.ofctl("dump-flows", "br0", f"table={p.CLASSIFY.id}").splitlines()
    return sum(int(re.findall(r"n_packets=(\d+)", line)[0]) for line in lines if all(each in line for each in flow))


def unclassified(site: Site) -> int:
    """How many frames were dropped, as the switch says."""
    return packets(site, "priority=0 ")


def counted(site: Site) -> dict[str, int]:
    """What the program has counted, once it knows what the switch does: it asks once a second."""
    site.node.wait_until(
        lambda: counters(site.node)["br0"]["frames_unclassified"] == unclassified(site), 20, "the counters to be read"
    )
    return counters(site.node)["br0"]


def grows(site: Site, before: dict[str, int], **by: int) -> None:
    """Wait until what was counted has grown by this; it may not grow by more."""
    site.node.wait_until(
        lambda: {name: counted(site)[name] - before[name] for name in by} == by, 20, f"{by} more than {before}"
    )


# From a port.


def test_a_source_that_no_station_has_is_counted_and_its_frames_arrive_nowhere(site: Site) -> None:
    before, (p0, p1) = counted(site), site.hosts.values()
    frames = [new_frame(source, destination) for source in IMPOSSIBLE for destination in (BROADCAST, p1.mac, FAR)]
    with p1.capture() as at_port, site.peers[PEER].capture() as at_peer:
        p0.send(*frames)
        grows(site, before, frames_impossible=len(frames), addresses_learned=0)
        for came in (*at_port.quiet(), *at_peer.quiet()):
            assert not any(is_payload(frame)(came) for frame in frames)


def test_a_vlan_that_is_not_bound_is_counted_and_its_frames_arrive_nowhere(site: Site) -> None:
    before, (p0, p1) = counted(site), site.hosts.values()
    frames = [new_frame(p0.mac, BROADCAST, vlan) for vlan in (1, 7, 4094, 4095)]
    with p1.capture() as arriving:
        p0.send(*frames)
        grows(site, before, frames_unclassified=len(frames))
        assert not any(is_payload(frame)(came) for frame in frames for came in arriving.quiet())


def whole(make: Callable[[bytes], bytes], count: int = 1) -> list[bytes]:
    """Frames of a kind, each from a source of its own; what is made gets the two addresses."""
    addresses = (b"\xff" * 6 + b"\x02\x77" + RANDOM.randbytes(4) for _ in range(count))
    return [make(each) for each in addresses]


def tag(vid: int, tpid: int = 0x8100) -> bytes:
    return struct.pack("!HH", tpid, vid)


KINDS: dict[str, list[bytes]] = {
    "headers alone": whole(lambda to: to + b"\x88\xb5") + whole(lambda to: to + b"\x00\x00"),
    "runts": [each for n in range(15, 60) for each in whole(lambda to, n=n: (to + b"\x88\xb5").ljust(n, b"\1"))],
    "lengths": [
        each
        for length in (0, 1, 2, 3, 45, 46, 1500, 1501, 1535, 1536)
        for each in whole(lambda to, length=length: to + struct.pack("!H", length) + b"\x42\x42\x03" + bytes(40))
    ],
    "LLC alone": whole(lambda to: to + b"\x00\x03\xaa\xaa\x03")
    + whole(lambda to: to + b"\x00\x08\xaa\xaa\x03\0\0\0\1"),
    "stacked tags": [
        each
        for depth in range(2, 12)
        for tpid in (0x8100, TPID_SERVICE)
        for each in whole(lambda to, depth=depth, tpid=tpid: to + tag(0, tpid) * depth + b"\x08\x00" + bytes(46))
    ],
    "cut off inside": [
        each
        for kind in (ETHERTYPE_IPV4, ETHERTYPE_ARP, 0x86DD, 0x8847, 0x8848, 0x894F)
        for first in (b"\x45", b"\x4f", b"\x60", b"\x00", b"\xff")
        for n in (1, 7, 19, 27, 39)
        for each in whole(lambda to, kind=kind, first=first, n=n: to + struct.pack("!H", kind) + first * n)
    ],
    "garbage": [
        each
        for n in range(2, 300, 3)
        for each in whole(lambda to, n=n: to + b"\x08" + RANDOM.randbytes(1) + RANDOM.randbytes(n))
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_frame_however_malformed_is_taken_in_or_dropped_and_counted(site: Site, kind: str) -> None:
    frames, port = KINDS[kind], f"in_port={site.node.ofport('p0')},"

    def all_of_them() -> int:
        return unclassified(site) + packets(site, port)

    before = all_of_them()
    for start in range(0, len(frames), AT_ONCE):
        some = frames[start : start + AT_ONCE]
        site.hosts["p0"].send(*some)
        wanted = before + start + len(some)
        site.node.wait_until(lambda n=wanted: all_of_them() == n, 20, f"{len(some)} frames to be counted")
    assert all(mac.startswith("02:") for _, mac in site.node.macs()), "as all sources here do that a station can have"


def test_tags_that_are_cut_off_do_no_harm(site: Site) -> None:
    """The kernel keeps some of them for itself, so they cannot be counted."""
    cut = [
        each
        for tpid in (0x8100, TPID_SERVICE)
        for outer in (0, 1, 2)
        for n in range(5)
        for each in whole(lambda to, tpid=tpid, outer=outer, n=n: to + tag(5, tpid) * outer + tag(0, tpid)[:n])
        if len(each) >= LINK_HEADER
    ]
    site.hosts["p0"].send(*cut)
    before = unclassified(site)
    site.hosts["p0"].send(new_frame(site.hosts["p0"].mac, BROADCAST, 99))
    site.node.wait_until(lambda: unclassified(site) > before, 20, "what came later")


def test_packet_ins_that_tell_nothing_are_counted_and_do_no_harm(site: Site) -> None:
    """Flows of another program's hand frames over, and one like ours that cuts them short or says no place."""
    before, flow = counted(site)["packet_ins_ignored"], f"priority=999,in_port={site.node.ofport('p1')},dl_type=0x88b6"
    ours = p.cookie(1)
    for count, (cookie, length) in enumerate(((0, 14), (0x1234, 65535), (ours, 13), (ours, 1), (ours, 14)), start=1):
        site.node.ofctl("add-flow", "br0", f"cookie={cookie:#x},{flow},actions=controller(max_len={length})")
        forget_megaflows(site.node)
        site.hosts["p1"].send(Frame(BROADCAST, FAR, ethertype=0x88B6))
        site.node.wait_until(lambda n=before + count: counters(site.node)["br0"]["packet_ins_ignored"] == n, 20, "it")
    site.node.ofctl("--strict", "del-flows", "br0", f"table=0,{flow}")


# From the underlay.


def datagram(site: Site, payload: bytes, length: int | None = None, source: str = PEER) -> bytes:
    """What the peer sends to the VTEP's UDP port, with this much of it according to UDP."""
    peer = site.peers[PEER]
    good = Vxlan(source, VTEP, 5000, Frame(BROADCAST, FAR)).pack(peer.underlay.mac_of(VTEP), peer.mac)
    ports = good.payload[20:24]
    udp = ports + struct.pack("!HH", 8 + len(payload) if length is None else length, 0) + payload
    header = good.payload[:2] + struct.pack("!H", 20 + len(udp)) + good.payload[4:10] + b"\0\0" + good.payload[12:20]
    total: int = sum(word for (word,) in struct.iter_unpack("!H", header))
    total = (total & 0xFFFF) + (total >> 16)
    check = (total & 0xFFFF) + (total >> 16) ^ 0xFFFF
    header = header[:10] + struct.pack("!H", check) + header[12:]
    return Frame(good.dst, good.src, header + udp, ETHERTYPE_IPV4).pack()


def vxlan(flags: int = 0x08000000, vni: int = 5000 << 8) -> bytes:
    return struct.pack("!II", flags, vni)


INNER = Frame(BROADCAST, FAR, b"hostile " * 8).pack()
MALFORMED = {
    "no I flag": [vxlan(flags) + INNER for flags in (0, 0xF7000000, 0x00000008)],
    "reserved bits": [vxlan(flags) + INNER for flags in (0x08000001, 0x0C000000, 0x88000000, 0xFFFFFFFF)]
    + [vxlan(vni=5000 << 8 | rest) + INNER for rest in (1, 0x80, 0xFF)],
    "VXLAN header cut off": [vxlan()[:n] for n in range(8)],
    "inner Ethernet cut off": [vxlan() + INNER[:n] for n in range(LINK_HEADER)],
    "inner source of no station": [vxlan() + Frame(BROADCAST, mac, b"hostile " * 8).pack() for mac in IMPOSSIBLE],
    "VNI of nobody": [vxlan(vni=vni << 8) + INNER for vni in (0, 1, 4999, 5001, 0xFFFFFF)],
    "garbage": [RANDOM.randbytes(n) for n in range(200)],
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_datagram_that_is_no_good_vxlan_reaches_no_port(site: Site, kind: str) -> None:
    p0, p1 = site.hosts.values()
    with p0.capture() as zero, p1.capture() as one:
        site.peers[PEER].send(*(datagram(site, payload) for payload in MALFORMED[kind]))
        marker = new_frame(FAR)
        for _ in range(2):
            site.peers[PEER].send_vxlan(marker, 5000, to=VTEP)
            came = [each for capture in (zero, one) for each in capture.until(is_payload(marker))]
        assert [each for each in came if not is_payload(marker)(each)] == []


def test_a_udp_length_that_is_wrong_does_no_harm(site: Site) -> None:
    """Where it is the frame that counts, as long as all of it is there; a VTEP of Linux does so too."""
    payload = vxlan() + INNER
    site.peers[PEER].send(*(datagram(site, payload, length) for length in (0, 1, 7, 8, 15, 16, 29, 30, 9000, 65535)))
    site.peers[PEER].send(*(datagram(site, payload[:n], 8 + len(payload)) for n in range(len(payload))))
    marker = new_frame(FAR)
    with site.hosts["p0"].capture() as arriving:
        site.peers[PEER].send_vxlan(marker, 5000, to=VTEP)
        arriving.wait(is_payload(marker))


def test_tags_inside_a_tunnel_open_no_other_vlan_of_a_port(site: Site) -> None:
    """The frame is the untagged binding's, whose tag is all that is added or not; a tag inside belongs to its data."""
    site.nvc.logical_switch("ls1", tunnel_key=6000)
    site.nvc.bind({"p1": {0: "ls0", 7: "ls1"}})
    frames = [
        new_frame(FAR, tags=tags) for tags in ((Tag(7),), (Tag(7), Tag(7)), (Tag(7, tpid=TPID_SERVICE),), (Tag(4095),))
    ]
    came = site.delivered(PEER, 5000, *frames, marker=new_frame(FAR))
    for arrived in came:
        assert all(each.pack() in {frame.pack() for frame in frames} for each in arrived)
    site.nvc.bind({"p1": {0: "ls0"}})


def test_a_source_that_no_row_names_is_counted_and_reaches_no_port(site: Site) -> None:
    before, frames = counted(site), [new_frame(FAR) for _ in range(20)]
    with site.hosts["p0"].capture() as arriving:
        for number, frame in enumerate(frames):
            site.peers[PEER].send_vxlan(frame, 5000 if number % 2 else 4999, VTEP, NOBODY if number % 2 else PEER)
        grows(site, before, frames_unclassified=len(frames))
        assert not any(is_payload(frame)(came) for frame in frames for came in arriving.quiet())


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.0\r\n\r\n", bytes(64), b"\xff" * 64, b"\x04\x0e" + bytes(6)], ids=["http", "0", "ff", "mod"]
)
def test_who_speaks_no_openflow_is_hung_up_on_and_that_is_said_once(site: Site, data: bytes) -> None:
    script = f"""
import socket
for _ in range(3):
    caller = socket.create_connection(("127.0.0.1", 6653))
    caller.sendall({data!r})
    try:
        assert caller.recv(1) == b""
    except ConnectionResetError:  # It has not read what came.
        pass
"""
    site.node.run(sys.executable, "-c", script)
    assert site.node.app.log().count("OpenFlow: 127.0.0.1 is refused: it speaks no OpenFlow") == 1
