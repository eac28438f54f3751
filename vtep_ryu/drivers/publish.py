"""What is ours in hardware_vtep: each writer knows what should be there, compares, and writes the difference.

Rows that are right stay as they are; nothing is cleared to be filled again. A writer works on what changed, either in
what should be there or in what is.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias
from uuid import UUID

from vtep_ryu.core.model import UNKNOWN_DST
from vtep_ryu.core.statistics import BindingStats
from vtep_ryu.drivers.ovsdb import OvsdbClient

ENCAPSULATION = "vxlan_over_ipv4"
ROWS_PER_TRANSACTION = 1000

LocalMac: TypeAlias = tuple[str, str]
"""A logical switch's UUID and an address, or UNKNOWN_DST."""


@dataclass(frozen=True, slots=True)
class PublishMacs:
    """The local addresses of a physical switch and their locator, None for none; complete: and no others."""

    physical_switch: str
    macs: Mapping[LocalMac, str | None]
    complete: bool


@dataclass(frozen=True, slots=True)
class PublishSwitches:
    """The physical switches that are served: the names of their ports by the switch's name, and what is wrong.

    faults are keywords of the fault columns by the UUID of a Physical_Switch or Physical_Port row; all others are well.
    """

    ports: Mapping[str, frozenset[str]]
    faults: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class PublishStatistics:
    """The statistics of a physical switch's bindings by the UUID of the Physical_Port row and the VLAN."""

    physical_switch: str
    bindings: Mapping[tuple[str, int], BindingStats]


Post: TypeAlias = PublishMacs | PublishSwitches | PublishStatistics


class Writer(ABC):
    """One kind of rows or columns that are ours."""

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        self.client = client
        self._writing = False

    @abstractmethod
    def take(self, post: Post) -> None:
        """Take in what should be there."""

    @abstractmethod
    def follow(self, changed: Mapping[str, set[UUID]], complete: bool) -> None:
        """Take in what is there."""

    @abstractmethod
    def _write(self, transaction: Any) -> bool:
        """Put the difference into the transaction; return whether there is any."""

    @abstractmethod
    def _settled(self, error: str | None) -> None:
        """Take in that the last transaction is over; with an error where the server refused it."""

    @abstractmethod
    def _again(self) -> None:
        """Take in that the last transaction is to be made anew."""

    def write(self, transaction: Any) -> bool:
        """See OvsdbClient.write()."""
        self._writing = self._write(transaction)
        return self._writing

    def written(self) -> None:
        """See OvsdbClient.written()."""
        if self._writing:
            self._writing = False
            self._settled(None)

    def not_written(self, error: str | None) -> None:
        """See OvsdbClient.not_written()."""
        if self._writing:
            self._writing = False
            self._settled(error) if error is not None else self._again()


