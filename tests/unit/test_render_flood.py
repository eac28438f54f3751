"""Broadcast, unknown unicast and multicast frames: replication groups, and the flows that use them."""

from collections.abc import Iterator

import pytest

from tests.unit.world import World, changed, only, rendering, text
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Field, Group, GroupType, Set, ToGroup

LOCAL = """
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p0 0=ls0
    physical_port p1 10=ls0
    logical_switch ls0 tunnel_key=5000
    port p0 3
    port p1 4
    port vtep-0a020201 9
    """
SOURCE_NODE = "logical_switch ls0 tunnel_key=5000 replication_mode=source_node"
MULTICAST = "mcast_remote ls0 01:00:5e:00:00:01"


def flood(*blocks: str) -> str:
    """The flows and groups of tables multicast, flood and undelivered."""
    lines = World(LOCAL, *blocks).flows().splitlines()
    return "\n".join(line for line in lines if line.startswith(("multicast", "flood", "undelivered", "group")))


def members(count: int) -> str:
    return " ".join(f"10.3.{n // 200}.{n % 200}" for n in range(count))


LOCAL_FLOWS = text(
    """
    flood 100: switch=5000 from_tunnel=0 -> group local 5000
    flood 100: switch=5000 from_tunnel=1 -> group local 5000
    group local 5000 all: set egress=3/0, resubmit egress_policy | set egress=4/10, resubmit egress_policy
    """
)


@pytest.mark.parametrize("rows", ["", "mcast_remote ls0 unknown-dst", "mcast_remote ls0 unknown-dst 10.2.2.1"])
def test_without_members_of_unknown_dst_a_flood_stays_local(rows):
    assert flood(rows) == LOCAL_FLOWS


def test_service_node_floods_to_the_first_member_that_is_alive():
    assert flood("mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3") == text(
        """
        flood 100: switch=5000 from_tunnel=0 -> group local 5000, group remote 5000
        flood 100: switch=5000 from_tunnel=1 -> group local 5000
        group local 5000 all: set egress=3/0, resubmit egress_policy | set egress=4/10, resubmit egress_policy
        group remote 5000 fast_failover: watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel
            | watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.3, resubmit tunnel
        """
    )


BFD = """
    tunnel 10.2.2.1 10.2.2.2 enable=true
    tunnel 10.2.2.1 10.2.2.3 enable=true
    port bfd469d0a020202 11
    port bfd469d0a020203 12
    """


def test_a_member_with_bfd_is_watched_at_its_port_and_copies_that_nobody_can_get_are_counted():
    rows = "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3", f"{MULTICAST} 10.2.2.3"
    assert changed(flood(*rows), flood(*rows, BFD)) == text(
        """
        - group numbered 1 fast_failover: watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.3, resubmit tunnel
        - group remote 5000 fast_failover: watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel
            | watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.3, resubmit tunnel
        + undelivered 400: switch=5000 eth_dst=01:00:5e:00:00:01 -> drop
        + undelivered 100: switch=5000 -> drop
        + group numbered 1 fast_failover: watch 12: set tunnel_key=5000, set tunnel_dst=10.2.2.3, resubmit tunnel
            | watch 9: resubmit undelivered
        + group remote 5000 fast_failover: watch 11: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel
            | watch 12: set tunnel_key=5000, set tunnel_dst=10.2.2.3, resubmit tunnel | watch 9: resubmit undelivered
        """
    )


@pytest.mark.parametrize(
    "without",
    ["tunnel 10.2.2.1 10.2.2.3", "physical_switch br0 tunnel_ips=10.2.2.1,10.2.2.3"],
    ids=["disabled", "our own address"],
)
def test_a_member_without_bfd_is_always_alive(without):
    row = "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3 10.2.2.4"
    group = only(flood(row, BFD, without), "group remote")
    assert "watch 11: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel | watch 9: " in group
    assert "watch 12" not in group
    assert "undelivered" not in flood(row, BFD, without)


