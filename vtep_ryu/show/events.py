"""event/show and coverage/show: what has happened last, and how often what happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime

from vtep_ryu.core.counters import Counters
from vtep_ryu.core.coverage import WINDOWS, Coverage, Totals
from vtep_ryu.core.events import Event, Events, Kind
from vtep_ryu.core.vtep import Vtep
from vtep_ryu.show.document import Document, Slices, columns
from vtep_ryu.show.site import Site

COUNTERS = tuple(each.name for each in fields(Counters) if each.name.startswith(("addresses", "packet_ins", "frames")))
BY_PORT = "_by_port"

SENTENCES = {
    Kind.LEARNED: "{mac} in {logical_switch} at {at}",
    Kind.MOVED: "{mac} in {logical_switch} from {before} to {at}",
    Kind.AGED: "{mac} in {logical_switch} at {at}: {why}",
    Kind.WITHDRAWN: "{mac} in {logical_switch} at {at}: {why}",
    Kind.FROZEN: "{mac} in {logical_switch} at {at}, seen at {elsewhere}",
    Kind.THAWED: "{mac} in {logical_switch}: {why}",
    Kind.TUNNEL_UP: "{remote}: {info}",
    Kind.TUNNEL_DOWN: "{remote}: {info}",
    Kind.FAILED_OVER: "{logical_switch}: unknown-dst from {before} to {now}",
    Kind.FAULT_RAISED: "{keyword}: {text}",
    Kind.FAULT_CLEARED: "{keyword}: {text}",
    Kind.CONNECTED: "switch {datapath_id}",
    Kind.LOST: "switch {datapath_id}",
    Kind.DATABASE_CONNECTED: "{database}: {remote}",
    Kind.DATABASE_LOST: "{database}: {remote}",
}


def make(site: Site, events: Events, name: str | None = None) -> Slices[Document]:
    """The document of event/show; a name leaves out what happened to other physical switches."""
    if name is not None:
        site.physical_switches(name)
    found = []
    for event in events:
        yield
        if name in (None, event.physical_switch):
            found.append(as_document(event))
    return {"events": found}


def as_document(event: Event) -> Document:
    """An event, as event/show and the event log have it."""
    return {
        "number": event.number,
        "time": event.time,
        "event": event.kind.value,
        "physical_switch": event.physical_switch,
        "fields": dict(event.fields),
    }


def text(document: Document) -> Iterator[str]:
    """The document of event/show for people, the last one at the end."""
    if not document["events"]:
        yield "nothing has happened yet\n"
        return
    yield from columns([_row(each) for each in document["events"]])


def _row(event: Document) -> tuple[str, ...]:
    when = datetime.fromtimestamp(event["time"], UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    words = SENTENCES[Kind(event["event"])].format(**event["fields"])
    return when, event["physical_switch"], event["event"], words


def totals(vteps: Mapping[str, Vtep]) -> Totals:
    """What is counted, by physical switch and name."""
    return {
        (name, counter): getattr(vtep.counters, counter)
        for name, vtep in vteps.items()
        for counter in COUNTERS
        if not counter.endswith(BY_PORT)
    }


def coverage(site: Site, sampled: Coverage, now: float) -> Slices[Document]:
    """The document of coverage/show."""
    vteps = {name: served.vtep for name, served in site.vteps.items()}
    found = []
    for (switch, counter), total in sorted(totals(vteps).items()):
        yield
        rates = sampled.rates(now, (switch, counter), total)
        found.append({"physical_switch": switch, "name": counter, "total": total, "per_second": rates})
    return {"counters": found}


def coverage_text(document: Document) -> Iterator[str]:
    """The document of coverage/show for people."""
    hit = [each for each in document["counters"] if each["total"]]
    yield f"average rate over the last {', '.join(WINDOWS)}\n"
    if hit:
        yield from columns([_counter(each) for each in hit])
    yield f"{len(document['counters']) - len(hit)} counters are 0\n"


def _counter(each: Document) -> tuple[str, ...]:
    rates = (f"{each['per_second'][window]:.{digits}f}/sec" for window, digits in zip(WINDOWS, (1, 3, 4), strict=True))
    return each["physical_switch"], each["name"], *rates, f"total: {each['total']}"
