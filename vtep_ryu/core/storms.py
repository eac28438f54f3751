"""Which ports of one VTEP are in a storm: what the meters of storm control drop, counted and said."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from vtep_ryu.core.counters import Counters

LOG = logging.getLogger(__name__)

QUIET_SECONDS = 60.0
"""Without a dropped frame for so long a storm is over; one that comes and goes within is said once."""


class Storms:
    """Ports are known by their OpenFlow numbers here."""

    def __init__(
        self, physical_switch: str, limit: int, counters: Counters, names: Callable[[], Mapping[int, str]]
    ) -> None:
        """limit is how many frames a second a port may have replicated (0: any); names are those of the ports."""
        self._physical_switch = physical_switch
        self._limit = limit
        self._counters = counters
        self._names = names
        self._has_meters = True
        self._before: Mapping[int, int] = {}
        self._storming: dict[int, float] = {}

    @property
    def rate(self) -> int:
        """How many frames a second a meter is to let pass; 0 where there is to be none, or cannot be."""
        return self._limit if self._has_meters else 0

    def begin(self, has_meters: bool, dropped: Mapping[int, int]) -> None:
        """Take in whether a switch that has just connected can have meters, and what those it has dropped until now.

        That counts, but it is no news.
        """
        if self._limit and self._has_meters and not has_meters:
            text = "the switch's datapath has no meters, so that ports are not limited"
            LOG.warning("%s: storm_control: %s", self._physical_switch, text)
        self._has_meters = has_meters
        self._count(dropped)

    def read(self, dropped: Mapping[int, int], now: float) -> None:
        """Take in what the meters have dropped until now, a time in seconds."""
        names = self._names()
        for port in self._count(dropped):
            if port not in self._storming:
                text = f"port {names[port]} has more than {self._limit} frames a second to be replicated"
                LOG.warning("%s: storm_control: %s: the others are dropped", self._physical_switch, text)
            self._storming[port] = now
        for port in [each for each, last in self._storming.items() if now - last >= QUIET_SECONDS or each not in names]:
            del self._storming[port]
            if port in names:
                text = f"no frame of port {names[port]} was dropped for {QUIET_SECONDS:.0f} s"
                LOG.info("%s: storm_control: %s", self._physical_switch, text)

    def _count(self, dropped: Mapping[int, int]) -> list[int]:
        """Count what was dropped since the last time; return of which ports. A meter that says less is another."""
        names, more = self._names(), {}
        for port in dropped.keys() & names.keys():
            before = self._before.get(port, 0)
            more[port] = dropped[port] - before if dropped[port] >= before else dropped[port]
        self._before = dict(dropped)
        grown = sorted(port for port, frames in more.items() if frames)
        there = set(names.values())
        by_port = {name: n for name, n in self._counters.frames_storm_dropped_by_port.items() if name in there}
        for port in grown:
            self._counters.frames_storm_dropped += more[port]
            by_port[names[port]] = by_port.get(names[port], 0) + more[port]
        self._counters.frames_storm_dropped_by_port = by_port
        return grown
