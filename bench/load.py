"""Many remote MACs in one transaction, and the memory that they take."""

import time
from collections.abc import Iterator

from apps.lab import Node
from bench.figures import FLOOR, OURS, THEIRS, Point
from bench.run import Jobs, Run
from bench.site import Content, Ours, Theirs, memory, serving
from vtep_ryu.core.pipeline import UNICAST

FIGURES = ("load", "memory")
FORWARD = "all forward"
MEGABYTE = 1_000_000


def jobs(run: Run) -> Jobs:
    """Every size with everybody."""
    for size in run.scale.loads:
        yield _load(run, Ours, OURS, size)
    for size in run.scale.their_loads:
        yield _load(run, Theirs, THEIRS, size)


def _load(run: Run, side: type[Ours] | type[Theirs], name: str, size: int) -> Iterator[Point]:
    run.say(f"load: {size:,} remote MACs, {name}")
    with serving(run, side, Content(1)) as (program, growth):
        before = growth.read()
        committed = program.site.add(size)
        done = growth.until(before + size)
        yield Point("load", name, FORWARD, size, done - committed)
        resident, peak = (each / MEGABYTE for each in memory(program.pid))
        yield Point("memory", name, "resident", size, resident)
        yield Point("memory", name, "peak", size, peak)
        if side is Ours and run.wants("load"):
            run.say(f"load: {size:,} remote MACs, {FLOOR}: ovsdb-client and ovs-ofctl")
            yield Point("load", FLOOR, FORWARD, size, _floor(program.node))


def _floor(node: Node) -> float:
    """The C tools with the same rows and flows."""
    flows = node.directory / "flows"
    node.shell(f"ovs-ofctl -O OpenFlow13 dump-flows br0 table={UNICAST.id} --no-stats >{flows}")
    node.add_bridge("floor")
    began = time.monotonic()
    for tool in (
        f"ovsdb-client dump unix:{node.vtep_socket} hardware_vtep Ucast_Macs_Remote >/dev/null",
        f"ovs-ofctl -O OpenFlow13 --bundle add-flows floor {flows}",
    ):
        node.shell(tool, timeout=300)
    return time.monotonic() - began
