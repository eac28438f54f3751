"""What a VTEP publishes of its stations, and what of that may have changed."""

from __future__ import annotations

from collections.abc import Callable

from vtep_ryu.core.bindings import Bindings
from vtep_ryu.core.identity import Identities
from vtep_ryu.core.learning import Stations
from vtep_ryu.core.model import UNKNOWN_DST

News = dict[tuple[str, str], str | None]
"""Locators by (logical switch, address), None for no row; UNKNOWN_DST stands for the row of Mcast_Macs_Local."""


class Publication:
    """tunnel_ips tells the physical switch's addresses, the first of which is published."""

    def __init__(
        self,
        bindings: Bindings,
        identities: Identities,
        stations: Stations,
        tunnel_ips: Callable[[], tuple[str, ...]],
    ) -> None:
        self._bindings = bindings
        self._identities = identities
        self._stations = stations
        self._tunnel_ips = tunnel_ips
        self._touched: set[tuple[str, str]] = set()

    def touch(self, logical_switch: str, mac: str) -> None:
        """Take in that an address was learned, moved or is gone."""
        self._touched.add((logical_switch, mac))

    def touch_all(self, logical_switch: str) -> None:
        """Take in that all of a logical switch may be other than before."""
        self.touch(logical_switch, UNKNOWN_DST)
        self._touched.update((logical_switch, mac) for mac in self._stations.of_switch(logical_switch))

    def news(self) -> News:
        """What may have changed since last asked."""
        news = {key: self._published(*key) for key in self._touched}
        self._touched.clear()
        return news

    def everything(self) -> News:
        """All that is published."""
        for logical_switch in self._bindings.logical_switches():
            self.touch_all(logical_switch)
        return self.news()

    def _published(self, logical_switch: str, mac: str) -> str | None:
        ips = self._tunnel_ips()
        if not ips or self._identities.of(logical_switch) is None:
            return None
        if mac != UNKNOWN_DST and self._stations.place(logical_switch, mac) is None:
            return None
        return ips[0]
