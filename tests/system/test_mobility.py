"""Addresses that move between ports and VTEPs, and those that may not."""

import re
import time
from dataclasses import dataclass
from statistics import median

import pytest

from apps.lab import Frame, Host, Lab, Node, Peer
from apps.lab.frames import BROADCAST
from tests.system.nvc import arrivals, is_payload
from tests.system.support import (
    add_logical_switch,
    bind,
    forget_megaflows,
    new_frame,
    set_up,
    sources,
    table_flows,
    teach,
    wait_gone,
)
from vtep_ryu.core import pipeline as p

pytestmark = pytest.mark.timeout(120)

VNI = 5000
PEER = "10.2.2.9"
LIMIT, WINDOW = 4, 8
"""How many moves are followed, in how many seconds."""
OPTIONS = (f"--vtep-mac-move-limit={LIMIT}", f"--vtep-mac-move-window={WINDOW}")


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


@pytest.fixture(scope="module")
def site(lab: Lab, peer: Peer) -> Site:
    return make_site(lab, "a", "10.2.2.1", peer, *OPTIONS)


# Addresses that move.


def delay(site: Site, mac: str, place: Host, is_published: bool) -> float:
    """Seconds until frames for an address arrive at a place and its row is there, or not; it is never there twice.

    Where it is to be published it is a station there, which sends.
    """
    began = time.monotonic()
    probe = new_frame(site.p2.mac, mac)
    with place.capture() as arriving:

        def followed() -> bool:
            if is_published:
                place.send(Frame(BROADCAST, mac))
            site.p2.send(probe)
            rows = [row for row in site.node.rows("Ucast_Macs_Local") if row["MAC"] == mac]
            assert len(rows) <= 1
            return len(rows) == is_published and any(map(is_payload(probe), arriving.frames))

        site.node.wait_until(followed, timeout=3, what=f"{mac} to be where it is")
        return time.monotonic() - began


def test_a_move_between_ports_or_vteps_is_followed_within_100_ms_by_forwarding_and_rows(site: Site) -> None:
    between_ports, to_remote, to_local = [], [], []
    for _ in range(5):
        mac = site.lab.new_mac()
        teach(site.node, site.p0, mac)
        between_ports.append(delay(site, mac, site.p1, True))
        assert site.goes_to(mac) == {"p1"}
        site.put_remote(mac)
        to_remote.append(delay(site, mac, site.peer, False))
        assert site.goes_to(mac) == {"peer"}
        to_local.append(delay(site, mac, site.p0, True))
        assert site.goes_to(mac) == {"p0"}
    # A machine that is busy with other things delays some of them.
    assert max(map(median, (between_ports, to_remote, to_local))) < 0.1, (between_ports, to_remote, to_local)


# Addresses that move too often.


def learn_flow(site: Site, mac: str, place: Host | None) -> str:
    """The flow, with its counters, by which an address is known as a source at a place, or is frozen."""
    text = site.node.ofctl("dump-flows", "br0", f"table={p.LEARN.id}")
    where = f"reg1={binding_id(site, place):#x}," if place else f"priority={p.Priority.FROZEN:d},"
    return next((line for line in text.splitlines() if mac in line and where in line), "")


def binding_id(site: Site, place: Host) -> int:
    return p.binding_id(site.node.ofport("p0" if place is site.p0 else "p1"), 0)


def seen_at(site: Site, mac: str, *places: Host) -> None:
    """Have a station appear at one place after the other, and be followed each time."""
    for place in places:
        send_until_there(site, mac, place, place)


def send_until_there(site: Site, mac: str, sender: Host, place: Host | None) -> None:
    """Have a station send until the switch has its flow; a cached one may swallow the first frame."""

    def there() -> str:
        sender.send(Frame(BROADCAST, mac))
        return learn_flow(site, mac, place)

    site.node.wait_until(there, what=f"{mac} to be followed")


