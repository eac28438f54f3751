"""What many installed MACs cost: a change of one, and doing nothing."""

import time
from collections.abc import Iterator, Sequence

from bench.figures import FLOOR, OURS, THEIRS, Point
from bench.run import Jobs, Run, median, percentile
from bench.site import Content, Ours, Side, Theirs, processor_seconds, serving
from bench.watch import flow_monitor
from vtep_ryu.core.pipeline import UNICAST

FIGURES = ("change", "idle")
WARM_UP = 1
"""Changes that are made before those that count."""
MOST = 50
"""Changes by ovs-ofctl: it takes much the same time each time."""


def jobs(run: Run) -> Jobs:
    """Every number of logical switches with everybody."""
    for switches in run.scale.switches:
        yield _installed(run, Ours, OURS, Content(switches, run.scale.installed))
    for switches in run.scale.their_switches:
        yield _installed(run, Theirs, THEIRS, Content(switches, run.scale.their_installed))


def _installed(run: Run, side: type[Ours] | type[Theirs], name: str, content: Content) -> Iterator[Point]:
    switches, changes = content.switches, run.scale.changes if side is Ours else run.scale.their_changes
    run.say(f"installing {content.macs:,} MACs in {switches:,} logical switches, {name}")
    with serving(run, side, content) as (program, _):
        yield from _idle(run, name, program, switches)
        if run.wants("change"):
            yield from _changes(run, name, program, switches, changes)
            if side is Ours:
                yield from _floor(run, program, switches, min(changes, MOST))


def _changes(run: Run, name: str, side: Side, switches: int, count: int) -> Iterator[Point]:
    run.say(f"change: {count} changes with {switches:,} logical switches, {name}")
    bridge, table = ("br0", UNICAST.id) if isinstance(side, Ours) else (side.bridge("ls0"), 1)
    took = []
    with flow_monitor(side.node, bridge, f"!initial,table={table}") as monitor:
        for _ in range(WARM_UP + count):
            address, committed = side.site.add_one()
            took.append(monitor.wait(f"event=ADDED.*dl_dst={address}") - committed)
    yield from _points("change", name, switches, took[WARM_UP:])


def _floor(run: Run, side: Side, switches: int, count: int) -> Iterator[Point]:
    run.say(f"change: {count} changes with {switches:,} logical switches, {FLOOR}: ovs-ofctl")
    took = []
    with flow_monitor(side.node, "br0", f"!initial,table={UNICAST.id}") as monitor:
        for n in range(WARM_UP + count):
            address = f"06:00:00:00:{n >> 8:02x}:{n & 255:02x}"
            began = time.monotonic()
            side.node.ofctl("add-flow", "br0", f"table={UNICAST.id},dl_dst={address},actions=drop")
            took.append(monitor.wait(f"event=ADDED.*dl_dst={address}") - began)
    yield from _points("change", FLOOR, switches, took[WARM_UP:])


def _points(figure: str, name: str, x: float, seconds: Sequence[float]) -> Iterator[Point]:
    milliseconds = [each * 1000 for each in seconds]
    yield Point(figure, name, "median", x, median(milliseconds), len(milliseconds))
    yield Point(figure, name, "99th percentile", x, percentile(milliseconds, 99), len(milliseconds))


def _idle(run: Run, name: str, side: Side, switches: int) -> Iterator[Point]:
    if run.wants("idle"):
        seconds = run.scale.idle_seconds
        run.say(f"idle: {seconds} s with {switches:,} logical switches, {name}")
        time.sleep(seconds / 2)  # Statistics are read every 5 s: what was just installed is looked at once more.
        before = processor_seconds(side.pid)
        time.sleep(seconds)
        used = processor_seconds(side.pid) - before
        yield Point("idle", name, "program", switches, used / seconds * 100)
