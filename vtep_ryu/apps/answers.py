"""Answers what the control socket is asked: from the program's state, in the main thread, without keeping it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping

from ryu.lib import hub

from vtep_ryu.apps.reconciler import Reconciler
from vtep_ryu.core.coverage import INTERVAL, Coverage
from vtep_ryu.core.database import Database
from vtep_ryu.core.events import Events
from vtep_ryu.core.flow import Flow, Group, Rendering
from vtep_ryu.core.units import Unit
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.drivers import vswitchd
from vtep_ryu.drivers.control import Answer, Asked, Control, LogLevel
from vtep_ryu.drivers.switch import Refused, SwitchLost
from vtep_ryu.show import addresses, explain, overview, trace
from vtep_ryu.show import events as happened
from vtep_ryu.show.commands import Question, Unanswerable
from vtep_ryu.show.document import Document, Slices, T, as_json, printable
from vtep_ryu.show.site import Installed, Served, Site

LOG = logging.getLogger(__name__)

SLICE_SECONDS = 0.002
"""For how long an answer is worked on before other green threads get their turn."""


LONG = ("fdb/show",)
"""Answers that can be megabytes: one is made after the other, so that who asks anything else does not wait long."""


class OnSwitch(Installed):
    """What is on a connected switch: as it was installed, and what it has counted by its own account."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self.address = reconciler.switch.address

    def rendering(self, unit: Unit) -> Rendering:
        """See Installed."""
        return self._reconciler.installed(unit)

    def counter(self, flow: Flow) -> tuple[int, int] | None:
        """See Installed."""
        try:
            return self._reconciler.switch.counter(flow)
        except (SwitchLost, Refused):
            return None

    def bucket_counters(self, group: Group) -> list[tuple[int, int]]:
        """See Installed."""
        try:
            return self._reconciler.switch.bucket_counters(group.id)
        except (SwitchLost, Refused):
            return []


class Answers:
    """Each question is answered in a green thread of its own, which reads what vteps and reconcilers hold."""

    def __init__(
        self,
        control: Control,
        database: Database,
        vteps: Mapping[str, Vtep],
        reconcilers: Mapping[int, Reconciler],
        events: Events,
        standby: Callable[[], tuple[str, ...]],
    ) -> None:
        self._control = control
        self._database = database
        self._vteps = vteps
        self._reconcilers = reconcilers
        self._events = events
        self._standby = standby
        self._coverage = Coverage()
        self._turn = hub.Semaphore()

    def sample(self) -> None:
        """Look at the counters now and then, for ever."""
        while True:
            self._coverage.sample(time.monotonic(), happened.totals(self._vteps))
            hub.sleep(INTERVAL)

    def take(self, value: Asked | LogLevel) -> None:
        """Do what the control socket hands over."""
        match value:
            case Asked():
                hub.spawn(self._answer, value)
            case LogLevel(level):
                logging.getLogger("vtep_ryu").setLevel(level)
                LOG.log(logging.getLevelName(level), "log level %s", level)

    def _answer(self, asked: Asked) -> None:
        try:
            answer = Answer(asked.number, self._made(asked.question))
        except Unanswerable as error:
            answer = Answer(asked.number, str(error), refused=True)
        except Exception:
            # Who asks does not end what forwards.
            LOG.exception("%s cannot be answered", asked.question.command)
            answer = Answer(asked.number, "there is an error in vtep_ryu, of which its log says more", refused=True)
        self._control.post(answer)

    def _made(self, question: Question) -> str:
        if question.command in LONG:
            with self._turn:
                return self._made_at_once(question)
        return self._made_at_once(question)

    def _made_at_once(self, question: Question) -> str:
        make, text = self._commands()[question.command]
        document = _in_slices(make(*question.arguments))
        pieces: list[str] = []
        lines = as_json(document) if question.as_json else printable(text(document))
        _in_slices(_collected(lines, pieces))
        return "".join(pieces)

    def _commands(self) -> dict[str, tuple[Callable[..., Slices[Document]], Callable[[Document], Iterator[str]]]]:
        """How the document and the text of each command are made."""
        site, now = self.site(), time.monotonic()
        return {
            "coverage/show": (lambda: happened.coverage(site, self._coverage, now), happened.coverage_text),
            "event/show": (lambda *name: happened.make(site, self._events, *name), happened.text),
            "vtep/show": (lambda *name: overview.make(site, *name), overview.text),
            "fdb/show": (lambda name: addresses.unicast(site, name), addresses.unicast_text),
            "mac/explain": (lambda name, mac: explain.make(site, name, mac), explain.text),
            "trace": (lambda *words: trace.make(site, traced, *words), trace.text),
            "mdb/show": (lambda name: addresses.multicast(site, name), addresses.multicast_text),
        }

    def site(self) -> Site:
        """What there is at this moment."""
        connected = {each.vtep.name: each for each in self._reconcilers.values()}

        def served(name: str, vtep: Vtep) -> Served:
            reconciler = connected.get(name)
            if reconciler is None:
                return Served(vtep)
            return Served(vtep, reconciler.switch.datapath_id, reconciler.served, OnSwitch(reconciler))

        return Site(self._database, {name: served(name, vtep) for name, vtep in self._vteps.items()}, self._standby())


def traced(served: Served, flow: str) -> str:
    """The switch's own answer, which nobody but the ovs-vswitchd on its machine can give."""
    name, address = served.vtep.name, served.installed.address
    if address is None:
        raise Unanswerable(f"{name} is not connected")
    if not vswitchd.is_here(address):
        raise Unanswerable(f"{name} is on another machine ({address}), whose ovs-vswitchd cannot be asked from here")
    try:
        return vswitchd.ask("ofproto/trace", name, flow)
    except vswitchd.NoAnswer as error:
        raise Unanswerable(str(error)) from error


def _collected(pieces: Iterator[str], into: list[str]) -> Slices[None]:
    for piece in pieces:
        into.append(piece)
        yield


def _in_slices(slices: Slices[T]) -> T:
    """What is made, while others have their turn."""
    until = time.monotonic() + SLICE_SECONDS
    while True:
        try:
            next(slices)
        except StopIteration as end:
            made: T = end.value
            return made
        if time.monotonic() > until:
            hub.sleep(0)
            until = time.monotonic() + SLICE_SECONDS