def log_lines(site: Site, mac: str, text: str) -> int:
    return len(re.findall(rf"^br0: {mac} in ls0 {text}", site.node.app.log(), re.MULTILINE))


def freeze(site: Site) -> str:
    """Have a station move to and fro until it is frozen at p0; its address."""
    mac = site.lab.new_mac()
    seen_at(site, mac, site.p0, *[site.p1, site.p0] * (LIMIT // 2))
    send_until_there(site, mac, site.p1, None)
    forget_megaflows(site.node)
    return mac


def test_an_address_that_moves_too_often_is_frozen_until_it_was_quiet_and_costs_the_program_nothing(site: Site) -> None:
    node, mac = site.node, freeze(site)
    frames = [new_frame(mac) for _ in range(50)]
    (came,) = arrivals(site.p1, *frames, marker=new_frame(mac), at=[site.p2])
    assert sum(any(map(is_payload(each), came)) for each in frames) == len(frames), "they go on"
    assert site.goes_to(mac) == {"p0"}
    counted = re.compile(r"n_packets=(\d+)")
    node.wait_until(
        lambda: int(counted.findall(learn_flow(site, mac, None))[0]) >= len(frames),
        3,
        "them to be counted there, so not to be copied to the program",
    )
    assert log_lines(site, mac, "moves too often") == 1
    assert re.search(rf"{mac} in ls0 moves .* now from p0 untagged to p1 untagged: it is frozen at p0", node.app.log())
    node.wait_until(lambda: not learn_flow(site, mac, None), 3 * WINDOW + 10, "a quiet time to pass")
    node.wait_until(lambda: log_lines(site, mac, "is not frozen any more"), what="the log to say so")
    seen_at(site, mac, site.p1)
    forget_megaflows(node)
    assert site.goes_to(mac) == {"p1"}


def test_others_move_while_an_address_is_frozen(site: Site) -> None:
    mac, other = freeze(site), site.lab.new_mac()
    seen_at(site, other, site.p0, site.p1)
    site.p1.send(Frame(BROADCAST, mac))
    forget_megaflows(site.node)
    assert (site.goes_to(mac), site.goes_to(other)) == ({"p0"}, {"p1"})


def test_a_frozen_address_whose_port_goes_down_is_learned_where_it_is_seen(site: Site) -> None:
    mac = freeze(site)
    site.node.port_down("p0")
    wait_gone(site.node, mac)
    seen_at(site, mac, site.p1)
    site.node.port_up("p0")
    site.node.wait_until(lambda: "LIVE" in site.node.ofctl("dump-ports-desc", "br0", "p0"), what="p0 to be up")


def test_a_frozen_address_stays_at_its_place_over_a_restart_and_moves_again_after_it(site: Site) -> None:
    mac = freeze(site)
    site.node.app.stop()
    site.node.start_app("--verbose", *OPTIONS)
    site.node.app.wait_log(r"^br0: switch \w+ is served$")
    assert not learn_flow(site, mac, None)
    assert site.goes_to(mac) == {"p0"}
    seen_at(site, mac, site.p1)


def test_an_address_that_two_vteps_claim_too_often_stays_with_the_other_one(site: Site) -> None:
    node, mac = site.node, site.lab.new_mac()
    for _ in range(1 + LIMIT):
        teach(node, site.p0, mac)
        node.vtep_ctl("del-ucast-remote", "ls0", mac, "--", "add-ucast-remote", "ls0", mac, PEER)
        node.wait_until(lambda: ("ls0", mac) not in node.macs(), what="the NVC's row to be followed")
        node.wait_until(lambda: mac not in sources(node), what="the switch to ask again")
        forget_megaflows(node)
    send_until_there(site, mac, site.p0, None)
    forget_megaflows(node)
    assert site.goes_to(mac) == {"peer"}
    assert ("ls0", mac) not in node.macs()
    assert re.search(rf"{mac} in ls0 moves .* now from {PEER} to p0 untagged: it is frozen at {PEER}", node.app.log())


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
