"""The program starts, with nothing in the switch and with everything."""

from collections.abc import Iterator
from functools import partial

from apps.lab import Host, Lab
from bench.figures import OURS, THEIRS, Point
from bench.run import Jobs, Run
from bench.site import FAR, Content, Ours, Site, Theirs, mac, stopping, wait_all
from bench.watch import Growth, flow_monitor
from tests.system.support import identities
from tests.system.traffic import traffic
from vtep_ryu.core.pipeline import UNICAST

FIGURES = ("start", "restart", "undisturbed")
MACS = 50
"""For each logical switch."""
TABLES = ("Physical_Switch", "Physical_Port", "Logical_Switch", "Ucast_Macs_Local", "Mcast_Macs_Local", "Tunnel")


def jobs(run: Run) -> Jobs:
    """Every size with everybody."""
    for switches in run.scale.starts:
        yield _starts(run, Ours, OURS, switches)
    for switches in run.scale.their_starts:
        yield _starts(run, Theirs, THEIRS, switches)


def _starts(run: Run, side: type[Ours] | type[Theirs], name: str, switches: int) -> Iterator[Point]:
    content = Content(switches, switches * MACS)
    run.say(f"start: {switches:,} logical switches, {content.bindings:,} bindings, {content.macs:,} MACs, {name}")
    with Lab("bench-") as lab, stopping(side(Site(lab))) as program:
        program.site.write(content)
        began = program.start()
        with Growth(program.node, program.bridges) as growth:
            took = wait_all(run, program, content, growth) - began
        yield Point("start", name, "everything forwards", switches, took)
        if isinstance(program, Ours) and run.wants("restart", "undisturbed"):
            run.say(f"restart: {switches:,} logical switches, {name}")
            yield from _restart(program, switches)


def _restart(ours: Ours, switches: int) -> Iterator[Point]:
    node = ours.node
    with traffic(*_pairs(ours.site)) as streams:
        node.app.stop()
        rows = identities(node, *TABLES)
        gone = mac(0)
        ours.site.delete(gone)
        new, _ = ours.site.add_one()
        watched = [f"!initial,table={UNICAST.id},dl_dst={address}" for address in (gone, new)]
        with flow_monitor(node, "br0", *watched) as monitor:
            began = ours.start()
            took = max(monitor.wait(event, 900) for event in (f"ADDED.*{new}", f"DELETED.*{gone}")) - began
        after = identities(node, *TABLES)
    yield Point("restart", OURS, "everything is right", switches, took)
    yield Point("undisturbed", OURS, "frames lost", switches, sum(stream.lost for stream in streams))
    yield Point("undisturbed", OURS, "rows rewritten", switches, sum(after.get(row) != rows[row] for row in rows))


def _pairs(site: Site) -> list[tuple[Host, Host]]:
    """Hosts of the first logical switch that reach each other: two at ports, and one at a port and one far away."""
    far = site.far_host(site.lab.kernel_vtep("kernel", f"{FAR[0]}/24"))
    pairs = [(site.hosts[0], site.hosts[1]), (site.hosts[2], far)]
    for one, other in pairs:
        site.lab.wait_until(partial(one.ping, other, count=1), 60, f"{other.name} to answer")
    return pairs
