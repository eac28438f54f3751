"""What a VTEP publishes, reports and renders anew when something happens to it."""

import pytest

from tests.unit.example import BASE, GROUP, LEARNED, LS0, LS1, P0, P0_TAGGED, P1, REMOTE, REMOTE_MAC, A, B, C, entry
from tests.unit.world import World, difference, state
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.database import Database
from vtep_ryu.core.model import UNKNOWN_DST, Place, Port, Settings
from vtep_ryu.core.pipeline import tunnel_port_name
from vtep_ryu.core.units import (
    BindingUnit,
    FloodUnit,
    MulticastUnit,
    RemoteUnit,
    SourceUnit,
    StationUnit,
    TunnelUnit,
)
from vtep_ryu.core.vtep import Vtep


def settled(*blocks, settings=None):
    """A world in this state whose Vtep has no news and nothing dirty."""
    world = World(BASE, *blocks, settings=settings)
    world.vtep.news()
    world.vtep.dirty.clear()
    return world


def stations(*lines):
    return "\n".join(f"station {line}" for line in lines)


@pytest.fixture
def world():
    return settled(REMOTE, LEARNED)


def without(*starts):
    """The state of that world without the lines that begin like this."""
    lines = "\n".join([BASE, REMOTE, LEARNED]).splitlines()
    return state("\n".join(line for line in lines if not line.strip().startswith(starts)))


# What is published.


def test_a_bound_logical_switch_publishes_unknown_dst_with_the_tunnel_address():
    assert World(BASE).vtep.news() == {(LS0, UNKNOWN_DST): "10.2.2.1", (LS1, UNKNOWN_DST): "10.2.2.1"}


def test_news_is_told_once(world):
    world.become(BASE, REMOTE, LEARNED, stations(f"ls0 {C} p1 0"))
    assert world.vtep.news() == {(LS0, C): "10.2.2.1"}
    assert world.vtep.news() == {}


def test_a_station_that_goes_is_published_no_more(world):
    assert world.vtep.aged(*world.ids(LS0, P0), A) == StationUnit(LS0, A)
    assert world.vtep.news() == {(LS0, A): None}


def test_a_logical_switch_that_loses_its_last_binding_is_withdrawn_whole_and_at_once(world):
    world.vtep.touch(world.database.apply(difference(world.now, state(BASE, REMOTE, "physical_port p0 0=ls0"))))
    assert world.vtep.news() == {(LS1, UNKNOWN_DST): None, (LS1, A): None}


def test_a_logical_switch_that_loses_another_binding_withdraws_what_was_learned_there_only(world):
    world.vtep.touch(world.database.apply(difference(world.now, state(BASE, REMOTE, "physical_port p0 10=ls1"))))
    assert world.vtep.news() == {(LS0, A): None}


def test_another_tunnel_address_is_published_for_everything(world):
    world.become(BASE, REMOTE, LEARNED, "physical_switch br0 tunnel_ips=10.2.2.9,10.2.2.1", "port vtep-0a020209 8")
    everything = {(LS0, UNKNOWN_DST), (LS0, A), (LS0, B), (LS1, UNKNOWN_DST), (LS1, A)}
    assert world.vtep.news() == dict.fromkeys(everything, "10.2.2.9")
    world.become(BASE, REMOTE, LEARNED, "physical_switch br0")
    assert world.vtep.news() == dict.fromkeys(everything)


def test_a_tunnel_key_that_comes_late_or_changes_changes_nothing_that_is_published(world):
    world.become(BASE, REMOTE, LEARNED, "logical_switch ls1 tunnel_key=5001", "logical_switch ls0 tunnel_key=6000")
    assert set(world.vtep.news().values()) == {"10.2.2.1"}


def test_all_news_is_all_that_is_published_whatever_was_told_before(world):
    everything = {(LS0, UNKNOWN_DST), (LS0, A), (LS0, B), (LS1, UNKNOWN_DST), (LS1, A)}
    assert world.vtep.all_news() == world.vtep.all_news() == dict.fromkeys(everything, "10.2.2.1")
    assert world.vtep.news() == {}


