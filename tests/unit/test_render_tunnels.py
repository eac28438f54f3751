"""Tunnel keys, tunnel addresses, remote addresses and sources as flows: what a VTEP does towards the others."""

import pytest

from tests.unit.world import World, changed, logical, only, text
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.model import Settings
from vtep_ryu.core.render import render
from vtep_ryu.core.units import TunnelUnit

LOCAL = """
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p0 0=ls0
    logical_switch ls0 tunnel_key=5000
    port p0 3
    port vtep-0a020201 9
    """
REMOTE = """
    ucast_remote ls0 02:00:00:00:00:01 10.2.2.2
    ucast_remote ls0 02:00:00:00:00:02 10.2.2.2
    ucast_remote ls0 02:00:00:00:00:03 10.2.2.3
    mcast_remote ls0 unknown-dst 10.2.2.4
    """
REMOTE_FLOWS = """
    - flood 100: switch=5000 from_tunnel=0 -> group local 5000
    + classify 200: tunnel_key=5000 tunnel_src=10.2.2.2 tunnel_dst=10.2.2.1
        -> set switch=5000, set from_tunnel=1, goto ingress_policy
    + classify 200: tunnel_key=5000 tunnel_src=10.2.2.3 tunnel_dst=10.2.2.1
        -> set switch=5000, set from_tunnel=1, goto ingress_policy
    + classify 200: tunnel_key=5000 tunnel_src=10.2.2.4 tunnel_dst=10.2.2.1
        -> set switch=5000, set from_tunnel=1, goto ingress_policy
    + unicast 200: switch=5000 from_tunnel=0 eth_dst=02:00:00:00:00:01
        -> set tunnel_key=5000, set tunnel_dst=10.2.2.2, goto tunnel
    + unicast 200: switch=5000 from_tunnel=0 eth_dst=02:00:00:00:00:02
        -> set tunnel_key=5000, set tunnel_dst=10.2.2.2, goto tunnel
    + unicast 200: switch=5000 from_tunnel=0 eth_dst=02:00:00:00:00:03
        -> set tunnel_key=5000, set tunnel_dst=10.2.2.3, goto tunnel
    + flood 100: switch=5000 from_tunnel=0 -> group local 5000, group remote 5000
    + tunnel 200: tunnel_dst=10.2.2.2 -> output 9
    + tunnel 200: tunnel_dst=10.2.2.3 -> output 9
    + tunnel 200: tunnel_dst=10.2.2.4 -> output 9
    + group remote 5000 fast_failover: watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.4, resubmit tunnel
    """


def added(*blocks: str, settings: Settings | None = None, base: str = LOCAL) -> str:
    """What these rows change of the flows of a VTEP that has nothing remote yet."""
    return changed(World(base, settings=settings).flows(), World(base, *blocks, settings=settings).flows())


def test_frames_are_sent_to_the_locators_of_rows_and_taken_from_them_and_nobody_else():
    assert added(REMOTE) == text(REMOTE_FLOWS)


def test_without_a_tunnel_port_nothing_is_sent():
    base = LOCAL.replace("port vtep-0a020201 9", "")
    assert "set tunnel_dst" not in added(REMOTE, base=base)
    assert added(REMOTE, "port vtep-0a020201 9", base=base) == text(REMOTE_FLOWS)


def test_any_source_is_accepted_by_one_flow_a_vni_and_only_if_the_operator_says_so():
    known, any_source = World(LOCAL, REMOTE), World(LOCAL, REMOTE, settings=Settings(accept_any_source=True))
    assert changed(known.flows(), any_source.flows()) == text(
        """
        - classify 200: tunnel_key=5000 tunnel_src=10.2.2.2 tunnel_dst=10.2.2.1
            -> set switch=5000, set from_tunnel=1, goto ingress_policy
        - classify 200: tunnel_key=5000 tunnel_src=10.2.2.3 tunnel_dst=10.2.2.1
            -> set switch=5000, set from_tunnel=1, goto ingress_policy
        - classify 200: tunnel_key=5000 tunnel_src=10.2.2.4 tunnel_dst=10.2.2.1
            -> set switch=5000, set from_tunnel=1, goto ingress_policy
        + classify 100: tunnel_key=5000 tunnel_dst=10.2.2.1
            -> set switch=5000, set from_tunnel=1, goto ingress_policy
        """
    )


