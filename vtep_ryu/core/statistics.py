"""From the counters of flows to the statistics of bindings (Logical_Binding_Stats of vtep(5)).

A binding has one classify flow for each form its frames arrive in, and one egress flow: what those counted is what it
received and sent. Bytes are those of the Ethernet frame, without its frame check sequence, as it arrived at the
switch: in both directions with the VLAN tag that it came with, and for a frame from a tunnel those of the inner frame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from vtep_ryu.core import pipeline as p

Counted: TypeAlias = tuple[Mapping[str, Any], int, int]
"""A flow's match by OpenFlow field, its packets and its bytes."""


@dataclass(frozen=True, slots=True)
class BindingStats:
    """What a binding has received from its port ("from local") and sent there ("to local") since it is bound."""

    packets_from_local: int = 0
    bytes_from_local: int = 0
    packets_to_local: int = 0
    bytes_to_local: int = 0


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
