"""The tables' declarations, and the numbers that only the pipeline knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import (
    Bucket,
    Flow,
    Group,
    GroupType,
    Match,
    Output,
    PopVlan,
    PushVlan,
    Rendering,
    Resubmit,
    Set,
    ToGroup,
)

EPOCHS = st.integers(0, p.EPOCHS - 1)
PORTS = st.integers(1, 0xFEFF)
VNIS = st.integers(1, p.MAX_VNI)


def test_a_tables_id_is_its_place_in_the_pipeline():
    assert [table.id for table in p.TABLES] == list(range(len(p.TABLES)))
    assert {table.name: table for table in p.TABLES} == p.BY_NAME
    assert len(p.BY_NAME) == len(p.TABLES)


@pytest.mark.parametrize("table", p.TABLES, ids=lambda table: table.name)
def test_a_table_leads_only_to_tables_behind_it_and_so_does_its_miss(table):
    assert {p.BY_NAME[name].id > table.id for name in table.leads_to} <= {True}
    assert table.miss is None or table.miss in table.leads_to
    assert table.comment


def test_every_table_but_the_first_is_reached_from_another():
    reached = {name for table in p.TABLES for name in table.leads_to}
    assert reached == set(p.BY_NAME) - {p.CLASSIFY.name}


def test_every_table_counts_its_misses():
    assert [flow.table for flow in p.misses()] == list(p.TABLES)
    assert {(flow.priority, flow.match, flow.actions) for flow in p.misses()} == {(p.Priority.MISS, (), ())}
    assert [flow.goto.name if flow.goto else None for flow in p.misses()] == [table.miss for table in p.TABLES]


@pytest.mark.parametrize("table", p.TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("target", p.TABLES, ids=lambda table: table.name)
def test_a_flow_that_leads_where_its_table_does_not_is_refused(table, target):
    if target.name in table.leads_to:
        Flow(table, 1, goto=target)
        Flow(table, 1, actions=(Resubmit(target),))
    else:
        with pytest.raises(ValueError, match=f"table {table.name} does not lead to {target.name}"):
            Flow(table, 1, goto=target)
        with pytest.raises(ValueError, match=f"table {table.name} does not lead to {target.name}"):
            Flow(table, 1, actions=(PopVlan(), Resubmit(target)))


FIELDS = sorted({field for table in p.TABLES for field in table.fields}, key=lambda field: field.name)


@pytest.mark.parametrize("table", p.TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_flow_that_matches_what_its_table_does_not_declare_is_refused(table, field):
    if field in table.fields:
        Flow(table, 1, (Match(field, 1),))
    else:
        with pytest.raises(ValueError, match=f"table {table.name} does not match {field.name}"):
            Flow(table, 1, (Match(field, 1),))


def test_fields_that_share_an_openflow_field_do_not_overlap():
    fields = [each for each in vars(p).values() if type(each) is type(p.SWITCH)]
    assert len({field.name for field in fields}) == len(fields)
    for field in fields:
        for other in fields:
            if field is not other and field.oxm == other.oxm:
                bits, others = (set(range(each.shift, each.shift + each.width)) for each in (field, other))
                assert bits
                assert not bits & others


@given(PORTS, st.integers(0, 4095), PORTS, st.integers(0, 4095))
def test_a_bindings_id_gives_its_port_and_vlan_back_and_is_no_other_bindings(port, vlan, other_port, other_vlan):
    id = p.binding_id(port, vlan)
    assert p.binding_of(id) == (port, vlan)
    assert (id == p.binding_id(other_port, other_vlan)) == ((port, vlan) == (other_port, other_vlan))
    assert 0 < id < 1 << 32


IDS = VNIS | st.integers(p.UNKEYED, (1 << p.ID_BITS) - 1)
KINDS = st.sampled_from(p.GroupKind)


@given(KINDS, IDS, KINDS, IDS)
def test_a_groups_id_is_ours_and_no_other_groups(kind, id, other_kind, other_id):
    group = p.group_id(kind, id)
    assert p.is_ours(group)
    assert group <= 0xFFFFFF00, "OpenFlow 1.3's OFPG_MAX"
    assert (group == p.group_id(other_kind, other_id)) == ((kind, id) == (other_kind, other_id))


@given(st.integers(0, (1 << p.ID_BITS) - 1))
def test_a_group_of_another_kind_is_not_ours(id):
    for kind in set(range(8)) - set(p.GroupKind):
        assert not p.is_ours(kind << p.ID_BITS | id)


@given(PORTS, PORTS)
def test_a_meters_id_gives_its_port_back_and_is_no_other_ports(port, other):
    assert p.metered_port(p.meter_id(port)) == port
    assert (p.meter_id(port) == p.meter_id(other)) == (port == other)
    assert 0 < p.meter_id(port) <= 0xFFFF0000, "OpenFlow 1.3's OFPM_MAX"


@pytest.mark.parametrize("id", [1, 0x7674, 0x7673FFFF, 0x76750000, 0xFFFFFFFE])
def test_a_meter_of_others_is_no_ports(id):
    assert p.metered_port(id) is None


def test_ids_of_logical_switches_without_a_vni_are_above_all_vnis_and_fit_into_a_group_id_and_the_metadata():
    assert p.MAX_VNI < p.UNKEYED
    assert (p.UNKEYED | p.UNKEYED - 1) < 1 << p.ID_BITS
    assert p.SWITCH.width >= p.ID_BITS


def covers(pairs, cookie):
    return any(cookie & mask == value & mask for value, mask in pairs)


@pytest.mark.parametrize("epoch", [0, 1, 2, 0x5555, 0x8000, p.EPOCHS - 1])
def test_the_pairs_for_other_epochs_match_every_other_epoch(epoch):
    pairs = p.other_epochs(epoch)
    assert [each for each in range(p.EPOCHS) if not covers(pairs, p.cookie(each))] == [epoch]


@given(EPOCHS, EPOCHS, st.integers(0, (1 << 64) - 1))
def test_the_pairs_for_other_epochs_match_our_cookies_of_those_and_nobody_elses(epoch, other, foreign):
    pairs = p.other_epochs(epoch)
    assert covers(pairs, p.cookie(other)) == (epoch != other)
    assert covers(pairs, foreign) == (p.epoch_of(foreign) not in (None, epoch))


@given(EPOCHS)
def test_the_first_pair_matches_the_epoch_before(epoch):
    assert covers(p.other_epochs(epoch)[:1], p.cookie((epoch - 1) % p.EPOCHS))


@given(EPOCHS, EPOCHS, st.integers(0, (1 << 64) - 1))
def test_the_pair_for_an_epoch_matches_our_cookies_of_it_and_nobody_elses(epoch, other, foreign):
    assert covers([p.of_epoch(epoch)], p.cookie(other, note=7)) == (epoch == other)
    assert covers([p.of_epoch(epoch)], foreign) == (p.epoch_of(foreign) == epoch)


@given(EPOCHS)
def test_a_cookie_gives_its_epoch_back(epoch):
    assert p.epoch_of(p.cookie(epoch)) == epoch
    assert 0 < p.cookie(epoch) < (1 << 64) - 1


@given(st.integers(0, (1 << 64) - 1))
def test_a_cookie_without_our_mark_has_no_epoch(cookie):
    assert (p.epoch_of(cookie) is None) == (cookie >> 48 != p.OWNER >> 48)


def test_a_flow_reads_as_a_line():
    flow = Flow(
        p.CLASSIFY,
        p.Priority.GENERAL,
        (Match(p.IN_PORT, 3), Match(p.VLAN, p.TAG | 10)),
        (PopVlan(), Set(p.SWITCH, 5000)),
        goto=p.INGRESS_POLICY,
    )
    assert str(flow) == "classify 100: in_port=3 vlan=4106 -> pop_vlan, set switch=5000, goto ingress_policy"
    masked = Flow(p.LEARN, 7, (Match(p.ETH_SRC, p.MULTICAST_BIT, p.MULTICAST_BIT),), (p.TO_CONTROLLER,), idle_timeout=5)
    assert str(masked) == ("learn 7 idle_timeout=5: eth_src=01:00:00:00:00:00/01:00:00:00:00:00 -> copy to controller")
    assert str(Flow(p.FLOOD, 0)) == "flood 0: any -> drop"
    assert str(Flow(p.FLOOD, 1, actions=(ToGroup(0x20001388),))) == "flood 1: any -> group 0x20001388"


def test_a_group_reads_as_a_line():
    copies = (Bucket((PushVlan(), Output(1))), Bucket((Resubmit(p.EGRESS),), watch_port=2))
    assert str(Group(255, GroupType.ALL, copies)) == "group 0xff all: push_vlan, output 1 | watch 2: resubmit egress"
    assert str(Group(1, GroupType.FAST_FAILOVER, ())) == "group 0x1 fast_failover: "


def test_a_flow_is_the_same_entry_as_another_by_table_priority_and_match_alone():
    flow = Flow(p.FLOOD, 1, (Match(p.SWITCH, 1),), (ToGroup(1),))
    assert flow.key == Flow(p.FLOOD, 1, (Match(p.SWITCH, 1),), (), p.EGRESS_POLICY, 9).key
    others = [
        Flow(p.MULTICAST, 1, (Match(p.SWITCH, 1),)),
        Flow(p.FLOOD, 2, (Match(p.SWITCH, 1),)),
        Flow(p.FLOOD, 1, (Match(p.SWITCH, 2),)),
        Flow(p.FLOOD, 1),
    ]
    assert len({flow.key, *(other.key for other in others)}) == 5


def test_renderings_join_in_order():
    first = Rendering((Flow(p.FLOOD, 1),), (Group(1, GroupType.ALL, ()),))
    second = Rendering((Flow(p.FLOOD, 2),))
    joined = Rendering.joined([first, Rendering(), second])
    assert str(joined) == "group 0x1 all: \nflood 1: any -> drop\nflood 2: any -> drop"
    assert joined
    assert not Rendering.joined([])