def test_without_its_physical_switch_row_a_vtep_publishes_nothing(world):
    world.become(without("physical", "station"))
    everything = {(LS0, UNKNOWN_DST), (LS0, A), (LS0, B), (LS1, UNKNOWN_DST), (LS1, A)}
    assert world.vtep.news() == dict.fromkeys(everything)
    assert world.vtep.all_news() == {}


# Stations.


def test_a_frame_teaches_where_its_sender_is_and_that_it_moved(world):
    world.vtep.seen(*world.ids(LS0, P1), A, now=0)
    assert world.vtep.stations.place(LS0, A) == P1
    assert world.vtep.dirty == {StationUnit(LS0, A)}
    assert world.vtep.news() == {(LS0, A): "10.2.2.1"}


def test_a_frame_of_a_known_station_changes_nothing(world):
    world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    assert (world.vtep.dirty, world.vtep.news()) == (set(), {})


@pytest.mark.parametrize(
    ("switch_id", "port", "vlan"),
    [(5000, 1, 10), (5000, 2, 10), (5000, 7, 0), (5000, 9, 0), (6000, 1, 0), (0, 0, 0), (5000, 0, 0)],
)
def test_a_packet_in_that_belongs_to_no_binding_of_today_teaches_nothing(world, switch_id, port, vlan):
    world.vtep.seen(switch_id, p.binding_id(port, vlan), C, now=0)
    assert world.vtep.aged(switch_id, p.binding_id(port, vlan), A) is None
    assert (world.vtep.dirty, world.vtep.news()) == (set(), {})


def test_a_row_for_a_port_without_a_name_does_not_catch_the_packet_ins_of_unknown_ports(world):
    row = world.database.physical_port("physical_port-p0")
    nameless = state(BASE, REMOTE, LEARNED).rows | {row.uuid: type(row)(row.uuid, "", row.vlan_bindings)}
    world.vtep.touch(world.database.apply(difference(world.now, type(world.now)(nameless, {}, {}))))
    world.vtep.seen(5000, p.binding_id(77, 0), C, now=0)
    world.vtep.restore([(5000, p.binding_id(77, 0), C, 0)], kept=True)
    assert world.vtep.stations.place(LS0, C) is None


def test_a_frame_from_a_port_that_is_down_by_now_teaches_nothing(world):
    world.vtep.set_ports({**world.vtep.ports, "p0": Port("p0", 1, up=False)})
    world.vtep.news()
    world.vtep.seen(*world.ids(LS0, P0), C, now=0)
    assert world.vtep.news() == {}


def test_an_entry_that_ages_at_a_place_that_the_station_has_left_is_ignored(world):
    assert world.vtep.aged(*world.ids(LS0, P1), A) is None
    assert world.vtep.stations.place(LS0, A) == P0


def test_a_station_ages_in_its_own_logical_switch(world):
    assert world.vtep.aged(*world.ids(LS1, P0_TAGGED), A) == StationUnit(LS1, A)
    assert world.vtep.dirty == {StationUnit(LS1, A)}
    assert world.vtep.stations.place(LS0, A) == P0


@pytest.mark.parametrize(
    "ports",
    [
        {"p1": Port("p1", 2, True)},
        {"p0": Port("p0", 1, False), "p1": Port("p1", 2, True)},
        {"p0": Port("p0", 3, True), "p1": Port("p1", 2, True)},
    ],
    ids=["removed", "down", "renumbered"],
)
def test_a_port_that_is_removed_down_or_another_withdraws_its_stations_at_once(world, ports):
    world.vtep.set_ports({**ports, "vtep-0a020201": Port("vtep-0a020201", 9, True)})
    assert world.vtep.news() == {(LS0, A): None, (LS1, A): None}
    assert world.stations() == {(LS0, B): P1}


