"""Bindings, ports and learned stations as flows: what a VTEP does among its own ports."""

from tests.unit.world import World, text
from vtep_ryu.core.model import Settings
from vtep_ryu.core.render import render
from vtep_ryu.core.units import AlwaysUnit

BRIDGE = "physical_switch br0 tunnel_ips=10.2.2.1"


def test_every_vtep_counts_what_nothing_matches_and_knows_what_holds_for_all_logical_switches():
    assert str(render(World().vtep, AlwaysUnit())) == text(
        """
        classify 0: any -> drop
        ingress_policy 0: any -> goto learn
        learn 0: any -> goto suppress
        suppress 0: any -> goto unicast
        unicast 0: any -> goto flood
        multicast 0: any -> goto flood
        flood 0: any -> drop
        egress_policy 0: any -> goto egress
        egress 0: any -> drop
        undelivered 0: any -> drop
        tunnel 0: any -> drop
        pinned 0: any -> drop
        learn 300: from_tunnel=1 -> goto suppress
        learn 400: eth_src=01:00:00:00:00:00/01:00:00:00:00:00 -> drop
        learn 400: eth_src=00:00:00:00:00:00 -> drop
        learn 100: from_tunnel=0 -> copy to controller, goto suppress
        unicast 400: eth_dst=01:00:00:00:00:00/01:00:00:00:00:00 -> goto multicast
        """
    )


def test_an_untagged_binding_takes_frames_without_a_tag_and_with_a_priority_tag():
    world = World(
        BRIDGE,
        """
        physical_port p0 0=ls0
        logical_switch ls0 tunnel_key=5000
        port p0 3
        """,
    )
    assert world.flows() == text(
        """
        classify 100: in_port=3 vlan=0
            -> pop_vlan, set switch=5000, set from_tunnel=0, set ingress=3/0, goto ingress_policy
        classify 100: in_port=3 vlan=none
            -> set switch=5000, set from_tunnel=0, set ingress=3/0, goto ingress_policy
        flood 100: switch=5000 from_tunnel=0 -> group local 5000
        flood 100: switch=5000 from_tunnel=1 -> group local 5000
        egress 400: ingress=3/0 egress=3/0 -> drop
        egress 100: egress=3/0 -> set in_port=0, output 3
        group local 5000 all: set egress=3/0, resubmit egress_policy
        """
    )


def test_tagged_bindings_of_a_port_lead_to_their_own_logical_switches():
    world = World(
        BRIDGE,
        """
        physical_port p0 1=ls0 4094=ls1
        logical_switch ls0 tunnel_key=1
        logical_switch ls1 tunnel_key=16777215
        port p0 3
        """,
    )
    assert world.flows() == text(
        """
        classify 100: in_port=3 vlan=1
            -> pop_vlan, set switch=1, set from_tunnel=0, set ingress=3/1, goto ingress_policy
        classify 100: in_port=3 vlan=4094
            -> pop_vlan, set switch=16777215, set from_tunnel=0, set ingress=3/4094, goto ingress_policy
        flood 100: switch=1 from_tunnel=0 -> group local 1
        flood 100: switch=1 from_tunnel=1 -> group local 1
        flood 100: switch=16777215 from_tunnel=0 -> group local 16777215
        flood 100: switch=16777215 from_tunnel=1 -> group local 16777215
        egress 400: ingress=3/1 egress=3/1 -> drop
        egress 400: ingress=3/4094 egress=3/4094 -> drop
        egress 100: egress=3/1 -> set in_port=0, push_vlan, set vlan=1, output 3
        egress 100: egress=3/4094 -> set in_port=0, push_vlan, set vlan=4094, output 3
        group local 1 all: set egress=3/1, resubmit egress_policy
        group local 16777215 all: set egress=3/4094, resubmit egress_policy
        """
    )


def test_two_vlans_of_a_port_in_one_logical_switch_are_bindings_like_any_others():
    world = World(
        BRIDGE,
        """
        physical_port p0 0=ls0 10=ls0
        physical_port p1 10=ls0
        logical_switch ls0 tunnel_key=5000
        port p0 3
        port p1 4
        """,
    )
    assert world.flows() == text(
        """
        classify 100: in_port=3 vlan=0
            -> pop_vlan, set switch=5000, set from_tunnel=0, set ingress=3/0, goto ingress_policy
        classify 100: in_port=3 vlan=10
            -> pop_vlan, set switch=5000, set from_tunnel=0, set ingress=3/10, goto ingress_policy
        classify 100: in_port=3 vlan=none
            -> set switch=5000, set from_tunnel=0, set ingress=3/0, goto ingress_policy
        classify 100: in_port=4 vlan=10
            -> pop_vlan, set switch=5000, set from_tunnel=0, set ingress=4/10, goto ingress_policy
        flood 100: switch=5000 from_tunnel=0 -> group local 5000
        flood 100: switch=5000 from_tunnel=1 -> group local 5000
        egress 400: ingress=3/0 egress=3/0 -> drop
        egress 400: ingress=3/10 egress=3/10 -> drop
        egress 400: ingress=4/10 egress=4/10 -> drop
        egress 100: egress=3/0 -> set in_port=0, output 3
        egress 100: egress=3/10 -> set in_port=0, push_vlan, set vlan=10, output 3
        egress 100: egress=4/10 -> set in_port=0, push_vlan, set vlan=10, output 4
        group local 5000 all: set egress=3/0, resubmit egress_policy
            | set egress=3/10, resubmit egress_policy
            | set egress=4/10, resubmit egress_policy
        """
    )


