"""Stations that send for the first time: many at once, and one."""

import time
from collections.abc import Iterator, Sequence

from apps.lab import Frame, Host
from apps.lab.frames import BROADCAST
from apps.lab.wire import packet_socket
from bench.figures import OURS, THEIRS, Point
from bench.run import Jobs, Run, median, percentile
from bench.site import Content, Ours, Side, Theirs, serving
from bench.watch import row_monitor

FIGURES = ("learning", "unlearned", "first")
PACE = 6_000
"""New sources a second; packet_in_rate bounds what comes for long to as many."""
WARM_UP = 1
PATIENCE = 15
"""Seconds without a new row after which no more is waited for."""


def jobs(run: Run) -> Jobs:
    """Every size with everybody."""
    scale = run.scale
    if run.wants("learning", "unlearned"):
        for count in scale.sources:
            yield _many(run, Ours, OURS, count)
        for count in scale.their_sources:
            yield _many(run, Theirs, THEIRS, count)
    if run.wants("first"):
        for known in scale.known:
            yield _one(run, Ours, OURS, known, scale.firsts)
        for known in scale.their_known:
            yield _one(run, Theirs, THEIRS, known, scale.their_firsts)


def _many(run: Run, side: type[Ours] | type[Theirs], name: str, count: int) -> Iterator[Point]:
    run.say(f"learning: {count:,} new sources, {name}")
    with serving(run, side, Content(1)) as (program, _):
        took, learned = learn(program, count)
    yield Point("learning", name, "learned", count, learned / took)
    yield Point("unlearned", name, "lost", count, count - learned)


def _one(run: Run, side: type[Ours] | type[Theirs], name: str, known: int, samples: int) -> Iterator[Point]:
    run.say(f"first: {samples} new sources one by one with {known:,} known, {name}")
    with serving(run, side, Content(1)) as (program, _):
        learn(program, known)
        host, took = program.site.hosts[0], []
        with row_monitor(program.node, "Ucast_Macs_Local", "MAC") as rows:
            for n in range(WARM_UP + samples):
                source = station(known + n)
                sent = time.monotonic()
                host.send(Frame(BROADCAST, source))
                took.append((rows.wait(f",insert,.*{source}") - sent) * 1000)
    yield Point("first", name, "median", known, median(took[WARM_UP:]), samples)
    yield Point("first", name, "99th percentile", known, percentile(took[WARM_UP:], 99), samples)


def learn(program: Side, count: int) -> tuple[float, int]:
    """Have so many stations send a frame each; the seconds until the last row has come, and how many came."""
    make_known(program)
    with row_monitor(program.node, "Ucast_Macs_Local", "MAC") as rows:
        began = send(program.site.hosts[0], [Frame(BROADCAST, station(n)).pack() for n in range(count)])
        came = [when for when, _ in rows.until(",insert,", count, PATIENCE)]
    return max(came, default=began) - began, len(came)


def make_known(program: Side) -> None:
    """Have the first host be known: a row monitor starts with a row."""
    host = program.site.hosts[0]
    host.send(Frame(BROADCAST, host.mac))
    program.node.wait_until(lambda: program.node.rows("Ucast_Macs_Local"), 60, "a first row")


def send(host: Host, frames: Sequence[bytes], pace: float = PACE) -> float:
    """Send frames, so many a second; returns when the first was sent."""
    with packet_socket(host.path, "eth0", receive=False) as wire:
        began = time.monotonic()
        for n, frame in enumerate(frames):
            while (ahead := began + n / pace - time.monotonic()) > 0:
                time.sleep(ahead)
            wire.send(frame)
    return began


def station(n: int) -> str:
    """The n-th new source."""
    return bytes((2, 0x20, *n.to_bytes(4))).hex(":")