@pytest.mark.parametrize("key", ["tunnel_key=5000", ""], ids=["VNI", "no VNI"])
def test_a_pinned_address_is_no_source_at_the_ports_unless_it_is_behind_this_vtep(key):
    remote = "ucast_remote ls0 02:00:00:00:00:01 10.2.2.2", "ucast_remote ls0 02:00:00:00:00:02 10.2.2.1"
    free, pinned = (
        World(LOCAL, *remote, f"logical_switch ls0 {key}", settings=Settings(pin_remote=pin)) for pin in (0, 1)
    )
    name = "5000" if key else "<ls0>"
    assert changed(free.flows(), pinned.flows()) == (
        f"+ learn 400: switch={name} from_tunnel=0 eth_src=02:00:00:00:00:01 -> goto pinned"
    )


WITHOUT_A_VNI = """
    classify 100: in_port=3 vlan=0
        -> pop_vlan, set switch=<ls0>, set from_tunnel=0, set ingress=3/0, goto ingress_policy
    classify 100: in_port=3 vlan=none
        -> set switch=<ls0>, set from_tunnel=0, set ingress=3/0, goto ingress_policy
    learn 200 idle_timeout=300: switch=<ls0> from_tunnel=0 ingress=3/0 eth_src=02:00:00:00:00:aa -> goto suppress
    unicast 300: switch=<ls0> eth_dst=02:00:00:00:00:aa -> set egress=3/0, goto egress_policy
    multicast 100: switch=<ls0> from_tunnel=0 eth_dst=01:00:5e:00:00:01 -> set from_tunnel=1, goto flood
    flood 100: switch=<ls0> from_tunnel=0 -> group local <ls0>
    flood 100: switch=<ls0> from_tunnel=1 -> group local <ls0>
    egress 400: ingress=3/0 egress=3/0 -> drop
    egress 100: egress=3/0 -> set in_port=0, output 3
    tunnel 200: tunnel_dst=10.2.2.2 -> output 9
    tunnel 200: tunnel_dst=10.2.2.3 -> output 9
    tunnel 200: tunnel_dst=10.2.2.4 -> output 9
    group local <ls0> all: set egress=3/0, resubmit egress_policy
    """


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(accept_any_source=True)], ids=["known sources", "any source"]
)
@pytest.mark.parametrize("key", ["", "tunnel_key=0", "tunnel_key=-1", "tunnel_key=16777216"])
def test_without_a_usable_tunnel_key_local_switching_and_learning_go_on_and_only_the_tunnels_wait(key, settings):
    world = World(
        LOCAL,
        REMOTE,
        "mcast_remote ls0 01:00:5e:00:00:01 10.2.2.2",
        f"logical_switch ls0 {key}",
        "station ls0 02:00:00:00:00:aa p0 0",
        settings=settings,
    )
    assert world.flows() == text(WITHOUT_A_VNI)
    assert p.MAX_VNI < world.vtep.identities.of(logical("ls0")).id < 1 << p.ID_BITS


def test_a_vni_that_two_logical_switches_ask_for_is_the_first_ones_by_name_and_they_are_never_merged():
    two = "physical_port p0 0=ls1 10=ls0", REMOTE, "ucast_remote ls1 02:00:00:00:00:01 10.2.2.9"
    world = World(LOCAL, *two, "logical_switch ls1 tunnel_key=5000")
    alone = World(LOCAL, *two, "logical_switch ls1")
    assert world.flows() == alone.flows()
    assert "set switch=<ls1>, set from_tunnel=0, set ingress=3/0" in world.flows()
    assert only(world.flows(), "10.2.2.9") == "tunnel 200: tunnel_dst=10.2.2.9 -> output 9", "nothing is sent there"


