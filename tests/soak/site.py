"""The machine whose parts are changed, stopped and started at random, and those around it."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from apps.lab import Frame, Lab, LabError, Tag
from apps.lab.frames import BROADCAST
from tests.soak.nvc import Controller
from tests.system import tunnels
from tests.system.reference import Reference
from tests.system.relay import Relay
from tests.system.traffic import FAR, OURS, TwoVteps
from vtep_ryu.core.model import Settings

HYPERVISOR = tunnels.HYPERVISOR
PORTS = ("q0", "q1", "q2")
"""Ports that anything may happen to; p0 and p1 are in ls0, where every packet counts."""
PROGRAM, VSWITCHD, HARDWARE_VTEP, OPEN_VSWITCH = PARTS = (
    "program",
    "ovs-vswitchd",
    "hardware_vtep's ovsdb-server",
    "Open_vSwitch's ovsdb-server",
)
RELAYED = "tcp:127.0.0.1:6654"
ELSEWHERE = "tcp:127.0.0.1:9"
AGEING = 6
"""Seconds; so that stations which are seen once do not add up."""
OPTIONS = (f"--vtep-mac-ageing-time={AGEING}", "--vtep-mac-move-limit=0", "--vtep-statistics-interval=1")
SETTINGS = Settings(mac_ageing_time=AGEING, mac_move_limit=0)


class Site(TwoVteps):
    """The VTEP of TwoVteps with more ports, a server for each database, and a relay in each of its connections.

    The hypervisor is a machine with Open vSwitch that answers BFD.
    """

    relays: dict[str, Relay]
    nvc: Controller
    reference: Reference

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab, *OPTIONS)
        self.node.app.stop()
        self.node.start_vtep_server()
        self.hosts = {"p0": self.p0, "p1": self.p1, **{port: self.node.add_port(port) for port in PORTS}}
        self.hypervisor = lab.node("h", f"{HYPERVISOR}/24")
        options = (f"options:remote_ip={OURS}", f"options:local_ip={HYPERVISOR}", "options:key=flow")
        self.hypervisor.vsctl("add-port", "br0", "vx", "--", "set", "Interface", "vx", "type=vxlan", *options)
        self.relays = {}
        self.logs: list[Path] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """The program runs, and is connected by way of the relays, during the with statement."""
        node = self.node
        with ExitStack() as stack:
            for name, target in (("hardware_vtep", node.vtep_socket), ("open_vswitch", node.socket)):
                self.relays[name] = stack.enter_context(Relay.unix(node.directory / f"{name}.sock", target))
            self.relays["switch"] = stack.enter_context(Relay.tcp(node, 6654, 6653))
            self.start(PROGRAM)
            node.vsctl("set-controller", "br0", RELAYED)
            node.app.wait_log(r"^br0: switch \w+ is served$")
            self.nvc = Controller(node)
            self.reference = Reference(node, SETTINGS)
            yield

    # Its parts.

    def pid(self, part: str) -> int:
        """The process that a part is; raises LabError where it has ended though nobody ended it."""
        node = self.node
        if part == PROGRAM:
            pid = node.app.process.pid if node.app.running else None
        else:
            pid = {VSWITCHD: node.vswitchd, HARDWARE_VTEP: node.vtep_server, OPEN_VSWITCH: node.ovsdb_server}[part].pid
        if pid is None:
            raise LabError(f"{part} has ended\n{node.app.tail()}")
        return pid

    def end(self, part: str, how: signal.Signals) -> None:
        """Send a part a signal that ends it, and wait until it has."""
        node = self.node
        match part:
            case "program":
                node.app.stop(how)
            case "ovs-vswitchd":
                node.vswitchd.stop(how)
            case "hardware_vtep's ovsdb-server":
                node.vtep_server.stop(how)
            case _:
                node.ovsdb_server.stop(how)

    def start(self, part: str) -> None:
        """Start a part that has ended."""
        node = self.node
        match part:
            case "program":
                places = (f"{name.replace('_', '-')}-remotes=unix:{node.directory}/{name}.sock" for name in DATABASES)
                node.start_app(*OPTIONS, *(f"--vtep-{place}" for place in places), timeout=60)
                self.logs.append(node.app.logfile)
            case "ovs-vswitchd":
                node.start_vswitchd()
            case "hardware_vtep's ovsdb-server":
                node.start_vtep_server()
            case _:
                node.start_ovsdb("ovs")

    @contextmanager
    def stopped(self, part: str, seconds: float) -> Iterator[None]:
        """A part hangs during the with statement, and for so many seconds more."""
        pid = self.pid(part)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextmanager
    def controller(self, target: str | None) -> Iterator[None]:
        """The bridge has another controller, or none, during the with statement."""
        self.node.vsctl("--no-wait", *(("set-controller", "br0", target) if target else ("del-controller", "br0")))
        try:
            yield
        finally:
            self.node.vsctl("--no-wait", "set-controller", "br0", RELAYED)

    # What is behind its ports, and its tunnels.

    def learn_neighbours(self) -> None:
        """Tell the switch the other VTEPs' hardware addresses, which it forgets after a while."""
        self.node.datapath.learn(self.node, FAR, self.lab.underlay.mac_of(FAR))

    def send(self, port: str, vlan: int, *macs: str) -> None:
        """Have stations send a broadcast each."""
        self.hosts[port].send(*(Frame(BROADCAST, mac, tags=(Tag(vlan),) if vlan else ()) for mac in macs))

    def published(self, logical_switch: str) -> set[str]:
        """The addresses that are published for the logical switch with this UUID."""
        rows = self.node.rows("Ucast_Macs_Local")
        return {row["MAC"] for row in rows if row["logical_switch"] == logical_switch}

    def bound(self, port: str, vlan: int) -> str | None:
        """The UUID of the logical switch that the NVC has bound a VLAN of a port to."""
        rows = {row["name"]: row["vlan_bindings"] for row in self.node.rows("Physical_Port")}
        return {int(key): value for key, value in rows.get(port, {}).items()}.get(vlan)

    def tunnel_rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The rows of Tunnel by their addresses."""
        return tunnels.tunnels(self.node)


DATABASES = ("hardware_vtep", "open_vswitch")
