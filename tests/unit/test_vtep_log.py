"""The lines by which an operator follows what a VTEP does: one for each thing, with names, and none repeated."""

import logging
from dataclasses import replace

import pytest

from tests.unit.example import BASE, GROUP, LEARNED, LS0, P0, P0_TAGGED, P1, REMOTE, A, B, C, entry
from tests.unit.world import EMPTY, World, difference, state
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.model import Bridge, Port, Settings
from vtep_ryu.core.units import (
    AlwaysUnit,
    BindingUnit,
    FloodUnit,
    MulticastUnit,
    RemoteUnit,
    SourceUnit,
    StationUnit,
)
from vtep_ryu.core.vtep import Vtep


@pytest.fixture
def log(caplog):
    """The lines since it was last called, with their levels where these are above INFO; their order does not count."""
    caplog.set_level(logging.INFO, "vtep_ryu")

    def lines():
        records = [(record.levelno, record.getMessage()) for record in caplog.records]
        caplog.clear()
        return sorted(("WARNING " if level > logging.INFO else "") + message for level, message in records)

    return lines


@pytest.fixture
def world(log):
    world = World(BASE, REMOTE, LEARNED)
    log()
    return world


def update(world, *blocks):
    """Let the database alone change to this state."""
    after = state(BASE, REMOTE, LEARNED, *blocks)
    world.vtep.touch(world.database.apply(difference(world.now, after)))
    world.now = after


def test_a_vtep_says_how_it_begins(log):
    database = World(BASE, REMOTE, LEARNED).database
    log()
    vtep = Vtep("br0", database, Settings())
    assert log() == [
        "br0: Logical_Switch ls1 has no tunnel_key yet: local switching only, but for locators with a key",
        "br0: ls0 has VNI 5000",
        "br0: p0 VLAN 10 is bound to ls1",
        "br0: p0 untagged is bound to ls0",
        "br0: p1 untagged is bound to ls0",
        "br0: tunnel_ips 10.2.2.1",
    ]
    vtep.set_ports({"p0": Port("p0", 1, True), "p1": Port("p1", 2, False)})
    assert log() == ["br0: port p0 is OpenFlow port 1, up", "br0: port p1 is OpenFlow port 2, down"]


def test_bindings_that_come_and_go_are_named(world, log):
    update(world, "physical_port p0 0=ls0 20=ls1", "physical_port p1 0=ls1")
    assert log() == [
        "br0: 02:00:00:00:00:0a in ls1 at p0 VLAN 10 is gone: p0 VLAN 10 is bound otherwise",
        "br0: 02:00:00:00:00:0b in ls0 at p1 untagged is gone: p1 untagged is bound otherwise",
        "br0: p0 VLAN 10 is not bound to ls1 any more",
        "br0: p0 VLAN 20 is bound to ls1",
        "br0: p1 untagged is bound to ls1",
        "br0: p1 untagged is not bound to ls0 any more",
    ]


def test_a_logical_switch_that_goes_together_with_its_bindings_still_has_its_name(world, log):
    world.vtep.touch(world.database.apply(difference(world.now, EMPTY)))
    assert log() == [
        "br0: 02:00:00:00:00:0a in ls0 at p0 untagged is gone: p0 untagged is bound otherwise",
        "br0: 02:00:00:00:00:0a in ls1 at p0 VLAN 10 is gone: p0 VLAN 10 is bound otherwise",
        "br0: 02:00:00:00:00:0b in ls0 at p1 untagged is gone: p1 untagged is bound otherwise",
        "br0: p0 VLAN 10 is not bound to ls1 any more",
        "br0: p0 untagged is not bound to ls0 any more",
        "br0: p1 untagged is not bound to ls0 any more",
    ]


def test_what_is_not_supported_is_one_line_a_row_for_as_long_as_it_is_there(world, log):
    router, acl = "logical_router lr0", "physical_port p1 0=ls0 acls=7"
    update(world, router, acl)
    assert log() == [
        "WARNING br0: Logical_Router lr0: logical routing is not supported",
        "WARNING br0: Physical_Port p1: acl_bindings: VLAN 7 has an ACL, which is not supported: not applied",
    ]
    update(world, router, acl, "logical_router lr0 uuid=other", "physical_port p1 0=ls0 7=ls0 acls=7")
    assert log() == [
        "WARNING br0: Logical_Router lr0: logical routing is not supported",
        "br0: p1 VLAN 7 is bound to ls0",
    ]
    update(world)
    log()
    update(world, router)
    assert log() == ["WARNING br0: Logical_Router lr0: logical routing is not supported"]


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("tunnel_key=5001", "br0: ls0 has VNI 5001"),
        ("", "br0: Logical_Switch ls0 has no tunnel_key yet: local switching only, but for locators with a key"),
        (
            "tunnel_key=0",
            (
                "br0: Logical_Switch ls0 has tunnel_key 0, which says that it is not ready: "
                "local switching only, but for locators with a key"
            ),
        ),
        (
            "tunnel_key=-1",
            (
                "WARNING br0: Logical_Switch ls0 has tunnel_key -1, which is no VNI (1 to 16777215): "
                "local switching only, but for locators with a key"
            ),
        ),
    ],
)
def test_a_tunnel_key_that_changes_is_said_once(world, log, key, line):
    update(world, f"logical_switch ls0 {key}")
    assert log() == [line]
    update(world, f"logical_switch ls0 {key} replication_mode=source_node")
    assert log() == []


