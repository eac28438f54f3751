"""The hardware_vtep database: what the NVC wants, as values of core.model; what is ours there, written by publish.py.

Columns and their meaning: vtep(5).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import netaddr

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.model import (
    UNKNOWN_DST,
    Change,
    Locator,
    LogicalRouter,
    LogicalSwitch,
    McastRemote,
    PhysicalPort,
    PhysicalSwitch,
    Row,
    Tunnel,
    UcastRemote,
    Update,
)
from vtep_ryu.core.ownership import TURN
from vtep_ryu.drivers import bfd
from vtep_ryu.drivers.local_macs import UNICAST, LocalMacs
from vtep_ryu.drivers.ovsdb import OvsdbClient
from vtep_ryu.drivers.publish import Faults, PhysicalPorts, Post, Statistics
from vtep_ryu.drivers.tunnel_rows import TunnelRows

LOG = logging.getLogger(__name__)

COLUMNS = {
    "Physical_Switch": ("name", "tunnel_ips", "ports", "tunnels", "switch_fault_status"),
    "Physical_Port": ("name", "vlan_bindings", "port_fault_status", "vlan_stats", "acl_bindings"),
    "Logical_Switch": ("name", "tunnel_key", "replication_mode"),
    "Logical_Router": ("name",),
    "ACL": ("acl_name",),  # What acl_bindings refers to.
    "Ucast_Macs_Remote": ("MAC", "logical_switch", "locator"),
    "Mcast_Macs_Remote": ("MAC", "logical_switch", "locator_set"),
    "Ucast_Macs_Local": ("MAC", "logical_switch", "locator"),
    "Mcast_Macs_Local": ("MAC", "logical_switch", "locator_set"),
    "Physical_Locator": ("encapsulation_type", "dst_ip", "tunnel_key"),
    "Physical_Locator_Set": ("locators",),
    "Tunnel": ("local", "remote", "bfd_params", "bfd_config_local", "bfd_config_remote", "bfd_status"),
    "Logical_Binding_Stats": ("packets_from_local", "bytes_from_local", "packets_to_local", "bytes_to_local"),
}

OPTIONAL = frozenset(
    {
        "Physical_Switch.switch_fault_status",
        "Physical_Switch.tunnels",
        "Tunnel",
        "Physical_Port.port_fault_status",
        "Physical_Port.acl_bindings",
        "ACL",
        "Logical_Router",
        "Physical_Locator.tunnel_key",
        "Logical_Switch.replication_mode",
    }
)
"""What came with later versions of the schema than 1.0.0, or is only reported, and can be done without."""

REMOTES = "Ucast_Macs_Remote"
COMPACT = (REMOTES, UNICAST)
"""The tables that can be large, or change fast. Their rows are tuples, of the UUID and the columns above: see
drivers/idl.py.
"""

REMOTES_PER_UPDATE = 100
"""Rows of it that are handed over at once: half a millisecond of the main thread. Each turn of its loop takes one such
part of very many, and a reconciliation, which waits for the switch, is a dozen turns.
"""

_PLAIN_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PLAIN_UNICAST = re.compile(r"[0-9a-f][02468ace](:[0-9a-f]{2}){5}")


class BadValue(ValueError):
    """A column holds what cannot be used."""

    def __init__(self, column: str, value: object, allowed: str):
        super().__init__(f"{column} has {value!r}, must be {allowed}")


Complain: TypeAlias = Callable[[BadValue], None]
Reader: TypeAlias = tuple[type[Row], Callable[[Any, Complain], Row]]


@dataclass(frozen=True, slots=True)
class AskLocks:
    """The bridges whose locks are asked for, all others are given up; and whether that is waited for."""

    bridges: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class PassLock:
    """Let whoever waits for a bridge's lock have it; where nobody does it stays here, and that is answered."""

    bridge: str


