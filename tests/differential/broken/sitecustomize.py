"""Pipelines that are broken on purpose: a Python that starts with this directory in PYTHONPATH loads this by itself.

VTEP_BROKEN says how. What the core renders is changed on its way out; the program itself knows nothing of this.
"""

import os
from collections.abc import Callable
from dataclasses import replace

from vtep_ryu.core import pipeline as p
from vtep_ryu.core import render
from vtep_ryu.core.flow import Flow, Match, Rendering, Set
from vtep_ryu.core.units import FloodUnit, Unit
from vtep_ryu.core.vtep import Vtep

Change = Callable[[Unit, Rendering], Rendering]


def tunnel_to_tunnel(unit: Unit, rendering: Rendering) -> Rendering:
    """What a VTEP floods goes to the other VTEPs too."""
    copies = max((flow.actions for flow in rendering.flows if flow.table == p.FLOOD), key=len, default=())
    # Of itself the switch sends nothing by the port that it came in by.
    anywhere = (Set(p.IN_PORT, 0), *copies)
    return _flows(rendering, lambda flow: replace(flow, actions=anywhere) if flow.table == p.FLOOD else flow)


def back_to_its_binding(unit: Unit, rendering: Rendering) -> Rendering:
    """A frame goes back to where it came from."""
    return _flows(rendering, lambda flow: None if flow.table == p.EGRESS and not flow.actions else flow)


def any_source(unit: Unit, rendering: Rendering) -> Rendering:
    """Whoever knows a VNI may send in it."""

    def without(match: tuple[Match, ...]) -> tuple[Match, ...]:
        return tuple(each for each in match if each.field != p.TUNNEL_SRC)

    return _flows(rendering, lambda flow: replace(flow, match=without(flow.match)))


def members_stay() -> Change:
    """The VTEPs that get copies of what is flooded stay the first ones."""
    first: dict[Unit, Rendering] = {}

    def change(unit: Unit, rendering: Rendering) -> Rendering:
        buckets = (bucket for group in rendering.groups for bucket in group.buckets)
        written = (action for bucket in buckets for action in bucket.actions if isinstance(action, Set))
        if isinstance(unit, FloodUnit) and any(action.field == p.TUNNEL_DST for action in written):
            return first.setdefault(unit, rendering)
        return rendering

    return change


def _flows(rendering: Rendering, change: Callable[[Flow], Flow | None]) -> Rendering:
    return replace(rendering, flows=tuple(filter(None, map(change, rendering.flows))))


BROKEN: dict[str, Change] = {
    "tunnel_to_tunnel": tunnel_to_tunnel,
    "back_to_its_binding": back_to_its_binding,
    "any_source": any_source,
    "members_stay": members_stay(),
}


def _break(change: Change) -> None:
    whole = render.render

    def broken(vtep: Vtep, unit: Unit) -> Rendering:
        return change(unit, whole(vtep, unit))

    render.render = broken


if how := os.environ.get("VTEP_BROKEN"):
    _break(BROKEN[how])
