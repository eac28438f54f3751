"""Table unicast: where the frames for a known address go."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Action, Flow, Match, Output, Set

# What very many addresses have in common is one value, and not made for each: a logical switch, a VTEP.
REMEMBERED = 4096


def always() -> Iterator[Flow]:
    """What holds for every logical switch: multicast and broadcast have tables of their own."""
    multicast = (Match(p.ETH_DST, p.MULTICAST_BIT, p.MULTICAST_BIT),)
    yield Flow(p.UNICAST, p.Priority.SPECIAL, multicast, goto=p.MULTICAST)


def local(switch: int, mac: str, binding: int) -> Flow:
    """An address behind one of our bindings."""
    match = (Match(p.SWITCH, switch), Match(p.ETH_DST, mac))
    return Flow(p.UNICAST, p.Priority.LOCAL, match, (Set(p.EGRESS_BINDING, binding),), goto=p.EGRESS_POLICY)


def remote(switch: int, mac: str, port: int, vni: int, destination: str) -> Flow:
    """An address behind another VTEP. Frames from a tunnel never take it."""
    match = (*_from_port(switch), Match(p.ETH_DST, mac))
    return Flow(p.UNICAST, p.Priority.REMOTE, match, encapsulate(port, vni, destination))


@lru_cache(maxsize=REMEMBERED)
def _from_port(switch: int) -> tuple[Match, ...]:
    return (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 0))


@lru_cache(maxsize=REMEMBERED)
def encapsulate(port: int, vni: int, destination: str) -> tuple[Action, ...]:
    """Send a copy to another VTEP by the flow-based tunnel port (RFC 7348, section 4)."""
    return (Set(p.TUNNEL_KEY, vni), Set(p.TUNNEL_DST, destination), Output(port))
