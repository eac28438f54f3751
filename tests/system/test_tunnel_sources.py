"""Which tunnelled frames come in: those of the (VNI, source address) pairs that the database names, or any source's."""

from collections.abc import Callable

import pytest

from apps.lab import Lab
from tests.system.nvc import VTEP, Nvc, Site, is_payload, new_frame, tunnelled

pytestmark = pytest.mark.timeout(60)

PEER = "10.2.2.9"
FLOOD, GROUP, UNICAST, OTHER, NOBODY = "10.2.2.5", "10.2.2.6", "10.2.2.7", "10.2.2.8", "10.2.2.10"
SOURCE_MAC = "02:99:00:00:00:01"
KNOWN = [(5000, FLOOD), (5000, GROUP), (5000, UNICAST), (5000, PEER), (6000, OTHER), (6000, PEER)]
STRANGE = [
    (5000, OTHER),
    (5000, NOBODY),
    (5000, VTEP),
    (5000, "0.0.0.0"),
    (6000, FLOOD),
    (6000, GROUP),
    (6000, UNICAST),
]
UNKNOWN_VNI = [(vni, PEER) for vni in (0, 1, 4999, 5001, 5000 << 8 & 0xFFFFFF, 0x1388 | 1 << 23, 7000)]


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """A VTEP with a host in each of two logical switches, and one peer, which sends from any address."""
    return Site(lab, ("p0", "p1"), (PEER,))


def name_sources(site: Site) -> Nvc:
    """ls0 (5000, at p0) names four sources, ls1 (6000, at p1) two, of which one is the same."""
    nvc = site.reset()
    nvc.multicast("ls0", "unknown-dst", FLOOD, settle=False)
    nvc.multicast("ls0", "01:00:5e:00:00:05", GROUP, settle=False)
    nvc.unicast("ls0", {"02:99:00:00:00:05": UNICAST}, settle=False)
    nvc.logical_switch("ls1", tunnel_key=6000, settle=False)
    nvc.multicast("ls1", "unknown-dst", OTHER, PEER, settle=False)
    nvc.bind({"p0": {0: "ls0"}, "p1": {0: "ls1"}})
    return nvc


@pytest.fixture
def nvc(site: Site) -> Nvc:
    """The controller, with the sources named."""
    return name_sources(site)


def taken(site: Site, vni: int, source: str) -> list[str]:
    """The ports that a broadcast arrives at which comes with this VNI from this address."""
    peer, frame = site.peers[PEER], new_frame(SOURCE_MAC)
    with site.hosts["p0"].capture() as zero, site.hosts["p1"].capture() as one:
        peer.send_vxlan(frame, vni, to=VTEP, source=source)
        for known, capture in ((5000, zero), (6000, one)):
            marker = new_frame(SOURCE_MAC)
            peer.send_vxlan(marker, known, to=VTEP)
            capture.wait(is_payload(marker))
        return [port for port, each in (("p0", zero), ("p1", one)) for came in each.quiet(0.05) if came == frame]


@pytest.mark.parametrize(("vni", "source"), KNOWN)
def test_frames_from_a_source_that_the_database_names_for_the_vni_come_in(
    nvc: Nvc, site: Site, vni: int, source: str
) -> None:
    assert taken(site, vni, source) == ["p0" if vni == 5000 else "p1"]


@pytest.mark.parametrize(("vni", "source"), [*STRANGE, *UNKNOWN_VNI])
def test_frames_of_a_pair_that_the_database_does_not_name_are_dropped(
    nvc: Nvc, site: Site, vni: int, source: str
) -> None:
    assert taken(site, vni, source) == []


@pytest.mark.parametrize(
    ("source", "end"),
    [
        (FLOOD, lambda nvc: nvc.multicast("ls0", "unknown-dst", GROUP)),
        (FLOOD, lambda nvc: nvc.delete("Mcast_Macs_Remote", "unknown-dst")),
        (GROUP, lambda nvc: nvc.delete("Mcast_Macs_Remote", "01:00:5e:00:00:05")),
        (UNICAST, lambda nvc: nvc.delete("Ucast_Macs_Remote", "02:99:00:00:00:05")),
        (UNICAST, lambda nvc: nvc.move_unicast("02:99:00:00:00:05", GROUP)),
    ],
    ids=["set replaced", "set deleted", "group deleted", "unicast deleted", "unicast moved"],
)
def test_a_source_that_no_row_names_any_more_is_dropped(
    nvc: Nvc, site: Site, source: str, end: Callable[[Nvc], None]
) -> None:
    assert taken(site, 5000, source) == ["p0"]
    end(nvc)
    assert taken(site, 5000, source) == []


def test_a_source_is_known_until_the_last_row_that_names_it_goes(nvc: Nvc, site: Site) -> None:
    macs = ["02:99:00:00:00:0a", "02:99:00:00:00:0b"]
    nvc.unicast("ls0", dict.fromkeys(macs, NOBODY))
    nvc.multicast("ls0", "unknown-dst", NOBODY)
    for table, mac in (("Mcast_Macs_Remote", "unknown-dst"), *(("Ucast_Macs_Remote", mac) for mac in macs)):
        assert taken(site, 5000, NOBODY) == ["p0"]
        nvc.delete(table, mac)
    assert taken(site, 5000, NOBODY) == []


def test_a_source_that_is_named_while_running_is_taken_at_once(nvc: Nvc, site: Site) -> None:
    assert taken(site, 5000, NOBODY) == []
    nvc.unicast("ls0", {"02:99:00:00:00:0c": NOBODY})
    assert taken(site, 5000, NOBODY) == ["p0"]
    assert taken(site, 6000, NOBODY) == []


def test_a_logical_switch_that_is_not_bound_here_takes_nothing(nvc: Nvc, site: Site) -> None:
    nvc.bind({"p0": {0: "ls0"}, "p1": {0: "ls0"}})
    frame, marker = new_frame(SOURCE_MAC), new_frame(SOURCE_MAC)
    assert site.delivered(PEER, 6000, frame, marker=marker) == [[], []]


def test_a_dropped_frame_is_not_answered_or_sent_on(nvc: Nvc, site: Site) -> None:
    with site.peers[PEER].capture() as outside:
        assert taken(site, 5000, NOBODY) == []
        assert tunnelled(outside.quiet()) == []


def test_with_accept_any_source_only_the_vni_has_to_be_known(lab: Lab, site: Site) -> None:
    site.node.app.stop()
    site.node.start_app("--vtep-accept-any-source")
    site.node.app.wait_log("is served")
    nvc = name_sources(site)
    for vni, source in [*KNOWN, (5000, OTHER), (5000, NOBODY), (6000, FLOOD), (6000, NOBODY)]:
        assert taken(site, vni, source) == ["p0" if vni == 5000 else "p1"], (vni, source)
    for vni, source in UNKNOWN_VNI:
        assert taken(site, vni, source) == [], (vni, source)
    nvc.clear()
    frame = new_frame(SOURCE_MAC)
    nvc.logical_switch("ls0", tunnel_key=5000)
    nvc.bind({"p0": {0: "ls0"}})
    with site.hosts["p0"].capture() as arriving:
        site.peers[PEER].send_vxlan(frame, 5000, to=VTEP, source=NOBODY)
        assert arriving.wait(is_payload(frame)) == frame, "where no row names any source"
    site.node.app.stop()
    site.node.start_app()
    site.node.app.wait_log("is served")
    name_sources(site)
    for vni, source in (*STRANGE, *UNKNOWN_VNI):
        assert taken(site, vni, source) == [], (vni, source)
