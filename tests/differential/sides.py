"""The two that are compared: each a node with the same ports and VTEPs around it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from apps.lab import Capture, Frame, Host, Lab, Vxlan
from apps.lab.frames import BROADCAST, ETHERTYPE_TEST
from apps.lab.node import LOCATOR_GONE
from apps.lab.wire import packet_socket
from tests.differential import probes, steps
from tests.differential.drivers import BRIDGE, UNKNOWN_DST, Ovsdbapp, Refused, VtepCtl
from tests.differential.ovs_vtep import OvsVtep
from tests.differential.probes import LOCAL, Outcome, Probe
from tests.system.nvc import Nvc
from tests.system.support import forget_megaflows, physical_ports, set_up, sources

VTEP = "10.2.2.1"
BATCH = 16


class Side:
    """A VTEP, three hosts, three machines that speak VXLAN by hand, and the controller's two tools."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.node = lab.node("a", f"{VTEP}/24")
        self.hosts = {port: self.node.add_port(port) for port in steps.PORTS}
        self.peers = {ip: lab.peer(f"peer{ip.rpartition('.')[2]}", f"{ip}/24") for ip in steps.PEERS}
        # Opening one for every frame would take most of the time.
        machines: dict[str, Host] = {**self.hosts, **self.peers}
        self._wires = {at: packet_socket(each.path, "eth0", receive=False) for at, each in machines.items()}
        self._tools: dict[str, VtepCtl | Ovsdbapp] = {}

    def connect(self) -> None:
        """Connect the controller's tools."""
        self._tools = {"vtep-ctl": VtepCtl(self.node), "ovsdbapp": Ovsdbapp(self.node)}

    def close(self) -> None:
        """Disconnect them, and close what frames are sent by."""
        for wire in self._wires.values():
            wire.close()
        for tool in self._tools.values():
            if isinstance(tool, Ovsdbapp):
                tool.stop()

    def reset(self) -> None:
        """Begin anew; the other VTEPs' hardware addresses would be forgotten after a while."""
        for ip, peer in self.peers.items():
            self.node.datapath.learn(self.node, ip, peer.mac)

    def write(self, step: steps.Step) -> bool:
        """Do a step; False when the database did not take it before some local rows were deleted."""
        try:
            self._tools[step.by].do(step)
        except Refused as refused:
            if isinstance(step, steps.DelSwitch):
                self.node.vtep_ctl("clear-local-macs", step.name)
            elif LOCATOR_GONE not in str(refused):
                raise
            self._tools[step.by].do(step)
            return not isinstance(step, steps.DelSwitch)
        return True

    def send(self, sent: Sequence[Probe]) -> list[Outcome]:
        """Send these frames, and see where each arrives."""
        forget_megaflows(self.node)
        frames = [probe.frame(n.to_bytes(4) + bytes(42)) for n, probe in enumerate(sent)]
        came: dict[int, list[probes.Copy]] = defaultdict(list)
        for frame, copy in self._arrivals(sent, frames):
            if frame.ethertype == ETHERTYPE_TEST and (number := int.from_bytes(frame.payload[:4])) < len(sent):
                whole = frame == frames[number].tagged()
                came[number].append(copy if whole else replace(copy, at=f"{copy.at} changed"))
        return [tuple(sorted(came[n])) for n in range(len(sent))]

    def _arrivals(self, sent: Sequence[Probe], frames: Sequence[Frame]) -> Iterator[tuple[Frame, probes.Copy]]:
        """Send frames, and yield all that arrives."""
        with ExitStack() as stack:
            hosts = {port: stack.enter_context(host.capture()) for port, host in self.hosts.items()}
            peers = {ip: stack.enter_context(peer.capture()) for ip, peer in self.peers.items()}
            for n in range(0, len(sent), BATCH):
                for probe, frame in zip(sent[n : n + BATCH], frames[n : n + BATCH], strict=True):
                    self._send(probe, frame)
                self._wait(hosts.values(), peers.values())
            for port, capture in hosts.items():
                yield from (probes.arrived(port, frame) for frame in capture.frames)
            for ip, capture in peers.items():
                yield from filter(None, (probes.tunnelled(ip, frame) for frame in capture.frames))

    def _send(self, probe: Probe, frame: Frame) -> None:
        if probe.vni == LOCAL:
            self._wires[probe.at].send(frame.pack())
        else:
            ip = probe.at if probe.at in self.peers else steps.PEERS[0]
            outer = Vxlan(probe.at, VTEP, probe.vni, frame).pack(self.lab.underlay.mac_of(VTEP), self.peers[ip].mac)
            self._wires[ip].send(outer.pack())

    def _wait(self, hosts: Iterable[Capture], peers: Iterable[Capture]) -> None:
        """Wait until what was sent has arrived: what the switch itself sends now comes later.

        A frame that one of its ports has not been asked for yet can come later than the first one, not than the second.
        """
        for _ in range(2):
            marker = Frame(BROADCAST, self.lab.new_mac(), (2**32 - 1).to_bytes(4) + bytes(42))
            packet = f"in_port=controller,packet={marker.pack().hex()},actions={self._to_hosts}"
            self.node.ofctl("packet-out", BRIDGE, packet)
            for capture in hosts:
                capture.wait(lambda each, marker=marker: each == marker)
        self.node.send_raw(marker.pack(), interface="eth1")
        for capture in peers:
            capture.wait(lambda each, marker=marker: each == marker)

    @cached_property
    def _to_hosts(self) -> str:
        return ",".join(f"output:{self.node.ofport(port)}" for port in self.hosts)

    def published(self, state: steps.State) -> frozenset[tuple[str, str]]:
        """The unicast addresses that it publishes for the logical switches of a state."""
        return frozenset((name, mac) for name, mac in self.node.macs() if name in state.switches)

    def published_unknown_dst(self, state: steps.State) -> frozenset[str]:
        """The logical switches that it publishes its own unknown-dst for."""
        macs = self.node.macs("Mcast_Macs_Local")
        return frozenset(
            name for (name, mac), ips in macs.items() if (mac, ips) == (UNKNOWN_DST, (VTEP,)) and name in state.switches
        )


