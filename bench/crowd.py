"""A site with many switches in one pair of databases, and the instances of the program that share them."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Self

from apps.lab import App, Lab, LabError, Node, wait_until
from apps.lab.database import Connection
from apps.lab.node import HARDWARE_VTEP, OPEN_VSWITCH
from bench.fleet import READY, WATCHED
from bench.site import FAR, TIMEOUT, insert, named
from bench.watch import Lines
from vtep_ryu.core.marks import MARK
from vtep_ryu.core.pipeline import UNICAST, tunnel_port_name

SHARED = 4
"""Logical switches that all physical switches have bindings to; each has one of its own, too."""
PORTS = 2
"""Of each physical switch; each has a VLAN of every logical switch, so there are ten bindings."""
MACS = 50
"""Remote addresses in each logical switch."""
TUNNEL_PORT = 1000
FIRST = 6660
DATABASE = 6640
PROBE_MS = 400
"""As docs/instances.rst has it."""
PATIENCE = 180
POLL_SECONDS = 0.1


class Instance:
    """One of those that share the switches."""

    def __init__(self, node: Node, number: int) -> None:
        self.node = node
        self.port = FIRST + number
        directory = node.directory / f"instance-{number}"
        directory.mkdir()
        self.app = App(node, directory)

    def start(self) -> float:
        """Start it; returns when that was, once switches can connect."""
        began = time.monotonic()
        self.app.start(
            f"--ofp-tcp-listen-port={self.port}",
            f"--vtep-hardware-vtep-remotes=tcp:127.0.0.1:{DATABASE}",
            f"--vtep-open-vswitch-remotes=unix:{self.node.socket}",
            port=self.port,
            timeout=60,
        )
        return began

    def served(self) -> list[str]:
        """The bridges that it serves."""
        socket = self.node.directory / f"vtep_ryu.{self.app.process.pid}.ctl"
        bridges: list[str] = json.loads(self.node.appctl(str(socket), "vtep/status"))["bridges"]
        return bridges


class Crowd:
    """The databases, the switches, and what is written there; use it in a with statement."""

    def __init__(self, node: Node, switches: int, instances: int) -> None:
        """A node on which nothing runs yet, with so many instances on it."""
        self.node = node
        self.switches = switches
        self.bridges = [f"br{n}" for n in range(switches)]
        node.create_databases()
        node.start_ovsdb()
        node.vtep_ctl("set-manager", f"ptcp:{DATABASE}:127.0.0.1")
        node.vtep_ctl("set", "Manager", f"ptcp:{DATABASE}:127.0.0.1", f"inactivity_probe={PROBE_MS}")
        self.instances = [Instance(node, number) for number in range(instances)]
        self._nvc = Connection(node.vtep_socket, TIMEOUT)
        self._logical: list[str] = []
        self._locators: list[str] = []
        self._numbers = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        for each in self.instances:
            if each.app.running:
                each.app.kill()

    # What is written.

    def write(self) -> None:
        """Write all switches and what the NVC wants of them."""
        self._nvc.transact(OPEN_VSWITCH, *self._configuration())
        logical = [f"ls{n}" for n in range(SHARED + self.switches)]
        results = self._nvc.transact(
            HARDWARE_VTEP,
            *(insert("Logical_Switch", name, name=name, tunnel_key=5000 + n) for n, name in enumerate(logical)),
            *(
                insert("Physical_Locator", f"at{n}", dst_ip=ip, encapsulation_type="vxlan_over_ipv4")
                for n, ip in enumerate(FAR)
            ),
            insert("Physical_Locator_Set", "all", locators=named(*(f"at{n}" for n in range(len(FAR))))),
            *(
                insert(
                    "Mcast_Macs_Remote",
                    MAC="unknown-dst",
                    logical_switch=["named-uuid", name],
                    locator_set=["named-uuid", "all"],
                )
                for name in logical
            ),
            *(each for n, bridge in enumerate(self.bridges) for each in _physical_switch(n, bridge, logical)),
            {
                "op": "mutate",
                "table": "Global",
                "where": [],
                "mutations": [["switches", "insert", named(*self.bridges)]],
            },
        )
        uuids = [result["uuid"] for result in results[: len(logical) + len(FAR)]]
        self._logical, self._locators = uuids[: len(logical)], uuids[len(logical) :]
        self._nvc.transact(
            HARDWARE_VTEP,
            *(self._remote(n, _mac(n, i)) for n in range(len(logical)) for i in range(MACS)),
        )

    def add_one(self, logical_switch: int = 0) -> tuple[str, float]:
        """Insert a remote address that is watched; it, and when the server had done it."""
        address = bytes((WATCHED, 0, *next(self._numbers).to_bytes(4))).hex(":")
        self._nvc.transact(HARDWARE_VTEP, self._remote(logical_switch, address))
        return address, self._nvc.replied

    def delete(self, address: str) -> None:
        """Delete it again."""
        where = [["MAC", "==", address]]
        self._nvc.transact(HARDWARE_VTEP, {"op": "delete", "table": "Ucast_Macs_Remote", "where": where})

    def _remote(self, n: int, address: str) -> dict[str, Any]:
        logical, locator = self._logical[n], self._locators[n % len(self._locators)]
        return insert("Ucast_Macs_Remote", MAC=address, logical_switch=logical, locator=locator)

    def _configuration(self) -> Iterator[dict[str, Any]]:
        """The rows of Open_vSwitch: bridges with their ports, of which the tunnel port is as the program makes it."""
        targets = [f"tcp:127.0.0.1:{each.port}" for each in self.instances]
        for n, bridge in enumerate(self.bridges):
            address = _address(n)
            names, tunnel = _ports(bridge), tunnel_port_name(address)
            marks = ["map", [[MARK, address]]]
            options = ["map", [["remote_ip", "flow"], ["key", "flow"], ["local_ip", address]]]
            for number, name in enumerate((bridge, *names)):
                yield insert("Interface", f"i{name}", name=name, type="internal", ofport_request=number or ["set", []])
                yield insert("Port", f"p{name}", name=name, interfaces=["named-uuid", f"i{name}"])
            yield insert(
                "Interface",
                f"i{bridge}tunnel",
                name=tunnel,
                type="vxlan",
                options=options,
                external_ids=marks,
                ofport_request=TUNNEL_PORT + n,
            )
            interface = ["named-uuid", f"i{bridge}tunnel"]
            yield insert("Port", f"p{bridge}tunnel", name=tunnel, interfaces=interface, external_ids=marks)
            for number, target in enumerate(targets):
                yield insert("Controller", f"c{bridge}x{number}", target=target, connection_mode="out-of-band")
            yield insert(
                "Bridge",
                bridge,
                name=bridge,
                datapath_type="netdev",
                datapath_id=f"{n + 1:016x}",
                other_config=["map", [["datapath-id", f"{n + 1:016x}"]]],
                fail_mode="secure",
                ports=named(*(f"p{name}" for name in (bridge, *names, f"{bridge}tunnel"))),
                controller=named(*(f"c{bridge}x{number}" for number in range(len(targets)))),
            )
        mutation = ["bridges", "insert", named(*self.bridges)]
        yield {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [mutation]}

    # What the instances make of it.

    def wait_shared(self) -> float:
        """Wait until all switches are served, and nobody has more than its share; returns when that was."""
        wait_until(self._is_shared, PATIENCE, "all switches to be served and shared")
        return time.monotonic()

    def _is_shared(self) -> bool:
        time.sleep(POLL_SECONDS)
        running = [each for each in self.instances if each.app.running]
        served = [len(each.served()) for each in running]
        return sum(served) == self.switches and max(served) <= -(-self.switches // len(running))


def _mac(logical_switch: int, n: int) -> str:
    return bytes((2, 0x10, *logical_switch.to_bytes(2), *n.to_bytes(2))).hex(":")


def _ports(bridge: str) -> list[str]:
    return [f"{bridge}p{port}" for port in range(PORTS)]


def _address(n: int) -> str:
    return f"10.3.{n >> 8}.{n & 255}"


def _physical_switch(n: int, bridge: str, logical: list[str]) -> Iterator[dict[str, Any]]:
    mine = [*logical[:SHARED], logical[SHARED + n]]
    bindings = ["map", [[vlan, ["named-uuid", name]] for vlan, name in enumerate(mine)]]
    for name in _ports(bridge):
        yield insert("Physical_Port", name, name=name, vlan_bindings=bindings)
    yield insert("Physical_Switch", bridge, name=bridge, tunnel_ips=_address(n), ports=named(*_ports(bridge)))


@contextmanager
def simulated(lab: Lab, switches: int, instances: int) -> Iterator[tuple[Crowd, Lines]]:
    """Switches that are not there (bench/fleet.py), each as it is wanted; with the lines of what is watched."""
    node = lab.node("crowd", start=False)
    with Crowd(node, switches, instances) as crowd:
        node.vsctl("--no-wait", "init")
        crowd.write()
        for each in crowd.instances:
            each.start()
        with Lines(node, sys.executable, "-m", "bench.fleet", str(node.socket), ready=READY) as lines:
            crowd.wait_shared()
            yield crowd, lines


@contextmanager
def real(lab: Lab, switches: int, instances: int) -> Iterator[tuple[Crowd, Lines]]:
    """The same with bridges of Open vSwitch."""
    node = lab.node("crowd", start=False)
    with Crowd(node, switches, instances) as crowd:
        node.start_vswitchd()
        crowd.write()
        for each in crowd.instances:
            each.start()
        crowd.wait_shared()
        watched = f"watch:!initial,table={UNICAST.id},dl_dst={WATCHED:02x}:00:00:00:00:00/ff:00:00:00:00:00"
        monitors = "".join(f"ovs-ofctl monitor {bridge} {watched} & " for bridge in crowd.bridges)
        with Lines(node, "sh", "-c", f"{monitors} wait", ready="FLOW_MONITOR") as lines:
            if len(lines.until("FLOW_MONITOR", switches - 1, 10)) < switches - 1:
                raise LabError("not all bridges can be watched")
            yield crowd, lines
