"""What the fault columns have to say, and for how long."""

from dataclasses import replace

import pytest

from tests.unit.example import BASE, LS0, P0, P1, REMOTE, A, B, C
from tests.unit.world import EMPTY, World
from vtep_ryu.core.faults import refused
from vtep_ryu.core.model import Bridge, Settings
from vtep_ryu.core.units import FloodUnit, MulticastUnit, RemoteUnit, SourceUnit, StationUnit
from vtep_ryu.core.vtep import Vtep


def test_a_vlan_that_is_none_is_a_fault_of_its_row_until_it_is_gone():
    world = World(BASE, "physical_port p1 0=ls0 4095=ls0")
    assert world.vtep.faults() == {"physical_port-p1": frozenset({"invalid_vlan_map"})}
    world.become(BASE)
    assert world.vtep.faults() == {}


def test_a_vlan_that_two_rows_of_one_name_bind_is_a_fault_until_either_goes():
    both = "physical_port p1 uuid=a 0=ls1"
    world = World(BASE, both)
    assert world.vtep.faults() == {"physical_port-p1": frozenset({"invalid_vlan_map"})}
    world.become(BASE)
    assert world.vtep.faults() == {}
    world.become(BASE, both)
    assert world.vtep.faults() == {"physical_port-p1": frozenset({"invalid_vlan_map"})}


def test_a_binding_to_a_port_that_cannot_be_bound_is_a_fault_of_its_row_and_has_no_flow_until_it_can():
    world = World(BASE, REMOTE)
    before = world.flows()
    bridge = Bridge("br0", 1, frozenset({"p0", "p1"}), {"p1": "its Port row has tag 5"})
    world.vtep.set_bridge(bridge)
    assert world.vtep.faults() == {"physical_port-p1": frozenset({"invalid_vlan_map"})}
    assert "2/0" in before
    assert "2/0" not in world.flows()
    world.vtep.set_bridge(replace(bridge, unbindable={}))
    assert world.vtep.faults() == {}
    assert world.flows() == before


def test_a_bound_port_that_the_bridge_does_not_have_for_a_moment_is_a_fault_of_its_row_until_it_has():
    world = World(BASE)
    bridge = Bridge("br0", 1, frozenset({"p0", "p1"}), {})
    world.vtep.set_bridge(replace(bridge, ports=frozenset({"p0"})))
    assert world.vtep.faults() == {}
    assert world.vtep.settle()
    assert world.vtep.faults() == {}
    assert not world.vtep.settle()
    assert world.vtep.faults() == {"physical_port-p1": frozenset({"unspecified_fault"})}
    assert not world.vtep.settle()
    world.vtep.set_bridge(bridge)
    assert world.vtep.faults() == {}


def test_a_bound_port_that_is_back_or_not_bound_any_more_before_the_moment_has_passed_is_no_fault():
    world = World(BASE)
    bridge = Bridge("br0", 1, frozenset({"p0", "p1"}), {})
    gone = replace(bridge, ports=frozenset())
    world.vtep.set_bridge(gone)
    assert world.vtep.settle()
    world.vtep.set_bridge(bridge)
    world.vtep.set_bridge(gone)
    world.become(BASE, "physical_port p1")
    assert world.vtep.settle(), "p0 has been back"
    assert world.vtep.faults() == {}
    assert not world.vtep.settle()
    assert world.vtep.faults() == {"physical_port-p0": frozenset({"unspecified_fault"})}


def test_a_row_can_have_both_faults():
    world = World(BASE, "physical_port p1 0=ls0 4095=ls0")
    world.vtep.set_bridge(Bridge("br0", 1, frozenset({"p0"}), {}))
    while world.vtep.settle():
        pass
    assert world.vtep.faults() == {"physical_port-p1": frozenset({"invalid_vlan_map", "unspecified_fault"})}


@pytest.mark.parametrize(("key", "fault"), [(-1, True), (1 << 24, True), (0, False), ((1 << 24) - 1, False)])
def test_a_tunnel_key_that_is_no_vni_is_a_fault_of_the_physical_switch_until_it_is_one_or_not_bound(key, fault):
    faults = {"physical_switch-br0": frozenset({"unspecified_fault"})} if fault else {}
    world = World(BASE, f"logical_switch ls1 tunnel_key={key}")
    assert world.vtep.faults() == faults
    world.become(BASE, "logical_switch ls1 tunnel_key=5001")
    assert world.vtep.faults() == {}
    world.become(BASE, f"logical_switch ls1 tunnel_key={key}")
    assert world.vtep.faults() == faults
    world.become(BASE, f"logical_switch ls1 tunnel_key={key}", "physical_port p0 0=ls0")
    assert world.vtep.faults() == {}


