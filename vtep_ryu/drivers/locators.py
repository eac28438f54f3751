"""Whose tunnel addresses are which, and the Physical_Locator rows of addresses, for what is written."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from uuid import UUID

from vtep_ryu.drivers.ovsdb import OvsdbClient

ENCAPSULATION = "vxlan_over_ipv4"


class Site:
    """The physical switches: their rows by name, and their names by their tunnel addresses."""

    def __init__(self, client: OvsdbClient[Any, Any]) -> None:
        self.switches = {row.name: row for row in client.rows("Physical_Switch").values()}
        self.owners = {ip: name for name, row in self.switches.items() for ip in row.tunnel_ips}


class Locators:
    """Physical_Locator rows by address: those that are there, or made in the transaction that refers to them."""

    def __init__(self, client: OvsdbClient[Any, Any], transaction: Any) -> None:
        self._client = client
        self._transaction = transaction
        self._sets: dict[str, Any] = {}
        self._references: dict[str, Any] = {}
        self._addresses: dict[str, frozenset[str]] = {}

    @cached_property
    def _by_ip(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The rows without a tunnel key, and those with one."""
        found: tuple[dict[str, Any], dict[str, Any]] = {}, {}
        for row in self._client.rows("Physical_Locator").values():
            found[bool(getattr(row, "tunnel_key", None))][row.dst_ip] = row
        return found

    def of(self, ip: str) -> Any:
        """The row for a VTEP's address; not one with a tunnel key, which is for the NVC's use of one logical switch."""
        without_key, _ = self._by_ip
        if ip not in without_key:
            row = self._transaction.insert(self._client.table("Physical_Locator"))
            row.encapsulation_type, row.dst_ip = ENCAPSULATION, ip
            without_key[ip] = row
        return without_key[ip]

    def reference(self, ip: str) -> Any:
        """The same row, as an operation of the transaction has it (RFC 7047, 5.1): by its UUID, or a name for now."""
        if ip not in self._references:
            self._references[ip] = self._transaction._substitute_uuids(["uuid", str(self.of(ip).uuid)])
        return self._references[ip]

    def addresses_of(self, uuid: str) -> frozenset[str]:
        """The address of a row that is there."""
        if uuid not in self._addresses:
            self._addresses[uuid] = frozenset([self._client.row("Physical_Locator", UUID(uuid)).dst_ip])
        return self._addresses[uuid]

    def any_of(self, ip: str) -> Any:
        """The same, but where there are only rows with a tunnel key, one of those: then none is made."""
        without_key, with_key = self._by_ip
        return self.of(ip) if ip in without_key else with_key.get(ip) or self.of(ip)

    def set_of(self, ip: str) -> Any:
        """A new Physical_Locator_Set row with this one member."""
        if ip not in self._sets:
            row = self._transaction.insert(self._client.table("Physical_Locator_Set"))
            row.locators = [self.of(ip)]
            self._sets[ip] = row
        return self._sets[ip]
