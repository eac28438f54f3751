"""A port that floods from random sources, as fast as the machine can send."""

import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from apps.lab import Frame, Host, Lab, Node
from apps.lab.frames import BROADCAST
from tests.system.flood import flood
from tests.system.support import (
    add_logical_switch,
    bind,
    counters,
    identities,
    set_up,
    switch_faults,
    teach,
)
from tests.system.traffic import Stream, traffic

pytestmark = pytest.mark.timeout(300)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
LIMIT = 500
"""Addresses that are learned of one binding."""
ROUNDS, SECONDS = (5, 4) if LONG else (2, 1.5)
STATIONS = 10 if LONG else 3
"""How many come while the port floods, in each round."""
LEARNED_SECONDS = 1.0 if LONG else 20.0
"""Until a station is published. A second is what is promised; a machine that does other things at the same time may
have nothing left for the program, which the flood alone leaves little.
"""
ALLOWANCE = 0.005 if LONG else 0.05
"""The part of all packets that chance may lose more in one run than in another."""
MEMORY = 100 << 20


@dataclass(frozen=True)
class Ports:
    """Two hosts that talk to each other, one that floods, and one at whose port stations come."""

    one: Host
    other: Host
    hostile: Host
    newcomers: Host


@dataclass(frozen=True)
class Site:
    """A VTEP, and in the same ovs-vswitchd a bridge that forwards by flows which were written by hand."""

    node: Node
    vtep: Ports
    static: Ports
    lab: Lab


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    node = lab.node("a", "10.2.2.1/24")
    vtep = Ports(*(node.add_port(f"p{n}", address=f"192.168.1.{n + 1}/24") for n in range(4)))
    set_up(node, f"--vtep-binding-mac-limit={LIMIT}")
    add_logical_switch(node, "ls0", 5000)
    bind(node, "ls0", "p0", "p1", "p2", "p3")
    for host in (vtep.one, vtep.other):
        teach(node, host, host.mac)
    node.add_bridge("static", "fail_mode=secure")
    static = Ports(*(node.add_port(f"s{n}", "static", address=f"192.168.2.{n + 1}/24") for n in range(4)))
    node.ofctl("add-flow", "static", "priority=0,actions=flood")
    for port, host in (("s0", static.one), ("s1", static.other)):
        node.ofctl("add-flow", "static", f"priority=1,dl_dst={host.mac},actions=output:{node.ofport(port)}")
    return Site(node, vtep, static, lab)


@dataclass
class Sum:
    """What came of the established traffic in several floods, and how fast those were."""

    sent: int = 0
    lost: int = 0
    flooded: int = 0
    seconds: float = 0.0

    def add(self, stream: Stream, flooded: int, seconds: float) -> None:
        self.sent, self.lost = self.sent + stream.sent, self.lost + stream.lost
        self.flooded, self.seconds = self.flooded + flooded, self.seconds + seconds

    def __str__(self) -> str:
        rate = f"{self.flooded / self.seconds:,.0f} frames a second"
        return f"{self.lost} of {self.sent} packets lost in {self.seconds:.1f} s of {rate}"


def is_published(node: Node, mac: str) -> bool:
    where = [["MAC", "==", mac]]
    select = {"op": "select", "table": "Ucast_Macs_Local", "where": where, "columns": ["MAC"]}
    return bool(node.transact(select)[0]["rows"])


def come(site: Site, host: Host) -> float:
    """Have a new station come, which says something four times a second; seconds until it is published."""
    mac, began, said = site.lab.new_mac(), time.monotonic(), 0

    def published() -> bool:
        nonlocal said
        if time.monotonic() - began >= said / 4:
            said += 1
            host.send(Frame(BROADCAST, mac))
        return is_published(site.node, mac)

    site.node.wait_until(published, LEARNED_SECONDS, f"{mac} to be learned")
    return time.monotonic() - began


def test_a_port_that_floods_harms_no_more_than_with_static_flows_and_stations_elsewhere_are_learned(
    site: Site,
) -> None:
    node, sums, learned = site.node, {"static": Sum(), "vtep": Sum()}, []
    memory, writes = node.app.memory(), node.directory / "writes"
    monitor = ("ovsdb-client", "--no-headings", "--format=csv", "monitor", f"unix:{node.vtep_socket}", "hardware_vtep")
    with writes.open("w") as output:
        watching = node.popen(*monitor, "Ucast_Macs_Local", "MAC", stdout=output, stderr=subprocess.STDOUT)
    node.wait_until(lambda: writes.read_text().count("initial") == 2, what="the monitor to begin")
    for _ in range(ROUNDS):
        for name, ports in (("static", site.static), ("vtep", site.vtep)):
            with traffic((ports.one, ports.other)) as (stream,), flood(ports.hostile) as sent:
                if ports is site.vtep:
                    learned += [come(site, ports.newcomers) for _ in range(STATIONS)]
                time.sleep(SECONDS)
            sums[name].add(stream, sent.sent, sent.seconds)
    told = ", ".join(f"{name}: {each}" for name, each in sums.items())
    told += f"; new stations were published after {', '.join(f'{each:.2f}' for each in sorted(learned))} s"
    print(told)
    assert sums["vtep"].lost <= sums["static"].lost + ALLOWANCE * sums["vtep"].sent, told
    node.wait_until(lambda: counters(node)["br0"]["addresses_refused"], 30, "the limit to be reached")
    assert node.app.memory() - memory < MEMORY
    assert switch_faults(node) == ["mac_table_exhaustion"]
    rows = identities(node, "Ucast_Macs_Local")
    assert len(rows) == 2 + LIMIT + len(learned)
    watching.send_signal(signal.SIGTERM)
    watching.wait(10)
    changes = re.findall(r",(?:insert|delete|old|new),.*", writes.read_text())
    assert len(changes) == LIMIT + len(learned), "each address that is learned is written once, and no other"
    assert "disconnected" not in node.app.log()
    assert "Traceback" not in node.app.log()