def test_a_vni_that_is_another_logical_switchs_is_a_warning_with_both_names_until_it_is_free(world, log):
    update(world, "logical_switch ls1 tunnel_key=5000")
    assert log() == [
        (
            "WARNING br0: Logical_Switch ls1 has tunnel_key 5000, which is ls0's already: "
            "local switching only, but for locators with a key"
        )
    ]
    update(world, "logical_switch ls1 tunnel_key=5000", "logical_switch ls0 tunnel_key=5001")
    assert log() == ["br0: ls0 has VNI 5001", "br0: ls1 has VNI 5000"]


def test_tunnel_addresses_are_said_when_they_change(world, log):
    update(world, "physical_switch br0 tunnel_ips=10.2.2.9")
    assert log() == ["br0: tunnel_ips 10.2.2.9"]


def test_more_or_less_than_one_tunnel_address_is_a_warning_that_says_what_becomes_of_it(world, log):
    update(world, "physical_switch br0 tunnel_ips=10.2.2.1,10.2.2.9")
    what = "has 10.2.2.1, 10.2.2.9: tunnels end at each, 10.2.2.1 is published and sent from"
    assert log() == [f"WARNING br0: Physical_Switch br0: tunnel_ips {what}"]
    update(world, "physical_switch br0")
    assert log() == ["WARNING br0: Physical_Switch br0: tunnel_ips has no IPv4 address: no tunnels"]
    update(world)
    assert log() == ["br0: tunnel_ips 10.2.2.1"]


def test_a_vlan_that_is_refused_is_a_warning_with_row_and_reason_once(world, log):
    update(world, "physical_port p1 0=ls0 4095=ls0")
    assert log() == [
        "WARNING br0: Physical_Port p1: vlan_bindings: 4095 is not a VLAN id (0 for untagged, or 1 to 4094); refused"
    ]
    update(world, "physical_port p1 0=ls0 10=ls0 4095=ls0")
    assert log() == ["br0: p1 VLAN 10 is bound to ls0"]


def test_a_warning_is_not_repeated_for_another_one_of_its_row_but_when_it_was_mended_meanwhile(world, log):
    line = "WARNING br0: Physical_Port p1: vlan_bindings: {} is not a VLAN id (0 for untagged, or 1 to 4094); refused"
    update(world, "physical_port p1 0=ls0 4095=ls0")
    assert log() == [line.format(4095)]
    update(world, "physical_port p1 0=ls0 4095=ls0 4096=ls0")
    assert log() == [line.format(4096)]
    update(world, "physical_port p1 0=ls0 4096=ls0")
    assert log() == []
    update(world, "physical_port p1 0=ls0 4095=ls0 4096=ls0")
    assert log() == [line.format(4095)]


def test_a_port_that_becomes_unbindable_loses_its_bindings_and_stations_with_the_reason_and_gets_them_back(world, log):
    bridge = Bridge("br0", 1, frozenset({"p0", "p1"}), {})
    world.vtep.set_bridge(bridge)
    assert log() == []
    for _ in range(2):
        world.vtep.set_bridge(replace(bridge, unbindable={"p1": "its Port row has tag 5"}))
    assert log() == [
        "WARNING br0: Physical_Port p1: vlan_bindings: VLAN 0 of p1: its Port row has tag 5; refused",
        "br0: 02:00:00:00:00:0b in ls0 at p1 untagged is gone: p1 untagged is bound otherwise",
        "br0: p1 untagged is not bound to ls0 any more",
    ]
    world.vtep.set_bridge(bridge)
    assert log() == ["br0: p1 untagged is bound to ls0"]


def test_a_bound_port_that_the_bridge_does_not_have_is_a_warning_with_each_binding_once(world, log):
    world.vtep.set_bridge(Bridge("br0", 1, frozenset({"p1"}), {}))
    assert log() == []
    for _ in range(3):
        world.vtep.settle()
    lines = [
        "WARNING br0: Physical_Port p0: vlan_bindings: VLAN 0 is bound to ls0, but the bridge has no port p0",
        "WARNING br0: Physical_Port p0: vlan_bindings: VLAN 10 is bound to ls1, but the bridge has no port p0",
    ]
    assert log() == lines
    world.vtep.set_bridge(Bridge("br0", 1, frozenset({"p0", "p1"}), {}))
    world.vtep.set_bridge(Bridge("br0", 1, frozenset({"p1"}), {}))
    for _ in range(2):
        world.vtep.settle()
    assert log() == lines


