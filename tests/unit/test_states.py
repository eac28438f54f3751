"""What a VTEP wants on its switch depends on the state it is in, and not on the path that led there.

The state includes for which of two logical switches with one VNI the switch forwards: it tells a VTEP that begins.
"""

import pytest

from tests.unit.simulated import Follower
from tests.unit.world import EMPTY, State, World, flows, state
from vtep_ryu.core.model import Settings

BRIDGE = "physical_switch br0 tunnel_ips=10.2.2.1"
PORTS = """
    port p0 1
    port p1 2
    port vtep-0a020201 9
"""
UNTAGGED = (
    BRIDGE,
    PORTS,
    """
    physical_port p0 0=ls0
    physical_port p1 0=ls0
    logical_switch ls0 tunnel_key=5000
    """,
)
REMOTE = (
    *UNTAGGED,
    """
    ucast_remote ls0 02:00:00:00:00:01 10.2.2.2
    ucast_remote ls0 02:00:00:00:00:02 10.2.2.3
    mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3
    """,
)
MULTICAST = (
    *REMOTE,
    """
    mcast_remote ls0 01:00:5e:00:00:01 10.2.2.3 10.2.2.4
    mcast_remote ls0 01:00:5e:00:00:02
    """,
)
LEARNED = (*REMOTE, "station ls0 02:00:00:00:00:aa p0 0", "station ls0 02:00:00:00:00:bb p1 0")
SILENT_SWITCHES = (
    *MULTICAST,
    """
    physical_port p0 0=ls0 10=ls1 20=ls1
    physical_port p1 0=ls1 10=ls0
    logical_switch ls1 tunnel_key=5001 replication_mode=source_node
    ucast_remote ls1 02:00:00:00:00:01 10.2.2.4
    mcast_remote ls1 unknown-dst 10.2.2.4
    """,
)
TWO_SWITCHES = (*SILENT_SWITCHES, "station ls1 02:00:00:00:00:aa p0 20", "station ls0 02:00:00:00:00:aa p1 10")
KEYED = (
    *UNTAGGED,
    """
    logical_switch ls0
    ucast_remote ls0 02:00:00:00:00:01 10.2.2.2/7001
    mcast_remote ls0 unknown-dst 10.2.2.2/7001 10.2.2.3/7002
    mcast_remote ls0 01:00:5e:00:00:01 10.2.2.3/7002
    """,
)
BFD = (
    *MULTICAST,
    """
    tunnel 10.2.2.1 10.2.2.2 enable=true
    tunnel 10.2.2.1 10.2.2.3 enable=true min_rx=300
    tunnel 10.2.2.1 10.2.2.9 enable=true
    port bfd469d0a020202 11
    port bfd469d0a020203 12
    """,
)
MANY_MEMBERS = "mcast_remote ls0 {} " + " ".join(f"10.3.{n // 250}.{n % 250}" for n in range(501))
MORE_MEMBERS = "mcast_remote ls0 {} " + " ".join(f"10.3.{n // 250}.{n % 250}" for n in range(9, 1400))
MANY_BINDINGS = "physical_port p0 " + " ".join(f"{vlan}=ls0" for vlan in range(501))