class Ours(Side):
    """This project's application."""

    def __init__(self, lab: Lab, *options: str) -> None:
        super().__init__(lab)
        set_up(self.node, *options)
        self.connect()
        self._nvc = Nvc(self.node)

    def restart(self, broken: str = "") -> None:
        """Start the application again, with its pipeline broken as broken/sitecustomize.py says."""
        self.node.app.stop()
        self.node.env |= {"PYTHONPATH": str(Path(__file__).with_name("broken")), "VTEP_BROKEN": broken}
        self.node.start_app()
        self.node.app.wait_log(rf"^{BRIDGE}: switch \w+ is served$", timeout=30)

    def follow(self) -> None:
        """Wait until the switch follows the database."""
        self._nvc.settle()

    def learn(self, state: steps.State) -> None:
        """Have the machines behind bindings be known."""
        self.send(probes.lessons(state))
        wanted = probes.stations(state)
        self.node.wait_until(lambda: wanted <= self.published(state), timeout=30, what="stations")
        self.node.wait_until(lambda: {mac for _, mac in wanted} <= sources(self.node), what="their flows")

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self._nvc.clear()


class Theirs(Side):
    """Open vSwitch's ovs-vtep."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.node.vtep_ctl("add-ps", BRIDGE, "--", "set", "Physical_Switch", BRIDGE, f"tunnel_ips={VTEP}")
        self.connect()
        self.ovs_vtep = OvsVtep(self.node)
        self.ovs_vtep.start()
        self.ovs_vtep.round()
        self.node.wait_until(lambda: physical_ports(self.node) >= set(steps.PORTS), what="rows of the ports")

    def follow(self) -> None:
        """Have it do all that follows from the database."""
        self.ovs_vtep.round()

    def learn(self, state: steps.State) -> None:
        """Have the machines behind bindings be known: it learns in the switch itself."""
        self.send(probes.lessons(state))

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self.ovs_vtep.kill()
        for port in steps.PORTS:
            self.node.vtep_ctl("clear", "Physical_Port", port, "vlan_bindings", "vlan_stats")
        tables = ("Ucast_Macs_Remote", "Mcast_Macs_Remote", "Ucast_Macs_Local", "Mcast_Macs_Local", "Logical_Switch")
        self.node.transact(*({"op": "delete", "table": table, "where": []} for table in tables))
        self.ovs_vtep.start()
