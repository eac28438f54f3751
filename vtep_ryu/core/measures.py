"""What is measured of one VTEP for metrics, beside its counters: sizes, changes, delays, and traffic.

None of it is kept by address: how much there is grows with ports, bindings and tunnels alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Field, Rendering
from vtep_ryu.core.plan import PutFlow, PutGroup, PutMeter, RemoveFlow, RemoveGroup, RemoveMeter, Step
from vtep_ryu.core.statistics import BindingStats, Counted

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Bounds of the histogram, in seconds."""

GROUPS = "groups"
METERS = "meters"
ANY = "any"
"""What stands for all other VTEPs."""

CHANGES = {
    PutFlow: "put_flow",
    RemoveFlow: "remove_flow",
    PutGroup: "put_group",
    RemoveGroup: "remove_group",
    PutMeter: "put_meter",
    RemoveMeter: "remove_meter",
}
"""What a change is called."""


class Delays:
    """How long it takes from an update of the database until the switch has acknowledged what follows from it.

    Times are in seconds of any clock that never goes back.
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        """How many were in each bucket alone; the last has no bound."""

        self.total = 0.0
        self._coming: list[float] = []
        self._under_way: list[float] = []

    def came(self, when: float) -> None:
        """Take in that an update came which concerns the switch."""
        self._coming.append(when)

    def begin(self) -> None:
        """Take in that what has come until now is being applied."""
        self._under_way += self._coming
        self._coming = []

    def done(self, now: float) -> None:
        """Take in that all of it has been."""
        for when in self._under_way:
            self.counts[bisect_left(BUCKETS, now - when)] += 1
            self.total += now - when
        self._under_way = []

    def forget(self) -> None:
        """Take in that the switch is gone: it acknowledges nothing any more."""
        self._coming, self._under_way = [], []


class TunnelTraffic:
    """Packets and bytes from or for each other VTEP, as the flows count them that match its address in a field.

    What may come with a VNI from anywhere (accept_any_source) is ANY's.
    """

    def __init__(self, field: Field) -> None:
        self.counted: dict[str, tuple[int, int]] = {}
        self._field = field
        self._before: dict[Hashable, tuple[int, int]] = {}

    def read(self, flows: Iterable[Counted]) -> None:
        """Take in what flows say now. One that says less than before is another; a VTEP without any is gone."""
        before, self._before = self._before, {}
        grown: dict[str, tuple[int, int]] = {}
        for match, packets, octets in flows:
            remote = match.get(self._field.oxm, ANY if p.TUNNEL_KEY.oxm in match else None)
            if remote is None:
                continue
            flow = frozenset(match.items())
            self._before[flow] = (packets, octets)
            had = before.get(flow, (0, 0))
            if packets < had[0]:
                had = (0, 0)
            so_far = grown.get(remote) or self.counted.get(remote, (0, 0))
            grown[remote] = (so_far[0] + packets - had[0], so_far[1] + octets - had[1])
        self.counted = grown


class Measures:
    """What the switch has, by table, and groups and meters; what was changed there; and the traffic, as last read."""

    def __init__(self) -> None:
        self.installed: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.refused = 0
        self.packet_ins: Counter[str] = Counter()
        """Those of stations, by what became of them; what teaches nothing is in the counters."""

        self.delays = Delays()
        self.from_tunnels, self.to_tunnels = TunnelTraffic(p.TUNNEL_SRC), TunnelTraffic(p.TUNNEL_DST)
        self.bindings: Mapping[tuple[str, int], BindingStats] = {}
        """By the UUID of the Physical_Port row and the VLAN."""

    def replaced(self, before: Rendering, now: Rendering) -> None:
        """Take in that the switch has one thing of a unit in place of another."""
        for flow in before.flows:
            self.installed[flow.table.name] -= 1
        for flow in now.flows:
            self.installed[flow.table.name] += 1
        self.installed[GROUPS] += len(now.groups) - len(before.groups)
        self.installed[METERS] += len(now.meters) - len(before.meters)

    def changed(self, steps: Iterable[Step]) -> None:
        """Take in which changes were made."""
        self.changes.update(CHANGES[type(step.change)] for step in steps)

    def disconnected(self) -> None:
        """Take in that the switch is gone: what it has is counted anew when it is taken over."""
        self.installed.clear()
        self.delays.forget()
