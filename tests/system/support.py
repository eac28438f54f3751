"""What several files of system tests do to a lab."""

import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from apps.lab import Frame, Host, Lab, LabError, Node, Tag, Vxlan
from apps.lab.database import listed
from apps.lab.frames import BROADCAST
from apps.lab.underlay import Peer
from vtep_ryu.core.pipeline import BY_NAME

CONTROLLER = "tcp:127.0.0.1:6653"

_numbers = count(1)


@dataclass(frozen=True)
class ThreePorts:
    """A machine whose br0 has three ports, each with a host."""

    node: Node
    p0: Host
    p1: Host
    p2: Host
    lab: Lab

    def stations(self, count: int) -> list[str]:
        """Addresses that have never been seen."""
        return [self.lab.new_mac() for _ in range(count)]


def database_alone(lab: Lab) -> Node:
    """A machine with hardware_vtep in a server, and nothing else."""
    node = lab.node("a", start=False)
    node.create_databases("vtep")
    node.start_ovsdb("vtep")
    return node


def set_up(node: Node, *options: str, bridge: str = "br0") -> None:
    """Make a bridge the VTEP at the node's underlay address, and wait until its rows and flows are there."""
    node.vtep_ctl("add-ps", bridge, "--", "set", "Physical_Switch", bridge, f"tunnel_ips={node.underlay_ip}")
    if not node.app.running:
        node.start_app(*options)
    node.vsctl("set-controller", bridge, CONTROLLER)
    node.app.wait_log(rf"^{bridge}: switch \w+ is served$")


def add_logical_switch(node: Node, name: str, key: int, *members: str) -> None:
    """A logical switch with this tunnel key, and with members of unknown-dst."""
    remotes = (argument for ip in members for argument in ("--", "add-mcast-remote", name, "unknown-dst", ip))
    node.vtep_ctl("add-ls", name, "--", "set", "Logical_Switch", name, f"tunnel_key={key}", *remotes)


def bind(node: Node, logical_switch: str, *ports: str, vlan: int = 0, bridge: str = "br0") -> None:
    """Bind a VLAN of some ports, once their rows are there, and wait until the bindings have flows that are in use."""
    for port in ports:
        node.wait_until(lambda port=port: port in physical_ports(node, bridge), what=f"a row of {port}")
        node.vtep_ctl("bind-ls", bridge, port, str(vlan), logical_switch)
    for port in ports:
        egress = f"table=8,reg2={node.ofport(port) << 12 | vlan:#x}"
        node.wait_until(lambda egress=egress: "output:" in node.ofctl("dump-flows", bridge, egress), what=egress)
    node.appctl("ovs-vswitchd", "revalidator/purge")  # Its cache follows some milliseconds later otherwise.


def physical_ports(node: Node, bridge: str = "br0") -> set[str]:
    """The names in Physical_Port of one physical switch."""
    return set(node.vtep_ctl("list-ports", bridge).split())


def port_faults(node: Node, port: str) -> list[str]:
    """The port_fault_status of a port's row."""
    (row,) = (row for row in node.rows("Physical_Port") if row["name"] == port)
    return listed(row["port_fault_status"])


def switch_faults(node: Node) -> list[str]:
    """The switch_fault_status of the only physical switch."""
    (row,) = node.rows("Physical_Switch")
    return listed(row["switch_fault_status"])


def port_warnings(node: Node, port: str) -> list[str]:
    """What was said of a port's row."""
    return re.findall(rf"^br0: Physical_Port {port}: (.*)$", node.app.log(), re.MULTILINE)


def new_frame(source: str, destination: str = BROADCAST) -> Frame:
    """A frame that is like no other."""
    return Frame(destination, source, f"{next(_numbers):046}".encode())


def reach(sender: Host, *receivers: Host, timeout: float = 5) -> None:
    """A broadcast arrives at all of the receivers; at a Peer, in a VXLAN datagram."""
    frame = new_frame(sender.mac)
    with ExitStack() as stack:
        captures = [(stack.enter_context(receiver.capture()), isinstance(receiver, Peer)) for receiver in receivers]
        sender.send(frame)
        for capture, is_peer in captures:
            capture.wait(lambda each, is_peer=is_peer: frame == (inner(each) if is_peer else each), timeout)


