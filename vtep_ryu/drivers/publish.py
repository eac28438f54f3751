"""What is ours in hardware_vtep: each writer knows what should be there, compares, and writes the difference.

Rows that are right stay as they are; nothing is cleared to be filled again. A writer works on what changed, either in
what should be there or in what is.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

from vtep_ryu.core.statistics import BindingStats
from vtep_ryu.drivers.locators import Locators, Site
from vtep_ryu.drivers.ovsdb import OvsdbClient

ROWS_PER_TRANSACTION = 1000

LocalMac: TypeAlias = tuple[str, str]
"""A logical switch's UUID and an address, or core.model.UNKNOWN_DST."""


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


@dataclass(frozen=True, slots=True)
class PublishTunnels:
    """The tunnels of a physical switch by their addresses, each with its bfd_status; None for none.

    complete: and no others.
    """

    physical_switch: str
    tunnels: Mapping[tuple[str, str], Mapping[str, str] | None]
    complete: bool


@dataclass(frozen=True, slots=True)
class Forget:
    """A physical switch that another instance has: nothing there is ours to change, and nothing is taken back."""

    physical_switch: str


Post: TypeAlias = PublishMacs | PublishSwitches | PublishStatistics | PublishTunnels | Forget


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


Key = TypeVar("Key", bound=Hashable)
Wish = TypeVar("Wish")


class KeyedWriter(Writer, Generic[Key, Wish]):
    """Rows that are known by a key. What changed, there or in what should be there, is written by the batch."""

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        super().__init__(client)
        self._wanted: dict[str, dict[Key, Wish]] = {}
        self._dirty: dict[Key, None] = {}
        self._batch: list[Key] = []
        self._completed: set[str] = set()
        self._armed = False  # Until both databases are loaded nothing is taken for a leftover.
        self._batch_size = ROWS_PER_TRANSACTION
        self._site: Site | None = None

    @abstractmethod
    def _write_key(self, transaction: Any, locators: Locators, site: Site, key: Key) -> set[str]:
        """Put the difference for a key into the transaction; return whose rows it changes: physical switches' names.

        Only rows of those whose locks we have, and rows that are nobody's, are ours to change.
        """

    @abstractmethod
    def _locals(self) -> Iterator[tuple[Key, Collection[str]]]:
        """The keys of all rows that are there, with the tunnel addresses that say whose a row is."""

    @abstractmethod
    def _in_words(self, key: Key) -> str:
        """What a key stands for, in words."""

    def take(self, post: Post) -> None:
        if isinstance(post, PublishSwitches):
            self._armed = True
        if isinstance(post, Forget):
            self._wanted.pop(post.physical_switch, None)

    def _want(self, physical_switch: str, wishes: Mapping[Key, Wish | None], complete: bool) -> None:
        """Take in what should be there of a physical switch, None for nothing; complete: and nothing else."""
        wanted = self._wanted.setdefault(physical_switch, {})
        if complete:
            self._dirty.update(dict.fromkeys(wanted))
            self._completed.add(physical_switch)
            wanted.clear()
        for key, wish in wishes.items():
            if wish is None:
                wanted.pop(key, None)
            else:
                wanted[key] = wish
            self._dirty[key] = None

    def follow(self, changed: Mapping[str, set[UUID]], complete: bool) -> None:
        if complete or "Physical_Switch" in changed:
            self._site = None

    def _write(self, transaction: Any) -> bool:
        if not self._armed or not (self._dirty or self._completed) or not self.client.held():
            return False
        site = self._site = self._site or Site(self.client)
        self._find_leftovers(site.owners)
        locators, touched = Locators(self.client, transaction), set[str]()
        self._batch = []
        while self._dirty and len(self._batch) < self._batch_size:
            key = next(iter(self._dirty))
            del self._dirty[key]
            try:
                if changed := self._write_key(transaction, locators, site, key):
                    self._batch.append(key)
                    touched |= changed
            except Exception as error:
                error.add_note(f"writing the {self._in_words(key)}")
                raise
        for name in touched:
            self.client.claim(transaction, name)
        return bool(self._batch)

    def _find_leftovers(self, owners: Mapping[str, str]) -> None:
        """Have looked at what is there of those of which all there should be is known, and at what is nobody's."""
        if self._completed:
            whose, self._completed = {*self._completed, None}, set()
            found = (key for key, ips in self._locals() if not ips or any(owners.get(ip) in whose for ip in ips))
            self._dirty.update(dict.fromkeys(found))

    def _settled(self, error: str | None) -> None:
        if error is None:
            self._batch_size = ROWS_PER_TRANSACTION
            self._again()  # A row that somebody else deletes at once is gone before its coming was seen.
        elif len(self._batch) > 1:
            # One of them is to blame: write them one by one.
            self._batch_size = 1
            self._again()
        else:
            what = self._in_words(self._batch[0])
            self.client.log(logging.WARNING, "hardware_vtep: %s is refused: %s", what, error)

    def _again(self) -> None:
        self._dirty.update(dict.fromkeys(self._batch))