def test_a_port_that_comes_up_again_has_to_hear_its_stations_first(world):
    up = dict(world.vtep.ports)
    world.vtep.set_ports({**up, "p0": Port("p0", 1, False)})
    world.vtep.set_ports(up)
    assert world.stations() == {(LS0, B): P1}
    world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    assert world.vtep.stations.place(LS0, A) == P0


def test_a_binding_that_goes_to_another_logical_switch_takes_no_station_along(world):
    world.vtep.touch(world.database.apply(difference(world.now, state(BASE, REMOTE, "physical_port p0 0=ls1 10=ls1"))))
    assert world.stations() == {(LS0, B): P1, (LS1, A): P0_TAGGED}
    assert world.vtep.news()[LS0, A] is None


def test_a_remote_row_that_the_nvc_writes_makes_a_station_remote_until_it_is_heard_again(world):
    elsewhere = f"ucast_remote ls0 {A} 10.2.2.2"
    world.vtep.touch(world.database.apply(difference(world.now, state(BASE, REMOTE, elsewhere))))
    assert world.vtep.stations.place(LS0, A) is None
    assert world.vtep.stations.place(LS1, A) == P0_TAGGED
    assert world.vtep.news() == {(LS0, A): None}
    world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    assert world.vtep.news() == {(LS0, A): "10.2.2.1"}


@pytest.mark.parametrize("row", [f"ucast_remote ls0 {A} 10.2.2.1", f"ucast_remote ls0 {C} 10.2.2.2"])
def test_a_remote_row_for_another_address_or_for_this_vtep_leaves_a_station_alone(world, row):
    world.vtep.touch(world.database.apply(difference(world.now, state(BASE, REMOTE, row))))
    assert world.vtep.stations.place(LS0, A) == P0


def test_a_remote_row_that_goes_leaves_a_station_alone():
    world = settled(f"ucast_remote ls0 {A} 10.2.2.2", stations(f"ls0 {A} p0 0"))
    world.become(BASE, stations(f"ls0 {A} p0 0"))
    assert world.vtep.news() == {}


@pytest.mark.parametrize("settings", [Settings(binding_mac_limit=2), Settings(switch_mac_limit=2)])
def test_above_a_limit_nothing_is_learned_rendered_or_published(settings):
    world = settled(stations(f"ls0 {A} p0 0", f"ls0 {B} p0 0"), settings=settings)
    world.vtep.seen(*world.ids(LS0, P0), C, now=0)
    assert (world.vtep.dirty, world.vtep.news()) == (set(), {})
    world.vtep.aged(*world.ids(LS0, P0), A)
    world.vtep.seen(*world.ids(LS0, P0), C, now=0)
    assert world.vtep.news() == {(LS0, A): None, (LS0, C): "10.2.2.1"}


def test_a_station_that_moves_to_a_binding_at_its_limit_is_published_at_its_old_place_no_more():
    world = settled(stations(f"ls0 {A} p0 0", f"ls0 {B} p1 0"), settings=Settings(binding_mac_limit=1))
    world.vtep.seen(*world.ids(LS0, P1), A, now=0)
    assert world.vtep.news() == {(LS0, A): None}
    assert world.vtep.dirty == {StationUnit(LS0, A)}
    assert world.stations() == {(LS0, B): P1}


def pinned(*blocks):
    return settled(*blocks, settings=Settings(pin_remote=True))


def test_an_address_that_is_pinned_elsewhere_is_not_learned_here_until_its_row_goes():
    world = pinned(f"ucast_remote ls0 {A} 10.2.2.2")
    world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    world.vtep.seen(*world.ids(LS1, P0_TAGGED), A, now=0)
    assert world.stations() == {(LS1, A): P0_TAGGED}
    world.become(BASE, stations(f"ls1 {A} p0 10", f"ls0 {A} p0 0"))


def test_an_address_that_is_pinned_to_this_vtep_is_learned():
    world = pinned(f"ucast_remote ls0 {A} 10.2.2.1")
    world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    assert world.stations() == {(LS0, A): P0}


