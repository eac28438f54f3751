"""From the counters of flows to the statistics of bindings (Logical_Binding_Stats of vtep(5)).

A binding has one classify flow for each form its frames arrive in, and one egress flow: what those counted is what it
received and sent. Bytes are those of the Ethernet frame, without its frame check sequence, as it arrived at the
switch: in both directions with the VLAN tag that it came with, and for a frame from a tunnel those of the inner frame.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.bindings import Bindings
from vtep_ryu.core.counters import Counters
from vtep_ryu.core.model import Place, Port

Counted: TypeAlias = tuple[Mapping[str, Any], int, int]
"""A flow's match by OpenFlow field, its packets and its bytes."""

NAMES = {table.id: table.name for table in p.TABLES}


@dataclass(frozen=True, slots=True)
class BindingStats:
    """What a binding has received from its port ("from local") and sent there ("to local").

    It counts on for as long as the VLAN is bound without a gap, whatever to (one transaction may bind it to another
    logical switch), and over a restart of this program. It begins at 0 with flows that are new: after a restart of
    ovs-vswitchd, and when the port has got another OpenFlow number.
    """

    packets_from_local: int = 0
    bytes_from_local: int = 0
    packets_to_local: int = 0
    bytes_to_local: int = 0


class Drops:
    """Adds up by table what the flows that drop frames have counted, also those that have gone since."""

    def __init__(self, counters: Counters) -> None:
        self.frames: Counter[str] = Counter()
        self._counters = counters
        self._before: Mapping[tuple[int, Hashable], int] = {}

    def read(self, flows: Iterable[tuple[int, Counted]]) -> None:
        """Take in what all of them say now, by the ids of tables. One that says less than before is another."""
        now: dict[tuple[int, Hashable], int] = {
            (table, frozenset(match.items())): packets for table, (match, packets, _) in flows
        }
        for flow, packets in now.items():
            before = self._before.get(flow, 0)
            self.frames[NAMES[flow[0]]] += packets - before if packets >= before else packets
        self._before = now
        self._counters.frames_unclassified = self.frames[p.CLASSIFY.name]
        self._counters.frames_impossible = self.frames[p.LEARN.name]
        self._counters.frames_undelivered = self.frames[p.UNDELIVERED.name]
        self._counters.frames_pinned = self.frames[p.PINNED.name]


def count(classify: Iterable[Counted], egress: Iterable[Counted]) -> dict[int, BindingStats]:
    """The statistics of bindings by their id, from the flows of the tables classify and egress."""
    received: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for match, packets, octets in classify:
        if p.IN_PORT.oxm in match and p.VLAN.oxm in match:
            binding = p.binding_id(match[p.IN_PORT.oxm], match[p.VLAN.oxm] & ~p.TAG)
            before = received[binding]
            received[binding] = (before[0] + packets, before[1] + octets)
    sent: dict[int, tuple[int, int]] = {}
    for match, packets, octets in egress:
        if p.EGRESS_BINDING.oxm in match and p.INGRESS_BINDING.oxm not in match:
            sent[match[p.EGRESS_BINDING.oxm]] = (packets, octets)
    return {id: BindingStats(*received[id], *sent.get(id, (0, 0))) for id in received.keys() | sent.keys()}


def of_bindings(
    counted: Mapping[int, BindingStats], bindings: Bindings, ports: Mapping[str, Port]
) -> dict[tuple[str, int], BindingStats]:
    """The statistics of every binding, by the UUID of its Physical_Port row and VLAN, from those by binding id."""

    def at(place: Place) -> BindingStats:
        port = ports.get(place.port)
        id = None if port is None else p.binding_id(port.number, place.vlan)
        return BindingStats() if id is None else counted.get(id, BindingStats())

    return {(row, place.vlan): at(place) for place, row in bindings.all_places()}