class SwitchWriter(Writer):
    """Rows or columns of a physical switch, few enough to be compared whole whenever anything of it changes.

    They are those of the physical switches that are served.
    """

    what: str

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        super().__init__(client)
        self._wanted = PublishSwitches({}, {})
        self._dirty: set[str] = set()
        self._written: set[str] = set()
        self._uuids: dict[str, UUID] = {}
        self._switch_of: dict[UUID, str] = {}

    @abstractmethod
    def _write_switch(self, transaction: Any, switch: Any, wanted: PublishSwitches) -> bool:
        """Put the difference for one Physical_Switch row into the transaction; return whether there is any."""

    def take(self, post: Post) -> None:
        if isinstance(post, PublishSwitches):
            before, self._wanted = self._wanted, post
            if post.faults != before.faults:  # They do not say whose they are, and are rare.
                self._dirty.update(post.ports)
            self._dirty.update(name for name, ports in post.ports.items() if before.ports.get(name) != ports)

    def follow(self, changed: Mapping[str, set[UUID]], complete: bool) -> None:
        if complete or "Physical_Switch" in changed:
            rows = self.client.rows("Physical_Switch").values()
            self._uuids = {row.name: row.uuid for row in rows}
            self._switch_of = {
                uuid: row.name for row in rows for uuid in (row.uuid, *(each.uuid for each in row.ports))
            }
        uuids = (uuid for table in ("Physical_Switch", "Physical_Port") for uuid in changed.get(table, ()))
        self._dirty.update(self._switch_of[uuid] for uuid in uuids if uuid in self._switch_of)

    def _write(self, transaction: Any) -> bool:
        served = self._dirty & self._wanted.ports.keys() & self._uuids.keys()
        ready = set(filter(self.client.holds, served))
        self._dirty = served - ready
        switches = [self.client.row("Physical_Switch", self._uuids[name]) for name in sorted(ready)]
        try:
            changed = [row for row in switches if self._write_switch(transaction, row, self._wanted)]
        except Exception as error:
            error.add_note(f"comparing Physical_Switch {[row.name for row in switches]}: {self.what} ours")
            raise
        self._written = {row.name for row in changed}
        for name in self._written:
            self.client.claim(transaction, name)
        return bool(changed)

    def _settled(self, error: str | None) -> None:
        if error is not None:
            self.client.log(logging.WARNING, "hardware_vtep: %s refused: %s", self.what, error)
            self._again()

    def _again(self) -> None:
        self._dirty |= self._written


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
        if isinstance(post, Forget):
            self._counted.pop(post.physical_switch, None)
        if isinstance(post, PublishStatistics) and post.bindings != self._counted.get(post.physical_switch):
            self._counted[post.physical_switch] = dict(post.bindings)
            self._dirty.add(post.physical_switch)

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