def test_a_session_whose_port_cannot_be_had_is_no_reason_to_pass_its_member_over():
    row = "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.4"
    assert flood(row, "tunnel 10.2.2.1 10.2.2.4 enable=true") == flood(row)


def test_in_source_node_mode_bfd_changes_nothing():
    rows = SOURCE_NODE, "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3"
    assert flood(*rows) == flood(*rows, BFD)


def test_source_node_floods_to_every_member():
    assert flood(SOURCE_NODE, "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3") == text(
        """
        flood 100: switch=5000 from_tunnel=0 -> group local 5000, group remote 5000
        flood 100: switch=5000 from_tunnel=1 -> group local 5000
        group local 5000 all: set egress=3/0, resubmit egress_policy | set egress=4/10, resubmit egress_policy
        group remote 5000 all: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel
            | set tunnel_key=5000, set tunnel_dst=10.2.2.3, resubmit tunnel
        """
    )


def test_several_rows_for_unknown_dst_flood_to_the_members_of_all_each_once():
    rows = "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3", "mcast_remote ls0 unknown-dst 10.2.2.3 10.2.2.4 uuid=a"
    together = "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3 10.2.2.4"
    assert flood(*rows) == flood(together)


def test_a_multicast_address_has_members_of_its_own_and_the_local_bindings_of_the_flood():
    assert changed(LOCAL_FLOWS, flood(f"{MULTICAST} 10.2.2.2 10.2.2.3")) == text(
        """
        + multicast 100: switch=5000 from_tunnel=0 eth_dst=01:00:5e:00:00:01
            -> group numbered 1, set from_tunnel=1, goto flood
        + group numbered 1 fast_failover: watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel
            | watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.3, resubmit tunnel
        """
    )


def test_a_multicast_address_leaves_the_members_of_unknown_dst_alone():
    unknown = "mcast_remote ls0 unknown-dst 10.2.2.9"
    assert only(flood(unknown, SOURCE_NODE, f"{MULTICAST} 10.2.2.2"), "10.2.2.2") == text(
        "group numbered 1 all: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel"
    )
    assert only(flood(unknown, SOURCE_NODE, f"{MULTICAST} 10.2.2.2"), "10.2.2.9") == text(
        "group remote 5000 all: set tunnel_key=5000, set tunnel_dst=10.2.2.9, resubmit tunnel"
    )


def test_multicast_addresses_have_a_group_each_even_with_the_same_members():
    lines = flood(f"{MULTICAST} 10.2.2.2", "mcast_remote ls0 01:00:5e:00:00:02 10.2.2.2")
    assert only(lines, "numbered") == text(
        """
        multicast 100: switch=5000 from_tunnel=0 eth_dst=01:00:5e:00:00:01
            -> group numbered 1, set from_tunnel=1, goto flood
        multicast 100: switch=5000 from_tunnel=0 eth_dst=01:00:5e:00:00:02
            -> group numbered 2, set from_tunnel=1, goto flood
        group numbered 1 fast_failover: watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel
        group numbered 2 fast_failover: watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel
        """
    )


def test_a_multicast_row_without_members_changes_nothing():
    assert flood(MULTICAST) == LOCAL_FLOWS


def test_a_multicast_address_whose_only_member_is_this_vtep_stays_local():
    assert changed(LOCAL_FLOWS, flood(f"{MULTICAST} 10.2.2.1")) == text(
        "+ multicast 100: switch=5000 from_tunnel=0 eth_dst=01:00:5e:00:00:01 -> set from_tunnel=1, goto flood"
    )


def test_broadcast_is_a_multicast_address_like_any_other():
    lines = flood("mcast_remote ls0 ff:ff:ff:ff:ff:ff 10.2.2.2")
    assert "eth_dst=ff:ff:ff:ff:ff:ff -> group numbered 1, set from_tunnel=1, goto flood" in lines