def test_a_vni_that_is_asked_for_twice_is_a_fault_of_the_physical_switch_while_both_are_bound():
    world = World(BASE, "logical_switch ls1 tunnel_key=5000")
    assert world.vtep.faults() == {"physical_switch-br0": frozenset({"unspecified_fault"})}
    world.become(BASE, "logical_switch ls1 tunnel_key=5000", "physical_port p0 0=ls0")
    assert world.vtep.faults() == {}


def test_two_rows_of_one_port_become_refused_and_bound_together():
    world = World(BASE, "physical_port p1 uuid=a 10=ls1")
    bridge = Bridge("br0", 1, frozenset({"p0", "p1"}), {})
    for _ in range(2):
        world.vtep.set_bridge(replace(bridge, unbindable={"p1": "its Port row has tag 5"}))
        assert world.vtep.faults() == dict.fromkeys(["physical_port-p1", "a"], frozenset({"invalid_vlan_map"}))
        world.vtep.set_bridge(bridge)
        assert world.vtep.faults() == {}


def test_a_logical_router_is_a_fault_of_the_physical_switch_until_it_is_gone():
    world = World(BASE, "logical_router lr0", "logical_router lr1")
    fault = {"physical_switch-br0": frozenset({"lr_support_fault"})}
    assert world.vtep.faults() == fault
    world.become(BASE, "logical_router lr1")
    assert world.vtep.faults() == fault
    world.become(BASE)
    assert world.vtep.faults() == {}


def test_a_logical_router_that_was_there_before_the_vtep_is_a_fault_too():
    world = World(BASE, "logical_router lr0")
    assert Vtep("br0", world.database, Settings()).faults() == world.vtep.faults() != {}


def test_an_acl_binding_is_a_fault_of_its_port_until_it_is_gone():
    world = World(BASE, "physical_port p1 0=ls0 acls=0,10")
    assert world.vtep.faults() == {"physical_port-p1": frozenset({"invalid_ACL_binding"})}
    world.become(BASE, "physical_port p1 0=ls0 acls=10")
    assert world.vtep.faults() == {"physical_port-p1": frozenset({"invalid_ACL_binding"})}
    world.become(BASE)
    assert world.vtep.faults() == {}


FULL = {"physical_switch-br0": frozenset({"mac_table_exhaustion"})}


@pytest.mark.parametrize("settings", [Settings(binding_mac_limit=2), Settings(switch_mac_limit=2)])
def test_a_station_that_a_limit_refuses_is_a_fault_until_there_is_room(settings):
    world = World(BASE, f"station ls0 {A} p0 0", f"station ls0 {B} p0 0", settings=settings)
    assert world.vtep.faults() == {}, "two are within the limit"
    world.vtep.seen(*world.ids(LS0, P0), C, now=0)
    assert world.vtep.faults() == FULL
    world.vtep.aged(*world.ids(LS0, P0), A)
    assert world.vtep.faults() == {}
    world.vtep.seen(*world.ids(LS0, P0), C, now=0)
    world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    assert world.vtep.faults() == FULL
    world.become(EMPTY)
    assert "physical_switch-br0" not in world.vtep.faults()


def test_room_elsewhere_does_not_end_the_fault_of_a_binding_and_a_station_that_leaves_it_does():
    settings = Settings(binding_mac_limit=1)
    world = World(BASE, f"station ls0 {A} p0 0", f"station ls0 {B} p1 0", settings=settings)
    world.vtep.seen(*world.ids(LS0, P0), C, now=0)
    world.vtep.aged(*world.ids(LS0, P1), B)
    assert world.vtep.faults() == FULL
    world.vtep.seen(*world.ids(LS0, P1), A, now=0)
    assert world.vtep.faults() == {}


@pytest.mark.parametrize(
    ("unit", "keyword"),
    [
        (RemoteUnit(LS0, A), "mac_table_exhaustion"),
        (StationUnit(LS0, A), "mac_table_exhaustion"),
        (MulticastUnit(LS0, "01:00:5e:00:00:01"), "mac_table_exhaustion"),
        (SourceUnit(LS0, "10.2.2.2"), "tunnel_exhaustion"),
        (FloodUnit(LS0), "unspecified_fault"),
    ],
)
def test_what_the_switch_refuses_has_the_keyword_for_its_kind(unit, keyword):
    assert refused(unit) == keyword


def test_a_tunnel_port_that_cannot_be_made_is_a_fault_until_it_can():
    world = World(BASE)
    world.vtep.set_bridge(Bridge("br0", 1, frozenset({"p0", "p1"}), {}, {"vtep-0a020201": "File exists"}))
    assert world.vtep.faults() == {"physical_switch-br0": frozenset({"tunnel_exhaustion"})}
    world.vtep.set_bridge(Bridge("br0", 1, frozenset({"p0", "p1"}), {}))
    assert world.vtep.faults() == {}