STATES = {
    "empty": EMPTY,
    "only ports": state(PORTS),
    "no bindings": state(BRIDGE, PORTS, "physical_port p0", "logical_switch ls0 tunnel_key=5000"),
    "untagged": state(*UNTAGGED),
    "no port yet": state(BRIDGE, "physical_port p0 0=ls0", "logical_switch ls0 tunnel_key=5000"),
    "remote": state(*REMOTE),
    "without a tunnel key": state(*MULTICAST, "logical_switch ls0"),
    "another tunnel key": state(*LEARNED, "logical_switch ls0 tunnel_key=6000"),
    "key not ready": state(*LEARNED, "logical_switch ls0 tunnel_key=0"),
    "multicast": state(*MULTICAST),
    "BFD": state(*BFD),
    "BFD without a port": state(*BFD, "tunnel 10.2.2.1 10.2.2.4 enable=true"),
    "BFD disabled, its ports are there": state(*BFD, "tunnel 10.2.2.1 10.2.2.2", "tunnel 10.2.2.1 10.2.2.3"),
    "BFD with one of two": state(*BFD, "tunnel 10.2.2.1 10.2.2.3 enable=false"),
    "BFD from another address": state(*BFD, "physical_switch br0 tunnel_ips=10.2.2.4", "port vtep-0a020204 9"),
    "BFD with what was ours": state(*BFD, "physical_switch br0 tunnel_ips=10.2.2.1,10.2.2.2"),
    "BFD of one of several rows": state(
        *BFD, "tunnel 10.2.2.1 10.2.2.2 uuid=t0", "tunnel 10.2.2.1 10.2.2.3 uuid=t1 enable=false"
    ),
    "source_node": state(*MULTICAST, "logical_switch ls0 tunnel_key=5000 replication_mode=source_node"),
    "learned": state(*LEARNED),
    "moved": state(*LEARNED, "station ls0 02:00:00:00:00:aa p1 0"),
    "local and remote at once": state(*REMOTE, "station ls0 02:00:00:00:00:01 p0 0"),
    "renumbered": state(*LEARNED, "port p0 2", "port p1 1", "port vtep-0a020201 7"),
    "a port is down": state(*REMOTE, "port p0 1 down", "station ls0 02:00:00:00:00:bb p1 0"),
    "two switches": state(*TWO_SWITCHES),
    "one VNI asked for twice": state(*TWO_SWITCHES, "logical_switch ls1 tunnel_key=5000"),
    "the keys the other way round": state(
        *TWO_SWITCHES, "logical_switch ls0 tunnel_key=5001", "logical_switch ls1 tunnel_key=5000"
    ),
    "another tunnel address": state(*LEARNED, "physical_switch br0 tunnel_ips=10.2.2.4", "port vtep-0a020204 9"),
    "two tunnel addresses": state(
        *MULTICAST, "physical_switch br0 tunnel_ips=10.2.2.2,10.2.2.1", "port vtep-0a020202 8"
    ),
    "no tunnel address": state(*LEARNED, "physical_switch br0"),
    "two rows of one name": state(*UNTAGGED, "physical_port p0 uuid=a 0=ls1 10=ls1", "logical_switch ls1"),
    "duplicate remote rows": state(*REMOTE, "ucast_remote ls0 02:00:00:00:00:01 10.2.2.9 uuid=0"),
    "many members": state(
        *UNTAGGED,
        "logical_switch ls0 tunnel_key=5000 replication_mode=source_node",
        MANY_MEMBERS.format("unknown-dst"),
        MANY_MEMBERS.format("01:00:5e:00:00:01"),
    ),
    "many more members": state(
        *UNTAGGED,
        "logical_switch ls0 tunnel_key=5000 replication_mode=source_node",
        MORE_MEMBERS.format("unknown-dst"),
        MORE_MEMBERS.format("01:00:5e:00:00:01"),
    ),
    "many bindings": state(BRIDGE, PORTS, MANY_BINDINGS, "logical_switch ls0 tunnel_key=5000"),
    "keys of locators": state(*KEYED),
    "other keys of locators": state(
        *KEYED,
        """
        ucast_remote ls0 02:00:00:00:00:01 10.2.2.2/7002
        mcast_remote ls0 unknown-dst 10.2.2.2/7002 10.2.2.3/7001
        """,
    ),
    "keys of locators and of the logical switch": state(
        *KEYED,
        """
        logical_switch ls0 tunnel_key=5000 replication_mode=source_node
        ucast_remote ls0 02:00:00:00:00:02 10.2.2.2
        mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.2/7001 10.2.2.2/5000 10.2.2.3/7002 10.2.2.4
        """,
    ),
    "a locator's key is not ready": state(*KEYED, "mcast_remote ls0 unknown-dst 10.2.2.2/7001 10.2.2.3/0"),
    "two switches name a locator with a key": state(
        *SILENT_SWITCHES,
        """
        mcast_remote ls0 unknown-dst 10.2.2.2/7001 10.2.2.3
        mcast_remote ls1 unknown-dst 10.2.2.2/7001 10.2.2.4
        ucast_remote ls1 02:00:00:00:00:01 10.2.2.2/7001
        """,
    ),
    "the other switch alone names it": state(*SILENT_SWITCHES, "mcast_remote ls1 unknown-dst 10.2.2.2/7001 10.2.2.4"),
    "a locator's key is another switch's VNI": state(
        *SILENT_SWITCHES,
        """
        mcast_remote ls1 unknown-dst 10.2.2.2/5000 10.2.2.4
        mcast_remote ls0 01:00:5e:00:00:02 10.2.2.4/5001 10.2.2.5
        """,
    ),
    "another bridge's ports": state("physical_switch br1 tunnel_ips=10.2.2.1", *UNTAGGED[1:]),
}
SETTINGS = Settings()
ANY_SOURCE = Settings(accept_any_source=True)
VNI_0 = Settings(honour_vni_0=True)
LIMITED = Settings(storm_control=50)
ALL_SETTINGS = {"known sources": SETTINGS, "any source": ANY_SOURCE, "VNI 0": VNI_0, "storm control": LIMITED}
SMALL = [name for name in STATES if "many" not in name]


