"""The rows of local addresses: Ucast_Macs_Local and Mcast_Macs_Local."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from vtep_ryu.core.model import UNKNOWN_DST
from vtep_ryu.drivers.ovsdb import OvsdbClient
from vtep_ryu.drivers.publish import KeyedWriter, LocalMac, Locators, Post, PublishMacs


class LocalMacs(KeyedWriter[LocalMac]):
    """Ucast_Macs_Local, and unknown-dst in Mcast_Macs_Local.

    A row is a physical switch's if a locator of it is one of that switch's tunnel addresses. One whose locators are all
    nobody's was written before the tunnel address changed, and goes.
    """

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        super().__init__(client)
        self._wanted: dict[str, dict[LocalMac, str]] = {}
        self._there: dict[LocalMac, set[tuple[str, UUID]]] = defaultdict(set)
        self._keys: dict[UUID, LocalMac] = {}

    def take(self, post: Post) -> None:
        super().take(post)
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

    def _in_words(self, key: LocalMac) -> str:
        return f"local address {key[1]!r} of the logical switch {key[0]}"


def _locators_of(row: Any) -> frozenset[str]:
    """The addresses that a local row points at."""
    locators = [row.locator] if "locator" in row._table.columns else row.locator_set.locators
    return frozenset(locator.dst_ip for locator in locators)
