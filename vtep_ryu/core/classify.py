"""Table classify: which logical switch a frame belongs to, and which binding or tunnel it came from."""

from __future__ import annotations

from collections.abc import Iterator

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Flow, Match, PopVlan, Set


def binding(port: int, vlan: int, switch: int) -> Iterator[Flow]:
    """Take in one VLAN of a port; VLAN 0 takes untagged frames and those with a priority tag (VID 0)."""
    found = (Set(p.SWITCH, switch), Set(p.FROM_TUNNEL, 0), Set(p.INGRESS_BINDING, p.binding_id(port, vlan)))
    tag = (Match(p.IN_PORT, port), Match(p.VLAN, p.TAG | vlan))
    yield Flow(p.CLASSIFY, p.Priority.GENERAL, tag, (PopVlan(), *found), goto=p.INGRESS_POLICY)
    if vlan == 0:
        no_tag = (Match(p.IN_PORT, port), Match(p.VLAN, p.NO_TAG))
        yield Flow(p.CLASSIFY, p.Priority.GENERAL, no_tag, found, goto=p.INGRESS_POLICY)


# Only a frame that came through a tunnel has a tunnel's fields; by which of our ports it came does not matter.
def tunnel(vni: int, source: str, local: str, switch: int, note: int) -> Flow:
    """Take in the VNI's frames that a source address sent to this address of ours."""
    match = (Match(p.TUNNEL_KEY, vni), Match(p.TUNNEL_SRC, source), Match(p.TUNNEL_DST, local))
    return Flow(p.CLASSIFY, p.Priority.REMOTE, match, _from_tunnel(switch), goto=p.INGRESS_POLICY, note=note)


def any_tunnel(vni: int, local: str, switch: int, note: int) -> Flow:
    """Take in the VNI's frames that whoever sent to this address of ours."""
    match = (Match(p.TUNNEL_KEY, vni), Match(p.TUNNEL_DST, local))
    return Flow(p.CLASSIFY, p.Priority.GENERAL, match, _from_tunnel(switch), goto=p.INGRESS_POLICY, note=note)


def _from_tunnel(switch: int) -> tuple[Set, ...]:
    return (Set(p.SWITCH, switch), Set(p.FROM_TUNNEL, 1))
