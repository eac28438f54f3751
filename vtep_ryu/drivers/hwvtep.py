"""The hardware_vtep database: what the NVC wants, as values of core.model; what is ours there, written by publish.py.

Columns and their meaning: vtep(5).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, TypeAlias, TypeVar

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
from vtep_ryu.drivers import bfd
from vtep_ryu.drivers.local_macs import LocalMacs
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

_PLAIN_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class BadValue(ValueError):
    """A column holds what cannot be used."""

    def __init__(self, column: str, value: object, allowed: str):
        super().__init__(f"{column} has {value!r}, must be {allowed}")


Complain: TypeAlias = Callable[[BadValue], None]


class HardwareVtep(OvsdbClient[Post, Update]):
    """Follows hardware_vtep and keeps the rows and columns there that are ours."""

    def __init__(self, remotes: Sequence[str]) -> None:
        super().__init__("hardware_vtep", COLUMNS, remotes, LOG, OPTIONAL)
        self._writers = (LocalMacs(self), TunnelRows(self), PhysicalPorts(self), Faults(self), Statistics(self))
        self._complaints: dict[Any, frozenset[str]] = {}
        self._keys: dict[Any, int | None] = {}

    def follow(self, changed: Mapping[str, set[Any]], complete: bool) -> None:
        if complete:
            there = changed.values()
            self._complaints = {uuid: each for uuid, each in self._complaints.items() if any(uuid in u for u in there)}
            self._keys.clear()
        for writer in self._writers:
            writer.follow(changed, complete)
        again = self._referring(self._rekeyed(changed.get("Physical_Locator", ())))
        changes = tuple(
            self._change(kind, table, uuid)
            for table, (kind, _) in READERS.items()
            for uuid in changed.get(table, set()) | again.get(table, set())
        )
        if changes or complete:
            self.hand_over(Update(changes, complete))

    def take(self, value: Post) -> None:
        for writer in self._writers:
            writer.take(value)

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
        unicast, multicast = (self.rows(table).items() for table in ("Ucast_Macs_Remote", "Mcast_Macs_Remote"))
        return {
            "Ucast_Macs_Remote": {uuid for uuid, row in unicast if row.locator.uuid in locators},
            "Mcast_Macs_Remote": {
                uuid for uuid, row in multicast if any(each.uuid in locators for each in row.locator_set.locators)
            },
        }

    def _change(self, kind: type[Row], table: str, uuid: Any) -> Change:
        row, complaints = self.row(table, uuid), set()

        def complain(error: BadValue, left_out: str = "value") -> None:
            complaints.add(f"{error}; the {left_out} is left out")

        try:
            value = READERS[table][1](row, complain) if row is not None else None
        except BadValue as error:
            complain(error, "row")
            value = None
        except Exception as error:
            error.add_note(f"reading {table} {_title(row)!r} ({uuid})")
            raise
        self._log_new(table, row, uuid, frozenset(complaints))
        return Change(kind, str(uuid), value)

    def _log_new(self, table: str, row: Any, uuid: Any, complaints: frozenset[str]) -> None:
        """Log what is wrong with a row, once for as long as it is."""
        for complaint in sorted(complaints - self._complaints.pop(uuid, frozenset())):
            self.log(logging.WARNING, "%s %s: %s", table, _title(row), complaint)
        if complaints:
            self._complaints[uuid] = complaints


def _title(row: Any) -> str:
    """What an operator knows the row by."""
    name: str | None = getattr(row, "name", None)
    if row._table.name == "Tunnel":
        return f"{row.local.dst_ip} to {row.remote.dst_ip}"
    return f"{row.MAC} of {row.logical_switch.name}" if name is None else name


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


def _ucast_remote(row: Any, complain: Complain) -> UcastRemote:
    mac = mac_address(row.MAC)
    if int(mac[1], 16) & 1:
        raise BadValue("MAC", row.MAC, "a unicast address")
    return UcastRemote(str(row.uuid), mac, str(row.logical_switch.uuid), _locator(row.locator))


def _mcast_remote(row: Any, complain: Complain) -> McastRemote:
    mac = row.MAC
    if mac != UNKNOWN_DST:
        mac = mac_address(row.MAC)
        if not int(mac[1], 16) & 1:
            raise BadValue("MAC", row.MAC, f"a multicast address or {UNKNOWN_DST}")
    locators = _usable(row.locator_set.locators, _locator, complain)
    return McastRemote(str(row.uuid), mac, str(row.logical_switch.uuid), tuple(sorted(locators)))


def _locator(row: Any) -> Locator:
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


READERS: dict[str, tuple[type[Row], Callable[[Any, Complain], Row]]] = {
    "Physical_Switch": (PhysicalSwitch, _physical_switch),
    "Physical_Port": (PhysicalPort, _physical_port),
    "Logical_Switch": (LogicalSwitch, _logical_switch),
    "Logical_Router": (LogicalRouter, _logical_router),
    "Ucast_Macs_Remote": (UcastRemote, _ucast_remote),
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
    """An IPv4 address: the schema's only encapsulation is vxlan_over_ipv4.

    Raises BadValue.
    """
    if not netaddr.valid_ipv4(text, netaddr.INET_PTON):
        raise BadValue(column, text, "an IPv4 address")
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
