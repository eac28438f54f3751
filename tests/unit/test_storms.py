"""Storm control: what it is on the switch, and what is counted and said of ports in a storm."""

import logging

import pytest

from tests.unit.example import BASE, LEARNED, REMOTE
from tests.unit.simulated import Follower
from tests.unit.world import World, changed, text
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.counters import Counters
from vtep_ryu.core.model import Settings
from vtep_ryu.core.storms import QUIET_SECONDS

LIMITED = Settings(storm_control=50)


def test_each_bound_port_has_a_meter_before_replication_and_nothing_else_changes():
    without = World(BASE, REMOTE, LEARNED).flows()
    assert changed(without, World(BASE, REMOTE, LEARNED, settings=LIMITED).flows()) == text(
        """
        + unicast 500: in_port=1 eth_dst=01:00:00:00:00:00/01:00:00:00:00:00 -> meter 1, goto multicast
        + unicast 500: in_port=2 eth_dst=01:00:00:00:00:00/01:00:00:00:00:00 -> meter 2, goto multicast
        + unicast 100: in_port=1 -> meter 1, goto flood
        + unicast 100: in_port=2 -> meter 2, goto flood
        + meter 1: 50 packets/s, burst 50
        + meter 2: 50 packets/s, burst 50
        """
    )


def test_a_port_has_a_meter_for_as_long_as_it_is_there_and_any_vlan_of_it_is_bound():
    world = World(BASE, settings=LIMITED)
    follower = Follower(world.vtep)
    for lines, ports in (
        (("physical_port p0 10=ls1",), [1, 2]),
        (("physical_port p0",), [2]),
        (("physical_port p0", "physical_port p1"), []),
        (("physical_port p0 20=ls0",), [1, 2]),
        (("port p0 7",), [2, 7]),
        (("port p0 7", "physical_port p0", "port p1 1"), [1]),
    ):
        world.become(BASE, *lines)
        follower.reconcile()
        follower.check()
        assert sorted(map(p.metered_port, follower.switch.meters)) == ports


def test_a_switch_without_meters_is_said_once_and_has_none_until_it_can(caplog: pytest.LogCaptureFixture):
    world = World(BASE, settings=LIMITED)
    follower = Follower(world.vtep)
    assert len(follower.switch.meters) == 2
    for can, there in ((False, 0), (False, 0), (True, 2)):
        world.vtep.storms.begin(can, {})
        follower.take_over()
        follower.check()
        assert len(follower.switch.meters) == there
    assert caplog.messages == ["br0: storm_control: the switch's datapath has no meters, so that ports are not limited"]


def test_without_the_option_nothing_is_said_of_a_switch_without_meters(caplog: pytest.LogCaptureFixture):
    World(BASE).vtep.storms.begin(False, {})
    assert caplog.messages == []


def test_what_meters_drop_is_counted_by_port_and_altogether_and_a_meter_that_says_less_is_another():
    vtep = World(BASE, settings=LIMITED).vtep
    for dropped, total, by_port in (
        ({1: 0, 2: 0}, 0, {}),
        ({1: 3, 2: 0}, 3, {"p0": 3}),
        ({1: 3, 2: 2}, 5, {"p0": 3, "p1": 2}),
        ({2: 2}, 5, {"p0": 3, "p1": 2}),
        ({1: 4, 2: 1, 99: 1}, 10, {"p0": 7, "p1": 3}),
    ):
        vtep.storms.read(dropped, now=0)
        assert vtep.counters == Counters(frames_storm_dropped=total, frames_storm_dropped_by_port=by_port)


def test_a_storm_is_said_when_it_begins_and_when_it_was_over_for_a_while(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    vtep = World(BASE, settings=LIMITED).vtep
    caplog.clear()
    begins = "port {} has more than 50 frames a second to be replicated: the others are dropped"
    for dropped, now, said in (
        ({1: 0, 2: 0}, 0, []),
        ({1: 5, 2: 0}, 5, [begins.format("p0")]),
        ({1: 9, 2: 0}, 10, []),
        ({1: 9, 2: 0}, 15, []),
        ({1: 10, 2: 1}, 20, [begins.format("p1")]),
        ({1: 10, 2: 1}, 19 + QUIET_SECONDS, []),
        ({1: 10, 2: 2}, 20 + QUIET_SECONDS, ["no frame of port p0 was dropped for 60 s"]),
        ({1: 11, 2: 2}, 25 + QUIET_SECONDS, [begins.format("p0")]),
    ):
        vtep.storms.read(dropped, now)
        assert caplog.messages == [f"br0: storm_control: {each}" for each in said]
        caplog.clear()


def test_what_was_dropped_while_the_program_was_away_counts_but_is_no_news(caplog: pytest.LogCaptureFixture):
    vtep = World(BASE, settings=LIMITED).vtep
    vtep.storms.begin(True, {1: 7, 2: 0})
    vtep.storms.read({1: 7, 2: 0}, now=5)
    assert vtep.counters.frames_storm_dropped == 7
    assert caplog.messages == []
    vtep.storms.read({1: 8, 2: 0}, now=10)
    assert len(caplog.messages) == 1


def test_of_a_port_that_has_gone_its_part_in_what_was_dropped_is_kept_and_not_its_name():
    world = World(BASE, settings=LIMITED)
    world.vtep.storms.read({1: 7, 2: 1}, now=0)
    world.vtep.set_ports({name: port for name, port in world.vtep.ports.items() if name != "p0"})
    world.vtep.storms.read({2: 2}, now=5)
    assert world.vtep.counters == Counters(frames_storm_dropped=9, frames_storm_dropped_by_port={"p1": 2})


def test_a_storm_ends_with_its_port(caplog: pytest.LogCaptureFixture):
    world = World(BASE, settings=LIMITED)
    world.vtep.storms.read({1: 7}, now=0)
    world.become(world.now_with("port p0 7"))
    world.vtep.storms.read({7: 0}, now=5)
    world.vtep.storms.read({7: 1}, now=10)
    assert [message.split()[3] for message in caplog.messages] == ["p0", "p0"]
