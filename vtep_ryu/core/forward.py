"""Table unicast: where the frames for a known address go."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from vtep_ryu.core import encapsulate
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Flow, Match, Set


def always() -> Iterator[Flow]:
    """What holds for every logical switch: multicast and broadcast have tables of their own."""
    multicast = (Match(p.ETH_DST, p.MULTICAST_BIT, p.MULTICAST_BIT),)
    yield Flow(p.UNICAST, p.Priority.SPECIAL, multicast, goto=p.MULTICAST)


def local(switch: int, mac: str, binding: int) -> Flow:
    """An address behind one of our bindings."""
    match = (Match(p.SWITCH, switch), Match(p.ETH_DST, mac))
    return Flow(p.UNICAST, p.Priority.LOCAL, match, (Set(p.EGRESS_BINDING, binding),), goto=p.EGRESS_POLICY)


def remote(switch: int, mac: str, vni: int, destination: str) -> Flow:
    """An address behind another VTEP. Frames from a tunnel never take it."""
    match = (*_from_port(switch), Match(p.ETH_DST, mac))
    return Flow(p.UNICAST, p.Priority.REMOTE, match, encapsulate.towards(vni, destination), goto=p.TUNNEL)


@lru_cache(maxsize=encapsulate.REMEMBERED)
def _from_port(switch: int) -> tuple[Match, ...]:
    return (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 0))
