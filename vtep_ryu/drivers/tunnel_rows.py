"""Physical_Switch.tunnels, and what is ours in the rows of Tunnel there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from vtep_ryu.drivers.bfd import LOCAL_DEFAULTS
from vtep_ryu.drivers.locators import Locators, Site
from vtep_ryu.drivers.ovsdb import OvsdbClient
from vtep_ryu.drivers.publish import KeyedWriter, Post, PublishTunnels

Pair: TypeAlias = tuple[str, str]
"""The local and the remote address of a tunnel."""


class TunnelRows(KeyedWriter[Pair, Mapping[str, str]]):
    """A row for each tunnel: of several, one that has bfd_params, then the one with the lowest UUID.

    A row is a physical switch's if its local address is; one whose address is nobody's was written before the address
    changed, and goes. The server removes rows that no Physical_Switch refers to, and then their locators.
    """

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        super().__init__(client)
        self._there: dict[Pair, set[UUID]] = defaultdict(set)
        self._pairs: dict[UUID, Pair] = {}
        self._has_table = False

    def take(self, post: Post) -> None:
        super().take(post)
        if isinstance(post, PublishTunnels):
            self._want(post.physical_switch, post.tunnels, post.complete)

    def follow(self, changed: Mapping[str, set[UUID]], complete: bool) -> None:
        super().follow(changed, complete)
        if complete:
            self._has_table = self.client.has_table("Tunnel")  # Schemas before 1.3.0 do not have it.
            self._there.clear()
            self._pairs.clear()
            self._dirty = dict.fromkeys(pair for wanted in self._wanted.values() for pair in wanted)
        for uuid in changed.get("Tunnel", ()):
            self._follow_row(uuid)

    def _follow_row(self, uuid: UUID) -> None:
        old, row = self._pairs.pop(uuid, None), self.client.row("Tunnel", uuid)
        if old is not None:
            self._there[old].discard(uuid)
            if not self._there[old]:
                del self._there[old]
            self._dirty[old] = None
        if row is not None:
            pair = (row.local.dst_ip, row.remote.dst_ip)
            self._pairs[uuid] = pair
            self._there[pair].add(uuid)
            self._dirty[pair] = None

    def _write(self, transaction: Any) -> bool:
        return self._has_table and super()._write(transaction)

    def _locals(self) -> Iterator[tuple[Pair, Collection[str]]]:
        return ((pair, pair[:1]) for pair in self._there)

    def _write_key(self, transaction: Any, locators: Locators, site: Site, key: Pair) -> set[str]:
        changed = set[str]()
        there = (self.client.row("Tunnel", uuid) for uuid in self._there.get(key, ()))
        rows = sorted((row for row in there if row is not None), key=lambda row: (not row.bfd_params, row.uuid))
        for name, status in self._wishes(site, key):
            if rows:
                row = rows.pop(0)
            else:
                row = self._insert(transaction, locators, key)
                site.switches[name].addvalue("tunnels", row)
                changed.add(name)
            if _set_columns(row, status):
                changed.add(name)
        if rows and (key[0] not in site.owners or self._is_ours(site.owners[key[0]])):
            for name in filter(self._is_ours, self._wanted.keys() & site.switches.keys()):
                for row in rows:
                    site.switches[name].delvalue("tunnels", row)
                changed.add(name)
        return changed

    def _wishes(self, site: Site, key: Pair) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Which of ours want this tunnel, with its bfd_status."""
        for name, wanted in self._wanted.items():
            if key in wanted and name in site.switches and self._is_ours(name):
                yield name, wanted[key]

    def _is_ours(self, name: str) -> bool:
        return name in self._wanted and self.client.holds(name)

    def _insert(self, transaction: Any, locators: Locators, pair: Pair) -> Any:
        row = transaction.insert(self.client.table("Tunnel"))
        row.local, row.remote = locators.of(pair[0]), locators.any_of(pair[1])
        row.bfd_config_local, row.bfd_status = {}, {}
        return row

    def _in_words(self, key: Pair) -> str:
        return f"tunnel from {key[0]} to {key[1]}"


def _set_columns(row: Any, status: Mapping[str, str]) -> bool:
    """Set what is ours and otherwise; return whether anything was. What the NVC or its operator set is kept."""
    config = LOCAL_DEFAULTS | row.bfd_config_local
    changed = False
    for column, value in (("bfd_config_local", config), ("bfd_status", dict(status))):
        if getattr(row, column) != value:
            setattr(row, column, value)
            changed = True
    return changed