class LocalMacs(Writer):
    """Ucast_Macs_Local, and unknown-dst in Mcast_Macs_Local.

    A row is a physical switch's if a locator of it is one of that switch's tunnel addresses. One whose locators are all
    nobody's was written before the tunnel address changed, and goes.
    """

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        super().__init__(client)
        self._wanted: dict[str, dict[LocalMac, str]] = {}
        self._there: dict[LocalMac, set[tuple[str, UUID]]] = defaultdict(set)
        self._keys: dict[UUID, LocalMac] = {}
        self._dirty: dict[LocalMac, None] = {}
        self._batch: list[LocalMac] = []
        self._armed = False  # Until both databases are loaded nothing is taken for a leftover.
        self._batch_size = ROWS_PER_TRANSACTION

    def take(self, post: Post) -> None:
        if isinstance(post, PublishSwitches):
            self._armed = True
        if not isinstance(post, PublishMacs):
            return
        wanted = self._wanted.setdefault(post.physical_switch, {})
        if post.complete:
            self._dirty.update(dict.fromkeys([*wanted, *self._there]))
            wanted.clear()
        for key, ip in post.macs.items():
            if ip is None:
                wanted.pop(key, None)
            else:
                wanted[key] = ip
            self._dirty[key] = None

    def follow(self, changed: Mapping[str, set[UUID]], complete: bool) -> None:
        if complete:
            self._there.clear()
            self._keys.clear()
            self._dirty.update(dict.fromkeys(key for wanted in self._wanted.values() for key in wanted))
        for table in ("Ucast_Macs_Local", "Mcast_Macs_Local"):
            for uuid in changed.get(table, ()):
                self._follow_row(table, uuid)

    def _follow_row(self, table: str, uuid: UUID) -> None:
        old = self._keys.pop(uuid, None)
        if old is not None:
            self._there[old].discard((table, uuid))
            if not self._there[old]:
                del self._there[old]
            self._dirty[old] = None
        row = self.client.row(table, uuid)
        if row is not None:
            key = (str(row.logical_switch.uuid), row.MAC)
            self._keys[uuid] = key
            self._there[key].add((table, uuid))
            self._dirty[key] = None

    def _write(self, transaction: Any) -> bool:
        if not self._armed:
            return False
        locators = Locators(self.client, transaction)
        owners = self._owners()
        self._batch = []
        while self._dirty and len(self._batch) < self._batch_size:
            key = next(iter(self._dirty))
            del self._dirty[key]
            try:
                if self._write_key(transaction, locators, owners, key):
                    self._batch.append(key)
            except Exception as error:
                error.add_note(f"writing the local address {key[1]} of the logical switch {key[0]}")
                raise
        return bool(self._batch)

    def _write_key(self, transaction: Any, locators: Locators, owners: Mapping[str, str], key: LocalMac) -> bool:
        switch, mac = key
        wanted = {ip for macs in self._wanted.values() if (ip := macs.get(key)) is not None}
        table = "Mcast_Macs_Local" if mac == UNKNOWN_DST else "Ucast_Macs_Local"
        there = ((each, self.client.row(*each)) for each in sorted(self._there.get(key, ())))
        rows = [(each, row, _locators_of(row)) for (each, _), row in there if row is not None]
        found: set[str] = set()
        changed = False
        for where, row, ips in rows:
            if where == table and len(ips) == 1 and ips <= wanted - found:
                found |= ips
            elif ips.isdisjoint(owners) or any(owners.get(ip) in self._wanted for ip in ips):
                row.delete()
                changed = True
        logical_switch = self.client.row("Logical_Switch", UUID(switch))
        for ip in sorted(wanted - found) if logical_switch is not None else ():
            row = transaction.insert(self.client.table(table))
            row.MAC, row.logical_switch = mac, logical_switch
            if mac == UNKNOWN_DST:
                row.locator_set = locators.set_of(ip)
            else:
                row.locator = locators.of(ip)
            changed = True
        return changed

    def _owners(self) -> dict[str, str]:
        rows = self.client.rows("Physical_Switch").values()
        return {ip: row.name for row in rows for ip in row.tunnel_ips}

    def _settled(self, error: str | None) -> None:
        if error is None:
            self._batch_size = ROWS_PER_TRANSACTION
            self._again()  # A row that somebody else deletes at once is gone before its coming was seen.
        elif len(self._batch) > 1:
            # One of them is to blame: write them one by one.
            self._batch_size = 1
            self._again()
        else:
            self.client.log(logging.WARNING, "hardware_vtep: local address %s is refused: %s", self._batch[0][1], error)

    def _again(self) -> None:
        self._dirty.update(dict.fromkeys(self._batch))


class Locators:
    """Physical_Locator rows by address: those that are there, or made in the transaction that refers to them."""

    def __init__(self, client: OvsdbClient[Any, Any], transaction: Any) -> None:
        self._client = client
        self._transaction = transaction
        self._by_ip: dict[str, Any] | None = None
        self._sets: dict[str, Any] = {}

    def of(self, ip: str) -> Any:
        """The row for a VTEP's address; not one with a tunnel key, which is for the NVC's use of one logical switch."""
        if self._by_ip is None:
            rows = self._client.rows("Physical_Locator").values()
            self._by_ip = {row.dst_ip: row for row in rows if not getattr(row, "tunnel_key", None)}
        if ip not in self._by_ip:
            row = self._transaction.insert(self._client.table("Physical_Locator"))
            row.encapsulation_type, row.dst_ip = ENCAPSULATION, ip
            self._by_ip[ip] = row
        return self._by_ip[ip]

    def set_of(self, ip: str) -> Any:
        """A new Physical_Locator_Set row with this one member."""
        if ip not in self._sets:
            row = self._transaction.insert(self._client.table("Physical_Locator_Set"))
            row.locators = [self.of(ip)]
            self._sets[ip] = row
        return self._sets[ip]


def _locators_of(row: Any) -> frozenset[str]:
    """The addresses that a local row points at."""
    locators = [row.locator] if "locator" in row._table.columns else row.locator_set.locators
    return frozenset(locator.dst_ip for locator in locators)


