"""Both are driven through one sequence, and what they make of the same frames is compared."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from apps.lab import Lab, LabError
from tests.differential import probes
from tests.differential.faults import Fault
from tests.differential.predict import Memory, explain, outcomes
from tests.differential.probes import LOCAL, Outcome, Probe
from tests.differential.sides import Ours, Theirs
from tests.differential.steps import Case, Check, State, Step, possible

TRIES = 3
ENOUGH = 12
"""How many differences are looked at again, and told."""
REMEMBERS = 15
"""For how many seconds ovs-vtep knows an address that nothing is sent to."""


@dataclass
class Report:
    """What was found: the differences that nothing explains, and how often each fault was the explanation."""

    differences: list[str] = field(default_factory=list)
    faults: Counter[Fault] = field(default_factory=Counter)
    compared: int = 0


@dataclass
class Course:
    """How far a sequence has come."""

    state: State = field(default_factory=State)
    memory: Memory = field(default_factory=Memory)
    strays: set[tuple[str, str]] = field(default_factory=set)
    """What ovs-vtep learned from frames with a tag at a binding of VLAN 0."""
    refused: list[str] = field(default_factory=list)
    """What the database of ours or theirs did not take, though it should have."""
    kept: int = 0
    """How many logical switches could not be deleted since ovs-vtep kept them without a binding."""


class Harness:
    """Our application and ovs-vtep, side by side."""

    def __init__(self, ours: Ours, theirs: Theirs) -> None:
        self.ours = ours
        self.theirs = theirs

    def run(self, case: Case) -> Report:
        """Go through a sequence and compare at each check; which frames are sent follows from the seed and the state.

        Ends with the first check at which the two differ.
        """
        report, course = Report(), Course()
        for course in self.lead(case.steps):
            report.differences += course.refused
            self._compare(course, report, probes.draw(course.state, case.seed))
            if report.differences:
                return report
        report.faults.update([Fault.LAST_BINDING_MOVES] * course.kept)
        report.differences += self._published(course)
        return report

    def lead(self, sequence: Iterable[Step]) -> Iterator[Course]:
        """Lead both through a sequence, from the beginning; yields when they have come to a check, and follow."""
        Lab.at_once(self.ours.reset, self.theirs.reset)
        course = Course()
        for step, state in possible(sequence):
            if isinstance(step, Check):
                course.state = state
                Lab.at_once(self.ours.follow, self.theirs.follow)
                course.memory.look(state)
                yield course
            else:
                self._write(step, course)

    def _write(self, step: Step, course: Course) -> None:
        if not self.ours.write(step):
            course.refused.append(f"{step}: local rows of ours are left")
        if not self.theirs.write(step):
            if getattr(step, "name", "") in course.memory.empty():
                course.kept += 1
            else:
                course.refused.append(f"{step}: local rows of ovs-vtep's are left")

    def _learn(self, state: State) -> None:
        Lab.at_once(lambda: self.ours.learn(state), lambda: self.theirs.learn(state))

    def sent(self, state: State, sent: Sequence[Probe]) -> list[tuple[Probe, Outcome, Outcome]]:
        """Send these frames; each, and what becomes of it with ours and with theirs."""
        came: dict[str, list[Outcome]] = {}
        for _ in range(TRIES):
            before = time.monotonic()
            self._learn(state)
            Lab.at_once(
                lambda: came.update(ours=self.ours.send(sent)),
                lambda: came.update(theirs=self.theirs.send(sent)),
            )
            if time.monotonic() < before + REMEMBERS:
                return list(zip(sent, came["ours"], came["theirs"], strict=True))
        raise LabError(f"too slow: ovs-vtep forgets addresses within the {REMEMBERS} s that {len(sent)} frames take")

    def _compare(self, course: Course, report: Report, sent: Sequence[Probe]) -> None:
        """Note the differences in what becomes of these frames that stay when they are sent again."""
        state, memory = course.state, course.memory
        course.strays |= {(state.bindings[each.at, 0], each.src) for each in sent if _is_stray(each, state)}
        report.compared += len(sent)
        differing: list[tuple[Probe, Outcome, Outcome]] = []
        for n in range(TRIES):
            differing = []
            for probe, ours, theirs in self.sent(state, sent):
                if ours == theirs:
                    continue
                faults = explain(state, memory, probe, theirs)
                if faults is not None and {ours} == outcomes(state, memory, probe):
                    report.faults.update(faults)
                else:
                    differing.append((probe, ours, theirs))
            if not differing:
                break
            sent = [probe for probe, _, _ in differing[:ENOUGH]]
            if n == 0:
                Lab.at_once(self.ours.follow, self.theirs.follow)
        report.differences += [_text(*each) for each in differing]

    def _published(self, course: Course) -> list[str]:
        """The differences in what they publish that stay."""
        found: list[str] = []
        for _ in range(TRIES):
            self._learn(course.state)
            self.theirs.ovs_vtep.round()
            found = list(self._published_now(course))
            if not found:
                break
        return found

    def _published_now(self, course: Course) -> Iterator[str]:
        state, memory = course.state, course.memory
        wanted = probes.stations(state)
        allowed = memory.addresses() | course.strays
        ours, theirs = self.ours.published(state), self.theirs.published(state)
        yield from _rows("ours", ours, wanted, wanted)
        yield from _rows("ovs-vtep's", theirs, wanted, wanted | allowed)
        bound = frozenset(state.bindings.values())
        ours, theirs = self.ours.published_unknown_dst(state), self.theirs.published_unknown_dst(state) - memory.empty()
        if ours != bound or theirs != bound:
            yield f"Mcast_Macs_Local: {sorted(bound)} are bound, ours has {sorted(ours)}, ovs-vtep's {sorted(theirs)}"


Addresses = Iterable[tuple[str, str]]


def _rows(whose: str, rows: Addresses, wanted: Addresses, allowed: Addresses) -> Iterator[str]:
    for name, mac in sorted({*wanted} - {*rows}):
        yield f"Ucast_Macs_Local: {whose} lacks {mac} of {name}"
    for name, mac in sorted({*rows} - {*allowed}):
        yield f"Ucast_Macs_Local: {whose} has {mac} of {name}"


def _is_stray(probe: Probe, state: State) -> bool:
    return probe.vni == LOCAL and bool(probe.tags) and (probe.at, 0) in state.bindings


def _text(probe: Probe, ours: Outcome, theirs: Outcome) -> str:
    def listed(outcome: Outcome) -> str:
        return ", ".join(map(str, outcome)) or "nobody"

    return f"{probe}\n    ours: {listed(ours)}\n    ovs-vtep: {listed(theirs)}"
