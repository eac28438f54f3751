"""What happens while the program is down is made up for when it is back; what did not change is not touched."""

from dataclasses import dataclass

import pytest

from apps.lab import Frame, Host, Lab, Node, Peer
from apps.lab.frames import BROADCAST
from tests.system.nvc import arrivals, is_payload, tunnelled
from tests.system.support import (
    add_logical_switch,
    bind,
    flows,
    forget_megaflows,
    identities,
    new_frame,
    set_up,
    sources,
    table_flows,
    teach,
)

pytestmark = pytest.mark.timeout(120)

OURS, NEAR, FAR = "10.2.2.1", "10.2.2.8", "10.2.2.9"
OPTIONS = ("--verbose", "--vtep-statistics-interval=0")

# Stations that were learned on p5, and what became of them while the program was down.
STAYS = "02:00:00:00:aa:01"
AGED = "02:00:00:00:aa:02"
MOVED = "02:00:00:00:aa:03"
NOW_REMOTE = "02:00:00:00:aa:04"
REMOTE_BEFORE = "02:00:00:00:aa:05"
# Stations on other ports: p1 went down, p2 was unbound, p3's logical switch was deleted.
ON_P1 = "02:00:00:00:bb:01"
ON_P2 = "02:00:00:00:bb:02"
ON_P3 = "02:00:00:00:bb:03"
# Rows that were invented in our name, and one that is another VTEP's.
INVENTED = "02:00:00:00:cc:01"
THEIRS = "02:00:00:00:cc:02"
# Remote rows.
STEADY = "02:00:00:00:dd:01"
CHANGED = "02:00:00:00:dd:02"
DELETED = "02:00:00:00:dd:03"
ADDED = "02:00:00:00:dd:04"


@dataclass(frozen=True)
class Site:
    """A VTEP whose program was down for a while; row is what identified the row of STAYS before."""

    node: Node
    hosts: dict[str, Host]
    peers: dict[str, Peer]
    row: tuple[str, str]

    def reached(self, mac: str, sender: str = "p0") -> set[str]:
        """Where a frame for an address arrives, of p0, p2, p4, p5 and the peers."""
        places = {name: self.hosts[name] for name in ("p0", "p2", "p4", "p5") if name != sender} | self.peers
        source = self.hosts[sender]
        frame, marker = new_frame(source.mac, mac), new_frame(source.mac)
        with_marker = {name: host for name, host in places.items() if name != "p2"}
        with self.hosts["p2"].capture() as unbound:
            came = arrivals(source, frame, marker=marker, at=with_marker.values())
            assert unbound.frames == []
        return {name for name, frames in zip(with_marker, came, strict=True) if any(map(is_payload(frame), frames))}


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    node = lab.node("a", f"{OURS}/24")
    peers = {ip: lab.peer(f"peer{ip[-1]}", f"{ip}/24") for ip in (NEAR, FAR)}
    hosts = {f"p{number}": node.add_port(f"p{number}") for number in (0, 1, 2, 3, 5)}
    set_up(node, *OPTIONS)
    before(node, hosts)
    row = row_of(node, STAYS)
    node.app.stop()
    hosts["p4"] = node.add_port("p4")
    meanwhile(node, hosts)
    node.start_app(*OPTIONS)
    node.app.wait_log("^br0: switch .* is served$", 30)
    forget_megaflows(node)
    return Site(node, hosts, peers, row)


def before(node: Node, hosts: dict[str, Host]) -> None:
    """What the program finds and learns at first."""
    add_logical_switch(node, "ls0", 5000, NEAR)
    add_logical_switch(node, "doomed", 6000, NEAR)
    add_logical_switch(node, "renumbered", 7000, NEAR)
    bind(node, "ls0", "p0", "p1", "p2", "p5")
    bind(node, "doomed", "p3", vlan=9)
    bind(node, "renumbered", "p3", vlan=10)
    for mac in (REMOTE_BEFORE, STEADY, CHANGED, DELETED):
        node.vtep_ctl("add-ucast-remote", "ls0", mac, NEAR)
    node.wait_until(lambda: DELETED in table_flows(node, "unicast"), what="the remote rows to be followed")
    teach(node, hosts["p5"], STAYS, AGED, MOVED, NOW_REMOTE, REMOTE_BEFORE)
    teach(node, hosts["p1"], ON_P1)
    teach(node, hosts["p2"], ON_P2)
    teach(node, hosts["p3"], ON_P3, logical_switch="doomed", vlan=9)


