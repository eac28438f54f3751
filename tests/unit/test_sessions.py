"""Which tunnels a VTEP has, where BFD runs, what bfd_status says, and what is said of members that are down."""

import logging
import time

import pytest

from tests.unit.world import World
from vtep_ryu.core.model import Bfd, Bridge, Settings, TunnelPort
from vtep_ryu.core.pipeline import bfd_port_name, remote_of_bfd_port, tunnel_port_name
from vtep_ryu.core.units import FloodUnit, MulticastUnit
from vtep_ryu.core.vtep import Vtep

BASE = """
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p0 0=ls0
    logical_switch ls0 tunnel_key=5000
    mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3
    mcast_remote ls0 01:00:5e:00:00:01 10.2.2.3
    mcast_remote ls0 01:00:5e:00:00:02 10.2.2.4
    port p0 3
    port vtep-0a020201 9
    """
BOTH = "tunnel 10.2.2.1 10.2.2.2 enable=true", "tunnel 10.2.2.1 10.2.2.3 enable=true"
SECOND, THIRD = bfd_port_name("10.2.2.1", "10.2.2.2"), bfd_port_name("10.2.2.1", "10.2.2.3")
UP = {"state": "up", "forwarding": "true", "diagnostic": "No Diagnostic", "remote_state": "up", "flap_count": "1"}
DOWN = {"state": "down", "forwarding": "false", "diagnostic": "Control Detection Time Expired", "flap_count": "2"}


def hear(world: World, errors: dict[str, str] | None = None, **statuses: dict[str, str]) -> None:
    """Let Open vSwitch say this of our ports."""
    world.vtep.set_bridge(bridge(errors or {}, statuses))


def bridge(errors: dict[str, str], statuses: dict[str, dict[str, str]]) -> Bridge:
    """As Open vSwitch has it."""
    return Bridge("br0", 1, frozenset({"p0"}), {}, errors, statuses)


def remotes(world: World) -> set[str]:
    return {port.remote for port in world.vtep.sessions.ports().values() if port.remote}


def test_a_tunnel_leads_to_each_address_but_ours_that_rows_of_a_bound_logical_switch_name():
    world = World(BASE, "ucast_remote ls0 02:00:00:00:00:01 10.2.2.5", "ucast_remote ls0 02:00:00:00:00:02 10.2.2.1")
    tunnels, complete = world.vtep.sessions.news()
    assert tunnels == {("10.2.2.1", f"10.2.2.{number}"): {} for number in (2, 3, 4, 5)}
    assert complete
    world.become(BASE, "physical_port p0", "ucast_remote ls0 02:00:00:00:00:01 10.2.2.5")
    assert world.vtep.sessions.news() == (dict.fromkeys(tunnels), False)
    assert world.vtep.sessions.news() == ({}, False)


def test_the_ports_are_the_same_object_until_a_session_begins_changes_or_ends():
    world = World(BASE)
    ports = world.vtep.sessions.ports()
    assert ports == {"vtep-0a020201": TunnelPort("10.2.2.1")}
    world.become(BASE, "ucast_remote ls0 02:00:00:00:00:01 10.2.2.5")
    assert world.vtep.sessions.ports() is ports
    world.become(BASE, BOTH[0])
    assert world.vtep.sessions.ports() == {**ports, SECOND: TunnelPort("10.2.2.1", "10.2.2.2", Bfd())}
    world.become(BASE, "tunnel 10.2.2.1 10.2.2.2 enable=true min_rx=300")
    assert world.vtep.sessions.ports()[SECOND].bfd == Bfd(min_rx=300)


def test_the_port_of_a_session_that_ends_stays_until_the_switch_watches_it_no_more():
    world = World(BASE, BOTH[0])
    world.become(BASE)
    assert remotes(world) == {"10.2.2.2"}
    assert FloodUnit("logical_switch-ls0") in world.vtep.dirty
    world.vtep.sessions.release()
    assert remotes(world) == set()


def test_a_port_that_comes_concerns_what_replicates_to_its_member_and_nothing_else():
    world = World(BASE, *BOTH)
    world.vtep.dirty.clear()
    world.become(BASE, *BOTH, f"port {SECOND} 11")
    assert world.vtep.dirty == {FloodUnit("logical_switch-ls0")}
    world.become(BASE, *BOTH, f"port {SECOND} 11", f"port {THIRD} 12")
    units = {FloodUnit("logical_switch-ls0"), MulticastUnit("logical_switch-ls0", "01:00:5e:00:00:01")}
    assert world.vtep.dirty == units


def test_a_status_has_vtep5_s_keys_and_none_of_others():
    world = World(BASE, *BOTH)
    world.vtep.sessions.news()
    hear(world, **{SECOND: UP})
    status = {key: value for key, value in UP.items() if key != "flap_count"}
    assert world.vtep.sessions.news() == (
        {("10.2.2.1", "10.2.2.2"): {"enabled": "true", **status, "info": "BFD is up"}},
        False,
    )
    hear(world, {SECOND: "no room"})
    assert world.vtep.sessions.news()[0] == {("10.2.2.1", "10.2.2.2"): {"enabled": "false", "info": "no room"}}
    world.become(BASE, BOTH[1])
    assert world.vtep.sessions.news()[0] == {("10.2.2.1", "10.2.2.2"): {}}