@dataclass(frozen=True, slots=True)
class LockAnswer:
    """Whether a bridge's lock is had: at first, when that changes, and after PassLock."""

    bridge: str
    has: bool


class HardwareVtep(OvsdbClient[Post | AskLocks | PassLock, Update | LockAnswer]):
    """Follows hardware_vtep and keeps the rows and columns there that are ours, of the bridges whose locks it has."""

    def __init__(self, remotes: Sequence[str], probe_interval: int) -> None:
        super().__init__(
            *("hardware_vtep", COLUMNS, remotes, probe_interval, LOG, OPTIONAL, COMPACT),
            lock_prefix="vtep_ryu_switch_",
        )
        self._writers = (LocalMacs(self), TunnelRows(self), PhysicalPorts(self), Faults(self), Statistics(self))
        self._complaints: dict[Any, frozenset[str]] = {}
        self._keys: dict[Any, int | None] = {}
        self._locators: dict[str, Locator] = {}
        self._readers: dict[str, Reader] = {**READERS, REMOTES: (UcastRemote, self._ucast_remote)}

    def follow(self, changed: Mapping[str, set[Any]], complete: bool) -> None:
        received = self.monotonic()
        if complete:
            self._keys.clear()
        for uuid in changed.get("Physical_Locator", ()):
            self._locators.pop(str(uuid), None)
        for writer in self._writers:
            writer.follow(changed, complete)
        again = self._referring(self._rekeyed(changed.get("Physical_Locator", ())))
        touched = {table: changed.get(table, set()) for table in self._readers}
        for table, uuids in again.items():
            touched[table] = touched[table] | uuids
        if len(touched[REMOTES]) > REMOTES_PER_UPDATE:
            self.hand_over_each(self._remote_parts(touched.pop(REMOTES), received))
        changes = tuple(change for table, uuids in touched.items() for change in self._changes(table, uuids))
        if changes or complete:
            self.hand_over(Update(changes, complete, received))
        if complete:  # What comes next, the locks too, is to be known after all that.
            self.hand_over_rest(hasten=not self.was_lost)

    def _remote_parts(self, remotes: Set[str], received: float) -> Iterator[Update]:
        """First those that are there, then those that are gone: an address whose row is replaced never has none.

        What goes or comes while they are handed over is told of later. No sets are made of very many: the main thread
        would stand still while one is.
        """
        there = self.rows(REMOTES)
        gone = [uuid for uuid in remotes if uuid not in there]
        left = chain((uuid for uuid in remotes if uuid in there), gone)

        def parts() -> Iterator[Update]:
            while changes := tuple(self._changes(REMOTES, islice(left, REMOTES_PER_UPDATE))):
                self.show_life()
                yield Update(changes, received=received)

        return parts()

    def take(self, value: Post | AskLocks | PassLock) -> None:
        match value:
            case AskLocks(bridges):
                self.want_locks(bridges)
            case PassLock(bridge):
                self.pass_lock(bridge)
            case _:
                for writer in self._writers:
                    writer.take(value)

    def locked(self, name: str, has: bool) -> None:
        self.hand_over(LockAnswer(name, has))

    def held(self) -> set[str]:
        return super().held() - {TURN}

    def write(self, transaction: Any) -> bool:
        # One writer a transaction: what the server refuses of one does not hold up the others.
        return any(writer.write(transaction) for writer in self._writers)

    def written(self) -> None:
        for writer in self._writers:
            writer.written()

    def not_written(self, error: str | None) -> None:
        for writer in self._writers:
            writer.not_written(error)

    def _rekeyed(self, changed: Iterable[Any]) -> set[Any]:
        """The locators whose tunnel_key, the one column of theirs that can change, is another than it was."""
        found = set()
        for uuid in changed:
            row, is_known = self.row("Physical_Locator", uuid), uuid in self._keys
            before, now = self._keys.pop(uuid, None), None if row is None else _tunnel_key(row)
            if row is not None:
                self._keys[uuid] = now
                if is_known and before != now:
                    found.add(uuid)
        return found

    def _referring(self, locators: Set[Any]) -> dict[str, set[Any]]:
        """The rows that refer to these locators, by table. They are looked for: it is rare that a key changes."""
        if not locators:
            return {}
        unicast, multicast = (self.rows(table).items() for table in (REMOTES, "Mcast_Macs_Remote"))
        in_text = set(map(str, locators))
        return {
            REMOTES: {uuid for uuid, (*_, locator) in unicast if locator in in_text},
            "Mcast_Macs_Remote": {
                uuid for uuid, row in multicast if any(each.uuid in locators for each in row.locator_set.locators)
            },
        }

    def _changes(self, table: str, uuids: Iterable[Any]) -> Iterator[Change]:
        """The rows with these UUIDs as they are now."""
        rows, (kind, read), complaints = self.rows(table), self._readers[table], set[str]()

        def complain(error: BadValue, left_out: str = "value") -> None:
            complaints.add(f"{error}; the {left_out} is left out")

        for uuid in uuids:
            row, value = rows.get(uuid), None
            try:
                value = read(row, complain) if row is not None else None
            except BadValue as error:
                complain(error, "row")
            except Exception as error:
                error.add_note(f"reading {table} {self._title(row)!r} ({uuid})")
                raise
            if complaints or uuid in self._complaints:
                self._log_new(table, row, uuid, frozenset(complaints))
                complaints.clear()
            yield Change(kind, str(uuid), value)

    def _log_new(self, table: str, row: Any, uuid: Any, complaints: frozenset[str]) -> None:
        """Log what is wrong with a row, once for as long as it is."""
        for complaint in sorted(complaints - self._complaints.pop(uuid, frozenset())):
            self.errors["bad_value"] += 1
            self.log(logging.WARNING, "%s %s: %s", table, self._title(row), complaint)
        if complaints:
            self._complaints[uuid] = complaints

    def _title(self, row: Any) -> str:
        """What an operator knows the row by."""
        if isinstance(row, tuple):
            _, mac, logical_switch, _ = row
            return f"{mac} of {self.row('Logical_Switch', UUID(logical_switch)).name}"
        name: str | None = getattr(row, "name", None)
        if row._table.name == "Tunnel":
            return f"{row.local.dst_ip} to {row.remote.dst_ip}"
        return f"{row.MAC} of {row.logical_switch.name}" if name is None else name

    def _ucast_remote(self, row: Any, complain: Complain) -> UcastRemote:
        uuid, mac, logical_switch, locator = row
        if locator not in self._locators:
            self._locators[locator] = read_locator(self.row("Physical_Locator", UUID(locator)))
        return ucast_remote(uuid, mac, logical_switch, self._locators[locator])


