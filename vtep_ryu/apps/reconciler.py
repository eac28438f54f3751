"""Keeps one connected switch as its Vtep wants it."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from ryu.lib import hub

from vtep_ryu.core import faults
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.backlog import Backlog
from vtep_ryu.core.events import Kind
from vtep_ryu.core.flow import NOTHING, Rendering
from vtep_ryu.core.model import Port
from vtep_ryu.core.plan import plan
from vtep_ryu.core.render import render
from vtep_ryu.core.statistics import BindingStats, count, of_bindings
from vtep_ryu.core.units import AlwaysUnit, RemoteUnit, StationUnit, TunnelUnit, Unit
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.drivers import pauses
from vtep_ryu.drivers.roles import Overtaken
from vtep_ryu.drivers.switch import Refused, Switch, SwitchLost

LOG = logging.getLogger(__name__)

UNITS_PER_SLICE = 200
"""Units rendered before other green threads get their turn."""

SIGHTINGS_PER_TURN = 500
"""Packet-ins taken in before what they change is applied: those of other ports do not wait for all of a flood.

With fewer at once there are more bundles, and after each Open vSwitch looks at every flow of its datapath again.
"""

RETRY_SECONDS = 5.0
"""How long what the switch refused waits to be tried again."""

TURNS: Mapping[type[Unit], int] = {StationUnit: 1, RemoteUnit: 2}
"""What waits for all else when a switch is taken over: one that has lost its flows forwards without, by flooding."""

UNITS_PER_PART = 2000
"""Units of a switch that is taken over which are planned at once: it hangs up where it hears nothing of us for 10 s."""

REMOTES_PER_TURN = 500
"""How many of very many new remote addresses are applied before stations are learned again."""

Publish = Callable[[dict[tuple[str, str], str | None], bool], None]
"""Takes local addresses with their locators, and whether these are all there are."""

Report = Callable[[dict[tuple[str, int], BindingStats]], None]
"""Takes the statistics of all bindings, by the UUID of the Physical_Port row and the VLAN."""


class Reconciler:
    """Applies what changes in a Vtep to the switch for as long as it is connected.

    One reconciliation takes all that has changed since the last, so bursts are coalesced. Nothing is applied before the
    switch has been taken over: what is right there stays, with its counters and timers, and what is not goes last.

    lead is called first, to become its master. served says whether the switch has been taken over; on_served is called
    when that changes, on_reconciled after every reconciliation.
    """

    def __init__(
        self,
        vtep: Vtep,
        switch: Switch,
        lead: Callable[[], None],
        publish: Publish,
        on_served: Callable[[], None],
        on_reconciled: Callable[[], None],
    ) -> None:
        self.vtep = vtep
        self.switch = switch
        self.ready = False
        self.served = False
        self._reconciling = False
        self._lead = lead
        self._publish = publish
        self._on_served = on_served
        self._on_reconciled = on_reconciled
        self._installed: dict[Unit, Rendering] = {}
        self._backlog = Backlog()
        self._refused: dict[Unit, None] = {}
        self._retries = 1
        self._retry_at = 0.0
        self._epoch = 0
        self._wake = hub.Event()
        self._stirred = True
        self._early_ports: list[tuple[Port, bool]] | None = []

    def wake(self) -> None:
        """Say that the Vtep has changed."""
        self._wake.set()

    @property
    def is_behind(self) -> bool:
        """Whether a switch that is served is not yet as the Vtep wants it."""
        return self.served and (self._reconciling or bool(self.vtep.dirty or self._backlog))

    def installed(self, unit: Unit) -> Rendering:
        """What the switch has of a unit."""
        return self._installed.get(unit, NOTHING)

    @property
    def is_idle(self) -> bool:
        """Whether it may be ended: nothing that it has taken in is still to be applied."""
        if not self.served:
            return not self.ready
        return not (self.is_behind or self.switch.has_sightings)

    def run(self) -> None:
        """Take the switch over, then follow the Vtep until the connection is lost."""
        try:
            with self.switch.turn:
                self._lead()
                self.switch.hear(self.wake)
                self.vtep.note(Kind.CONNECTED, datapath_id=f"{self.switch.datapath_id:016x}")
                self._take_over()
                self._set_served(True)
                while True:
                    again = self._await_change()
                    self._learn()
                    self.vtep.dirty.update(again)
                    self._publish(self.vtep.news(), False)
                    self._reconciling = True
                    self._reconcile(self._next_part())
                    self._reconciling, self._stirred = False, True
                    if not self._backlog:
                        self.vtep.measures.delays.done(time.monotonic())
                    self._on_reconciled()
                    if again:
                        self._tried_again(again)
        except Overtaken:
            pass  # It is not ours any more.
        except SwitchLost as error:
            self.switch.close(str(error))
        except Refused as error:
            LOG.error("%s: the switch cannot be used: %s", self.vtep.name, error)
        finally:
            self._set_served(False)
            self.vtep.measures.disconnected()
            self.switch.stop_hearing()
            pauses.go_on(self)
            self.vtep.note(Kind.LOST, datapath_id=f"{self.switch.datapath_id:016x}")
            for unit in self._refused:
                self.vtep.switch_faults.clear(unit)

    def _await_change(self) -> list[Unit]:
        """Wait until there is something to do; return what is to be tried again of what the switch refused."""
        self._wake.wait(max(0.0, self._retry_at - time.monotonic()) if self._refused else None)
        self._wake.clear()
        due = self._refused and time.monotonic() >= self._retry_at
        return list(self._refused)[: self._retries] if due else []

    def _learn(self) -> None:
        """Take in packet-ins; if there are more, come back for them."""
        for sighting in self.switch.sightings(SIGHTINGS_PER_TURN):
            if sighting is None:
                self.vtep.counters.packet_ins_ignored += 1
                continue
            try:
                self.vtep.seen(*sighting, time.monotonic())
            except Exception as error:
                switch_id, binding, mac = sighting
                error.add_note(f"{self.vtep.name!r}: learning {mac} at binding {binding:#x} of {switch_id}")
                raise
        self.vtep.measures.packet_ins["lost"] += self.switch.take_lost()
        if self.switch.has_sightings:
            self.wake()

    def _tried_again(self, units: list[Unit]) -> None:
        """Try more at once as long as there is room, else one after a while: every refusal costs bundles."""
        has_room = self._refused.keys().isdisjoint(units)
        self._retries = 2 * self._retries if has_room else 1
        self._retry_at = time.monotonic() + (0 if has_room else RETRY_SECONDS)

    def report(self, interval: float, report: Report) -> None:
        """Report the bindings' statistics every interval seconds, until the connection is lost.

        Where no frame has come and nothing has changed there are none to read: each flow is some work.
        """
        before: list[tuple[int, int, int]] = []
        try:
            while True:
                hub.sleep(interval)
                if self.vtep.storms.rate:
                    self.vtep.storms.read(self.switch.meters.dropped(), time.monotonic())
                stirred, self._stirred = self._stirred, not self.served
                totals = [self.switch.totals(table.id) for table in (p.CLASSIFY, p.EGRESS, p.UNDELIVERED)]
                if totals == before and not stirred:
                    continue
                before = totals
                classify, counters = self.switch.counters(p.CLASSIFY), self.switch.counters
                counted = count(classify, counters(p.EGRESS))
                self.vtep.measures.from_tunnels.read(classify)
                self.vtep.measures.to_tunnels.read(counters(p.TUNNEL))
                if self.served:  # Else flows may be still to come, or of another epoch.
                    self.vtep.drops.read(self.switch.dropped(self._epoch))
                    self.vtep.measures.bindings = of_bindings(counted, self.vtep.bindings, self.vtep.ports)
                    report(self.vtep.measures.bindings)
        except SwitchLost as error:
            self.switch.close(str(error))
        except Refused as error:
            LOG.error("%s: its counters cannot be read any more: %s", self.vtep.name, error)

    def set_port(self, port: Port, gone: bool) -> None:
        """Take in a change of one port."""
        if self._early_ports is not None:
            self._early_ports.append((port, gone))
            return
        ports = {name: other for name, other in self.vtep.ports.items() if other.number != port.number}
        if not gone:
            ports[port.name] = port
        self.vtep.set_ports(ports)
        self.wake()

    def aged(self, switch_id: int, binding: int, mac: str) -> None:
        """Take in that the switch has removed the learn entry of a silent station."""
        unit = self.vtep.aged(switch_id, binding, mac) if self.ready else None
        if unit in self._installed:
            there = self._installed[unit]
            left = tuple(flow for flow in there.flows if flow.table is not p.LEARN)
            self._put(unit, dataclasses.replace(there, flows=left))
        self.wake()

    def _take_over(self) -> None:
        vtep, switch = self.vtep, self.switch
        vtep.set_ports(switch.ports())
        early, self._early_ports = self._early_ports or [], None
        for port, gone in early:
            self.set_port(port, gone)
        vtep.storms.begin(switch.meters.read(), switch.meters.dropped())
        learned = switch.learned()
        vtep.restore(learned.entries, bool(learned.epochs), switch.forwarding())
        if vtep.tunnels.is_contested():  # Else it does not matter, and there can be many.
            vtep.restore_tunnels(switch.taking())
        self.ready = True
        self._epoch = (max(learned.epochs, default=0) + 1) % p.EPOCHS
        # The epoch shows in the learn table before anything else has it: if we end half-way, the next one is a new one.
        vtep.dirty = set()
        self._reconcile({AlwaysUnit(), TunnelUnit(None)})
        for units in _parts(vtep.inventory.every()):
            changed, vtep.dirty = vtep.dirty, set()
            self._reconcile(changed.union(units))
        self._publish(vtep.all_news(), True)  # What others are told to send here has its flows now.
        switch.forget_other_epochs(self._epoch)
        there = {group.id for rendering in self._installed.values() for group in rendering.groups}
        switch.forget_groups(switch.group_ids() - there)
        switch.meters.forget_others({each.id for rendering in self._installed.values() for each in rendering.meters})
        LOG.info("%s: switch %016x is served", vtep.name, switch.datapath_id)

    def _set_served(self, served: bool) -> None:
        self.served = served
        self._on_served()

    def _next_part(self) -> set[Unit]:
        """What is dirty, or a part of it, for which the rest waits."""
        changed, self.vtep.dirty = self.vtep.dirty, set()
        self.vtep.measures.delays.begin()
        self._backlog.touch(changed)
        part = self._backlog.take(REMOTES_PER_TURN)
        if self._backlog:
            pauses.hold(self)
            self.wake()
        else:
            pauses.go_on(self)
        return part

    def _reconcile(self, units: set[Unit]) -> None:
        """Apply what these units are now. What changes meanwhile is dirty again."""
        wanted = self._render(units)
        steps = plan(wanted, self._installed)
        for step in steps if LOG.isEnabledFor(logging.DEBUG) else ():
            LOG.debug("%s: %s", self.vtep.name, step.change)
        refused = self.switch.apply(steps, self._epoch)
        self._note_refused(wanted, refused)
        gone = {unit: Rendering.joined([wanted[unit], self._installed.get(unit, NOTHING)]) for unit in refused}
        self.switch.apply(plan(dict.fromkeys(refused, NOTHING), gone), self._epoch)
        wanted.update(dict.fromkeys(refused, NOTHING))
        for unit, rendering in wanted.items():
            self._put(unit, rendering)
        self.vtep.measures.changed(step for step in steps if step.unit not in refused)
        if wanted:
            LOG.debug("%s: reconciled: %d units rendered, %d changes", self.vtep.name, len(wanted), len(steps))

    def _put(self, unit: Unit, rendering: Rendering) -> None:
        self.vtep.measures.replaced(self._installed.get(unit, NOTHING), rendering)
        if rendering:
            self._installed[unit] = rendering
        else:
            self._installed.pop(unit, None)

    def _note_refused(self, wanted: Mapping[Unit, Rendering], refused: Mapping[Unit, str]) -> None:
        """Keep what was refused as faults, and, the oldest first, for another try."""
        self.vtep.measures.refused += len(refused)
        if refused and not self._refused:
            self._retry_at = time.monotonic() + RETRY_SECONDS
        for unit in self._refused.keys() & wanted.keys():
            del self._refused[unit]
            if unit not in refused:
                self.vtep.switch_faults.clear(unit)
        for unit, why in refused.items():
            self._refused[unit] = None
            text = f"{self.vtep.describe(unit)} is refused by the switch: {why}"
            self.vtep.switch_faults.find(unit, faults.refused(unit), text)

    def _render(self, units: set[Unit]) -> dict[Unit, Rendering]:
        wanted: dict[Unit, Rendering] = {}
        for unit in units:
            try:
                wanted[unit] = render(self.vtep, unit)
            except Exception as error:
                error.add_note(f"{self.vtep.name!r}: rendering {self.vtep.describe(unit)!r}")
                raise
            if len(wanted) % UNITS_PER_SLICE == 0:
                hub.sleep(0)
        return wanted


def _parts(units: Iterable[Unit]) -> Iterator[list[Unit]]:
    """The units of a switch that is taken over, in the order in which it gets them."""
    turns: dict[int, list[Unit]] = defaultdict(list)
    for unit in units:
        turns[TURNS.get(type(unit), 0)].append(unit)
    for _, turn in sorted(turns.items()):
        yield from (turn[start : start + UNITS_PER_PART] for start in range(0, len(turn), UNITS_PER_PART))
