"""Keys of locators: which VNI leads to a locator and is taken from there, and for which logical switch."""

import pytest

from tests.unit.simulated import Follower
from tests.unit.world import World, changed, logical, only, text
from vtep_ryu.core.model import Settings
from vtep_ryu.core.units import FloodUnit, MulticastUnit, RemoteUnit, SourceUnit

LS0, LS1 = logical("ls0"), logical("ls1")
MAC, OTHER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
LOCAL = """
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p0 0=ls0 10=ls1
    logical_switch ls0 tunnel_key=5000 replication_mode=source_node
    logical_switch ls1 tunnel_key=5001 replication_mode=source_node
    port p0 3
    port vtep-0a020201 9
    """
HELD_BACK = "nothing is sent there or taken from there with it"


def added(*blocks, settings=None):
    """What these rows change of the flows of a VTEP that has nothing remote yet."""
    return changed(World(LOCAL, settings=settings).flows(), World(LOCAL, *blocks, settings=settings).flows())


def accepted(world):
    """What is taken from tunnels: (VNI, source, logical switch's id)."""
    words = [dict(word.split("=") for word in line.split() if "=" in word) for line in tunnels(world)]
    return [(int(each["tunnel_key"]), each.get("tunnel_src"), each["switch"].strip(",")) for each in words]


def tunnels(world):
    return only(world.flows(), "classify", "tunnel_key").splitlines()


@pytest.mark.parametrize("key", ["", "tunnel_key=5000", "tunnel_key=0", "tunnel_key=-1"])
def test_a_locators_key_is_the_vni_both_ways_whatever_the_logical_switch_has(key):
    before, after = (
        World(LOCAL, f"logical_switch ls0 {key}", *rows)
        for rows in ([], [f"ucast_remote ls0 {MAC} 10.2.2.2/7001", "mcast_remote ls0 unknown-dst 10.2.2.3/7002"])
    )
    id = "5000" if key == "tunnel_key=5000" else "<ls0>"
    assert changed(before.flows(), after.flows()) == text(
        f"""
        - flood 100: switch={id} from_tunnel=0 -> group local {id}
        + classify 200: tunnel_key=7001 tunnel_src=10.2.2.2 tunnel_dst=10.2.2.1
            -> set switch={id}, set from_tunnel=1, goto ingress_policy
        + classify 200: tunnel_key=7002 tunnel_src=10.2.2.3 tunnel_dst=10.2.2.1
            -> set switch={id}, set from_tunnel=1, goto ingress_policy
        + unicast 200: switch={id} from_tunnel=0 eth_dst={MAC}
            -> set tunnel_key=7001, set tunnel_dst=10.2.2.2, goto tunnel
        + flood 100: switch={id} from_tunnel=0 -> group local {id}, group remote {id}
        + tunnel 200: tunnel_dst=10.2.2.2 -> output 9
        + tunnel 200: tunnel_dst=10.2.2.3 -> output 9
        + group remote {id} fast_failover: watch 9: set tunnel_key=7002, set tunnel_dst=10.2.2.3, resubmit tunnel
        """
    )


def test_both_models_mix_and_each_locator_is_a_member_with_its_own_vni():
    world = World(LOCAL, "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.2/7001 10.2.2.3/5001 10.2.2.4")
    assert only(world.flows(), "group remote", "all:") == (
        "group remote 5000 all: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel"
        " | set tunnel_key=7001, set tunnel_dst=10.2.2.2, resubmit tunnel"
        " | set tunnel_key=5001, set tunnel_dst=10.2.2.3, resubmit tunnel"
        " | set tunnel_key=5000, set tunnel_dst=10.2.2.4, resubmit tunnel"
    )
    sources = [(5000, "10.2.2.2"), (5000, "10.2.2.4"), (5001, "10.2.2.3"), (7001, "10.2.2.2")]
    assert sorted(accepted(world)) == [(vni, ip, "5000") for vni, ip in sources]


def test_two_locators_that_lead_to_the_same_with_the_same_vni_are_one():
    one, two = (World(LOCAL, f"mcast_remote ls0 unknown-dst {members}") for members in ("10.2.2.2", "10.2.2.2/5000"))
    both = World(LOCAL, "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.2/5000")
    assert one.flows() == two.flows() == both.flows()
    assert not both.vtep.faults()


def test_many_locators_of_one_address_are_in_parts_as_those_of_many_are():
    world = World(LOCAL, "mcast_remote ls0 unknown-dst " + " ".join(f"10.2.2.2/{7000 + n}" for n in range(1200)))
    parts = [line for line in only(world.flows(), "all:", "set tunnel_key").splitlines() if "group numbered" in line]
    assert sum(line.count("set tunnel_key") for line in parts) == 1200
    assert all(line.count("set tunnel_key") <= 500 for line in parts)