def _physical_switch(row: Any, complain: Complain) -> PhysicalSwitch:
    ips = _usable(row.tunnel_ips, lambda text: ip_address("tunnel_ips", text), complain)
    tunnel_ips = tuple(sorted(ips, key=netaddr.IPAddress))
    return PhysicalSwitch(str(row.uuid), row.name, tunnel_ips, frozenset(str(port.uuid) for port in row.ports))


def _physical_port(row: Any, complain: Complain) -> PhysicalPort:
    bindings = tuple(sorted((vlan, str(switch.uuid)) for vlan, switch in row.vlan_bindings.items()))
    return PhysicalPort(str(row.uuid), row.name, bindings, tuple(sorted(getattr(row, "acl_bindings", ()))))


def _logical_switch(row: Any, complain: Complain) -> LogicalSwitch:
    mode = getattr(row, "replication_mode", [])
    return LogicalSwitch(str(row.uuid), row.name, _tunnel_key(row), mode[0] if mode else "service_node")


def _logical_router(row: Any, complain: Complain) -> LogicalRouter:
    return LogicalRouter(str(row.uuid), row.name)


def ucast_remote(uuid: str, text: str, logical_switch: str, locator: Locator) -> UcastRemote:
    """A row of Ucast_Macs_Remote.

    Raises BadValue.
    """
    mac = text if _PLAIN_UNICAST.fullmatch(text) else mac_address(text)
    if mac[1] not in "02468ace":
        raise BadValue("MAC", text, "a unicast address")
    return UcastRemote(uuid, mac, logical_switch, locator)


