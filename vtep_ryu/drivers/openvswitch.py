"""The Open_vSwitch database: which bridges and ports there are, and what the bridges that are VTEPs need.

Columns and their meaning: ovs-vswitchd.conf.db(5).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from vtep_ryu.core.marks import FAIL_MODE_BEFORE, MARK
from vtep_ryu.core.model import Bridge, TunnelPort
from vtep_ryu.drivers import bfd
from vtep_ryu.drivers.ovsdb import OvsdbClient

LOG = logging.getLogger(__name__)

COLUMNS = {
    "Open_vSwitch": ("bridges",),
    "Bridge": ("name", "datapath_id", "ports", "fail_mode", "protocols", "controller", "external_ids"),
    "Port": ("name", "interfaces", "tag", "trunks", "vlan_mode", "external_ids"),
    "Interface": ("name", "type", "options", "external_ids", "error", "bfd", "bfd_status"),
    "Controller": (
        "target",
        "connection_mode",
        "max_backoff",
        "controller_rate_limit",
        "controller_burst_limit",
        "is_connected",
    ),
}

OPENFLOW = "OpenFlow13"
MAX_BACKOFF_MS = {"tcp": 1000, "ssl": 2000}
"""An attempt to connect is given up after as long. ovs-vswitchd does not wait for its socket while it shakes hands by
TLS, but goes on when it is awake for something else, every half a second: a second is too short for that.
"""

RECONFIGURE = {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}
"""Has ovs-vswitchd look at its configuration anew, as ovs-vsctl does each time."""

Bridges: TypeAlias = Mapping[str, Bridge]


@dataclass(frozen=True, slots=True)
class Serve:
    """The bridges that are VTEPs: the tunnel ports each needs, by name; and those that are ours, VTEPs or not.

    What is ours and no VTEP has nothing of one; all others are not touched.
    """

    bridges: Mapping[str, Mapping[str, TunnelPort]]
    owned: frozenset[str]


@dataclass(frozen=True, slots=True)
class Connected:
    """A bridge that has connected: ovs-vswitchd takes in max_backoff of a connection that is there, and no sooner."""

    bridge: str


class OpenVSwitch(OvsdbClient[Serve | Connected, Bridges]):
    """Follows the bridges, sets up those that are VTEPs and takes back what it created on those that no longer are.

    Whose a bridge is has been decided in hardware_vtep. A lock here keeps a former owner, which may not know yet, from
    writing on: it is taken from that one, which may not even be able to give it back.

    packet_in_rate (per second) and packet_in_burst bound what each port may send to the controller.
    """

    def __init__(self, remotes: Sequence[str], probe_interval: int, packet_in_rate: int, packet_in_burst: int) -> None:
        super().__init__(
            *("Open_vSwitch", COLUMNS, remotes, probe_interval, LOG),
            lock_prefix="vtep_ryu_bridge_",
            steals=True,
        )
        self._controller = {
            "connection_mode": ["out-of-band"],
            "controller_rate_limit": [packet_in_rate],
            "controller_burst_limit": [packet_in_burst],
        }
        self._serve: Serve | None = None
        self._bridges: dict[UUID, Bridge] = {}
        self._bridge_of: dict[UUID, UUID] = {}
        self._errors: dict[str, str] = {}
        self._dirty: set[str] = set()
        self._connected: set[str] = set()
        self._written: set[str] = set()
        self._stuck: set[str] = set()

    def take(self, value: Serve | Connected) -> None:
        if isinstance(value, Connected):
            self._connected.add(value.bridge)
            self._dirty.add(value.bridge)
            return
        before, self._serve = self._serve or Serve({}, frozenset()), value
        self._dirty |= before.owned ^ value.owned
        self._dirty.update(name for name in value.owned if before.bridges.get(name) is not value.bridges.get(name))
        self.want_locks(dict.fromkeys(value.owned, True))

    def locked(self, name: str, has: bool) -> None:
        self._dirty.add(name)

    def follow(self, changed: Mapping[str, set[UUID]], complete: bool) -> None:
        """Read the bridges anew that have changed, or a row of which has: reading a row takes long."""
        rows = self.rows("Bridge")
        touched = (
            set(rows) if complete else {self._bridge_of.get(uuid, uuid) for each in changed.values() for uuid in each}
        )
        before = {} if complete else self._bridges
        bridges = {uuid: bridge for uuid, bridge in before.items() if uuid in rows}
        for table, uuids in changed.items():
            for uuid in uuids - self.rows(table).keys():
                self._bridge_of.pop(uuid, None)
        for uuid in touched & rows.keys():
            bridges[uuid] = _bridge(rows[uuid])
            self._bridge_of.update(dict.fromkeys(_rows_of(rows[uuid]), uuid))
            self._dirty.add(rows[uuid].name)
        self._dirty |= self._stuck
        if complete or bridges != self._bridges:
            self._bridges = bridges
            self.hand_over({bridge.name: bridge for bridge in bridges.values()})

    def write(self, transaction: Any) -> bool:
        if self._serve is None or not self._dirty:
            return False
        rows = (self.row("Bridge", uuid) for uuid, bridge in self._bridges.items() if bridge.name in self._dirty)
        ready = {row.name: row for row in rows if row is not None and self.holds(row.name)}
        self._dirty = (self._dirty - ready.keys()) & self._serve.owned
        self._stuck -= ready.keys()
        wanted = self._serve.bridges
        self._written = {name for name, row in ready.items() if self._write_bridge(transaction, row, wanted.get(name))}
        for name in self._written:
            self.claim(transaction, name)
        return bool(self._written)

    def _write_bridge(self, transaction: Any, bridge: Any, wanted: Mapping[str, TunnelPort] | None) -> bool:
        """Put what a bridge lacks, or what is left there, into the transaction; return whether that is anything."""
        changed = wanted is not None and self._set_up(bridge)
        if wanted is not None and bridge.name in self._connected:
            changed = True
            if RECONFIGURE not in transaction._operations:
                transaction.add_op(RECONFIGURE)
        return self._write_tunnels(transaction, bridge, wanted or {}) or changed

    def written(self) -> None:
        self._connected -= self._written

    def not_written(self, error: str | None) -> None:
        self._dirty |= self._written
        if error is not None:
            self.log(logging.WARNING, "Open_vSwitch: refused: %s", error)

    def _set_up(self, bridge: Any) -> bool:
        """Everything but tunnels that a bridge needs; return whether anything was missing."""
        changed = False
        if bridge.fail_mode != ["secure"]:
            changed = True
            bridge.setkey("external_ids", FAIL_MODE_BEFORE, "".join(bridge.fail_mode))
            bridge.fail_mode = ["secure"]
        protocols = list(bridge.protocols)
        if protocols and OPENFLOW not in protocols:
            changed |= _assign(bridge, "protocols", sorted([*protocols, OPENFLOW]))
            self.log(logging.INFO, "%s: %s added to the bridge's protocols", bridge.name, OPENFLOW)
        for controller in bridge.controller:
            scheme = controller.target.partition(":")[0]
            max_backoff = [MAX_BACKOFF_MS.get(scheme, MAX_BACKOFF_MS["tcp"])]
            for column, value in {**self._controller, "max_backoff": max_backoff}.items():
                changed |= _assign(controller, column, value)
        return changed

    def _write_tunnels(self, transaction: Any, bridge: Any, wanted: Mapping[str, TunnelPort]) -> bool:
        changed = False
        there = {port.name: port for port in bridge.ports}
        taken = {port.name for port in self.rows("Port").values()} if wanted.keys() - there.keys() else set()
        for name, port in wanted.items():
            what = _in_words(port)
            if name in there:
                changed |= self._keep_tunnel(bridge, there[name], port)
            elif name in taken:
                self._stuck.add(bridge.name)
                self._report(name, f"{bridge.name}: another bridge has the tunnel port {name} for {what} already")
            else:
                bridge.addvalue("ports", self._insert_tunnel(transaction, name, port))
                self.log(logging.INFO, "%s: tunnel port %s created for %s", bridge.name, name, what)
                changed = True
        for name, port in there.items():
            if MARK in port.external_ids and name not in wanted:
                bridge.delvalue("ports", port)
                self.log(logging.INFO, "%s: tunnel port %s removed", bridge.name, name)
                changed = True
        return changed

    def _insert_tunnel(self, transaction: Any, name: str, wanted: TunnelPort) -> Any:
        interface = transaction.insert(self.table("Interface"))
        interface.name, interface.type = name, "vxlan"
        interface.options, interface.bfd = _tunnel_options(wanted), _bfd(wanted)
        interface.external_ids = {MARK: wanted.local}
        port = transaction.insert(self.table("Port"))
        port.name, port.interfaces, port.external_ids = name, [interface], {MARK: wanted.local}
        return port

    def _keep_tunnel(self, bridge: Any, port: Any, wanted: TunnelPort) -> bool:
        if MARK not in port.external_ids:
            what = _in_words(wanted)
            self._report(port.name, f"{bridge.name}: port {port.name} is in the way of the tunnel port for {what}")
            return False
        interface, values = port.interfaces[0], {"options": _tunnel_options(wanted), "bfd": _bfd(wanted)}
        return any([_assign(interface, column, value) for column, value in values.items()])

    def _report(self, name: str, error: str) -> None:
        """Log what is wrong with a tunnel port, once for as long as it is."""
        if error and self._errors.get(name) != error:
            self.log(logging.WARNING, "%s", error)
        self._errors[name] = error


def _rows_of(bridge: Any) -> Iterator[UUID]:
    """The rows that a bridge is read from, itself not among them."""
    for port in bridge.ports:
        yield port.uuid
        yield from (interface.uuid for interface in port.interfaces)
    yield from (controller.uuid for controller in bridge.controller)


def _bridge(row: Any) -> Bridge:
    datapath_id = int(row.datapath_id[0], 16) if row.datapath_id else None
    ports = [port for port in row.ports if MARK not in port.external_ids and port.name != row.name]
    unbindable = {row.name: "it is the bridge's own port"}
    for port in ports:
        unbindable.update(_unbindable(port))
    tunnels = [each for port in row.ports if MARK in port.external_ids for each in port.interfaces]
    errors = {interface.name: interface.error[0] for interface in tunnels if interface.error}
    statuses = {interface.name: status for interface in tunnels if (status := interface.bfd_status)}
    names = frozenset(port.name for port in ports)
    connected = sum(each.is_connected for each in row.controller)
    has = (bool(row.controller), bool(tunnels))
    return Bridge(row.name, datapath_id, names, unbindable, errors, statuses, connected, *has)


def _unbindable(port: Any) -> Iterator[tuple[str, str]]:
    """Which names of a port and its interfaces cannot be bound, and why.

    OpenFlow knows a bond by its members' names alone. VLANs that a Port row has are between it and other such ports.
    """
    members = sorted(interface.name for interface in port.interfaces)
    if members != [port.name]:
        for name in members:
            yield name, f"it is a member of the bond {port.name}"
        yield port.name, f"it is a bond of {', '.join(members)}"
    settings = ((column, getattr(port, column)) for column in ("tag", "trunks", "vlan_mode"))
    own = [f"{column} {', '.join(map(str, value))}" for column, value in settings if value]
    if own:
        yield port.name, f"its Port row has {' and '.join(own)}"


def _tunnel_options(port: TunnelPort) -> dict[str, str]:
    """One port for all tunnels: the flows set the remote address and the key (ovs-vswitchd.conf.db(5), Interface).

    One for BFD takes all that its remote address sends, so that BFD counts in any VNI.
    """
    return {"remote_ip": port.remote or "flow", "key": "flow", "local_ip": port.local}


def _bfd(port: TunnelPort) -> dict[str, str]:
    return {} if port.bfd is None else bfd.interface(port.bfd)


def _in_words(port: TunnelPort) -> str:
    return port.local if port.remote is None else f"BFD from {port.local} to {port.remote}"


def _assign(row: Any, column: str, value: Any) -> bool:
    """Set the column where it is otherwise; return whether it was."""
    if getattr(row, column) == value:
        return False
    setattr(row, column, value)
    return True