def test_what_open_vswitch_says_before_the_vtep_is_made_is_known():
    world = World(BASE, *BOTH)
    vtep = Vtep("br0", world.database, Settings(), bridge({THIRD: "no room"}, {SECOND: UP}))
    statuses = vtep.sessions.news()[0]
    assert statuses["10.2.2.1", "10.2.2.2"]["info"] == "BFD is up"
    assert statuses["10.2.2.1", "10.2.2.3"]["info"] == "no room"


@pytest.mark.parametrize(
    ("said", "info"),
    [
        ({"state": "down", "forwarding": "false", "diagnostic": "No Diagnostic"}, "BFD is down"),
        (DOWN, "BFD is down: Control Detection Time Expired"),
        (
            {"state": "up", "forwarding": "false", "diagnostic": "No Diagnostic", "remote_diagnostic": "Path Down"},
            "BFD is up, but not forwarding: No Diagnostic here, Path Down there",
        ),
    ],
)
def test_info_says_why_bfd_is_not_up(said, info):
    world = World(BASE, *BOTH)
    hear(world, **{SECOND: said})
    assert world.vtep.sessions.news()[0]["10.2.2.1", "10.2.2.2"]["info"] == info


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of members and sessions since last asked."""
    lines = [
        f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name.endswith("sessions")
    ]
    caplog.clear()
    return lines


MEMBERS = "br0: Logical_Switch ls0: all members of unknown-dst are down: frames for them are dropped"


def test_each_session_that_goes_up_or_down_is_a_line_and_so_is_the_last_member_and_the_first(caplog):
    caplog.set_level(logging.INFO)
    world = World(BASE, *BOTH)
    hear(world, **{SECOND: UP, THIRD: UP})
    assert sorted(said(caplog)) == [f"INFO br0: tunnel to 10.2.2.{number}: BFD is up" for number in (2, 3)]
    hear(world, **{SECOND: DOWN, THIRD: UP})
    why = "Control Detection Time Expired"
    assert said(caplog) == [f"WARNING br0: tunnel to 10.2.2.2: BFD is down: {why}"]
    hear(world, **{SECOND: DOWN, THIRD: DOWN})
    assert said(caplog) == [f"WARNING br0: tunnel to 10.2.2.3: BFD is down: {why}", f"WARNING {MEMBERS}"]
    hear(world, **{SECOND: {**DOWN, "remote_state": "init"}, THIRD: DOWN})
    assert said(caplog) == []
    hear(world, **{SECOND: UP, THIRD: DOWN})
    assert said(caplog) == [
        "INFO br0: tunnel to 10.2.2.2: BFD is up",
        "INFO br0: Logical_Switch ls0: not all members of unknown-dst are down any more",
    ]


@pytest.mark.parametrize(
    "otherwise",
    [
        "logical_switch ls0 tunnel_key=5000 replication_mode=source_node",
        "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3 10.2.2.4",
        "tunnel 10.2.2.1 10.2.2.3",
        "mcast_remote ls0 unknown-dst 10.2.2.1",
    ],
    ids=["source_node", "a member without BFD", "BFD disabled", "no member"],
)
def test_members_are_not_all_down_where_one_need_not_be_or_all_get_copies(caplog, otherwise):
    world = World(BASE, *BOTH, otherwise)
    hear(world, **{SECOND: DOWN, THIRD: DOWN})
    assert MEMBERS not in caplog.text
    world.become(BASE, *BOTH)
    hear(world, **{SECOND: DOWN, THIRD: {**DOWN, "flap_count": "3"}})
    assert caplog.text.count(MEMBERS) == 1
    caplog.set_level(logging.INFO)
    world.become(BASE, *BOTH, otherwise)
    assert caplog.text.count("not all members of unknown-dst are down any more") == 1


def test_names_of_ports_tell_their_remote_address_and_differ_for_every_pair():
    assert remote_of_bfd_port(SECOND) == "10.2.2.2"
    assert remote_of_bfd_port(tunnel_port_name("10.2.2.2")) is remote_of_bfd_port("bfd0") is None
    names = {bfd_port_name(f"10.2.{n}.{m}", "10.9.9.9") for n in range(4) for m in range(4)}
    assert len(names) == 16
    assert max(map(len, names)) == 15


def test_a_change_costs_the_same_with_many_tunnels():
    members = " ".join(f"10.3.{n // 250}.{n % 250}" for n in range(4000))
    world = World(BASE, f"mcast_remote ls0 unknown-dst {members}")
    world.vtep.sessions.news()
    begin = time.perf_counter()
    for number in range(100):
        world.vtep.sessions.follow_source("logical_switch-ls0", f"10.4.0.{number}")
        world.vtep.sessions.news()
        world.vtep.sessions.ports()
    assert time.perf_counter() - begin < 0.1
