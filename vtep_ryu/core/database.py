"""The rows of hardware_vtep, indexed by what the VTEPs ask of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable
from typing import Any, TypeVar

from vtep_ryu.core.model import (
    UNKNOWN_DST,
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
from vtep_ryu.core.units import (
    FloodUnit,
    LogicalRouterTouched,
    LogicalSwitchTouched,
    MulticastUnit,
    PhysicalPortTouched,
    PhysicalSwitchTouched,
    RemoteUnit,
    SourceUnit,
    Touch,
    TunnelTouched,
)


class Database:
    """What the NVC wants, as last seen. apply() is the only thing that changes it."""

    def __init__(self) -> None:
        self.loaded = False
        self._rows: dict[type[Row], dict[str, Row]] = defaultdict(dict)
        self._physical_switches: dict[str, PhysicalSwitch] = {}
        self._remotes: dict[str, dict[str, tuple[UcastRemote, ...]]] = defaultdict(dict)
        self._multicasts: dict[str, dict[str, tuple[McastRemote, ...]]] = defaultdict(dict)
        self._locators: dict[str, Counter[Locator]] = defaultdict(Counter)
        self._keys: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
        self._tunnels: dict[tuple[str, str], tuple[Tunnel, ...]] = {}

    def apply(self, update: Update) -> set[Touch]:
        """Take in rows that changed together; return what that touches."""
        touched: set[Touch] = set()
        for change in update.changes:
            self._replace(change.kind, change.uuid, change.row, touched)
        self.loaded |= update.complete
        return touched

    def physical_switch(self, name: str) -> PhysicalSwitch | None:
        """The Physical_Switch row of this name."""
        return self._physical_switches.get(name)

    def physical_switches(self) -> Iterable[PhysicalSwitch]:
        """All Physical_Switch rows."""
        return self._physical_switches.values()

    def physical_port(self, uuid: str) -> PhysicalPort | None:
        """The Physical_Port row with this UUID."""
        row = self._rows[PhysicalPort].get(uuid)
        return row if isinstance(row, PhysicalPort) else None

    def logical_switch(self, uuid: str) -> LogicalSwitch | None:
        """The Logical_Switch row with this UUID."""
        row = self._rows[LogicalSwitch].get(uuid)
        return row if isinstance(row, LogicalSwitch) else None

    def logical_switches(self) -> Iterable[LogicalSwitch]:
        """All Logical_Switch rows."""
        return (row for row in self._rows[LogicalSwitch].values() if isinstance(row, LogicalSwitch))

    def logical_router(self, uuid: str) -> LogicalRouter | None:
        """The Logical_Router row with this UUID."""
        row = self._rows[LogicalRouter].get(uuid)
        return row if isinstance(row, LogicalRouter) else None

    def logical_routers(self) -> Iterable[str]:
        """The UUIDs of all Logical_Router rows."""
        return self._rows[LogicalRouter]

    def remote(self, logical_switch: str, mac: str) -> Locator | None:
        """Where the VTEP is behind which an address is. Of several rows for it, the one with the lowest UUID counts."""
        rows = self._remotes.get(logical_switch, {}).get(mac)
        return rows[0].locator if rows else None

    def remote_rows(self, logical_switch: str, mac: str) -> tuple[UcastRemote, ...]:
        """The rows of Ucast_Macs_Remote for an address; the first counts."""
        return self._remotes.get(logical_switch, {}).get(mac, ())

    def remote_ip(self, logical_switch: str, mac: str) -> str | None:
        """The address of the VTEP behind which an address is."""
        locator = self.remote(logical_switch, mac)
        return None if locator is None else locator.ip

    def remotes(self, logical_switch: str) -> Collection[str]:
        """The addresses in Ucast_Macs_Remote."""
        return self._remotes.get(logical_switch, ())

    def members(self, logical_switch: str, mac: str) -> tuple[Locator, ...]:
        """Where a multicast address or UNKNOWN_DST leads to, in order; of several rows for it, all that they name."""
        rows = self._multicasts.get(logical_switch, {}).get(mac, ())
        if len(rows) == 1:
            return rows[0].locators
        return tuple(sorted({locator for row in rows for locator in row.locators}))

    def multicast_rows(self, logical_switch: str, mac: str) -> tuple[McastRemote, ...]:
        """The rows of Mcast_Macs_Remote for a multicast address or UNKNOWN_DST; all of them count."""
        return self._multicasts.get(logical_switch, {}).get(mac, ())

    def multicasts(self, logical_switch: str) -> Iterable[str]:
        """The multicast addresses in Mcast_Macs_Remote, UNKNOWN_DST not among them."""
        return (mac for mac in self._multicasts.get(logical_switch, ()) if mac != UNKNOWN_DST)

    def sources(self, logical_switch: str) -> Iterable[str]:
        """The addresses of the VTEPs that any row of the logical switch names."""
        return {locator.ip for locator in self._locators.get(logical_switch, ())}

    def locators(self, logical_switch: str, ip: str) -> list[Locator]:
        """The locators with this address that any row of the logical switch names."""
        keyed = [Locator(ip, key) for key in self._keys.get(logical_switch, {}).get(ip, ())]
        return [Locator(ip), *keyed] if Locator(ip) in self._locators.get(logical_switch, ()) else keyed

    def tunnel(self, local: str, remote: str) -> Tunnel | None:
        """The Tunnel row between two addresses; of several, one with bfd_params, then the one with the lowest UUID."""
        rows = self._tunnels.get((local, remote))
        return rows[0] if rows else None

    def _replace(self, kind: type[Row], uuid: str, new: Row | None, touched: set[Touch]) -> None:
        rows = self._rows[kind]
        old = rows.get(uuid)
        if old == new:
            return
        if new is None:
            del rows[uuid]
        else:
            rows[uuid] = new
        # The new row first: a VTEP that both name is named all the time, and not touched.
        if new is not None:
            self._index(new, touched)
        if old is not None:
            self._unindex(old, touched)

    def _index(self, row: Row, touched: set[Touch]) -> None:
        match row:
            case PhysicalSwitch():
                self._physical_switches[row.name] = row
                touched.add(PhysicalSwitchTouched(row.name))
            case PhysicalPort():
                touched.add(PhysicalPortTouched(row.uuid))
            case LogicalSwitch():
                touched.add(LogicalSwitchTouched(row.uuid))
            case LogicalRouter():
                touched.add(LogicalRouterTouched(row.uuid))
            case UcastRemote():
                macs = self._remotes[row.logical_switch]
                others = macs.get(row.mac, ())
                macs[row.mac] = tuple(sorted((*others, row), key=_by_uuid)) if others else (row,)
                touched.add(RemoteUnit(row.logical_switch, row.mac))
                self._count(row.logical_switch, (row.locator,), 1, touched)
            case McastRemote():
                groups = self._multicasts[row.logical_switch]
                groups[row.mac] = tuple(sorted((*groups.get(row.mac, ()), row), key=_by_uuid))
                touched.add(_replication(row))
                self._count(row.logical_switch, row.locators, 1, touched)
            case Tunnel(local=local, remote=remote):
                rows = (*self._tunnels.get((local, remote), ()), row)
                self._tunnels[local, remote] = tuple(sorted(rows, key=_by_bfd_params))
                touched.add(TunnelTouched(local, remote))

    def _unindex(self, row: Row, touched: set[Touch]) -> None:
        match row:
            case PhysicalSwitch():
                if self._physical_switches.get(row.name) == row:
                    del self._physical_switches[row.name]
                touched.add(PhysicalSwitchTouched(row.name))
            case PhysicalPort():
                touched.add(PhysicalPortTouched(row.uuid))
            case LogicalSwitch():
                touched.add(LogicalSwitchTouched(row.uuid))
            case LogicalRouter():
                touched.add(LogicalRouterTouched(row.uuid))
            case UcastRemote():
                _remove(self._remotes[row.logical_switch], row.mac, row)
                _clean(self._remotes, row.logical_switch)
                touched.add(RemoteUnit(row.logical_switch, row.mac))
                self._count(row.logical_switch, (row.locator,), -1, touched)
            case McastRemote():
                _remove(self._multicasts[row.logical_switch], row.mac, row)
                _clean(self._multicasts, row.logical_switch)
                touched.add(_replication(row))
                self._count(row.logical_switch, row.locators, -1, touched)
            case Tunnel(local=local, remote=remote):
                _remove(self._tunnels, (local, remote), row)
                touched.add(TunnelTouched(local, remote))

    def _count(self, logical_switch: str, locators: Iterable[Locator], step: int, touched: set[Touch]) -> None:
        counts = self._locators[logical_switch]
        for locator in locators:
            before = counts[locator]
            counts[locator] = now = before + step
            if before and now:
                continue
            touched.add(SourceUnit(logical_switch, locator.ip))
            if before:
                del counts[locator]
            if locator.tunnel_key is not None:
                self._follow_key(logical_switch, locator.ip, locator.tunnel_key, not before)
        _clean(self._locators, logical_switch)

    def _follow_key(self, logical_switch: str, ip: str, key: int, is_there: bool) -> None:
        keys = self._keys[logical_switch]
        others = tuple(other for other in keys.pop(ip, ()) if other != key)
        if now := (*others, key) if is_there else others:
            keys[ip] = tuple(sorted(now))
        _clean(self._keys, logical_switch)


def _by_uuid(row: Row) -> str:
    return row.uuid


def _by_bfd_params(row: Tunnel) -> tuple[bool, str]:
    return not row.configured, row.uuid


Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T", UcastRemote, McastRemote, Tunnel)


def _remove(rows: dict[Key, tuple[T, ...]], key: Key, row: T) -> None:
    left = tuple(other for other in rows[key] if other is not row)
    if left:
        rows[key] = left
    else:
        del rows[key]


def _clean(index: dict[str, Any], logical_switch: str) -> None:
    """Keep no empty place for what a logical switch had: it may be gone, and its UUID never comes again."""
    if not index[logical_switch]:
        del index[logical_switch]


def _replication(row: McastRemote) -> FloodUnit | MulticastUnit:
    if row.mac == UNKNOWN_DST:
        return FloodUnit(row.logical_switch)
    return MulticastUnit(row.logical_switch, row.mac)