def test_a_frame_is_taken_from_a_locator_with_its_key_and_not_with_the_logical_switchs():
    assert accepted(World(LOCAL, f"ucast_remote ls0 {MAC} 10.2.2.2/7001")) == [(7001, "10.2.2.2", "5000")]


def test_any_source_is_for_the_logical_switchs_own_vni_alone():
    rows = f"ucast_remote ls0 {MAC} 10.2.2.2/7001", f"ucast_remote ls0 {OTHER_MAC} 10.2.2.3"
    world = World(LOCAL, *rows, settings=Settings(accept_any_source=True))
    assert sorted(accepted(world), key=str) == [
        (5000, None, "5000"),
        (5001, None, "5001"),
        (7001, "10.2.2.2", "5000"),
    ]


def test_a_key_of_one_of_our_own_addresses_is_of_no_concern():
    for switch in ("ls0", "ls1"):
        assert added(f"ucast_remote {switch} {MAC} 10.2.2.1/7001") == ""
    world = World(LOCAL, f"ucast_remote ls0 {MAC} 10.2.2.1/7001", f"ucast_remote ls1 {MAC} 10.2.2.1/7001")
    assert not world.vtep.faults()
    world.become(world.now_with("physical_switch br0 tunnel_ips=10.2.2.9", "port vtep-0a020209 9"))
    assert accepted(world) == [(7001, "10.2.2.1", "5000")]
    assert world.vtep.faults()


@pytest.mark.parametrize("honour", [False, True])
def test_a_key_of_0_is_vni_0_if_it_is_to_be_honoured_and_else_not_used(honour, caplog):
    caplog.set_level("INFO")
    rows = f"ucast_remote ls0 {MAC} 10.2.2.2/0", "logical_switch ls1 tunnel_key=0", f"ucast_remote ls1 {MAC} 10.2.2.3"
    world = World(LOCAL, *rows, settings=Settings(honour_vni_0=honour))
    assert accepted(world) == ([(0, "10.2.2.2", "5000"), (0, "10.2.2.3", "0")] if honour else [])
    assert ("set tunnel_key=0, set tunnel_dst=10.2.2.2" in world.flows()) is honour
    assert ("set tunnel_key=0, set tunnel_dst=10.2.2.3" in world.flows()) is honour
    said = "br0: Logical_Switch ls0: locator 10.2.2.2 has tunnel_key 0, which says that it is not ready: not used"
    world.become(world.now_with(f"ucast_remote ls0 {OTHER_MAC} 10.2.2.2/0", "mcast_remote ls0 unknown-dst 10.2.2.2"))
    assert caplog.messages.count(said) == (0 if honour else 1)
    assert not world.vtep.faults()
    caplog.clear()
    for _ in range(2):
        world.become(LOCAL)
        world.become(LOCAL, *rows)
    assert caplog.messages.count(said) == (0 if honour else 2)


CONTESTED = {
    "one locator with a key": ("7001", "10.2.2.2/7001", "10.2.2.2/7001"),
    "a key that is another's VNI": ("5000", "10.2.2.2", "10.2.2.2/5000"),
    "a VNI that is another's key": ("5001", "10.2.2.2/5001", "10.2.2.2"),
}


@pytest.mark.parametrize(("vni", "first", "second"), CONTESTED.values(), ids=CONTESTED)
@pytest.mark.parametrize("holder", ["ls0", "ls1"])
@pytest.mark.parametrize("any_source", [False, True])
def test_who_has_a_vni_at_an_address_keeps_it_and_the_other_is_held_back_both_ways(
    vni, first, second, holder, any_source, caplog
):
    settings = Settings(accept_any_source=any_source)
    rows = {
        "ls0": (f"ucast_remote ls0 {MAC} {first}", f"mcast_remote ls0 unknown-dst {first} 10.2.2.4"),
        "ls1": (f"ucast_remote ls1 {MAC} {second}", f"mcast_remote ls1 unknown-dst {second} 10.2.2.5"),
    }
    other = "ls0" if holder == "ls1" else "ls1"
    world = World(LOCAL, *rows[holder], settings=settings)
    follower = Follower(world.vtep)
    caplog.clear()
    world.become(LOCAL, *rows["ls0"], *rows["ls1"])
    follower.reconcile()
    follower.check()
    warning = f"br0: Logical_Switch {other}: VNI {vni} at 10.2.2.2 is {holder}'s already: {HELD_BACK}"
    assert caplog.messages == [warning]
    assert world.vtep.faults() == {"physical_switch-br0": {"unspecified_fault"}}
    ids = {"ls0": "5000", "ls1": "5001"}
    assert_towards(world, ids[holder], ids[other], int(vni))
    fresh = World(LOCAL, *rows["ls0"], *rows["ls1"], settings=settings)
    fresh.vtep.restore([], False, follower.switch.forwarding())
    fresh.vtep.restore_tunnels(follower.switch.taking())
    assert fresh.flows() == world.flows()
    world.become(LOCAL, *rows[other])
    follower.reconcile()
    follower.check()
    assert world.flows() == World(LOCAL, *rows[other], settings=settings).flows()
    assert not world.vtep.faults()


