"""A switch's flow, group and meter tables, and what keeps them as a Vtep wants: apps/reconciler.py without its I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import Bucket, Flow, Group, Meter, Rendering, ToGroup
from vtep_ryu.core.plan import PutFlow, PutGroup, PutMeter, RemoveFlow, RemoveGroup, RemoveMeter, Step, plan
from vtep_ryu.core.render import render
from vtep_ryu.core.units import Unit
from vtep_ryu.core.vtep import Vtep


class SimulatedSwitch:
    """Takes steps in their order, and none that would leave an entry with a group or meter that is not there."""

    def __init__(self) -> None:
        self.flows: dict[object, Flow] = {}
        self.groups: dict[int, Group] = {}
        self.meters: dict[int, Meter] = {}

    def apply(self, steps: Iterable[Step]) -> None:
        for step in steps:
            match step.change:
                case PutMeter(meter):
                    self.meters[meter.id] = meter
                case PutGroup(group):
                    assert groups_of(*group.buckets) <= self.groups.keys(), f"{group} comes before what it uses"
                    self.groups[group.id] = group
                case PutFlow(flow):
                    assert groups_of(flow) <= self.groups.keys(), f"{flow} comes before its group"
                    assert flow.meter in (None, *self.meters), f"{flow} comes before its meter"
                    self.flows[flow.key] = flow
                case RemoveFlow(flow):
                    assert flow.key in self.flows, f"{flow} is not there"
                    del self.flows[flow.key]
                case RemoveGroup(id):
                    assert id in self.groups, f"group 0x{id:x} is not there"
                    users = [flow for flow in self.flows.values() if id in groups_of(flow)]
                    assert not users, f"group 0x{id:x} goes while it is used: {users}"
                    del self.groups[id]
                case RemoveMeter(id):
                    users = [flow for flow in self.flows.values() if flow.meter == id]
                    assert not users, f"meter 0x{id:x} goes while it is used: {users}"
                    del self.meters[id]

    def forwarding(self) -> list[tuple[int, int]]:
        """The ids of the logical switches that it forwards for, each with the note on its flows."""
        flows = [flow for flow in self.flows.values() if flow.table is p.FLOOD]
        return [(match.value, flow.note) for flow in flows for match in flow.match if match.field is p.SWITCH]

    def taking(self) -> list[tuple[int, str | None, int]]:
        """The VNIs that it takes frames with, the address they come from, None for any, and the note on the flow."""
        flows = [(flow, {match.field: match.value for match in flow.match}) for flow in self.flows.values()]
        return [
            (match[p.TUNNEL_KEY], match.get(p.TUNNEL_SRC), flow.note)
            for flow, match in flows
            if p.TUNNEL_KEY in match and flow.table is p.CLASSIFY
        ]

    def expire(self, flow: Flow) -> None:
        """Drop a flow that timed out."""
        del self.flows[flow.key]

    def dump(self) -> list[str]:
        return sorted(str(entry) for each in (self.flows, self.groups, self.meters) for entry in each.values())


def groups_of(*users: Flow | Bucket) -> set[int]:
    """The groups that flows or buckets refer to."""
    return {action.group_id for user in users for action in user.actions if isinstance(action, ToGroup)}


class Follower:
    """Keeps a simulated switch as its Vtep wants it, and remembers what was published."""

    def __init__(self, vtep: Vtep) -> None:
        self.vtep = vtep
        self.switch = SimulatedSwitch()
        self.installed: dict[Unit, Rendering] = {}
        self.published: dict[tuple[str, str], str] = {}
        self.tunnels: dict[tuple[str, str], Mapping[str, str]] = {}
        self.steps: list[Step] = []
        self.rendered = 0
        self.take_over()

    def take_over(self) -> None:
        """Begin with a switch that has nothing."""
        self.switch, self.installed, self.published = SimulatedSwitch(), {}, {}
        self.publish(self.vtep.all_news())
        self.vtep.dirty = self.vtep.inventory.every()
        self.reconcile()

    def reconcile(self) -> None:
        """Bring the switch to what the Vtep wants now."""
        self.publish(self.vtep.news())
        self.publish_tunnels()
        wanted: dict[Unit, Rendering] = {}
        while self.vtep.dirty:
            unit = self.vtep.dirty.pop()
            wanted[unit] = render(self.vtep, unit)
        self.rendered = len(wanted)
        self.steps = plan(wanted, self.installed)
        self.switch.apply(self.steps)
        for unit, rendering in wanted.items():
            if rendering:
                self.installed[unit] = rendering
            else:
                self.installed.pop(unit, None)

    def publish(self, news: dict[tuple[str, str], str | None]) -> None:
        for key, locator in news.items():
            if locator is None:
                self.published.pop(key, None)
            else:
                self.published[key] = locator

    def publish_tunnels(self) -> None:
        tunnels, complete = self.vtep.sessions.news()
        if complete:
            self.tunnels.clear()
        for pair, status in tunnels.items():
            if status is None:
                self.tunnels.pop(pair, None)
            else:
                self.tunnels[pair] = status

    def expire(self, flow: Flow) -> None:
        """Let a learn entry time out, and the Vtep know."""
        self.switch.expire(flow)
        match = {match.field: match.value for match in flow.match}
        switch, binding, mac = match[p.SWITCH], match.get(p.INGRESS_BINDING, 0), match[p.ETH_SRC]
        assert isinstance(switch, int)
        assert isinstance(binding, int)
        unit = self.vtep.aged(switch, binding, str(mac))
        if unit in self.installed:
            there = self.installed[unit]
            self.installed[unit] = replace(there, flows=tuple(f for f in there.flows if f.table is not p.LEARN))

    def changes(self) -> str:
        """The last reconciliation's steps as text."""
        return "\n".join(str(step.change) for step in self.steps)

    def check(self) -> None:
        """Compare the switch, and the bookkeeping, with what the whole of the Vtep's state renders to."""
        whole = {unit: rendering for unit in self.vtep.inventory.every() if (rendering := render(self.vtep, unit))}
        parts = [part for each in whole.values() for part in (each.flows, each.groups, each.meters)]
        entries = [entry for part in parts for entry in part]
        keys = [entry.key if isinstance(entry, Flow) else (type(entry), entry.id) for entry in entries]
        assert len(keys) == len(set(keys)), "two units want the same entry"
        assert self.switch.dump() == sorted(map(str, entries))
        assert self.installed == whole
