"""Addresses that move between ports and VTEPs, and those that may not."""

from dataclasses import dataclass

import pytest

from apps.lab import Frame, Host, Lab, Node, Peer
from apps.lab.frames import BROADCAST
from tests.system.nvc import arrivals, is_payload
from tests.system.support import add_logical_switch, bind, new_frame, set_up, sources, table_flows, teach, wait_gone

pytestmark = pytest.mark.timeout(120)

VNI = 5000
PEER = "10.2.2.9"


@dataclass(frozen=True)
class Site:
    """p0, p1 and p2 are in ls0, whose unknown-dst is at the peer."""

    node: Node
    p0: Host
    p1: Host
    p2: Host
    peer: Peer
    lab: Lab

    def goes_to(self, mac: str) -> set[str]:
        """Where a frame for an address arrives that p2 sends."""
        places = {"p0": self.p0, "p1": self.p1, "peer": self.peer}
        frame, marker = new_frame(self.p2.mac, mac), new_frame(self.p2.mac)
        came = arrivals(self.p2, frame, marker=marker, at=places.values())
        return {place for place, frames in zip(places, came, strict=True) if any(map(is_payload(frame), frames))}

    def put_remote(self, mac: str, ip: str = PEER) -> None:
        """Have the NVC say that an address is behind a VTEP."""
        self.node.vtep_ctl("add-ucast-remote", "ls0", mac, ip)


def make_site(lab: Lab, name: str, address: str, peer: Peer, *options: str) -> Site:
    node = lab.node(name, f"{address}/24")
    hosts = [node.add_port(f"p{number}") for number in range(3)]
    set_up(node, "--verbose", *options)
    add_logical_switch(node, "ls0", VNI, PEER)
    bind(node, "ls0", "p0", "p1", "p2")
    node.wait_until(lambda: f"tun_src={PEER}" in table_flows(node, "classify"), what="the peer to be accepted")
    return Site(node, *hosts, peer, lab)


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Peer:
    return lab.peer("peer", f"{PEER}/24")


# The NVC's rows are pinned.


@pytest.fixture(scope="module")
def pinned(lab: Lab, peer: Peer) -> Site:
    return make_site(lab, "pinned", "10.2.2.3", peer, "--vtep-pin-remote")


def test_nobody_draws_a_pinned_address_to_himself_by_sending_from_it(pinned: Site) -> None:
    node, (mac, other) = pinned.node, (pinned.lab.new_mac() for _ in range(2))
    pinned.put_remote(mac)
    node.wait_until(lambda: mac in sources(node), what="the row to be followed")
    stolen = [new_frame(mac), new_frame(mac, other), new_frame(mac, pinned.p1.mac)]
    came = arrivals(pinned.p0, *stolen, marker=new_frame(other), at=[pinned.p1, pinned.p2, pinned.peer])
    assert not [frame for frames in came for frame in frames if any(is_payload(each)(frame) for each in stolen)]
    node.wait_until(lambda: ("ls0", other) in node.macs(), what="what came later to be learned")
    assert ("ls0", mac) not in node.macs()
    assert pinned.goes_to(mac) == {"peer"}


def test_a_station_whose_address_comes_to_be_pinned_is_not_learned_again_until_the_row_goes(pinned: Site) -> None:
    node, mac = pinned.node, pinned.lab.new_mac()
    teach(node, pinned.p0, mac)
    pinned.put_remote(mac)
    node.wait_until(lambda: ("ls0", mac) not in node.macs(), 3, "the local row to go")
    node.wait_until(lambda: pinned.goes_to(mac) == {"peer"}, 3, "its frames to go to the tunnel")
    teach(node, pinned.p0, other := pinned.lab.new_mac())
    assert arrivals(pinned.p0, Frame(BROADCAST, mac), marker=new_frame(other), at=[pinned.p1]) == [[]]
    assert ("ls0", mac) not in node.macs()
    node.vtep_ctl("del-ucast-remote", "ls0", mac)
    wait_gone(node, mac)
    teach(node, pinned.p0, mac)
    assert pinned.goes_to(mac) == {"p0"}


def test_a_row_that_names_this_vtep_itself_pins_nothing(pinned: Site) -> None:
    mac = pinned.lab.new_mac()
    pinned.put_remote(mac, "10.2.2.3")
    teach(pinned.node, pinned.p0, mac)
    assert pinned.goes_to(mac) == {"p0"}
