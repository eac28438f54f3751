"""What is measured: a VTEP with as much in its database as is asked for, and who serves it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.lab import Host, KernelVtep, Lab, OvsVtep
from apps.lab.database import Connection
from apps.lab.node import HARDWARE_VTEP
from bench.run import Run
from bench.watch import Growth
from tests.system.support import CONTROLLER

VTEP = "10.2.2.1"
FAR = ("10.2.2.8", "10.2.2.9")
"""The VTEPs that remote MACs are behind."""
PORTS = ("p0", "p1", "p2", "p3")
VNI = 5000
TIMEOUT = 900
"""Seconds that a transaction may take."""


@dataclass(frozen=True, slots=True)
class Content:
    """Logical switches, each with a VLAN of every port and an unknown-dst, and remote MACs spread over them.

    The first logical switch has what is not tagged.
    """

    switches: int
    macs: int = 0

    @property
    def bindings(self) -> int:
        """How many there are."""
        return self.switches * len(PORTS)


class Site:
    """A node that is a VTEP, and its NVC, which writes whole transactions. Nothing serves it yet."""

    def __init__(self, lab: Lab, name: str = "a", ip: str = VTEP, vni: int = VNI, patience: int = 5) -> None:
        """Its address on the underlay is `ip`, its first logical switch has this VNI.

        Who serves it waits so many seconds for its database's server.
        """
        self.lab = lab
        self.ip = ip
        self.vni = vni
        self.patience = patience
        self.node = lab.node(name, f"{ip}/24")
        self.hosts = [self.node.add_port(port, address=f"192.168.1.{n}/24") for n, port in enumerate(PORTS, start=1)]
        self.nvc = Connection(self.node.vtep_socket, TIMEOUT)
        self._switches: list[Any] = []
        self._locators: list[Any] = []
        self._macs = 0

    def write(self, content: Content) -> float:
        """Write everything in two transactions; returns when the second was done (as time.monotonic() has it)."""
        switches = [f"ls{n}" for n in range(content.switches)]
        names = [["named-uuid", name] for name in switches]
        locators = [f"locator{n}" for n in range(len(FAR))]
        bindings = ["map", [[vlan, ref] for vlan, ref in enumerate(names)]]
        operations = [
            *(insert("Logical_Switch", name, name=name, tunnel_key=self.vni + n) for n, name in enumerate(switches)),
            *(
                insert("Physical_Locator", name, dst_ip=ip, encapsulation_type="vxlan_over_ipv4")
                for ip, name in zip(FAR, locators, strict=True)
            ),
            # A locator that nothing refers to would be gone when MACs are to refer to it.
            insert("Physical_Locator_Set", "all", locators=named(*locators)),
            *(
                insert("Mcast_Macs_Remote", MAC="unknown-dst", logical_switch=ref, locator_set=["named-uuid", "all"])
                for ref in names
            ),
            *(insert("Physical_Port", name, name=name, vlan_bindings=bindings) for name in PORTS),
            insert("Physical_Switch", "switch", name="br0", tunnel_ips=self.ip, ports=named(*PORTS)),
            insert("Global", switches=named("switch")),
        ]
        results = self.nvc.transact(HARDWARE_VTEP, *operations)
        self._switches = [result["uuid"] for result in results[: len(switches)]]
        self._locators = [result["uuid"] for result in results[len(switches) : len(switches) + len(locators)]]
        return self.add(content.macs) if content.macs else self.nvc.replied

    def add(self, count: int) -> float:
        """Insert so many remote MACs in one transaction; returns when the server had done it."""
        self.nvc.transact(HARDWARE_VTEP, *(self._remote(n, mac(n)) for n in range(self._macs, self._macs + count)))
        self._macs += count
        return self.nvc.replied

    def add_one(self, address: str = "") -> tuple[str, float]:
        """Insert one in the first logical switch, a new one if none is given; it, and when the server had done it."""
        if not address:
            address = mac(self._macs)
            self._macs += 1
        self.nvc.transact(HARDWARE_VTEP, self._remote(0, address))
        return address, self.nvc.replied

    def far_host(self, kernel: KernelVtep) -> Host:
        """A host in the first logical switch behind another VTEP, whose address is the first of `FAR`."""
        kernel.add_vni(self.vni, self.ip)
        far = kernel.add_host(self.vni, self.lab.host(f"far{self.vni}", "192.168.1.9/24"))
        self.add_one(far.mac)
        return far

    def delete(self, address: str) -> None:
        """Delete the row of an address."""
        where = [["MAC", "==", address]]
        self.nvc.transact(HARDWARE_VTEP, {"op": "delete", "table": "Ucast_Macs_Remote", "where": where})

    def _remote(self, n: int, address: str) -> dict[str, Any]:
        references = {
            "logical_switch": self._switches[n % len(self._switches)],
            "locator": self._locators[n % len(self._locators)],
        }
        return insert("Ucast_Macs_Remote", MAC=address, **references)


def mac(n: int) -> str:
    """The n-th remote MAC."""
    return bytes((2, 0x10, *n.to_bytes(4))).hex(":")


def insert(table: str, uuid_name: str = "", **row: Any) -> dict[str, Any]:
    """An operation that inserts a row; others of the transaction refer to it by the name."""
    return {"op": "insert", "table": table, "row": row, **({"uuid-name": uuid_name} if uuid_name else {})}


def named(*names: str) -> list[Any]:
    """References to rows by such names."""
    return ["set", [["named-uuid", name] for name in names]]


class Ours:
    """This project's application, which serves a site."""

    bridges = "br0"

    def __init__(self, site: Site) -> None:
        self.site = site
        self.node = site.node
        self._pointed = False

    def start(self) -> float:
        """Start it, and once it listens point the bridge to it, if it is not yet; returns when it was started."""
        began = time.monotonic()
        self.node.app.start(f"--vtep-database-probe-interval={self.site.patience}")
        if not self._pointed:
            self.node.vsctl("set-controller", "br0", CONTROLLER)
            self._pointed = True
        return began

    def minimum(self, content: Content) -> int:
        """The fewest flows with which all of this can forward."""
        return content.macs + 2 * content.bindings

    def stop(self) -> None:
        """End it, if it runs."""
        if self.node.app.running:
            self.node.app.stop()

    @property
    def pid(self) -> int:
        """Its process."""
        return self.node.app.process.pid


