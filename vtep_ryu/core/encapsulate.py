"""Table tunnel: a copy for another VTEP leaves by the tunnel port, and is counted for that VTEP."""

from __future__ import annotations

from functools import lru_cache

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Action, Flow, Match, Output, Resubmit, Set

# What very many addresses have in common is one value, and not made for each.
REMEMBERED = 4096


@lru_cache(maxsize=REMEMBERED)
def towards(vni: int, destination: str) -> tuple[Set, ...]:
    """What a copy for another VTEP has to have before it comes to the table (RFC 7348, section 4)."""
    return (Set(p.TUNNEL_KEY, vni), Set(p.TUNNEL_DST, destination))


def copy(vni: int, destination: str) -> tuple[Action, ...]:
    """Send a copy there, and come back."""
    return (*towards(vni, destination), Resubmit(p.TUNNEL))


def way_out(port: int) -> Flow:
    """All copies leave by the flow-based tunnel port, also while rows that name an address come or go."""
    return Flow(p.TUNNEL, p.Priority.GENERAL, actions=(Output(port),))


def counted(port: int, destination: str) -> Flow:
    """Those for one VTEP, once more: a flow's counter stays, whatever becomes of addresses and groups."""
    return Flow(p.TUNNEL, p.Priority.REMOTE, (Match(p.TUNNEL_DST, destination),), (Output(port),))