def test_several_tunnel_addresses_each_take_frames_and_the_first_sends_them():
    base = text(LOCAL).replace("tunnel_ips=10.2.2.1", "tunnel_ips=10.2.2.1,10.2.3.1") + "\nport vtep-0a020301 8"
    assert added("ucast_remote ls0 02:00:00:00:00:01 10.2.2.2", base=base) == text(
        """
        + classify 200: tunnel_key=5000 tunnel_src=10.2.2.2 tunnel_dst=10.2.2.1
            -> set switch=5000, set from_tunnel=1, goto ingress_policy
        + classify 200: tunnel_key=5000 tunnel_src=10.2.2.2 tunnel_dst=10.2.3.1
            -> set switch=5000, set from_tunnel=1, goto ingress_policy
        + unicast 200: switch=5000 from_tunnel=0 eth_dst=02:00:00:00:00:01
            -> set tunnel_key=5000, set tunnel_dst=10.2.2.2, goto tunnel
        + tunnel 200: tunnel_dst=10.2.2.2 -> output 9
        """
    )


def test_what_goes_to_a_vteps_address_is_counted_for_as_long_as_a_row_names_it_and_leaves_anyhow():
    world = World(LOCAL, REMOTE)
    (way_out,) = render(world.vtep, TunnelUnit(None)).flows
    assert str(way_out) == "tunnel 100: any -> output 9"
    counted = [f"tunnel 200: tunnel_dst=10.2.2.{n} -> output 9" for n in (2, 3, 4)]
    assert only(world.flows(), "tunnel 200:").splitlines() == counted
    for rows, expected in (
        ([REMOTE, "physical_port p0"], []),
        ([REMOTE, "physical_switch br0 tunnel_ips=10.2.2.1,10.2.2.3"], [counted[0], counted[2]]),
        (["ucast_remote ls0 02:00:00:00:00:01 10.2.2.2/7"], counted[:1]),
        ([REMOTE, "port vtep-0a020201 8"], [each.replace("9", "8") for each in counted]),
    ):
        world.vtep.dirty.clear()
        before = only(world.flows(), "tunnel 200:").splitlines()
        world.become(LOCAL, *rows)
        after = only(world.flows(), "tunnel 200:").splitlines()
        assert after == expected
        touched = {unit.remote for unit in world.vtep.dirty if isinstance(unit, TunnelUnit)}
        assert {line.split("=")[1].split()[0] for line in {*before} ^ {*after}} <= touched


def test_nothing_is_sent_to_an_address_of_our_own_or_taken_from_one():
    base = text(LOCAL).replace("tunnel_ips=10.2.2.1", "tunnel_ips=10.2.2.1,10.2.3.1")
    rows = """
        ucast_remote ls0 02:00:00:00:00:01 10.2.2.1
        ucast_remote ls0 02:00:00:00:00:02 10.2.3.1
        mcast_remote ls0 unknown-dst 10.2.2.1 10.2.2.2 10.2.3.1
        mcast_remote ls0 01:00:5e:00:00:01 10.2.2.1
        """
    wanted = added(rows, base=base)
    assert only(wanted, "tunnel_src=10.2.2.1 ") == only(wanted, "tunnel_src=10.2.3.1 ") == ""
    assert only(wanted, "tunnel_src=10.2.2.2 ") != ""
    assert only(wanted, "set tunnel_dst=10.2.2.1") == only(wanted, "set tunnel_dst=10.2.3.1") == ""
    assert only(wanted, "set tunnel_dst=10.2.2.2") == text(
        "+ group remote 5000 fast_failover: watch 9: set tunnel_key=5000, set tunnel_dst=10.2.2.2, resubmit tunnel"
    )
    assert only(wanted, "multicast") == text(
        "+ multicast 100: switch=5000 from_tunnel=0 eth_dst=01:00:5e:00:00:01 -> set from_tunnel=1, goto flood"
    )


