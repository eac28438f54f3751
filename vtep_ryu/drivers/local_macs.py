"""The rows of local addresses: Ucast_Macs_Local and Mcast_Macs_Local."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from vtep_ryu.core.model import UNKNOWN_DST
from vtep_ryu.drivers.locators import Locators, Site
from vtep_ryu.drivers.ovsdb import OvsdbClient
from vtep_ryu.drivers.publish import KeyedWriter, LocalMac, Post, PublishMacs

UNICAST, MULTICAST = "Ucast_Macs_Local", "Mcast_Macs_Local"


class LocalMacs(KeyedWriter[LocalMac, str]):
    """Ucast_Macs_Local, and unknown-dst in Mcast_Macs_Local.

    A row is a physical switch's if a locator of it is one of that switch's tunnel addresses. One whose locators are all
    nobody's was written before the tunnel address changed, and goes.

    Stations come in thousands a second: the rows of unicast addresses are those of drivers/idl.py, tuples, and are
    written by operations of RFC 7047 in place of the ovs package's rows, which take many times as long.
    """

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        super().__init__(client)
        self._there: dict[LocalMac, set[tuple[str, Any]]] = defaultdict(set)
        self._keys: dict[Any, LocalMac] = {}
        self._addresses: dict[Any, frozenset[str]] = {}

    def take(self, post: Post) -> None:
        super().take(post)
        if isinstance(post, PublishMacs):
            self._want(post.physical_switch, post.macs, post.complete)

    def follow(self, changed: Mapping[str, set[Any]], complete: bool) -> None:
        super().follow(changed, complete)
        if complete:
            for each in (self._there, self._keys, self._addresses):
                each.clear()
            self._dirty.update(dict.fromkeys(key for wanted in self._wanted.values() for key in wanted))
        for table in (UNICAST, MULTICAST):
            for uuid in changed.get(table, ()):
                self._follow_row(table, uuid)

    def _follow_row(self, table: str, uuid: Any) -> None:
        old, _ = self._keys.pop(uuid, None), self._addresses.pop(uuid, None)
        if old is not None:
            self._there[old].discard((table, uuid))
            if not self._there[old]:
                del self._there[old]
            self._dirty[old] = None
        row = self.client.row(table, uuid)
        if row is not None:
            key = (row[2], row[1]) if table == UNICAST else (str(row.logical_switch.uuid), row.MAC)
            self._keys[uuid] = key
            if table == MULTICAST:  # Of a row of the ovs package it takes long to find out.
                self._addresses[uuid] = frozenset(locator.dst_ip for locator in row.locator_set.locators)
            self._there[key].add((table, uuid))
            self._dirty[key] = None

    def _locals(self) -> Iterator[tuple[LocalMac, Collection[str]]]:
        ips = {str(uuid): (row.dst_ip,) for uuid, row in self.client.rows("Physical_Locator").items()}
        for key, rows in self._there.items():
            for table, uuid in rows:
                row = self.client.row(table, uuid)
                yield key, self._addresses.get(uuid, ()) if table == MULTICAST or row is None else ips.get(row[3], ())

    def _write_key(self, transaction: Any, locators: Locators, site: Site, key: LocalMac) -> set[str]:
        switch, mac = key
        ours = {name: macs for name, macs in self._wanted.items() if self.client.holds(name)}
        wanted = {ip: name for name, macs in ours.items() if (ip := macs.get(key)) is not None}
        table = MULTICAST if mac == UNKNOWN_DST else UNICAST
        found: set[str] = set()
        changed: set[str] = set()
        for where in sorted(self._there.get(key, ())):
            row = self.client.row(*where)
            ips = frozenset[str]() if row is None else self._addresses_of(where[1], row, locators)
            its = {site.owners[ip] for ip in ips if ip in site.owners}
            if where[0] == table and len(ips) == 1 and ips <= wanted.keys() and ips.isdisjoint(found):
                found |= ips
            elif row is not None and (not its or not its.isdisjoint(ours)):
                _delete(transaction, row)
                changed |= its.intersection(ours) or {min(self.client.held())}
        is_there = wanted.keys() == found or self.client.row("Logical_Switch", _uuid(switch)) is not None
        for ip in sorted(wanted.keys() - found) if is_there else ():
            self._insert(transaction, locators, key, ip)
            changed.add(wanted[ip])
        return changed

    def _addresses_of(self, uuid: Any, row: Any, locators: Locators) -> frozenset[str]:
        """The addresses that a local row points at."""
        return locators.addresses_of(row[3]) if isinstance(row, tuple) else self._addresses[uuid]

    def _insert(self, transaction: Any, locators: Locators, key: LocalMac, ip: str) -> None:
        switch, mac = key
        if mac == UNKNOWN_DST:
            row = transaction.insert(self.client.table(MULTICAST))
            row.MAC, row.logical_switch = mac, self.client.row("Logical_Switch", _uuid(switch))
            row.locator_set = locators.set_of(ip)
        else:
            columns = {"MAC": mac, "logical_switch": ["uuid", switch], "locator": locators.reference(ip)}
            transaction.add_op({"op": "insert", "table": UNICAST, "row": columns})

    def _in_words(self, key: LocalMac) -> str:
        return f"local address {key[1]!r} of the logical switch {key[0]}"


_uuid = lru_cache(maxsize=1024)(UUID)


def _delete(transaction: Any, row: Any) -> None:
    if isinstance(row, tuple):
        transaction.add_op({"op": "delete", "table": UNICAST, "where": [["_uuid", "==", ["uuid", row[0]]]]})
    else:
        row.delete()
