"""Any history of changes, sightings and reconnections ends with what its last state alone would lead to.

The last state includes which logical switches the switch forwards for: of two with one VNI, that one has it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulated import Follower
from tests.unit.world import flows
from vtep_ryu.core import flood
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.database import Database
from vtep_ryu.core.model import (
    UNKNOWN_DST,
    Bfd,
    Bridge,
    Change,
    Locator,
    LogicalRouter,
    LogicalSwitch,
    McastRemote,
    PhysicalPort,
    PhysicalSwitch,
    Place,
    Port,
    Row,
    Settings,
    Tunnel,
    UcastRemote,
    Update,
)
from vtep_ryu.core.pipeline import bfd_port_name, tunnel_port_name
from vtep_ryu.core.vtep import Vtep

OUR_IPS = ("10.2.2.1", "10.2.2.2")
LOCATORS = tuple(Locator(ip, key) for ip, key in [(OUR_IPS[0], None), (OUR_IPS[1], None), (OUR_IPS[1], 5001)]) + tuple(
    Locator("10.2.2.3", key) for key in (None, 0, 5000, 5001)
)
SWITCHES = ("switch-a", "switch-b", "switch-c")
PORT_ROWS = ("port-a", "port-b", "port-c")
PORT_NAMES = (
    "p0",
    "p1",
    *map(tunnel_port_name, OUR_IPS),
    bfd_port_name(*OUR_IPS),
    bfd_port_name(OUR_IPS[0], "10.2.2.3"),
)
STATIONS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
GROUPS = (UNKNOWN_DST, "01:00:5e:00:00:01", "01:00:5e:00:00:02")
VLANS = (0, 10, 4095)
LIMITED = (*SWITCHES, *(Place(port, vlan) for port in PORT_NAMES for vlan in VLANS))
SETTINGS = st.sampled_from(
    [
        Settings(),
        Settings(accept_any_source=True),
        Settings(honour_vni_0=True),
        Settings(binding_mac_limit=1, switch_mac_limit=2),
        Settings(pin_remote=True),
        Settings(mac_move_limit=1),
        Settings(storm_control=50),
    ]
)
BRIDGE = Bridge("br0", 1, frozenset(PORT_NAMES[:2]), {})


@dataclass
class History:
    """A Vtep with the rows, ports and switch that it has at present."""

    settings: Settings
    rows: dict[str, Row] = field(default_factory=dict)
    bridge: Bridge = BRIDGE

    def __post_init__(self) -> None:
        self.database = Database()
        self.vtep = Vtep("br0", self.database, self.settings, self.bridge)
        self.follower = Follower(self.vtep)

    def update(self, changes: list[Change], complete: bool) -> None:
        for change in changes:
            if change.row is None:
                self.rows.pop(change.uuid, None)
            else:
                self.rows[change.uuid] = change.row
        if complete:
            gone = [change for change in changes if change.row is None]
            changes = [*gone, *(Change(type(row), uuid, row) for uuid, row in self.rows.items())]
        self.vtep.touch(self.database.apply(Update(tuple(changes), complete)))

    def set_ports(self, ports: list[Port]) -> None:
        self.vtep.set_ports({port.name: port for port in ports})

    def set_bridge(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.vtep.set_bridge(bridge)

    def settle(self) -> None:
        self.vtep.settle()

    def seen(self, switch: str, port: str, vlan: int, mac: str) -> None:
        self.vtep.seen(*self._ids(switch, port, vlan), mac, now=0)

    def aged(self, switch: str, port: str, vlan: int, mac: str) -> None:
        """Let a station's learn entry time out, if the switch has it."""
        id, binding = self._ids(switch, port, vlan)
        values = {id, binding, mac}
        for flow in list(self.follower.switch.flows.values()):
            if flow.table is p.LEARN and values <= {match.value for match in flow.match}:
                self.follower.expire(flow)

    def reconnect(self, kept: bool) -> None:
        """Lose the connection, and meet the switch again with its learn table as it was or empty."""
        learned = [
            (
                *(match.value for match in flow.match if match.field in (p.SWITCH, p.INGRESS_BINDING, p.ETH_SRC)),
                flow.note,
            )
            for flow in self.follower.switch.flows.values()
            if flow.table is p.LEARN and flow.priority is p.Priority.REMOTE
        ]
        self.vtep.restore(learned if kept else [], kept, self.follower.switch.forwarding() if kept else [])
        self.vtep.restore_tunnels(self.follower.switch.taking() if kept else [])
        self.follower.take_over()

    def reconcile(self) -> None:
        self.follower.reconcile()
        self.follower.check()
        frozen = [mac for switch in SWITCHES for mac in self.vtep.moves.of_switch(switch)]
        assert self.vtep.counters.frozen_now == len(frozen)

    def end(self) -> None:
        """Reconcile, and compare with a VTEP that begins with the last state, as after a restart; nothing is frozen."""
        self.reconcile()
        for flow in list(self.follower.switch.flows.values()):
            if flow.table is p.LEARN and flow.priority is p.Priority.FROZEN:
                self.follower.expire(flow)
        self.reconcile()
        fresh = History(self.settings)
        fresh.update([Change(type(row), uuid, row) for uuid, row in self.rows.items()], complete=True)
        fresh.set_bridge(self.bridge)
        fresh.set_ports(list(self.vtep.ports.values()))
        fresh.vtep.restore([], False, self.follower.switch.forwarding())
        fresh.vtep.restore_tunnels(self.follower.switch.taking())
        for switch in self.vtep.bindings.logical_switches():
            for mac in self.vtep.stations.of_switch(switch):
                place = self.vtep.stations.place(switch, mac)
                fresh.seen(switch, place.port, place.vlan, mac)
        assert flows(self.vtep) == flows(fresh.vtep)
        for vtep in (self.vtep, fresh.vtep):
            while vtep.settle():
                pass
        # A limit shows when something is refused: what was, the fresh one has not seen.
        found, fresh_found = self.vtep.faults(), fresh.vtep.faults()
        if "mac_table_exhaustion" in found.get("br0", ()):
            assert any(map(self.vtep.stations.is_full, LIMITED))
        assert without_limits(found) == without_limits(fresh_found)
        fresh.reconcile()
        assert self.follower.switch.dump() == fresh.follower.switch.dump()
        assert self.follower.published == fresh.follower.published
        assert self.follower.tunnels == fresh.follower.tunnels
        self.vtep.sessions.release()
        assert self.vtep.sessions.ports() == fresh.vtep.sessions.ports()

    def _ids(self, switch: str, port: str, vlan: int) -> tuple[int, int]:
        identity = self.vtep.identities.of(switch)
        number = self.vtep.ports[port].number if port in self.vtep.ports else 99
        return identity.id if identity is not None else 7, p.binding_id(number, vlan)