def check(world: World, follower: Follower, settings: Settings) -> None:
    """Compare what a path led to with a VTEP that knows nothing but the state, and for whom the switch forwards."""
    follower.check()
    fresh = World(world.now, settings=settings)
    fresh.vtep.restore([], False, follower.switch.forwarding())
    fresh.vtep.restore_tunnels(follower.switch.taking())
    assert flows(world.vtep) == flows(fresh.vtep)
    assert follower.published == {key: locator for key, locator in fresh.vtep.all_news().items() if locator}
    assert world.vtep.faults() == fresh.vtep.faults()
    assert follower.tunnels == fresh.vtep.sessions.news()[0]
    world.vtep.sessions.release()
    assert world.vtep.sessions.ports() == fresh.vtep.sessions.ports()


def follow(path: list[State], settings: Settings = SETTINGS) -> None:
    """Walk through these states, with a reconciliation at each."""
    world = World(settings=settings)
    follower = Follower(world.vtep)
    for each in path:
        world.become(each)
        follower.reconcile()
        check(world, follower, settings)


@pytest.mark.parametrize("settings", ALL_SETTINGS.values(), ids=ALL_SETTINGS)
def test_all_states_forwards(settings):
    follow(list(STATES.values()), settings)


@pytest.mark.parametrize("settings", ALL_SETTINGS.values(), ids=ALL_SETTINGS)
def test_all_states_backwards(settings):
    follow(list(reversed(STATES.values())), settings)


@pytest.mark.parametrize("name", SMALL)
def test_every_state_follows_on_every_other(name):
    others = SMALL[SMALL.index(name) :]
    follow([STATES[each] for other in others for each in (name, other)])


@pytest.mark.parametrize("name", SMALL)
def test_states_that_pass_between_two_reconciliations_leave_no_trace(name):
    world = World(STATES[name])
    follower = Follower(world.vtep)
    for each in (*STATES.values(), *reversed(STATES.values()), STATES[name]):
        world.become(each)
    follower.reconcile()
    check(world, follower, SETTINGS)


@pytest.mark.parametrize("name", SMALL)
def test_the_ports_may_come_before_the_database_or_after_it(name):
    wanted = STATES[name]
    for first in (State({}, wanted.ports, {}), State(wanted.rows, {}, {})):
        follow([first, wanted])


@pytest.mark.parametrize("name", SMALL)
def test_rows_may_come_one_by_one_in_any_order(name):
    wanted = STATES[name]
    for uuids in (
        sorted(wanted.rows),
        sorted(wanted.rows, reverse=True),
        sorted(wanted.rows, key=lambda uuid: uuid[::-1]),
    ):
        path = [State({uuid: wanted.rows[uuid] for uuid in uuids[:n]}, wanted.ports, {}) for n in range(len(uuids))]
        follow([*path, wanted])