def test_a_logical_switch_none_of_whose_ports_is_there_floods_to_its_members_only():
    gone = LOCAL.replace("port p0 3", "").replace("port p1 4", "")
    assert World(gone, SOURCE_NODE, "mcast_remote ls0 unknown-dst 10.2.2.2").flows() == text(
        """
        classify 200: tunnel_key=5000 tunnel_src=10.2.2.2 tunnel_dst=10.2.2.1
            -> set switch=5000, set from_tunnel=1, goto ingress_policy
        flood 100: switch=5000 from_tunnel=0 -> group remote 5000
        flood 100: switch=5000 from_tunnel=1 -> drop
        tunnel 200: tunnel_dst=10.2.2.2 -> output 9
        group remote 5000 all: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel
        """
    )


def replicated(world: World, flow_words: str, field: Field) -> list[tuple[GroupType, list[object]]]:
    """The groups that the flow with these words uses and whose buckets write the field: type, and what they write."""
    whole = rendering(world.vtep)
    [flow] = [flow for flow in whole.flows if flow_words in str(flow)]
    groups = {group.id: group for group in whole.groups}
    assert len(groups) == len(whole.groups)
    found = []
    for group in used(flow.actions, groups):
        sets = [each for bucket in group.buckets for each in bucket.actions if isinstance(each, Set)]
        if values := [each.value for each in sets if each.field == field]:
            assert len(values) == len(group.buckets)
            found.append((group.type, values))
    return found


def used(actions: tuple[object, ...], groups: dict[int, Group]) -> Iterator[Group]:
    """The groups that actions lead to, and those that their buckets lead to."""
    for group in (groups[action.group_id] for action in actions if isinstance(action, ToGroup)):
        yield group
        for bucket in group.buckets:
            yield from used(bucket.actions, groups)


EACH_ADDRESS = pytest.mark.parametrize(
    ("mac", "flow"),
    [("unknown-dst", "flood 100: switch=5000 from_tunnel=0"), ("01:00:5e:00:00:01", "multicast 100")],
)


@EACH_ADDRESS
@pytest.mark.parametrize("count", [1, 500, 501, 1000, 1001, 4000])
def test_more_members_than_can_be_copied_to_in_one_go_are_in_parts_that_each_get_a_copy(count, mac, flow):
    world = World(LOCAL, SOURCE_NODE, f"mcast_remote ls0 {mac} {members(count)}")
    remote = replicated(world, flow, p.TUNNEL_DST)
    assert {kind for kind, _ in remote} == {GroupType.ALL}
    assert all(len(ips) <= 500 for _, ips in remote)
    assert (len(remote) == 1) == (count <= 500)
    assert sorted(ip for _, ips in remote for ip in ips) == sorted(members(count).split())


@EACH_ADDRESS
def test_a_part_is_reached_by_a_group_that_takes_the_frame_up_anew_one_in_each_bucket_of_the_addresss_group(mac, flow):
    world = World(LOCAL, SOURCE_NODE, f"mcast_remote ls0 {mac} {members(1001)}")
    whole = rendering(world.vtep)
    [actions] = [each.actions for each in whole.flows if flow in str(each)]
    to_remote = [action for action in actions if isinstance(action, ToGroup)][-1]
    groups = {group.id: group for group in whole.groups}
    parts, by_id = [], groups[to_remote.group_id]
    assert by_id.type is GroupType.ALL
    for bucket in by_id.buckets:
        [to_anew] = bucket.actions
        anew = groups[to_anew.group_id]
        [[to_part]] = [each.actions for each in anew.buckets]
        assert (anew.type, groups[to_part.group_id].type) == (GroupType.SELECT, GroupType.ALL)
        parts.append(to_part.group_id)
    assert len(set(parts)) == len(parts) > 1


@EACH_ADDRESS
def test_a_member_that_comes_or_goes_changes_nothing_but_the_group_of_its_part(mac, flow):
    world = World(LOCAL, SOURCE_NODE, f"mcast_remote ls0 {mac} {members(3999)}")
    for count in (4000, 3999, 3998, 3999):
        before = set(rendering(world.vtep).groups)
        world.become(LOCAL, SOURCE_NODE, f"mcast_remote ls0 {mac} {members(count)}")
        [group] = set(rendering(world.vtep).groups) - before
        [had] = [each for each in before if each.id == group.id]
        assert len(set(had.buckets) ^ set(group.buckets)) == 1