def assert_towards(world, has, has_not, vni):
    """Only the logical switch that has the VNI sends to 10.2.2.2 with it and takes frames from there."""
    flows = world.flows()
    to_it = f"set tunnel_key={vni}, set tunnel_dst=10.2.2.2"
    assert only(flows, f"unicast 200: switch={has} ", to_it)
    assert only(flows, f"group remote {has} ", to_it)
    assert not only(flows, f"switch={has_not} ", to_it)
    assert not only(flows, f"group remote {has_not} ", "tunnel_dst=10.2.2.2,")
    assert only(flows, f"group remote {has_not} ", "set tunnel_dst=")
    taken = only(flows, f"tunnel_key={vni} tunnel_src=10.2.2.2")
    if taken:
        assert f"set switch={has}," in taken
        assert len(taken.splitlines()) == 1
    else:
        assert f"set switch={has}," in only(flows, f"classify 100: tunnel_key={vni} ")


@pytest.mark.parametrize("order", [("ls0", "ls1"), ("ls1", "ls0")])
def test_of_two_that_come_together_the_lowest_uuid_has_it_in_whatever_order(order):
    world = World(LOCAL, *(f"ucast_remote {switch} {MAC} 10.2.2.2/7001" for switch in order))
    assert accepted(world) == [(7001, "10.2.2.2", "5000")]


def test_two_that_exchange_their_keys_at_once_exchange_them(caplog):
    rows = "ucast_remote {} " + f"{MAC} " + "10.2.2.2/{}"
    world = World(LOCAL, rows.format("ls0", 7001), rows.format("ls1", 7002))
    world.become(LOCAL, rows.format("ls0", 7002), rows.format("ls1", 7001))
    assert sorted(accepted(world)) == [(7001, "10.2.2.2", "5001"), (7002, "10.2.2.2", "5000")]
    assert not caplog.messages


def test_one_that_waits_gets_it_when_the_owner_is_bound_no_more():
    rows = [f"ucast_remote {switch} {MAC} 10.2.2.2/7001" for switch in ("ls0", "ls1")]
    world = World(LOCAL, *rows)
    world.become(LOCAL, *rows, "physical_port p0 10=ls1")
    assert accepted(world) == [(7001, "10.2.2.2", "5001")]
    assert not world.vtep.faults()


def test_of_three_the_next_one_gets_it_and_the_last_hears_of_it(caplog):
    base = (LOCAL, "physical_port p0 0=ls0 10=ls1 20=ls2", "logical_switch ls2")
    rows = [f"ucast_remote {switch} {MAC} 10.2.2.2/7001" for switch in ("ls0", "ls1", "ls2")]
    world = World(*base, *rows)
    caplog.clear()
    world.become(*base, *rows[1:])
    assert caplog.messages == [f"br0: Logical_Switch ls2: VNI 7001 at 10.2.2.2 is ls1's already: {HELD_BACK}"]
    assert world.vtep.faults()


def test_what_waits_for_a_locator_is_rendered_when_it_is_free_and_nothing_else():
    held = [
        f"ucast_remote ls1 {MAC} 10.2.2.2/7001",
        f"ucast_remote ls1 {OTHER_MAC} 10.2.2.3",
        "mcast_remote ls1 01:00:5e:00:00:01 10.2.2.2/7001",
    ]
    world = World(LOCAL, f"ucast_remote ls0 {MAC} 10.2.2.2/7001", *held)
    world.vtep.dirty.clear()
    world.become(LOCAL, *held)
    assert world.vtep.dirty == {
        *(RemoteUnit(LS0, MAC), SourceUnit(LS0, "10.2.2.2")),
        *(RemoteUnit(LS1, MAC), SourceUnit(LS1, "10.2.2.2")),
        *(MulticastUnit(LS1, "01:00:5e:00:00:01"), FloodUnit(LS1)),
    }


def test_an_address_behind_a_locator_that_is_there_is_one_unit():
    world = World(LOCAL, *(f"ucast_remote ls0 02:00:00:00:01:{n:02x} 10.2.2.2/7001" for n in range(100)))
    world.vtep.dirty.clear()
    world.become(world.now_with(f"ucast_remote ls0 {MAC} 10.2.2.2/7001"))
    assert world.vtep.dirty == {RemoteUnit(LS0, MAC)}