def meanwhile(node: Node, hosts: dict[str, Host]) -> None:
    """What happens while the program is down."""
    node.ofctl("del-flows", "br0", f"table=2,dl_src={AGED}")  # As if the station had been silent for too long.
    node.port_down("p1")
    node.vtep_ctl("unbind-ls", "br0", "p2", "0", "--", "unbind-ls", "br0", "p3", "9")
    node.vtep_ctl("clear-remote-macs", "doomed", "--", "clear-local-macs", "doomed", "--", "del-ls", "doomed")
    node.vtep_ctl("add-port", "br0", "p4", "--", "bind-ls", "br0", "p4", "0", "ls0")
    node.vtep_ctl("set", "Logical_Switch", "renumbered", "tunnel_key=7001")
    node.vtep_ctl("del-ucast-remote", "ls0", DELETED, "--", "add-ucast-remote", "ls0", ADDED, FAR)
    node.vtep_ctl("del-ucast-remote", "ls0", CHANGED, "--", "add-ucast-remote", "ls0", CHANGED, FAR)
    node.vtep_ctl("add-ucast-remote", "ls0", NOW_REMOTE, FAR)
    node.vtep_ctl("set", "Logical_Switch", "ls0", "replication_mode=source_node")
    node.vtep_ctl("add-mcast-remote", "ls0", "unknown-dst", FAR)
    node.vtep_ctl("add-ls", "bare", "--", "add-mcast-local", "bare", "unknown-dst", OURS)
    node.vtep_ctl("add-ucast-local", "ls0", INVENTED, OURS)
    node.vtep_ctl("add-ps", "elsewhere", "--", "set", "Physical_Switch", "elsewhere", "tunnel_ips=10.2.2.6,10.2.2.7")
    node.vtep_ctl("add-ucast-local", "ls0", THEIRS, "10.2.2.7")
    for ip in ("10.2.2.6", "10.2.2.7"):
        node.vtep_ctl("add-mcast-local", "bare", "01:00:5e:01:01:01", ip)
    hosts["p0"].send(Frame(BROADCAST, MOVED))


def row_of(node: Node, mac: str) -> tuple[str, str]:
    """The _uuid and the _version of the row of a local address."""
    (uuid,) = (row["_uuid"] for row in node.rows("Ucast_Macs_Local") if row["MAC"] == mac)
    return uuid, identities(node, "Ucast_Macs_Local")[uuid]


def test_rows_of_stations_that_have_gone_are_withdrawn(site: Site) -> None:
    gone = {AGED, ON_P1, ON_P2, ON_P3, INVENTED}
    site.node.wait_until(lambda: not gone & {mac for _, mac in site.node.macs()}, 5, "their rows to go")
    assert not gone & sources(site.node)


def test_the_row_of_a_station_that_is_still_there_is_not_touched(site: Site) -> None:
    assert row_of(site.node, STAYS) == site.row


def test_learned_addresses_come_back_from_the_switch_without_a_frame_of_theirs(site: Site) -> None:
    assert site.reached(STAYS) == {"p5"}


def test_rows_that_are_not_ours_are_left_alone(site: Site) -> None:
    assert site.node.macs()["ls0", THEIRS] == ("10.2.2.7",)
    assert site.node.macs("Mcast_Macs_Local")["bare", "01:00:5e:01:01:01"] == ("10.2.2.6", "10.2.2.7")


def test_unknown_dst_is_there_for_what_is_bound_now(site: Site) -> None:
    def published() -> set[str]:
        return {switch for switch, mac in site.node.macs("Mcast_Macs_Local") if mac == "unknown-dst"}

    site.node.wait_until(lambda: published() == {"ls0", "renumbered"}, 5, "unknown-dst in ls0 and renumbered alone")


@pytest.mark.parametrize(
    ("mac", "places"),
    {STEADY: {NEAR}, CHANGED: {FAR}, ADDED: {FAR}, DELETED: {"p4", "p5", NEAR, FAR}}.items(),
    ids=["steady", "changed", "added", "deleted"],
)
def test_remote_rows_are_followed(site: Site, mac: str, places: set[str]) -> None:
    assert site.reached(mac) == places


def test_an_address_that_the_controller_has_moved_to_another_vtep_is_there(site: Site) -> None:
    assert site.reached(NOW_REMOTE) == {FAR}
    assert ("ls0", NOW_REMOTE) not in site.node.macs()


def test_a_local_address_that_had_been_remote_before_is_still_local(site: Site) -> None:
    assert site.reached(REMOTE_BEFORE) == {"p5"}
    assert ("ls0", REMOTE_BEFORE) in site.node.macs()


def test_a_station_that_moved_is_followed_when_it_sends_again(site: Site) -> None:
    site.hosts["p0"].send(Frame(BROADCAST, MOVED))
    site.node.wait_until(lambda: site.reached(MOVED, sender="p5") == {"p0"}, 3, "its frames to go to p0")


def test_bindings_and_members_are_those_of_now(site: Site) -> None:
    assert site.reached(BROADCAST) == {"p4", "p5", NEAR, FAR}


def test_a_logical_switch_has_its_new_vni(site: Site) -> None:
    frame = new_frame(site.hosts["p3"].mac)
    with site.peers[NEAR].capture() as near:
        site.hosts["p3"].send(frame.tagged(10))
        outer = near.wait(is_payload(frame))
    assert [datagram.vni for datagram in tunnelled([outer])] == [7001]


def test_nothing_is_left_of_what_was_before(site: Site) -> None:
    """The flows and groups are those that the program makes on a switch that has none."""
    node = site.node

    def without_stations() -> list[str]:
        return [line for line in flows(node) if "priority=300,metadata" not in line and "idle_timeout" not in line]

    kept = without_stations()
    node.app.stop()
    node.ofctl("del-flows", "br0")
    node.ofctl("del-groups", "br0")
    node.start_app(*OPTIONS)
    node.app.wait_log("^br0: switch .* is served$", 30)
    assert without_stations() == kept