def test_a_part_that_grows_too_large_is_two_and_the_others_stay():
    world = World(LOCAL, SOURCE_NODE, f"mcast_remote ls0 unknown-dst {members(501)}")
    counts = []
    for count in range(600, 3000, 100):
        before = {group for group in rendering(world.vtep).groups if group.type is GroupType.SELECT}
        world.become(LOCAL, SOURCE_NODE, f"mcast_remote ls0 unknown-dst {members(count)}")
        after = {group for group in rendering(world.vtep).groups if group.type is GroupType.SELECT}
        counts.append(len(after))
        assert len(after - before) == 2 * len(before - after), "each that went has become two"
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


def bindings(count: int) -> str:
    return "physical_port p1\nphysical_port p0 " + " ".join(f"{vlan}=ls0" for vlan in range(count))


@pytest.mark.parametrize("count", [1, 500, 501, 1001, 4000])
def test_more_bindings_than_can_be_copied_to_in_one_go_are_in_parts_for_frames_from_both_sides(count):
    world = World(LOCAL, bindings(count))
    flows = [f"flood 100: switch=5000 from_tunnel={side}" for side in (0, 1)]
    from_port, from_tunnel = (replicated(world, flow, p.EGRESS_BINDING) for flow in flows)
    assert from_port == from_tunnel
    assert {kind for kind, _ in from_port} == {GroupType.ALL}
    assert all(len(ids) <= 500 for _, ids in from_port)
    assert (len(from_port) == 1) == (count <= 500)
    assert sorted(id for _, ids in from_port for id in ids) == [p.binding_id(3, vlan) for vlan in range(count)]


def test_a_few_bindings_beside_many_members_are_not_taken_up_anew_nor_the_other_way_round():
    remote = f"mcast_remote ls0 unknown-dst {members(501)}"
    many_members = rendering(World(LOCAL, SOURCE_NODE, remote, bindings(500)).vtep).groups
    many_bindings = rendering(World(LOCAL, SOURCE_NODE, remote.replace(members(501), members(500)), bindings(501)).vtep)
    ids = [p.group_id(kind, 5000) for kind in (p.GroupKind.LOCAL, p.GroupKind.REMOTE)]
    for groups, few in ((many_members, ids[0]), (many_bindings.groups, ids[1])):
        in_parts = {group.id for group in groups if isinstance(group.buckets[0].actions[0], ToGroup)}
        assert few not in in_parts
        assert {*ids, *in_parts} - {few} == in_parts


def test_a_binding_that_comes_or_goes_changes_nothing_but_the_group_of_its_part():
    world = World(LOCAL, bindings(3999))
    for count in (4000, 3999, 3998, 3999):
        before = set(rendering(world.vtep).groups)
        world.become(LOCAL, bindings(count))
        [group] = set(rendering(world.vtep).groups) - before
        [had] = [each for each in before if each.id == group.id]
        assert len(set(had.buckets) ^ set(group.buckets)) == 1


def test_service_node_fails_over_within_one_group_and_leaves_out_what_does_not_fit():
    world = World(LOCAL, f"mcast_remote ls0 unknown-dst {members(501)}")
    [(kind, ips)] = replicated(world, "flood 100: switch=5000 from_tunnel=0", p.TUNNEL_DST)
    assert kind is GroupType.FAST_FAILOVER
    assert ips == members(500).split()


def test_the_groups_of_all_parts_are_this_programs_own_and_the_first_ones_can_be_read():
    world = World(LOCAL, SOURCE_NODE, f"mcast_remote ls0 unknown-dst {members(1001)}")
    ids = [group.id for group in rendering(world.vtep).groups]
    assert {p.is_ours(id) for id in ids} == {True}
    assert {p.group_id(p.GroupKind.LOCAL, 5000), p.group_id(p.GroupKind.REMOTE, 5000)} <= set(ids)
