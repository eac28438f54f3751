"""Mcast_Macs_Remote and replication_mode: who gets a copy of broadcast, unknown unicast and multicast frames."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address

import pytest

from apps.lab import Frame, Lab, Vxlan
from apps.lab.frames import BROADCAST
from tests.system.nvc import UNSET, VTEP, Nvc, Site, is_payload, new_frame, tunnelled, unordered

pytestmark = pytest.mark.timeout(120)

PEERS = ("10.2.2.7", "10.2.2.8", "10.2.2.9")
GROUP = "01:00:5e:01:02:03"
OTHER_GROUP = "01:00:5e:01:02:04"
UNKNOWN = "02:99:00:00:00:01"
FLOODED = (BROADCAST, UNKNOWN, GROUP, "33:33:00:00:00:01")


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """A VTEP with two hosts and three peers."""
    return Site(lab, ("p0", "p1"), PEERS)


@pytest.fixture
def nvc(site: Site) -> Nvc:
    """The controller; ls0 has no replication_mode yet and nobody in unknown-dst."""
    return site.reset(replication_mode=UNSET)


def copies(site: Site, *destinations: str) -> list[list[str]]:
    """For each destination, the peers that get a frame for it, each as often as it does.

    The host at the other port gets it exactly once, and its sender never.
    """
    sender, neighbour = site.hosts["p0"], site.hosts["p1"]
    frames = [new_frame(sender.mac, destination) for destination in destinations]
    with neighbour.capture() as local, sender.capture() as own:
        remote = site.carried(sender, *frames)
        assert unordered(local.quiet(0.1)) == unordered(frames)
        assert own.quiet(0) == []
    assert {each.vni for datagrams in remote.values() for each in datagrams} <= {5000}
    return [[ip for ip in PEERS for each in remote[ip] if each.frame == frame] for frame in frames]


@pytest.mark.parametrize("members", [PEERS, PEERS[1:], PEERS[:1]], ids=len)
def test_every_member_gets_a_copy_in_source_node_mode(nvc: Nvc, site: Site, members: tuple[str, ...]) -> None:
    nvc.logical_switch("ls0", replication_mode="source_node")
    nvc.multicast("ls0", "unknown-dst", *members)
    assert copies(site, *FLOODED) == [list(members)] * len(FLOODED)


@pytest.mark.parametrize("mode", [UNSET, "service_node"], ids=str)
def test_one_member_gets_each_frame_in_service_node_mode_which_is_the_default(
    nvc: Nvc, site: Site, mode: object
) -> None:
    nvc.logical_switch("ls0", replication_mode=mode)
    nvc.multicast("ls0", "unknown-dst", *PEERS)
    assert [len(each) for each in copies(site, *FLOODED * 5)] == [1] * 5 * len(FLOODED)


def test_replication_mode_changes_both_ways_while_running(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", *PEERS)
    nvc.multicast("ls0", GROUP, *PEERS[:2])
    for mode, broadcast, group in (
        ("service_node", 1, 1),
        ("source_node", 3, 2),
        ("service_node", 1, 1),
        ("source_node", 3, 2),
        (UNSET, 1, 1),
    ):
        nvc.logical_switch("ls0", replication_mode=mode)
        assert [len(each) for each in copies(site, BROADCAST, GROUP)] == [broadcast, group]


def test_without_unknown_dst_frames_are_flooded_locally_alone(nvc: Nvc, site: Site) -> None:
    assert copies(site, *FLOODED) == [[]] * len(FLOODED)


def test_a_locator_set_that_is_replaced_is_followed(nvc: Nvc, site: Site) -> None:
    nvc.logical_switch("ls0", replication_mode="source_node")
    for members in (PEERS[:1], PEERS, PEERS[1:2], PEERS[::2]):
        nvc.multicast("ls0", "unknown-dst", *members)
        assert copies(site, BROADCAST, UNKNOWN) == [list(members)] * 2
    nvc.delete("Mcast_Macs_Remote", "unknown-dst")
    assert copies(site, BROADCAST, UNKNOWN) == [[], []]


def test_a_known_multicast_address_goes_to_its_own_members_alone(nvc: Nvc, site: Site) -> None:
    nvc.logical_switch("ls0", replication_mode="source_node")
    nvc.multicast("ls0", "unknown-dst", PEERS[0])
    nvc.multicast("ls0", GROUP, *PEERS[1:])
    nvc.multicast("ls0", OTHER_GROUP, *PEERS[::2])
    known = [[PEERS[0]], list(PEERS[1:]), list(PEERS[::2])]
    assert copies(site, BROADCAST, GROUP, OTHER_GROUP) == known
    nvc.multicast("ls0", GROUP, PEERS[0])
    assert copies(site, BROADCAST, GROUP, OTHER_GROUP) == [[PEERS[0]], [PEERS[0]], known[2]]
    nvc.multicast("ls0", "unknown-dst", PEERS[1])
    nvc.delete("Mcast_Macs_Remote", GROUP)
    assert copies(site, BROADCAST, GROUP, OTHER_GROUP) == [[PEERS[1]], [PEERS[1]], known[2]]


def test_broadcast_can_have_members_of_its_own(nvc: Nvc, site: Site) -> None:
    nvc.logical_switch("ls0", replication_mode="source_node")
    nvc.multicast("ls0", "unknown-dst", PEERS[0])
    nvc.multicast("ls0", BROADCAST, *PEERS[1:])
    assert copies(site, BROADCAST, UNKNOWN) == [list(PEERS[1:]), [PEERS[0]]]


def test_a_known_multicast_address_goes_to_one_of_its_members_in_service_node_mode(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", PEERS[0])
    nvc.multicast("ls0", GROUP, *PEERS[1:])
    for members in copies(site, *[GROUP] * 10):
        assert members in ([PEERS[1]], [PEERS[2]])


@pytest.mark.parametrize("mode", ["service_node", "source_node"])
def test_our_own_tunnel_ip_among_the_members_is_not_sent_to(nvc: Nvc, site: Site, mode: str) -> None:
    nvc.logical_switch("ls0", replication_mode=mode)
    nvc.multicast("ls0", "unknown-dst", VTEP, PEERS[2])
    nvc.multicast("ls0", GROUP, VTEP, PEERS[1])
    assert copies(site, BROADCAST, GROUP) == [[PEERS[2]], [PEERS[1]]]
    nvc.multicast("ls0", "unknown-dst", VTEP)
    nvc.multicast("ls0", GROUP, VTEP)
    assert copies(site, BROADCAST, GROUP) == [[], []]


def test_600_members_get_a_copy_each_and_lose_it_again(nvc: Nvc, site: Site) -> None:
    router = site.peers[PEERS[0]]
    site.node.ip("route", "replace", "10.9.0.0/16", "via", router.ip_address)
    members = [str(IPv4Address("10.9.0.1") + n) for n in range(600)]
    nvc.multicast("ls0", "unknown-dst", *members)
    assert len(copies_at(site, BROADCAST)) == 1, "in service_node mode"

    nvc.logical_switch("ls0", replication_mode="source_node")
    assert copies_at(site, BROADCAST) == Counter(members)
    nvc.multicast("ls0", GROUP, *members[::-1])
    assert copies_at(site, GROUP) == Counter(members)
    nvc.multicast("ls0", "unknown-dst", *members[250:])
    assert copies_at(site, UNKNOWN) == Counter(members[250:])
    nvc.multicast("ls0", "unknown-dst", PEERS[1])
    nvc.delete("Mcast_Macs_Remote", GROUP)
    assert copies(site, *FLOODED) == [[PEERS[1]]] * len(FLOODED)
    assert site.node.ofctl("dump-groups", "br0").count("tun_dst") == 1
    assert "refused" not in site.node.app.log()
    assert "error" not in site.node.app.log()


def copies_at(site: Site, destination: str) -> Counter[str]:
    """How many copies of a frame are sent to which address, of those that the first peer routes."""
    sender = site.hosts["p0"]
    frame = new_frame(sender.mac, destination)
    with site.peers[PEERS[0]].capture() as arriving:
        sender.send(frame)
        arriving.wait(is_payload(frame))
        return Counter(each.destination for each in tunnelled(arriving.quiet()) if each.frame == frame)


@contextmanager
def on_the_underlay(site: Site) -> Iterator[list[Vxlan]]:
    """A list that has, once the block has ended, the datagrams that our VTEP sent to a peer in it."""
    sent: list[Vxlan] = []
    with ExitStack() as stack:
        captures = [stack.enter_context(peer.capture()) for peer in site.peers.values()]
        yield sent
        sent += [each for capture in captures for each in tunnelled(capture.quiet(0.1)) if each.destination in PEERS]


@pytest.mark.parametrize("mode", ["service_node", "source_node"])
def test_a_frame_from_a_tunnel_goes_to_local_ports_alone(nvc: Nvc, site: Site, mode: str) -> None:
    nvc.logical_switch("ls0", replication_mode=mode)
    elsewhere = "02:99:00:00:00:08"
    nvc.multicast("ls0", "unknown-dst", *PEERS)
    nvc.multicast("ls0", GROUP, *PEERS)
    nvc.unicast("ls0", {elsewhere: PEERS[1], UNKNOWN: PEERS[0]})
    source = "02:99:00:00:00:07"
    frames = [new_frame(source, dst) for dst in (*FLOODED, elsewhere, "02:99:00:00:00:09")]
    with on_the_underlay(site) as left:
        came = site.delivered(PEERS[0], 5000, *frames, marker=new_frame(source))
        assert [unordered(each) for each in came] == [unordered(frames)] * 2
    assert left == []


def test_a_frame_from_a_tunnel_for_a_local_station_goes_to_it_alone(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", *PEERS)
    station = site.hosts["p1"].mac
    site.hosts["p1"].send(new_frame(station))
    site.node.wait_until(lambda: ("ls0", station) in site.node.macs(), what="the station to be learned")
    nvc.settle()
    source = "02:99:00:00:00:07"
    frame = new_frame(source, station)
    with on_the_underlay(site) as left:
        assert site.delivered(PEERS[0], 5000, frame, marker=new_frame(source)) == [[], [frame]]
    assert left == []


def test_what_comes_to_one_tunnel_ip_does_not_leave_from_another(nvc: Nvc, site: Site) -> None:
    """OpenFlow alone sees to it that nothing leaves by the tunnel port it came in on; a second one needs our flows."""
    node, underlay, second = site.node, site.lab.underlay, "10.2.2.2"
    node.add_underlay_address(f"{second}/24")
    underlay.join(second, underlay.mac_of(VTEP))
    nvc.logical_switch("ls0", replication_mode="source_node")
    for mac in ("unknown-dst", GROUP):
        nvc.multicast("ls0", mac, *PEERS)
    nvc.unicast("ls0", {UNKNOWN: PEERS[1]})
    try:
        node.vtep_ctl("set", "Physical_Switch", "br0", f"tunnel_ips={VTEP},{second}")
        node.app.wait_log("port vtep-0a020202 is OpenFlow port")
        nvc.settle()
        source, marker = "02:99:00:00:00:07", new_frame("02:99:00:00:00:07")
        frames = [new_frame(source, destination) for destination in FLOODED]
        with on_the_underlay(site) as left, site.hosts["p0"].capture() as local:
            for frame in (*frames, marker):
                site.peers[PEERS[0]].send_vxlan(frame, 5000, to=second)
            local.wait(is_payload(marker))
            assert unordered(local.quiet()) == unordered([*frames, marker])
        assert left == []
    finally:
        node.vtep_ctl("set", "Physical_Switch", "br0", f"tunnel_ips={VTEP}")
        nvc.settle()


def test_what_a_tunnel_brings_from_an_address_that_is_local_stays_learned_locally(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", *PEERS)
    sender = site.hosts["p1"]
    sender.send(new_frame(sender.mac))
    site.node.wait_until(lambda: ("ls0", sender.mac) in site.node.macs(), what="the station to be learned")
    nvc.settle()
    site.delivered(PEERS[0], 5000, new_frame(sender.mac), marker=new_frame("02:99:00:00:00:07"))
    frame = new_frame(site.hosts["p0"].mac, sender.mac)
    with sender.capture() as arriving:
        assert site.carried(site.hosts["p0"], frame) == {ip: [] for ip in PEERS}
        assert arriving.frames == [frame]


def test_frames_flooded_to_tunnels_are_whole(nvc: Nvc, site: Site) -> None:
    nvc.logical_switch("ls0", replication_mode="source_node")
    nvc.multicast("ls0", "unknown-dst", *PEERS)
    sender = site.hosts["p0"]
    frames: list[Frame] = [new_frame(sender.mac, BROADCAST, size=size) for size in (46, 500, 1500)]
    for datagrams in site.carried(sender, *frames).values():
        assert unordered(each.frame for each in datagrams) == unordered(frames)
        assert {(each.source, each.vni) for each in datagrams} == {(VTEP, 5000)}
