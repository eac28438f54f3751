"""Hosts that ping each other nearly 100 times a second: how many packets were lost, when, and for how long."""

import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from apps.lab import App, Host, Lab, wait_until
from tests.system.support import add_logical_switch, bind, set_up, teach

OURS = "10.2.2.1"
FAR = "10.2.2.9"
VNI = 5000
INTERVAL = 0.01
"""Seconds. With less ping does not wait, but takes all of a core, which it is to leave to what is tested."""

SOME = 20
"""Packets that tell something."""

_ANSWER = re.compile(r"^\[([0-9.]+)\] \d+ bytes from .* icmp_seq=(\d+) .* time=([0-9.]+) ms$", re.MULTILINE)


@dataclass(frozen=True)
class Outage:
    """Packets lost in a row: between when (as time.time() has it) the ones before and after them were sent."""

    start: float
    end: float
    lost: int


class Stream:
    """One host's echo requests to another, and their answers: each direction has as many packets."""

    def __init__(self, source: Host, target: Host) -> None:
        for one, other in ((source, target), (target, source)):
            # Hosts that look for their neighbour anew after a long silence would make an outage longer than it is.
            neighbour = (other.ip_address, "lladdr", other.mac, "dev", "eth0", "nud", "permanent")
            one.ip("neighbour", "replace", *neighbour)
        with tempfile.NamedTemporaryFile(delete=False) as output:
            self._output = Path(output.name)
            command = ("ping", "-D", "-n", "-i", str(INTERVAL), target.ip_address)
            self._process = source.popen(*command, stdout=output, stderr=subprocess.STDOUT)
        self._answers: dict[int, tuple[float, float]] = {}
        self.wait_answer(time.time())

    def wait_answer(self, since: float, timeout: float = 30) -> float:
        """Wait until a packet that was sent since then is answered; return when it was sent."""
        return wait_until(
            lambda: next((sent for sent, _ in self._read().values() if sent >= since), None), timeout, "an answer"
        )

    def stop(self) -> None:
        """End with a packet that is answered, as those under way are not lost, and not before there were some."""
        try:
            wait_until(lambda: len(self._read()) > SOME, 30, "some answers")
            self.wait_answer(time.time())
        finally:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(10)
            self._answers = self._read()
            self._output.unlink()

    # What came of it, once it has been stopped.

    @property
    def outages(self) -> list[Outage]:
        """Where packets are missing."""
        answers = sorted(self._answers.items())
        return [Outage(start, end, b - a - 1) for (a, (start, _)), (b, (end, _)) in pairwise(answers) if b - a > 1]

    @property
    def lost(self) -> int:
        """How many packets were not answered."""
        return sum(outage.lost for outage in self.outages)

    @property
    def sent(self) -> int:
        """How many packets were sent."""
        return max(self._answers)

    @property
    def latest(self) -> float:
        """The longest that an answer took, in seconds."""
        return max(took for _, took in self._answers.values())

    def _read(self) -> dict[int, tuple[float, float]]:
        """When the packets were sent that were answered, and how long that took, by number."""
        found = _ANSWER.findall(self._output.read_text())
        return {int(number): (float(came) - float(ms) / 1000, float(ms) / 1000) for came, number, ms in found}


@contextmanager
def traffic(*pairs: tuple[Host, Host]) -> Iterator[list[Stream]]:
    """Hosts ping each other during the with statement; afterwards the streams say what was lost."""
    streams: list[Stream] = []
    with ExitStack() as stack:
        for source, target in pairs:
            streams.append(Stream(source, target))
            stack.callback(streams[-1].stop)
        yield streams


@contextmanager
def no_packet_lost(*pairs: tuple[Host, Host]) -> Iterator[None]:
    """Hosts ping each other during the with statement; every packet is answered."""
    with traffic(*pairs) as streams:
        yield
    for stream in streams:
        assert not stream.outages, stream.outages


class TwoVteps:
    """A VTEP with p0 and p1 in ls0, and a host in it behind the VTEP of a Linux kernel; all three are known."""

    def __init__(self, lab: Lab, *options: str) -> None:
        self.lab = lab
        self.node = lab.node("a", f"{OURS}/24")
        self.p0, self.p1 = (self.node.add_port(f"p{n}", address=f"192.168.1.{n + 1}/24") for n in range(2))
        kernel = lab.kernel_vtep("kernel", f"{FAR}/24")
        kernel.add_vni(VNI, OURS)
        self.far = kernel.add_host(VNI, lab.host("far", "192.168.1.9/24"))
        self._remotes = 0
        self.pairs = ((self.p0, self.far), (self.far, self.p1))
        set_up(self.node, *options, *self.prepare())
        self.fill()

    def prepare(self) -> tuple[str, ...]:
        """What is done before the program starts; more options for it."""
        return ()

    def fill(self) -> None:
        """What the NVC writes, and what the hosts send, at first."""
        add_logical_switch(self.node, "ls0", VNI, FAR)
        self.node.vtep_ctl("add-ucast-remote", "ls0", self.far.mac, FAR)
        bind(self.node, "ls0", "p0", "p1")
        for host in (self.p0, self.p1):
            teach(self.node, host, host.mac)

    def insert_remotes(self, count: int) -> None:
        """Have the NVC write addresses behind the other VTEP until there are so many, and wait for their flows."""
        macs = (f"02:10:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in range(self._remotes, count))
        inserts = list(self._inserts(macs))
        wanted, self._remotes = self.flow_count() + count - self._remotes, count
        self.node.transact(*inserts)
        self.node.wait_until(lambda: self.flow_count() >= wanted, 300, f"{count} flows")

    def change_remotes(self, add: str, remove: str = "") -> None:
        """Have the NVC add an address and remove another; vtep-ctl needs long for it where there are very many."""
        where = [["MAC", "==", remove]]
        self.node.transact({"op": "delete", "table": "Ucast_Macs_Remote", "where": where}, *self._inserts([add]))

    def _inserts(self, macs: Iterable[str]) -> Iterator[dict[str, Any]]:
        (switch,) = (row["_uuid"] for row in self.node.rows("Logical_Switch") if row["name"] == "ls0")
        (locator,) = (row["_uuid"] for row in self.node.rows("Physical_Locator") if row["dst_ip"] == FAR)
        refer = {"logical_switch": ["uuid", switch], "locator": ["uuid", locator]}
        for mac in macs:
            yield {"op": "insert", "table": "Ucast_Macs_Remote", "row": {"MAC": mac, **refer}}

    def flow_count(self) -> int:
        """How many flows the bridge has."""
        return int(re.findall(r"flow_count=(\d+)", self.node.ofctl("dump-aggregate", "br0"))[0])

    def said(self, pattern: str) -> list[float]:
        """When (as time.time() has it) this run logged lines that match."""
        return said(self.node.app, pattern)


def said(app: App, pattern: str) -> list[float]:
    """When (as time.time() has it) the last run of a program logged lines that match."""
    stamped = re.findall(rf"^(\S+)Z [A-Z]+ {pattern}", app.logfile.read_text(), re.MULTILINE)
    return [datetime.fromisoformat(f"{stamp}+00:00").timestamp() for stamp in stamped]