UNTAGGED_4 = """
    classify 100: in_port=4 vlan=0
        -> pop_vlan, set switch=5000, set from_tunnel=0, set ingress=4/0, goto ingress_policy
    classify 100: in_port=4 vlan=none
        -> set switch=5000, set from_tunnel=0, set ingress=4/0, goto ingress_policy
    flood 100: switch=5000 from_tunnel=0 -> group local 5000
    flood 100: switch=5000 from_tunnel=1 -> group local 5000
    egress 400: ingress=4/0 egress=4/0 -> drop
    egress 100: egress=4/0 -> set in_port=0, output 4
    group local 5000 all: set egress=4/0, resubmit egress_policy
    """


def test_a_binding_whose_port_is_missing_waits_and_holds_up_no_other():
    world = World(
        BRIDGE,
        """
        physical_port p0 0=ls0
        physical_port p1 0=ls0
        logical_switch ls0 tunnel_key=5000
        port p1 4
        """,
    )
    assert world.flows() == text(UNTAGGED_4)


def test_a_port_with_another_number_has_the_same_flows_under_that_number():
    rows = "physical_port p0 0=ls0", "logical_switch ls0 tunnel_key=5000"
    world = World(BRIDGE, *rows, "port p0 3")
    world.become(BRIDGE, *rows, "port p0 4")
    assert world.flows() == text(UNTAGGED_4)


def test_a_port_that_is_down_keeps_its_binding():
    world = World(BRIDGE, "physical_port p0 0=ls0", "logical_switch ls0 tunnel_key=5000", "port p0 4 down")
    assert world.flows() == text(UNTAGGED_4)


def test_a_vlan_that_is_none_is_left_out_and_the_rest_of_its_row_holds():
    world = World(BRIDGE, "physical_port p0 0=ls0 4095=ls0", "logical_switch ls0 tunnel_key=5000", "port p0 4")
    assert world.flows() == text(UNTAGGED_4)


def test_a_vlan_that_two_rows_of_one_name_bind_goes_to_the_row_with_the_lowest_uuid():
    world = World(
        BRIDGE,
        """
        physical_port p0 uuid=b 0=ls1
        physical_port p0 uuid=a 0=ls0
        logical_switch ls0 tunnel_key=5000
        logical_switch ls1 tunnel_key=5001
        port p0 4
        """,
    )
    assert world.flows() == text(UNTAGGED_4)


def test_ports_and_rows_of_other_physical_switches_are_not_ours():
    world = World(
        BRIDGE,
        """
        physical_port p1 0=ls0
        physical_switch br1 tunnel_ips=10.2.2.1
        physical_port p2 0=ls0
        logical_switch ls0 tunnel_key=5000
        port p1 4
        port p2 5
        port p3 6
        """,
    )
    assert world.flows() == text(UNTAGGED_4)


def test_a_logical_switch_that_is_bound_nowhere_here_has_no_flows():
    world = World(
        BRIDGE,
        """
        physical_port p0
        logical_switch ls0 tunnel_key=5000
        ucast_remote ls0 02:00:00:00:00:01 10.2.2.2
        mcast_remote ls0 unknown-dst 10.2.2.2
        mcast_remote ls0 01:00:5e:00:00:01 10.2.2.2
        port p0 3
        port vtep-0a020201 9
        """,
    )
    assert world.flows() == ""


def test_without_its_physical_switch_row_a_bridge_has_no_flows_but_the_tables_own():
    assert World("port p0 3", "logical_switch ls0 tunnel_key=5000").flows() == ""


def station_flows(settings=None):
    world = World(
        BRIDGE,
        """
        physical_port p0 0=ls0 10=ls1
        logical_switch ls0 tunnel_key=5000
        logical_switch ls1
        port p0 3
        station ls0 02:00:00:00:00:aa p0 0
        station ls1 02:00:00:00:00:aa p0 10
        """,
        settings=settings,
    )
    return "\n".join(line for line in world.flows().splitlines() if ":aa" in line)


def test_a_station_is_known_as_a_source_at_its_binding_until_it_ages_and_reached_there_from_everywhere():
    assert station_flows() == text(
        """
        learn 200 idle_timeout=300: switch=5000 from_tunnel=0 ingress=3/0 eth_src=02:00:00:00:00:aa -> goto suppress
        learn 200 idle_timeout=300: switch=<ls1> from_tunnel=0 ingress=3/10 eth_src=02:00:00:00:00:aa -> goto suppress
        unicast 300: switch=5000 eth_dst=02:00:00:00:00:aa -> set egress=3/0, goto egress_policy
        unicast 300: switch=<ls1> eth_dst=02:00:00:00:00:aa -> set egress=3/10, goto egress_policy
        """
    )


def test_the_ageing_time_is_the_operators_and_0_is_for_ever():
    assert "idle_timeout=15:" in station_flows(Settings(mac_ageing_time=15))
    assert "idle_timeout" not in station_flows(Settings(mac_ageing_time=0))