def reaches(sender: Host, *receivers: Host) -> bool:
    """Whether a broadcast arrives at all of the receivers within a moment; for waiting."""
    try:
        reach(sender, *receivers, timeout=0.3)
    except AssertionError as error:
        raise LabError(str(error)) from error
    return True


def inner(outer: Frame) -> Frame | None:
    """The frame in a VXLAN datagram."""
    datagram = Vxlan.parse(outer)
    return datagram and datagram.frame


def flows(node: Node, bridge: str = "br0") -> list[str]:
    """The bridge's flows and groups as text, without cookies and counters, sorted."""
    return sorted(
        line.partition("cookie=")[2].partition(", ")[2] or line.strip()
        for command in ("dump-flows", "dump-groups")
        for line in node.ofctl(command, bridge, *(("--no-stats",) if command == "dump-flows" else ())).splitlines()
        if "OFPST" not in line
    )


def table_flows(node: Node, table: str) -> str:
    """The flows of a table of the pipeline as ovs-ofctl prints them, without counters."""
    return node.ofctl("dump-flows", "br0", f"table={BY_NAME[table].id}", "--no-stats")


def identities(node: Node, *tables: str) -> dict[str, str]:
    """The _version of every row of some tables by its _uuid: the same before and after when nothing was touched."""
    select = ({"op": "select", "table": table, "where": [], "columns": ["_uuid", "_version"]} for table in tables)
    return {row["_uuid"][1]: row["_version"][1] for result in node.transact(*select) for row in result["rows"]}


def reconciliations(node: Node) -> list[tuple[int, int]]:
    """(units rendered, changes) of every reconciliation in the verbose log of this run."""
    found = re.findall(r"^br0: reconciled: (\d+) units rendered, (\d+) changes$", node.app.log(), re.MULTILINE)
    return [(int(units), int(changes)) for units, changes in found]


def sources(node: Node) -> set[str]:
    """The addresses that the switch knows as sources."""
    return set(re.findall(r"dl_src=(\S+) ", table_flows(node, "learn")))


def sockets(node: Node) -> list[Path]:
    """The control sockets of applications that there are."""
    return list(node.directory.glob("vtep_ryu.*.ctl"))


def ask(node: Node, *command: str) -> str:
    """What the only application answers on its control socket."""
    (socket,) = sockets(node)
    return node.appctl(str(socket), *command)


def status(node: Node) -> dict[str, Any]:
    """What it tells of itself."""
    return dict(json.loads(ask(node, "vtep/status")))


def counters(node: Node) -> dict[str, dict[str, int]]:
    """What it has counted, by physical switch."""
    return dict(status(node)["counters"])


def forget_megaflows(node: Node) -> None:
    """Have the datapath forget what the flows made of earlier packets; it would by itself a moment later."""
    node.appctl("ovs-vswitchd", "revalidator/purge")


def teach(node: Node, host: Host, *macs: str, logical_switch: str = "ls0", vlan: int = 0) -> None:
    """Have stations behind a port send one broadcast each; returns once they are published and in the flows."""
    tags = (Tag(vlan),) if vlan else ()
    host.send(*(Frame(BROADCAST, mac, tags=tags) for mac in macs))
    wanted = {(logical_switch, mac) for mac in macs}
    node.wait_until(lambda: wanted <= node.macs().keys(), what=f"{len(macs)} published stations")
    node.wait_until(lambda: set(macs) <= sources(node), what="their flows")
    forget_megaflows(node)


def wait_gone(node: Node, *macs: str, timeout: float = 3) -> None:
    """Wait until stations are neither published nor in any flow."""

    def gone() -> bool:
        there = {mac for _, mac in node.macs()}
        text = table_flows(node, "learn") + table_flows(node, "unicast")
        return not any(mac in there or mac in text for mac in macs)

    node.wait_until(gone, timeout, f"{', '.join(macs)} to be gone")
    forget_megaflows(node)