def test_a_station_whose_address_comes_to_be_pinned_elsewhere_is_withdrawn():
    ours = f"ucast_remote ls0 {A} 10.2.2.1"
    world = pinned(ours, stations(f"ls0 {A} p0 0"))
    world.become(BASE, ours, "physical_switch br0 tunnel_ips=10.2.2.9")
    assert world.vtep.news()[LS0, A] is None


def test_what_a_switch_still_knows_of_an_address_that_is_pinned_elsewhere_is_not_learned_again():
    world = pinned(f"ucast_remote ls0 {A} 10.2.2.2")
    world.vtep.restore([entry(world, LS0, P0, A, world.vtep.remote_note(LS0, A))], kept=True)
    assert world.stations() == {}


# A switch that connects.


def test_what_a_switch_still_knows_is_learned_again_after_a_restart():
    world = settled()
    world.vtep.restore([entry(world, LS0, P0, A), entry(world, LS1, P0_TAGGED, A)], kept=True)
    assert world.stations() == {(LS0, A): P0, (LS1, A): P0_TAGGED}
    assert world.vtep.news() == {(LS0, A): "10.2.2.1", (LS1, A): "10.2.2.1"}


def test_what_a_switch_that_kept_its_flows_knows_no_more_has_aged(world):
    world.vtep.restore([entry(world, LS0, P0, A)], kept=True)
    assert world.stations() == {(LS0, A): P0}
    assert world.vtep.news() == {(LS0, B): None, (LS1, A): None}


def test_a_switch_that_lost_its_flows_gets_its_stations_back(world):
    before = world.stations()
    world.vtep.restore([], kept=False)
    assert world.stations() == before
    assert world.vtep.news() == {}


def test_what_a_switch_knows_of_bindings_that_are_no_more_is_left_out():
    world = settled()
    places = [(5000, p.binding_id(7, 0)), (5000, p.binding_id(1, 10)), (4999, p.binding_id(1, 0)), (0, 0)]
    known = [(*place, A, 0) for place in places]
    world.vtep.restore(known, kept=True)
    assert world.stations() == {}
    world.vtep.set_ports({**world.vtep.ports, "p0": Port("p0", 1, up=False)})
    world.vtep.restore([(5000, p.binding_id(1, 0), A, 0)], kept=True)
    assert world.stations() == {}


def test_what_is_learned_already_stays_where_it_is(world):
    world.vtep.restore([entry(world, LS0, P1, A), entry(world, LS0, P1, B), entry(world, LS1, P0_TAGGED, A)], kept=True)
    assert world.vtep.stations.place(LS0, A) == P0
    assert world.vtep.news() == {}


def test_a_station_that_the_nvc_has_moved_while_nobody_followed_is_not_learned_again_and_one_it_had_before_is():
    world = settled(f"ucast_remote ls0 {A} 10.2.2.2", f"ucast_remote ls0 {B} 10.2.2.2")
    before = world.vtep.remote_note(LS0, A)
    assert before not in (0, p.note_on("10.2.2.3"))
    world.vtep.restore([entry(world, LS0, P0, A, before), entry(world, LS0, P0, B, p.note_on("10.2.2.3"))], kept=True)
    assert world.stations() == {(LS0, A): P0}


def test_a_station_whose_remote_row_is_gone_or_names_ourselves_is_learned_again_whatever_was_noted():
    world = settled(f"ucast_remote ls0 {A} 10.2.2.1")
    note = p.note_on("10.2.2.3")
    world.vtep.restore([entry(world, LS0, P0, A, note), entry(world, LS0, P0, B, note)], kept=True)
    assert world.stations() == {(LS0, A): P0, (LS0, B): P0}


def test_a_switch_that_knows_more_than_the_limits_allow_is_followed_as_far_as_they_do():
    world = settled(settings=Settings(binding_mac_limit=1))
    world.vtep.restore([entry(world, LS0, P0, A), entry(world, LS0, P0, B)], kept=True)
    assert len(world.stations()) == 1


# What is rendered anew.

