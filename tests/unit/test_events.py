"""What is noted of what happens, and how fast it is said to happen."""

import pytest

from tests.unit.world import World
from vtep_ryu.core.coverage import INTERVAL, Coverage
from vtep_ryu.core.database import Database
from vtep_ryu.core.events import Events, Kind
from vtep_ryu.core.model import Bridge, Settings
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.show.document import Document
from vtep_ryu.show.events import SENTENCES, make, text
from vtep_ryu.show.site import Served, Site

MAC = "02:00:00:00:00:01"
TWO_PORTS = """
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p0 0=ls0
    physical_port p1 7=ls0
    logical_switch ls0 tunnel_key=5000
    port p0 1
    port p1 2
"""


class Watched(World):
    """A world whose events are kept."""

    def __init__(self, *blocks: str, settings: Settings | None = None) -> None:
        super().__init__("", settings=settings)
        self.events = Events(clock=lambda: 1000.0)
        self.database = Database()
        self.vtep = Vtep("br0", self.database, settings or Settings(), note=self.events.of("br0"))
        self.become(*blocks)

    def said(self) -> list[str]:
        """The last column of event/show."""
        return [f"{event.kind}: {SENTENCES[event.kind].format(**event.fields)}" for event in self.events]


def document(events: Events, vtep: Vtep, *name: str) -> Document:
    """The document of event/show."""
    steps = make(Site(vtep.database, {"br0": Served(vtep)}), events, *name)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return dict(end.value)


def test_stations_that_come_move_and_go_are_noted():
    world = Watched(TWO_PORTS, f"station ls0 {MAC} p0 0")
    world.become(world.now_with(f"station ls0 {MAC} p1 7"))
    world.become(TWO_PORTS)
    world.become(TWO_PORTS, f"station ls0 {MAC} p0 0")
    world.become(TWO_PORTS, f"ucast_remote ls0 {MAC} 10.2.2.2")
    assert world.said() == [
        f"learned: {MAC} in ls0 at p0 untagged",
        f"moved: {MAC} in ls0 from p0 untagged to p1 VLAN 7",
        f"aged: {MAC} in ls0 at p1 VLAN 7: silent for 300 s",
        f"learned: {MAC} in ls0 at p0 untagged",
        f"withdrawn: {MAC} in ls0 at p0 untagged: the NVC says that it is behind another VTEP",
    ]


def test_an_address_that_is_frozen_and_one_that_is_not_any_more_are_noted():
    world = Watched(TWO_PORTS, f"station ls0 {MAC} p0 0", settings=Settings(mac_move_limit=1))
    for place in ("p1 7", "p0 0"):
        try:
            world.become(world.now_with(f"station ls0 {MAC} {place}"))
        except AssertionError:
            assert place == "p0 0", "it is frozen only then"
    world.vtep.moves.thaw_all("tired of it")
    assert world.said()[2:] == [
        f"frozen: {MAC} in ls0 at p1 VLAN 7, seen at p0 untagged",
        f"thawed: {MAC} in ls0: tired of it",
    ]


def test_a_fault_is_raised_once_and_cleared_once():
    world = Watched(TWO_PORTS, "logical_router lr0")
    world.become(TWO_PORTS, "logical_router lr0", "physical_port p0 0=ls0 acls=0")
    world.become(TWO_PORTS)
    router = "lr_support_fault: Logical_Router lr0: logical routing is not supported"
    acl = "VLAN 0 has an ACL, which is not supported: not applied"
    port = f"invalid_ACL_binding: Physical_Port p0: acl_bindings: {acl}"
    said = world.said()
    assert said[:2] == [f"fault_raised: {router}", f"fault_raised: {port}"]
    assert sorted(said[2:]) == sorted([f"fault_cleared: {router}", f"fault_cleared: {port}"])


def test_a_service_node_that_fails_and_comes_back_is_noted_with_who_takes_over():
    nodes = "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3", "tunnel 10.2.2.1 10.2.2.2 enable=true"
    world = Watched(TWO_PORTS, *nodes)
    port = "bfd" + next(name for name in world.vtep.sessions.ports() if name.startswith("bfd"))[3:]
    for forwarding in ("true", "false", "true"):
        bfd = {port: {"forwarding": forwarding, "state": "up" if forwarding == "true" else "down"}}
        world.vtep.set_bridge(Bridge("br0", 1, frozenset(("p0", "p1")), {}, bfd=bfd))
    assert world.said() == [
        "tunnel_up: 10.2.2.2: BFD is up",
        "tunnel_down: 10.2.2.2: BFD is down",
        "failed_over: ls0: unknown-dst from 10.2.2.2 to 10.2.2.3",
        "tunnel_up: 10.2.2.2: BFD is up",
        "failed_over: ls0: unknown-dst from 10.2.2.3 to 10.2.2.2",
    ]


def test_only_the_last_are_kept_and_all_are_counted():
    events = Events(most=3)
    for n in range(5):
        events.note("br0", Kind.CONNECTED, datapath_id=n)
    assert [event.number for event in events] == [3, 4, 5]
    assert events.counts == {Kind.CONNECTED: 5}


def test_a_database_that_is_reached_otherwise_is_lost_and_connected():
    events = Events()
    for before, now in ((None, None), (None, "tcp:a"), ("tcp:a", "tcp:a"), ("tcp:a", "tcp:b"), ("tcp:b", None)):
        events.linked("hardware_vtep", before, now)
    assert [(event.kind.value, event.fields["remote"]) for event in events] == [
        ("database_connected", "tcp:a"),
        ("database_lost", "tcp:a"),
        ("database_connected", "tcp:b"),
        ("database_lost", "tcp:b"),
    ]
    assert {event.physical_switch for event in events} == {""}


def test_every_kind_has_its_sentence_and_line():
    assert set(SENTENCES) == set(Kind)
    world = Watched(TWO_PORTS, f"station ls0 {MAC} p0 0")
    assert list(text(document(world.events, world.vtep))) == [
        f"1970-01-01T00:16:40.000Z  br0  learned  {MAC} in ls0 at p0 untagged\n"
    ]
    assert list(text({"events": []})) == ["nothing has happened yet\n"]


@pytest.mark.parametrize(("window", "rate"), [("5s", 2.0), ("1m", 2.0), ("1h", 2 * 600 / 3600)])
def test_rates_are_those_of_their_window(window: str, rate: float):
    coverage, name = Coverage(), ("br0", "addresses_learned")
    for step in range(721):
        now = step * INTERVAL
        coverage.sample(now, {name: 2 * max(0, int(now - 3000))})
    assert coverage.rates(3600.0, name, 1200)[window] == pytest.approx(rate, rel=0.1)


def test_what_was_not_counted_before_was_0():
    coverage = Coverage()
    coverage.sample(0.0, {})
    assert coverage.rates(5.0, ("br0", "addresses_learned"), 10)["5s"] == 2.0
    assert Coverage().rates(5.0, ("br0", "addresses_learned"), 10) == {"5s": 0.0, "1m": 0.0, "1h": 0.0}
