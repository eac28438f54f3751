"""From what units were to what they are: the ordered changes that take the switch there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from vtep_ryu.core.flow import NOTHING, Flow, Group, Meter, Rendering
from vtep_ryu.core.units import Unit


@dataclass(frozen=True, slots=True)
class PutMeter:
    """Have the meter, whatever it was."""

    meter: Meter

    def __str__(self) -> str:
        return f"+ {self.meter}"


@dataclass(frozen=True, slots=True)
class PutGroup:
    """Add the group, or replace what it was."""

    group: Group

    def __str__(self) -> str:
        return f"+ {self.group}"


@dataclass(frozen=True, slots=True)
class PutFlow:
    """Add the flow, or replace what stood under its table, priority and match."""

    flow: Flow

    def __str__(self) -> str:
        return f"+ {self.flow}"


@dataclass(frozen=True, slots=True)
class RemoveFlow:
    """Remove the flow with this one's table, priority and match."""

    flow: Flow

    def __str__(self) -> str:
        return f"- {self.flow}"


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    """Remove the group."""

    group_id: int

    def __str__(self) -> str:
        return f"- group 0x{self.group_id:x}"


@dataclass(frozen=True, slots=True)
class RemoveMeter:
    """Remove the meter."""

    meter_id: int

    def __str__(self) -> str:
        return f"- meter 0x{self.meter_id:x}"


Change: TypeAlias = PutMeter | PutGroup | PutFlow | RemoveFlow | RemoveGroup | RemoveMeter


@dataclass(frozen=True, slots=True)
class Step:
    """A change and the unit on whose behalf it is made; removals have none, they cannot be refused."""

    change: Change
    unit: Unit | None


def plan(wanted: Mapping[Unit, Rendering], installed: Mapping[Unit, Rendering]) -> list[Step]:
    """The steps for the wanted units, of whatever else is installed.

    A packet never meets a flow whose meter, group or next entry is still to come: meters are put first, then groups,
    flows from the last table to the first, and removals follow in the opposite order. An entry that passes from one
    unit to another is put, not removed.
    """
    before = {unit: there for unit in wanted if (there := installed.get(unit)) is not None}
    meters = [Step(PutMeter(meter), unit) for unit, meter in _new_meters(wanted, before)]
    groups = [Step(PutGroup(group), unit) for unit, group in _new_groups(wanted, before)]
    flows = [Step(PutFlow(flow), unit) for unit, flow in _new_flows(wanted, before)]
    flows.sort(key=_later_table_first)
    removals = _removals(wanted, before) if before else ()
    return [*meters, *groups, *flows, *(Step(change, None) for change in removals)]


def _removals(wanted: Mapping[Unit, Rendering], before: Mapping[Unit, Rendering]) -> Iterable[Change]:
    kept = {flow.key for rendering in wanted.values() for flow in rendering.flows}
    gone = [flow for rendering in before.values() for flow in rendering.flows if flow.key not in kept]
    gone.sort(key=lambda flow: flow.table.id)
    kept_groups = {group.id for rendering in wanted.values() for group in rendering.groups}
    gone_groups = {group.id for rendering in before.values() for group in rendering.groups} - kept_groups
    kept_meters = {meter.id for rendering in wanted.values() for meter in rendering.meters}
    gone_meters = {meter.id for rendering in before.values() for meter in rendering.meters} - kept_meters
    yield from map(RemoveFlow, gone)
    yield from map(RemoveGroup, sorted(gone_groups))
    yield from map(RemoveMeter, sorted(gone_meters))


def _new_meters(wanted: Mapping[Unit, Rendering], before: Mapping[Unit, Rendering]) -> Iterable[tuple[Unit, Meter]]:
    for unit, rendering in wanted.items():
        for meter in rendering.meters:
            if meter not in before.get(unit, NOTHING).meters:
                yield unit, meter


def _new_groups(wanted: Mapping[Unit, Rendering], before: Mapping[Unit, Rendering]) -> Iterable[tuple[Unit, Group]]:
    for unit, rendering in wanted.items():
        if rendering.groups:
            had = {group.id: group for group in before.get(unit, NOTHING).groups}
            yield from ((unit, group) for group in rendering.groups if had.get(group.id) != group)


def _new_flows(wanted: Mapping[Unit, Rendering], before: Mapping[Unit, Rendering]) -> Iterable[tuple[Unit, Flow]]:
    for unit, rendering in wanted.items():
        had = {flow.key: flow for flow in before[unit].flows} if before and unit in before else {}
        for flow in rendering.flows:
            if not had or had.get(flow.key) != flow:
                yield unit, flow


def _later_table_first(step: Step) -> int:
    assert isinstance(step.change, PutFlow)
    return -step.change.flow.table.id