def test_ports_that_come_go_and_change_are_named_with_what_was_learned_there(world, log):
    world.vtep.set_ports({"p0": Port("p0", 1, False), "p1": Port("p1", 5, True), "p2": Port("p2", 2, False)})
    assert log() == [
        "br0: 02:00:00:00:00:0a in ls0 at p0 untagged is gone: its port is down",
        "br0: 02:00:00:00:00:0a in ls1 at p0 VLAN 10 is gone: its port is down",
        "br0: 02:00:00:00:00:0b in ls0 at p1 untagged is gone: its port is gone",
        "br0: port p0 went down",
        "br0: port p1 is OpenFlow port 5, up",
        "br0: port p2 is OpenFlow port 2, down",
        "br0: port vtep-0a020201 is gone",
    ]
    world.vtep.set_ports({**world.vtep.ports, "p0": Port("p0", 1, True)})
    assert log() == ["br0: port p0 went up"]
    world.vtep.set_ports(dict(world.vtep.ports))
    assert log() == []


def test_stations_that_are_learned_move_age_and_turn_remote_are_named(world, log):
    world.vtep.seen(*world.ids(LS0, P0), C, now=0)
    world.vtep.seen(*world.ids(LS0, P0), C, now=0)
    assert log() == ["br0: 02:00:00:00:00:0c learned in ls0 at p0 untagged"]
    world.vtep.seen(*world.ids(LS0, P1), C, now=0)
    assert log() == ["br0: 02:00:00:00:00:0c moved in ls0 from p0 untagged to p1 untagged"]
    world.vtep.aged(*world.ids(LS0, P1), C)
    assert log() == ["br0: 02:00:00:00:00:0c in ls0 at p1 untagged is gone: silent for 300 s"]
    update(world, f"ucast_remote ls0 {B} 10.2.2.2")
    assert log() == [
        "br0: 02:00:00:00:00:0b in ls0 at p1 untagged is gone: the NVC says that it is behind another VTEP"
    ]


def test_a_logical_switch_that_is_bound_again_says_its_vni_again(world, log):
    unbound = "physical_port p0 10=ls1", "physical_port p1"
    update(world, *unbound)
    log()
    update(world)
    assert [line for line in log() if "VNI" in line] == ["br0: ls0 has VNI 5000"]


def test_a_stale_packet_in_is_no_news(world, log):
    world.vtep.seen(4999, p.binding_id(1, 0), C, now=0)
    assert log() == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            Settings(binding_mac_limit=2),
            "p0 untagged has 2 learned addresses: no more are learned (option binding_mac_limit)",
        ),
        (Settings(switch_mac_limit=2), "ls0 has 2 learned addresses: no more are learned (option switch_mac_limit)"),
    ],
)
def test_a_limit_is_one_warning_until_there_is_room_again(log, settings, line):
    world = World(BASE, f"station ls0 {A} p0 0", f"station ls0 {B} p0 0", settings=settings)
    log()
    for mac in (C, C, "02:00:00:00:00:0d"):
        world.vtep.seen(*world.ids(LS0, P0), mac, now=0)
    assert log() == [f"WARNING br0: {line}"]
    world.vtep.aged(*world.ids(LS0, P0), A)
    world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    log()
    world.vtep.seen(*world.ids(LS0, P0), C, now=0)
    assert log() == [f"WARNING br0: {line}"]


def test_what_a_switch_still_knew_is_one_line_and_what_it_forgot_a_line_each(world, log):
    world.vtep.restore([entry(world, LS0, P0, A), entry(world, LS0, P0, C)], kept=True)
    assert log() == [
        "br0: 02:00:00:00:00:0a in ls1 at p0 VLAN 10 is gone: it fell silent while the switch was away",
        "br0: 02:00:00:00:00:0b in ls0 at p1 untagged is gone: it fell silent while the switch was away",
        "br0: the switch still knew 1 learned addresses",
    ]


def test_what_happens_to_others_is_not_said(world, log):
    update(
        world,
        """
        physical_switch br1 tunnel_ips=10.2.2.9
        physical_port p9 0=ls2 4095=ls2
        logical_switch ls2 tunnel_key=5000
        ucast_remote ls2 02:00:00:00:00:02 10.2.2.2
        """,
    )
    assert log() == []


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        (AlwaysUnit(), "what every VTEP has"),
        (BindingUnit(P0_TAGGED), "the binding p0 VLAN 10"),
        (StationUnit(LS0, A), "the learned address 02:00:00:00:00:0a in ls0"),
        (RemoteUnit(LS0, A), "Ucast_Macs_Remote 02:00:00:00:00:0a of ls0"),
        (MulticastUnit(LS0, GROUP), "Mcast_Macs_Remote 01:00:5e:00:00:01 of ls0"),
        (SourceUnit(LS0, "10.2.2.2"), "the tunnels of ls0 from 10.2.2.2"),
        (SourceUnit(LS0, None), "the tunnels of ls0 from anywhere"),
        (FloodUnit(LS0), "the replication of ls0"),
    ],
)
def test_a_unit_that_the_switch_refuses_is_named_by_what_the_operator_knows(unit, words):
    assert World(BASE).vtep.describe(unit) == words