def test_a_row_that_binds_a_tunnel_port_is_refused_and_opens_no_way_past_the_tunnel_keys():
    row = "physical_port vtep-0a020201 0=ls0 10=ls0"
    assert added(row) == ""
    assert World(LOCAL, row).vtep.faults() == {"physical_port-vtep-0a020201": frozenset({"invalid_vlan_map"})}


def test_a_tunnel_port_that_is_none_of_ours_is_not_used():
    assert added(REMOTE, "port vtep-0a020202 8") == text(REMOTE_FLOWS)


def test_of_two_rows_for_an_address_the_one_with_the_lowest_uuid_counts_and_both_are_sources():
    assert added(
        """
        ucast_remote ls0 02:00:00:00:00:01 10.2.2.3 uuid=b
        ucast_remote ls0 02:00:00:00:00:01 10.2.2.2 uuid=a
        """
    ) == text(
        """
        + classify 200: tunnel_key=5000 tunnel_src=10.2.2.2 tunnel_dst=10.2.2.1
            -> set switch=5000, set from_tunnel=1, goto ingress_policy
        + classify 200: tunnel_key=5000 tunnel_src=10.2.2.3 tunnel_dst=10.2.2.1
            -> set switch=5000, set from_tunnel=1, goto ingress_policy
        + unicast 200: switch=5000 from_tunnel=0 eth_dst=02:00:00:00:00:01
            -> set tunnel_key=5000, set tunnel_dst=10.2.2.2, goto tunnel
        + tunnel 200: tunnel_dst=10.2.2.2 -> output 9
        + tunnel 200: tunnel_dst=10.2.2.3 -> output 9
        """
    )


def test_an_address_that_is_local_and_remote_goes_to_the_station_and_the_remote_flow_waits_below():
    world = World(LOCAL, "ucast_remote ls0 02:00:00:00:00:01 10.2.2.2", "station ls0 02:00:00:00:00:01 p0 0")
    assert only(world.flows(), "unicast", "02:00:00:00:00:01") == text(
        """
        unicast 300: switch=5000 eth_dst=02:00:00:00:00:01 -> set egress=3/0, goto egress_policy
        unicast 200: switch=5000 from_tunnel=0 eth_dst=02:00:00:00:00:01
            -> set tunnel_key=5000, set tunnel_dst=10.2.2.2, goto tunnel
        """
    )


def test_the_same_address_in_two_logical_switches_goes_two_ways():
    world = World(
        LOCAL,
        """
        physical_port p0 0=ls0 10=ls1
        logical_switch ls1 tunnel_key=5001
        ucast_remote ls0 02:00:00:00:00:01 10.2.2.2
        ucast_remote ls1 02:00:00:00:00:01 10.2.2.3
        """,
    )
    assert only(world.flows(), "unicast") == text(
        """
        unicast 200: switch=5000 from_tunnel=0 eth_dst=02:00:00:00:00:01
            -> set tunnel_key=5000, set tunnel_dst=10.2.2.2, goto tunnel
        unicast 200: switch=5001 from_tunnel=0 eth_dst=02:00:00:00:00:01
            -> set tunnel_key=5001, set tunnel_dst=10.2.2.3, goto tunnel
        """
    )


def test_no_flow_hands_a_frame_from_a_tunnel_to_a_tunnel():
    world = World(LOCAL, REMOTE, "mcast_remote ls0 01:00:5e:00:00:01 10.2.2.2")
    flows = [line for line in world.flows().splitlines() if not line.startswith(("group", "tunnel"))]
    sending = [
        line for line in flows if any(word in line for word in ("goto tunnel", "group remote", "group numbered"))
    ]
    assert len(sending) == 5
    assert [line for line in sending if "from_tunnel=0" not in line] == []
