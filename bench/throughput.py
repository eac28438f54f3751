"""What passes through the pipeline, and through static flows that do the same."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from apps.lab import Host, KernelVtep, Lab, LabError, Node
from bench.figures import FLOOR, OURS, THEIRS, Point
from bench.run import Jobs, Run, median
from bench.site import FAR, Content, Ours, Side, Site, Theirs, stopping, wait_all
from bench.watch import Growth

FIGURES = ("tcp", "udp")
STATIC = "10.2.2.2"
THEIR_VTEP = "10.2.2.3"


@dataclass(frozen=True, slots=True)
class Path:
    """Two hosts with somebody's switch between them."""

    side: str
    near: Host
    far: Host


def jobs(run: Run) -> Jobs:
    """Every number of installed MACs; ovs-vtep always has few of them."""
    for macs in run.scale.throughput:
        yield _throughput(run, macs)


def _throughput(run: Run, macs: int) -> Iterator[Point]:
    run.say(f"throughput: installing {macs:,} MACs")
    with Lab("bench-") as lab, ExitStack() as stack:
        kernel = lab.kernel_vtep("kernel", f"{FAR[0]}/24")
        sides: list[tuple[str, Side, int]] = [(OURS, Ours(Site(lab)), macs)]
        if count := min(macs, run.scale.their_macs):
            sides.append((THEIRS, Theirs(Site(lab, "theirs", THEIR_VTEP, 7000)), count))
        paths = []
        for name, program, installed in sides:
            stack.enter_context(stopping(program))
            _serve(run, program, Content(1, installed))
            paths.append(Path(name, program.site.hosts[0], program.site.far_host(kernel)))
        paths.append(_static(lab, kernel))
        yield from _rounds(run, [path for path in paths if _answers(run, lab, path)], macs)


def _answers(run: Run, lab: Lab, path: Path) -> bool:
    """Wait for an answer through somebody's switch; whether there is one. Only ovs-vtep may be without."""
    try:
        lab.wait_until(partial(path.near.ping, path.far, count=1), 60, f"an answer through {path.side}")
    except LabError as error:
        if path.side != THEIRS:
            raise
        run.say(str(error))
        return False
    return True


def _rounds(run: Run, paths: list[Path], macs: int) -> Iterator[Point]:
    """Everybody takes turns, now forward, now backward, so that what else the machine does meets all alike."""
    scale = run.scale
    tests: dict[str, tuple[Callable[[Host, Host, float], float], float]] = {
        "tcp": (Host.iperf, 1e6),
        "udp": (Host.iperf_udp, 1),
    }
    for figure in sorted(run.figures.intersection(FIGURES)):
        send, unit = tests[figure]
        seen: dict[str, list[float]] = {path.side: [] for path in paths}
        for turn in range(scale.throughput_rounds):
            run.say(f"{figure}: round {turn + 1} of {scale.throughput_rounds} with {macs:,} MACs")
            for path in paths[:: -1 if turn % 2 else 1]:
                seen[path.side].append(send(path.near, path.far, scale.throughput_seconds) / unit)
        for side, values in seen.items():
            yield Point(figure, side, "median", macs, median(values), len(values))


def _serve(run: Run, program: Side, content: Content) -> None:
    program.site.write(content)
    program.start()
    with Growth(program.node, program.bridges) as growth:
        wait_all(run, program, content, growth)


def _static(lab: Lab, kernel: KernelVtep) -> Path:
    """A bridge with one port for a host, one for the tunnel, and a flow from each to the other."""
    vni = 6000
    node: Node = lab.node("static", f"{STATIC}/24")
    near = node.add_port("p0", address="192.168.1.1/24")
    options = (f"options:remote_ip={FAR[0]}", f"options:key={vni}", f"options:local_ip={STATIC}")
    node.vsctl("set-fail-mode", "br0", "secure")
    node.vsctl("add-port", "br0", "vx0", "--", "set", "Interface", "vx0", "type=vxlan", *options)
    for one, other in (("p0", "vx0"), ("vx0", "p0")):
        node.ofctl("add-flow", "br0", f"in_port={node.ofport(one)},actions=output:{node.ofport(other)}")
    kernel.add_vni(vni, STATIC)
    return Path(FLOOR, near, kernel.add_host(vni, lab.host("far-static", "192.168.1.9/24")))