TO_ANOTHER = {SourceUnit(LS0, "10.2.2.3"), TunnelUnit("10.2.2.3")}


@pytest.mark.parametrize(
    ("line", "units"),
    [
        ("ucast_remote ls0 02:00:00:00:00:02 10.2.2.2", {RemoteUnit(LS0, "02:00:00:00:00:02")}),
        (f"ucast_remote ls0 {REMOTE_MAC} 10.2.2.3", {RemoteUnit(LS0, REMOTE_MAC), *TO_ANOTHER}),
        ("mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3", {FloodUnit(LS0), *TO_ANOTHER}),
        ("mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.2/9", {FloodUnit(LS0), SourceUnit(LS0, "10.2.2.2")}),
        (f"mcast_remote ls0 {GROUP}", {MulticastUnit(LS0, GROUP)}),
        (
            "logical_switch ls0 tunnel_key=5000 replication_mode=source_node",
            {FloodUnit(LS0), MulticastUnit(LS0, GROUP)},
        ),
        ("physical_port p1 0=ls0 20=ls0", {BindingUnit(Place("p1", 20)), FloodUnit(LS0)}),
        ("port p1 7", {BindingUnit(P1), FloodUnit(LS0), StationUnit(LS0, B)}),
        ("port p1 2 down", {StationUnit(LS0, B)}),
        ("port p9 7", set()),
        ("physical_switch br1 tunnel_ips=10.2.2.3", set()),
        ("logical_switch ls2 tunnel_key=5002", set()),
        ("ucast_remote ls2 02:00:00:00:00:02 10.2.2.2", set()),
    ],
)
def test_a_change_renders_only_what_it_touches(world, line, units):
    after = state(BASE, REMOTE, line)
    world.vtep.touch(world.database.apply(difference(world.now, after)))
    if after.ports != world.vtep.ports:
        world.vtep.set_ports(after.ports)
    assert world.vtep.dirty == units


def test_another_tunnel_key_renders_all_of_its_logical_switch_and_nothing_of_the_others(world):
    world.become(BASE, REMOTE, LEARNED, "logical_switch ls0 tunnel_key=6000")
    assert world.vtep.dirty == {
        *(BindingUnit(place) for place in (P0, P1)),
        *(StationUnit(LS0, mac) for mac in (A, B)),
        *(SourceUnit(LS0, source) for source in (None, "10.2.2.2")),
        RemoteUnit(LS0, REMOTE_MAC),
        FloodUnit(LS0),
        MulticastUnit(LS0, GROUP),
    }


def test_a_new_vtep_follows_the_row_that_is_there_already():
    database = Database()
    database.apply(difference(state(), state(BASE, REMOTE)))
    vtep = Vtep("br0", database, Settings())
    assert vtep.tunnel_ips == ("10.2.2.1",)
    assert set(vtep.bindings.logical_switches()) == {LS0, LS1}


def test_until_a_switch_is_taken_over_nothing_is_dirty():
    database = Database()
    database.apply(difference(state(), state(BASE, REMOTE)))
    vtep = Vtep("br0", database, Settings())
    vtep.touch(database.apply(difference(state(BASE, REMOTE), state(BASE))))
    vtep.set_ports({P0.port: Port(P0.port, 1, up=True)})
    assert not vtep.dirty


def test_the_tunnel_ports_are_those_that_exist_in_the_order_of_the_addresses():
    world = World(
        "physical_switch br0 tunnel_ips=10.2.2.3,10.2.2.1,10.2.2.2", "port vtep-0a020202 7", "port vtep-0a020203 8"
    )
    assert world.vtep.tunnel_ports == (8, 7)


@pytest.mark.parametrize(("ip", "name"), [("10.2.2.1", "vtep-0a020201"), ("255.255.255.255", "vtep-ffffffff")])
def test_a_tunnel_ports_name_says_its_address_and_fits_into_15_characters(ip, name):
    assert tunnel_port_name(ip) == name
    assert len(name) <= 15
