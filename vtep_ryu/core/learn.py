"""Table learn: which source addresses are known where, so that only news reaches the controller."""

from __future__ import annotations

from collections.abc import Iterator

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Flow, Match

IMPOSSIBLE = ((Match(p.ETH_SRC, p.MULTICAST_BIT, p.MULTICAST_BIT),), (Match(p.ETH_SRC, p.NO_ADDRESS),))
"""Sources that no station can have."""


def always() -> Iterator[Flow]:
    """What holds for every logical switch."""
    from_tunnel = (Match(p.FROM_TUNNEL, 1),)
    yield Flow(p.LEARN, p.Priority.LOCAL, from_tunnel, goto=p.SUPPRESS)
    for source in IMPOSSIBLE:
        yield Flow(p.LEARN, p.Priority.SPECIAL, source, note=p.DROPS)
    from_port = (Match(p.FROM_TUNNEL, 0),)
    yield Flow(p.LEARN, p.Priority.GENERAL, from_port, (p.TO_CONTROLLER,), goto=p.SUPPRESS)


def station(switch: int, binding: int, mac: str, ageing: int, note: int = 0) -> Flow:
    """A source that is known at this binding, until it has been silent for ageing seconds (0: for ever)."""
    match = (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 0), Match(p.INGRESS_BINDING, binding), Match(p.ETH_SRC, mac))
    return Flow(p.LEARN, p.Priority.REMOTE, match, goto=p.SUPPRESS, idle_timeout=ageing, note=note)


def pinned(switch: int, mac: str) -> Flow:
    """A source that the NVC has behind another VTEP, and that no port may claim."""
    match = (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 0), Match(p.ETH_SRC, mac))
    return Flow(p.LEARN, p.Priority.SPECIAL, match, goto=p.PINNED)


def frozen(switch: int, mac: str, quiet: int) -> Flow:
    """A source that moves too often: where it is not known it goes on unlearned, until it was not for quiet seconds."""
    match = (Match(p.SWITCH, switch), Match(p.FROM_TUNNEL, 0), Match(p.ETH_SRC, mac))
    return Flow(p.LEARN, p.Priority.FROZEN, match, goto=p.SUPPRESS, idle_timeout=quiet)
