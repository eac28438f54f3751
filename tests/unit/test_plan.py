"""The ordered changes from what units were to what they are."""

import pytest

from tests.unit.example import BASE, GROUP, LEARNED, LS0, P0, REMOTE, A
from tests.unit.simulated import Follower, groups_of
from tests.unit.world import EMPTY, World, text
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import NOTHING, Bucket, Flow, Group, GroupType, Match, Meter, Output, Rendering, ToGroup
from vtep_ryu.core.plan import PutFlow, PutGroup, RemoveFlow, RemoveGroup, plan
from vtep_ryu.core.units import FloodUnit, MulticastUnit, RemoteUnit, StationUnit

X, Y = RemoteUnit("ls0", "02:00:00:00:00:0a"), RemoteUnit("ls1", "02:00:00:00:00:0b")


def flow(table=p.FLOOD, switch=1, port=1, group=None):
    actions = (Output(port),) if group is None else (ToGroup(group),)
    return Flow(table, 1, (Match(p.SWITCH, switch),), actions)


def group(id, port=1):
    return Group(id, GroupType.ALL, (Bucket((Output(port),)),))


def steps(wanted, installed=None):
    return "\n".join(str(step.change) for step in plan(wanted, installed or {}))


def test_groups_come_first_then_flows_from_the_last_table_to_the_first():
    rendering = Rendering((flow(p.LEARN), flow(p.FLOOD, group=7), flow(p.UNICAST)), (group(7), group(8)))
    assert steps({X: rendering}) == text(
        """
        + group 0x7 all: output 1
        + group 0x8 all: output 1
        + flood 1: switch=1 -> group 0x7
        + unicast 1: switch=1 -> output 1
        + learn 1: switch=1 -> output 1
        """
    )


def test_removals_come_last_and_the_other_way_round():
    rendering = Rendering((flow(p.FLOOD, group=7), flow(p.LEARN), flow(p.UNICAST)), (group(8), group(7)))
    assert steps({X: NOTHING, Y: Rendering((flow(p.FLOOD, 2),))}, {X: rendering}) == text(
        """
        + flood 1: switch=2 -> output 1
        - learn 1: switch=1 -> output 1
        - unicast 1: switch=1 -> output 1
        - flood 1: switch=1 -> group 0x7
        - group 0x7
        - group 0x8
        """
    )


def test_what_is_as_it_was_takes_no_step():
    rendering = Rendering((flow(), flow(p.LEARN)), (group(7),))
    assert plan({X: rendering, Y: NOTHING}, {X: rendering}) == []


def test_an_entry_that_changes_is_put_over_the_old_one_and_its_neighbours_are_left_alone():
    before = Rendering((flow(switch=1), flow(switch=2)), (group(7), group(8)))
    after = Rendering((flow(switch=1, port=9), flow(switch=2)), (group(7), group(8, port=9)))
    assert steps({X: after}, {X: before}) == text(
        """
        + group 0x8 all: output 9
        + flood 1: switch=1 -> output 9
        """
    )


def test_a_meter_comes_before_all_else_and_goes_after_it():
    metered = Rendering((Flow(p.UNICAST, 1, (Match(p.IN_PORT, 1),), meter=9),), (group(7),), (Meter(9, 50, 50),))
    assert steps({X: metered}) == text(
        """
        + meter 0x9: 50 packets/s, burst 50
        + group 0x7 all: output 1
        + unicast 1: in_port=1 -> meter 0x9
        """
    )
    assert steps({X: NOTHING}, {X: metered}) == text(
        """
        - unicast 1: in_port=1 -> meter 0x9
        - group 0x7
        - meter 0x9
        """
    )
    assert steps({X: metered}, {X: metered}) == ""
    assert steps({X: NOTHING, Y: metered}, {X: metered}).count("- ") == 0


def test_a_meter_whose_rate_changes_is_put_over_the_old_one():
    before, after = (Rendering(meters=(Meter(9, rate, rate),)) for rate in (50, 60))
    assert steps({X: after}, {X: before}) == "+ meter 0x9: 60 packets/s, burst 60"


def test_units_that_are_not_wanted_now_are_left_alone():
    assert steps({Y: Rendering((flow(switch=2),))}, {X: Rendering((flow(),), (group(7),))}) == text(
        "+ flood 1: switch=2 -> output 1"
    )


@pytest.mark.parametrize("same", [True, False])
def test_an_entry_that_passes_from_one_unit_to_another_is_put_and_not_removed(same):
    before = Rendering((flow(group=7),), (group(7),))
    after = before if same else Rendering((flow(group=7), flow(p.LEARN)), (group(7, port=9),))
    for wanted in ({X: NOTHING, Y: after}, {Y: after, X: NOTHING}):
        changes = [step.change for step in plan(wanted, {X: before})]
        assert [change for change in changes if isinstance(change, RemoveFlow | RemoveGroup)] == []
        assert PutGroup(after.groups[0]) in changes
        assert PutFlow(after.flows[0]) in changes


def test_two_units_that_exchange_their_entries_keep_both():
    one, two = Rendering((flow(switch=1),)), Rendering((flow(switch=2),))
    assert steps({X: two, Y: one}, {X: one, Y: two}) == text(
        """
        + flood 1: switch=2 -> output 1
        + flood 1: switch=1 -> output 1
        """
    )