class SwitchWriter(Writer):
    """Rows or columns that are few enough to be compared whole, by physical switch, whenever anything changes.

    They are those of the physical switches that are served.
    """

    what: str

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        super().__init__(client)
        self._wanted = PublishSwitches({}, {})
        self._dirty = False

    @abstractmethod
    def _write_switch(self, transaction: Any, switch: Any, wanted: PublishSwitches) -> bool:
        """Put the difference for one Physical_Switch row into the transaction; return whether there is any."""

    def take(self, post: Post) -> None:
        if isinstance(post, PublishSwitches):
            self._wanted = post
            self._dirty = True

    def follow(self, changed: Mapping[str, set[UUID]], complete: bool) -> None:
        self._dirty |= complete or not changed.keys().isdisjoint({"Physical_Switch", "Physical_Port"})

    def _write(self, transaction: Any) -> bool:
        if not self._dirty:
            return False
        self._dirty = False
        switches = [row for row in self.client.rows("Physical_Switch").values() if row.name in self._wanted.ports]
        try:
            return any([self._write_switch(transaction, row, self._wanted) for row in switches])
        except Exception as error:
            error.add_note(f"comparing Physical_Switch {', '.join(row.name for row in switches)}: {self.what} ours")
            raise

    def _settled(self, error: str | None) -> None:
        if error is not None:
            self.client.log(logging.WARNING, "hardware_vtep: %s refused: %s", self.what, error)
            self._dirty = True

    def _again(self) -> None:
        self._dirty = True


class PhysicalPorts(SwitchWriter):
    """A Physical_Port row for every port of the bridge, and for those that are gone but still bound."""

    what = "Physical_Port rows are"

    def _write_switch(self, transaction: Any, switch: Any, wanted: PublishSwitches) -> bool:
        ports = wanted.ports[switch.name]
        there = {row.name for row in switch.ports}
        missing = [port for port in sorted(ports) if port not in there]
        for port in missing:
            row = transaction.insert(self.client.table("Physical_Port"))
            row.name = port
            switch.addvalue("ports", row)
            self.client.log(logging.INFO, "%s: port %s added to Physical_Port", switch.name, port)
        gone = [row for row in switch.ports if row.name in there - ports and not row.vlan_bindings]
        for row in gone:
            row.verify("vlan_bindings")
            switch.delvalue("ports", row)
            self.client.log(logging.INFO, "%s: port %s removed from Physical_Port", switch.name, row.name)
        return bool(missing or gone)


class Faults(SwitchWriter):
    """switch_fault_status and port_fault_status, where the schema has them."""

    what = "fault columns are"

    def _write_switch(self, transaction: Any, switch: Any, wanted: PublishSwitches) -> bool:
        changed = False
        columns = [(switch, "switch_fault_status"), *((port, "port_fault_status") for port in switch.ports)]
        for row, column in columns:
            if column not in row._table.columns:
                continue  # Schemas before 1.1.0 do not have it.
            faults = wanted.faults.get(str(row.uuid), frozenset())
            if set(getattr(row, column)) != faults:
                setattr(row, column, sorted(faults))
                changed = True
        return changed


class Statistics(SwitchWriter):
    """vlan_stats: a Logical_Binding_Stats row for every binding, and none for others.

    A binding that has gone and come back has a new row, which waits to be counted anew.
    """

    what = "statistics are"

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        super().__init__(client)
        self._counted: dict[str, dict[tuple[str, int], BindingStats]] = {}

    def take(self, post: Post) -> None:
        super().take(post)
        if isinstance(post, PublishStatistics) and post.bindings != self._counted.get(post.physical_switch):
            self._counted[post.physical_switch] = dict(post.bindings)
            self._dirty = True

    def _write_switch(self, transaction: Any, switch: Any, wanted: PublishSwitches) -> bool:
        counted = self._counted.get(switch.name)
        if counted is None:
            return False
        return any([self._write_port(transaction, port, counted) for port in switch.ports])

    def _write_port(self, transaction: Any, port: Any, counted: dict[tuple[str, int], BindingStats]) -> bool:
        changed = False
        there = dict(port.vlan_stats)
        wanted = {vlan: stats for vlan in port.vlan_bindings if (stats := counted.get((str(port.uuid), vlan)))}
        for vlan in there.keys() - wanted.keys():
            port.delkey("vlan_stats", vlan)
            counted.pop((str(port.uuid), vlan), None)
            changed = True
        for vlan, stats in wanted.items():
            row = there.get(vlan)
            values = asdict(stats)
            if row is None:
                row = transaction.insert(self.client.table("Logical_Binding_Stats"))
                port.setkey("vlan_stats", vlan, row.uuid)
            else:
                values = {column: value for column, value in values.items() if getattr(row, column) != value}
            for column, value in values.items():
                setattr(row, column, value)
            changed |= bool(values)
        return changed
