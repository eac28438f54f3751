"""Table egress: a copy leaves by its binding, tagged as the binding says, unless it came from there."""

from __future__ import annotations

from collections.abc import Iterator

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Action, Flow, Match, Output, PushVlan, Set


def binding(port: int, vlan: int) -> Iterator[Flow]:
    """The way out by one VLAN of a port; VLAN 0 leaves untagged.

    OpenFlow does not send a frame out of the port it came in on, but another VLAN of that port is another binding: the
    packet forgets its ingress port.
    """
    id = p.binding_id(port, vlan)
    back = (Match(p.INGRESS_BINDING, id), Match(p.EGRESS_BINDING, id))
    yield Flow(p.EGRESS, p.Priority.SPECIAL, back)
    tag: tuple[Action, ...] = (PushVlan(), Set(p.VLAN, p.TAG | vlan)) if vlan else ()
    match = (Match(p.EGRESS_BINDING, id),)
    yield Flow(p.EGRESS, p.Priority.GENERAL, match, (Set(p.IN_PORT, 0), *tag, Output(port)))