def test_what_is_put_is_on_behalf_of_its_unit_and_a_removal_of_none():
    made = plan({X: Rendering((flow(),), (group(7),)), Y: NOTHING}, {Y: Rendering((flow(switch=2),), (group(8),))})
    assert [(str(step.change)[0], step.unit) for step in made] == [("+", X), ("+", X), ("-", None), ("-", None)]


# With a whole VTEP.


def follower(*blocks):
    world = World(*blocks)
    return world, Follower(world.vtep)


def test_a_reconciliation_without_a_change_takes_no_step():
    _, follows = follower(BASE, REMOTE, LEARNED)
    follows.take_over()
    follows.reconcile()
    assert (follows.steps, follows.rendered) == ([], 0)


def test_units_that_render_as_before_take_no_step():
    world, follows = follower(BASE, REMOTE, LEARNED)
    world.vtep.dirty |= {FloodUnit(LS0), MulticastUnit(LS0, GROUP), StationUnit(LS0, A)}
    follows.reconcile()
    assert (follows.steps, follows.rendered) == ([], 3)


def test_one_changed_row_of_many_is_one_unit_and_one_change():
    many = "\n".join(f"ucast_remote ls0 02:00:00:01:{n >> 8:02x}:{n & 255:02x} 10.2.2.2" for n in range(1000))
    members = "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3"
    world, follows = follower(BASE, many, members)
    world.become(BASE, many, members, "ucast_remote ls0 02:00:00:01:01:01 10.2.2.3")
    follows.reconcile()
    assert follows.rendered == 1
    assert follows.changes() == text(
        """
        + unicast 200: switch=5000 from_tunnel=0 eth_dst=02:00:00:01:01:01
            -> set tunnel_key=5000, set tunnel_dst=10.2.2.3, goto tunnel
        """
    )


def learn_entry(follows, mac):
    """The entry of this station's that times out at p0, untagged."""
    [found] = [each for each in follows.switch.flows.values() if f"ingress=4096 eth_src={mac}" in str(each)]
    return found


def test_a_station_that_ages_leaves_only_its_forwarding_entry_to_be_removed():
    _, follows = follower(BASE, REMOTE, LEARNED)
    follows.expire(learn_entry(follows, A))
    follows.reconcile()
    assert follows.changes() == text(
        "- unicast 300: switch=5000 eth_dst=02:00:00:00:00:0a -> set egress=4096, goto egress_policy"
    )
    follows.check()


def test_a_station_that_is_heard_again_before_the_switch_was_brought_up_to_date_is_put_back():
    world, follows = follower(BASE, REMOTE, LEARNED)
    expired = learn_entry(follows, A)
    follows.expire(expired)
    world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    follows.reconcile()
    assert follows.changes() == f"+ {expired}"
    follows.check()


def test_a_binding_is_made_from_its_group_and_its_way_out_to_its_way_in_and_taken_down_the_other_way_round():
    rest = "physical_switch br0", "logical_switch ls0 tunnel_key=5000", "port p0 3"
    world, follows = follower(*rest)
    world.become(*rest, "physical_port p0 10=ls0")
    follows.reconcile()
    up = [line.split()[:2] for line in follows.changes().splitlines()]
    assert [word for _, word in up] == ["group", "egress", "egress", "flood", "flood", "classify"]
    world.become(*rest, "physical_port p0")
    follows.reconcile()
    down = [line.split()[:2] for line in follows.changes().splitlines()]
    assert [word for _, word in down] == ["classify", "flood", "flood", "egress", "egress", "group"]
    assert {sign for sign, _ in up} == {"+"}
    assert {sign for sign, _ in down} == {"-"}


def test_another_tunnel_key_leaves_no_group_or_flow_of_the_old_one_behind():
    world, follows = follower(BASE, REMOTE, LEARNED)
    world.become(BASE, REMOTE, LEARNED, "logical_switch ls0 tunnel_key=6000")
    follows.reconcile()
    follows.check()
    assert [line for line in follows.switch.dump() if "5000" in line] == []
    assert not {id for id in follows.switch.groups if id & p.MAX_VNI == 5000}


def test_a_vtep_whose_rows_all_go_leaves_what_every_vtep_has():
    world, follows = follower(BASE, REMOTE, LEARNED)
    before = set(Follower(World().vtep).switch.dump())
    world.become(EMPTY)
    follows.reconcile()
    assert set(follows.switch.dump()) == before


def test_every_flow_has_its_groups_at_every_step():
    """The simulated switch refuses a flow before its group, and a group's removal before its last flow's."""
    with pytest.raises(AssertionError, match="comes before its group"):
        Follower(World().vtep).switch.apply(plan({X: Rendering((flow(group=7),))}, {}))
    follows = Follower(World(BASE, REMOTE).vtep)
    used = {id for each in follows.switch.flows.values() for id in groups_of(each)}
    with pytest.raises(AssertionError, match="goes while it is used"):
        follows.switch.apply(plan({X: NOTHING}, {X: Rendering((), (group(min(used)),))}))