def without_limits(faults: dict[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Faults, without that of a limit."""
    return {uuid: left for uuid, found in faults.items() if (left := found - {"mac_table_exhaustion"})}


def rows(kind: type[Row], uuid: str, **columns: st.SearchStrategy) -> st.SearchStrategy[Change]:
    """A row with this UUID that is set, or removed."""
    row = st.none() | st.builds(kind, st.just(uuid), **columns)
    return st.builds(Change, st.just(kind), st.just(uuid), row)


OUR_ADDRESSES = st.sets(st.sampled_from(OUR_IPS)).map(lambda chosen: tuple(sorted(chosen)))
MEMBERS = st.sets(st.sampled_from(LOCATORS)).map(lambda chosen: tuple(sorted(chosen)))
SWITCH = st.sampled_from(SWITCHES)
BINDINGS = st.dictionaries(st.sampled_from(VLANS), SWITCH).map(lambda bound: tuple(sorted(bound.items())))
CHANGES = st.one_of(
    rows(
        PhysicalSwitch,
        "br0",
        name=st.just("br0"),
        tunnel_ips=OUR_ADDRESSES,
        ports=st.frozensets(st.sampled_from(PORT_ROWS)),
    ),
    *(rows(PhysicalPort, uuid, name=st.sampled_from(PORT_NAMES), vlan_bindings=BINDINGS) for uuid in PORT_ROWS),
    rows(LogicalRouter, "router-a", name=st.just("lr0")),
    *(
        rows(
            LogicalSwitch,
            uuid,
            name=st.sampled_from(["ls0", "ls1"]),
            tunnel_key=st.sampled_from([None, 0, 5000, 5001, p.MAX_VNI + 1]),
            replication_mode=st.sampled_from(["service_node", "source_node"]),
        )
        for uuid in SWITCHES
    ),
    *(
        rows(UcastRemote, uuid, mac=st.sampled_from(STATIONS), logical_switch=SWITCH, locator=st.sampled_from(LOCATORS))
        for uuid in ("ucast-a", "ucast-b", "ucast-c")
    ),
    *(
        rows(McastRemote, uuid, mac=st.sampled_from(GROUPS), logical_switch=SWITCH, locators=MEMBERS)
        for uuid in ("mcast-a", "mcast-b", "mcast-c")
    ),
    *(
        rows(
            Tunnel,
            uuid,
            local=st.sampled_from(OUR_IPS),
            remote=st.sampled_from((*OUR_IPS, "10.2.2.3")),
            bfd=st.sampled_from([None, Bfd(), Bfd(min_rx=300)]),
            configured=st.booleans(),
        )
        for uuid in ("tunnel-a", "tunnel-b")
    ),
)


def call(method: Callable[..., None], *arguments: st.SearchStrategy) -> st.SearchStrategy:
    """A call of a method of a History."""
    return st.tuples(st.just(method), st.tuples(*arguments))


PORTS = st.lists(
    st.builds(Port, st.sampled_from(PORT_NAMES), st.integers(1, 7), st.booleans() | st.just(True)),
    unique_by=(lambda port: port.name, lambda port: port.number),
)
BRIDGES = st.builds(
    Bridge,
    st.just("br0"),
    st.just(1),
    st.frozensets(st.sampled_from(PORT_NAMES[:2])),
    st.dictionaries(st.sampled_from(PORT_NAMES[:2]), st.sampled_from(["it is a bond", "it has a tag"])),
    st.dictionaries(st.sampled_from(PORT_NAMES[-2:]), st.just("no room")),
    st.dictionaries(st.sampled_from(PORT_NAMES[-2:]), st.sampled_from([{"forwarding": "true"}, {"state": "down"}])),
)
PLACE = (SWITCH, st.sampled_from(PORT_NAMES), st.sampled_from(VLANS), st.sampled_from(STATIONS))
UPDATE = call(History.update, st.lists(CHANGES, min_size=1, max_size=6), st.booleans())
BEGINNING = [
    Change(PhysicalSwitch, "br0", PhysicalSwitch("br0", "br0", OUR_IPS[:1], frozenset(PORT_ROWS))),
    Change(PhysicalPort, "port-a", PhysicalPort("port-a", "p0", ((0, "switch-a"), (10, "switch-b")))),
    Change(PhysicalPort, "port-b", PhysicalPort("port-b", "p1", ((0, "switch-a"), (10, "switch-a")))),
    Change(LogicalSwitch, "switch-a", LogicalSwitch("switch-a", "ls0", 5000, "service_node")),
    Change(LogicalSwitch, "switch-b", LogicalSwitch("switch-b", "ls1", 5000, "source_node")),
    Change(UcastRemote, "ucast-a", UcastRemote("ucast-a", STATIONS[0], "switch-a", Locator("10.2.2.3"))),
    Change(McastRemote, "mcast-a", McastRemote("mcast-a", UNKNOWN_DST, "switch-a", LOCATORS)),
    Change(McastRemote, "mcast-b", McastRemote("mcast-b", GROUPS[1], "switch-b", LOCATORS[3:])),
]
BEGINNING_PORTS = [Port("p0", 1, True), Port("p1", 2, True), Port(PORT_NAMES[2], 3, True)]
EVENTS = st.one_of(
    UPDATE,
    UPDATE,
    call(History.set_ports, PORTS),
    call(History.set_bridge, BRIDGES),
    call(History.settle),
    call(History.seen, *PLACE),
    call(History.seen, *PLACE),
    call(History.aged, *PLACE),
    call(History.reconcile),
    call(History.reconnect, st.booleans()),
)


@given(SETTINGS, st.sampled_from([1, flood.MEMBERS_PER_PART]), st.lists(EVENTS, max_size=30))
def test_any_history_ends_with_what_its_last_state_alone_would_lead_to(settings, members_per_part, events):
    with pytest.MonkeyPatch.context() as many:
        many.setattr(flood, "MEMBERS_PER_PART", members_per_part)
        history = History(settings)
        history.update(BEGINNING, complete=True)
        history.set_ports(BEGINNING_PORTS)
        history.reconcile()
        for method, arguments in events:
            method(history, *arguments)
        history.end()