class Theirs:
    """Open vSwitch's ovs-vtep, which serves a site."""

    bridges = "br0_vtep_ls*"

    def __init__(self, site: Site) -> None:
        self.site = site
        self.node = site.node
        self._program = OvsVtep(site.node, site.node.directory)

    def start(self) -> float:
        """Start it; returns when that was."""
        began = time.monotonic()
        self._program.start()
        return began

    def minimum(self, content: Content) -> int:
        """The fewest flows of its logical switches' bridges with which all of this can forward."""
        return content.macs + content.bindings

    def bridge(self, switch: str) -> str:
        """The bridge that it has made for a logical switch."""
        rows = self.node.rows("Bridge", "Open_vSwitch")
        return next(str(row["name"]) for row in rows if row["external_ids"].get("logical_switch_name") == switch)

    def stop(self) -> None:
        """End it."""
        self._program.kill()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._program.pid or 0


Side = Ours | Theirs


@contextmanager
def stopping(program: Side) -> Iterator[Side]:
    """Someone who is ended at last: what detaches is not the lab's."""
    try:
        yield program
    finally:
        program.stop()


def wait_all(run: Run, program: Side, content: Content, growth: Growth) -> float:
    """Wait until all of a content forwards; returns when it did. The rounds of ovs-vtep take a while."""
    return growth.until(program.minimum(content), run.scale.quiet * (1 if isinstance(program, Ours) else 5))


@contextmanager
def serving(run: Run, side: type[Ours] | type[Theirs], content: Content) -> Iterator[tuple[Side, Growth]]:
    """Someone who serves a new site with this content; yields once all of it forwards."""
    with (
        Lab("bench-") as lab,
        stopping(side(Site(lab, patience=run.scale.patience))) as program,
        Growth(program.node, program.bridges) as growth,
    ):
        program.site.write(content)
        program.start()
        wait_all(run, program, content, growth)
        yield program, growth


def memory(pid: int) -> tuple[int, int]:
    """Resident memory of a process in bytes, now and at most."""
    text = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(text.split(f"{name}:")[1].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def processor_seconds(pid: int) -> float:
    """What a process and those that it has waited for have used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
