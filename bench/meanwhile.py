"""What else goes on while many remote MACs load: learning, and the answers that keep the switch connected."""

import multiprocessing
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

from apps.lab import Frame, Node
from apps.lab.frames import BROADCAST
from apps.lab.wire import packet_socket
from bench.figures import OURS, Point
from bench.learning import make_known, station
from bench.run import Jobs, Run, median, percentile
from bench.site import Content, Ours, Site, serving
from bench.watch import flow_monitor, row_monitor, to_program
from vtep_ryu.core.pipeline import LEARN

FIGURES = ("meanwhile", "dropped")
PAUSE = 0.02
PATIENCE = 10.0
"""Seconds that the last of the stations may take."""
_ENDED = re.compile(r"br0<->tcp:.*(no response|disconnect|dropped|closed|failed)", re.IGNORECASE)


def jobs(run: Run) -> Jobs:
    """Every size."""
    for size in run.scale.loads_meanwhile:
        yield _meanwhile(run, size)


def _meanwhile(run: Run, size: int) -> Iterator[Point]:
    run.say(f"meanwhile: {size:,} remote MACs load, {OURS}")
    with serving(run, Ours, Content(1)) as (program, growth):
        node, site = program.node, program.site
        make_known(program)
        before, ended = growth.read(), _connections_ended(node)
        with (
            flow_monitor(node, "br0", f"!initial,table={LEARN.id}") as flows,
            row_monitor(node, "Ucast_Macs_Local", "MAC") as rows,
        ):
            with Repeated(_sender(site)) as stations, Repeated(to_program(node).echo) as echoes:
                committed = _add(site, size)
                done = growth.until(before + size)
            sent = {station(n): began for n, (began, _) in enumerate(stations.done)}
            came = {
                "learn": flows.until(r"ADDED.*dl_src=(\S+)", len(sent), PATIENCE),
                "publish": rows.until(r",insert,(\S+)", len(sent), PATIENCE),
            }
        for what, lines in came.items():
            took = [when - sent[match[1]] for when, match in lines if committed <= sent.get(match[1], 0) <= done]
            yield from _points(what, size, took)
        yield from _points("echo", size, [end - began for began, end in echoes.done if committed <= end <= done])
        yield Point("dropped", OURS, "dropped", size, _connections_ended(node) - ended)


def _points(what: str, x: float, seconds: list[float]) -> Iterator[Point]:
    if seconds:
        milliseconds = [each * 1000 for each in seconds]
        yield Point("meanwhile", OURS, f"{what}, median", x, median(milliseconds), len(seconds))
        yield Point("meanwhile", OURS, f"{what}, 99th percentile", x, percentile(milliseconds, 99), len(seconds))


class Repeated:
    """Something that is done in a thread over and over, with a pause; use it in a with statement."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.done: list[tuple[float, float]] = []
        """When each began and ended."""
        self._action = action
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(PAUSE):
            began = time.monotonic()
            self._action()
            self.done.append((began, time.monotonic()))


def _sender(site: Site) -> Callable[[], None]:
    """Each call sends the frame of another new station."""
    wire = packet_socket(site.hosts[1].path, "eth0", receive=False)
    numbers = iter(range(1 << 31))

    def send() -> None:
        wire.send(Frame(BROADCAST, station(next(numbers))).pack())

    return send


def _add(site: Site, size: int) -> float:
    """As `Site.add`, in a process of its own: our threads would stand still while it packs the rows."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=lambda: theirs.send(site.add(size)))
    process.start()
    committed: float = ours.recv()
    process.join()
    return committed


def _connections_ended(node: Node) -> int:
    return len(_ENDED.findall((node.directory / "ovs-vswitchd.log").read_text()))
