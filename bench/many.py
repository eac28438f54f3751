"""Many switches, and one, two or four instances of the program that share them."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from apps.lab import Lab, LabError
from bench.crowd import SHARED, Crowd, real, simulated
from bench.figures import OURS, Point
from bench.run import Jobs, Run, median
from bench.site import memory, processor_seconds
from bench.watch import Lines

FIGURES = ("takeover", "sharing", "resident", "resting", "everywhere", "somewhere")
MEGABYTE = 1_000_000
PATIENCE = 120.0
"""Seconds without another line of those that are awaited."""

Site = Callable[[Lab, int, int], AbstractContextManager[tuple[Crowd, Lines]]]


def jobs(run: Run) -> Jobs:
    """Every number of switches with every number of instances."""
    for sizes, site, suffix in ((run.scale.real, real, ", Open vSwitch"), (run.scale.simulated, simulated, "")):
        for switches in sizes:
            for instances in run.scale.instances:
                yield _many(run, site, switches, instances, suffix)


def _many(run: Run, site: Site, switches: int, instances: int, suffix: str) -> Iterator[Point]:
    series = f"{instances} instance{'s' if instances > 1 else ''}{suffix}"
    run.say(f"many: {switches:,} switches, {series}")
    with Lab("bench-") as lab, site(lab, switches, instances) as (crowd, lines):
        pids = [each.app.process.pid for each in crowd.instances]
        time.sleep(run.scale.fleet_idle_seconds / 2)
        before, began = [processor_seconds(pid) for pid in pids], time.monotonic()
        time.sleep(run.scale.fleet_idle_seconds)
        took = time.monotonic() - began
        used = [processor_seconds(pid) - each for pid, each in zip(pids, before, strict=True)]
        yield Point("resting", OURS, series, switches, max(used) / took * 100)
        yield Point("resident", OURS, series, switches, max(memory(pid)[0] for pid in pids) / MEGABYTE)
        for figure, logical_switch, count in (("everywhere", 0, switches), ("somewhere", SHARED, 1)):
            times = [_change(crowd, lines, logical_switch, count) for _ in range(run.scale.fleet_changes)]
            yield Point(figure, OURS, series, switches, median(times) * 1000, len(times))
        if run.wants("takeover", "sharing"):
            yield from _takeover(run, series, crowd, lines)


def _change(crowd: Crowd, lines: Lines, logical_switch: int, count: int) -> float:
    """One remote address more, until the last of so many switches has it."""
    address, committed = crowd.add_one(logical_switch)
    return _last(lines, f"ADDED.*dl_dst={address}", count) - committed


def _last(lines: Lines, pattern: str, count: int) -> float:
    found = lines.until(pattern, count, PATIENCE)
    if len(found) < count:
        raise LabError(f"{len(found)} of {count} lines like {pattern}")
    return max(when for when, _ in found)


def _takeover(run: Run, series: str, crowd: Crowd, lines: Lines) -> Iterator[Point]:
    """An instance is killed, and then an address comes and one goes, which the last thing to be removed is."""
    gone, _ = crowd.add_one()
    _last(lines, f"ADDED.*dl_dst={gone}", crowd.switches)
    killed = crowd.instances[0]
    run.say(f"takeover: {len(killed.served())} switches of an instance that is killed, {series}")
    began = time.monotonic()
    killed.app.kill()
    crowd.delete(gone)
    new, _ = crowd.add_one()
    alone = len(crowd.instances) == 1
    if alone:
        killed.start()
    done = _last(lines, f"ADDED.*dl_dst={new}|DELETED.*dl_dst={gone}", 2 * crowd.switches)
    yield Point("takeover", OURS, series, crowd.switches, done - began)
    if not alone:
        crowd.wait_shared()
        started = killed.start()
        yield Point("sharing", OURS, series, crowd.switches, crowd.wait_shared() - started)