def _mcast_remote(row: Any, complain: Complain) -> McastRemote:
    mac = row.MAC
    if mac != UNKNOWN_DST:
        mac = mac_address(row.MAC)
        if not int(mac[1], 16) & 1:
            raise BadValue("MAC", row.MAC, f"a multicast address or {UNKNOWN_DST}")
    locators = _usable(row.locator_set.locators, read_locator, complain)
    return McastRemote(str(row.uuid), mac, str(row.logical_switch.uuid), tuple(sorted(locators)))


def read_locator(row: Any) -> Locator:
    """A row of Physical_Locator.

    Raises BadValue.
    """
    ip, key = ip_address("dst_ip of its Physical_Locator", row.dst_ip), _tunnel_key(row)
    if key is not None and not 0 <= key <= p.MAX_VNI:
        raise BadValue("tunnel_key of its Physical_Locator", key, f"a VNI (0 to {p.MAX_VNI})")
    return Locator(ip, key)


def _tunnel_key(row: Any) -> int | None:
    """The key of a Physical_Locator or Logical_Switch row; schemas before 1.5.0 have none for locators."""
    keys = getattr(row, "tunnel_key", ())
    return keys[0] if keys else None


def _tunnel(row: Any, complain: Complain) -> Tunnel:
    def wrong(column: str, value: str, allowed: str) -> None:
        complain(BadValue(column, value, allowed))

    local, remote = (
        ip_address("dst_ip of its Physical_Locator", locator.dst_ip) for locator in (row.local, row.remote)
    )
    return Tunnel(str(row.uuid), local, remote, bfd.session(row, wrong), bool(row.bfd_params))


READERS: Mapping[str, Reader] = {
    "Physical_Switch": (PhysicalSwitch, _physical_switch),
    "Physical_Port": (PhysicalPort, _physical_port),
    "Logical_Switch": (LogicalSwitch, _logical_switch),
    "Logical_Router": (LogicalRouter, _logical_router),
    "Mcast_Macs_Remote": (McastRemote, _mcast_remote),
    "Tunnel": (Tunnel, _tunnel),
}


def mac_address(text: str) -> str:
    """A MAC address in the form 00:11:22:aa:bb:cc, whichever way the NVC spelt it.

    Raises BadValue.
    """
    if _PLAIN_MAC.fullmatch(text):
        return text
    try:
        return str(netaddr.EUI(text, version=48, dialect=netaddr.mac_unix_expanded))
    except (netaddr.AddrFormatError, ValueError, TypeError) as error:
        raise BadValue("MAC", text, "a MAC address") from error


def ip_address(column: str, text: str) -> str:
    """The IPv4 address of a VTEP: the schema's only encapsulation is vxlan_over_ipv4.

    Raises BadValue.
    """
    if not netaddr.valid_ipv4(text, netaddr.INET_PTON):
        raise BadValue(column, text, "an IPv4 address")
    if text in ("0.0.0.0", "255.255.255.255") or netaddr.IPAddress(text).is_multicast():
        raise BadValue(column, text, "an IPv4 address that one VTEP can have")
    return text


T = TypeVar("T")


def _usable(raws: Iterable[Any], read: Callable[[Any], T], complain: Complain) -> set[T]:
    """What can be read of these, each once."""
    found = set()
    for raw in raws:
        try:
            found.add(read(raw))
        except BadValue as error:
            complain(error)
    return found
