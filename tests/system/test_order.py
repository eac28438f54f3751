"""Databases, switch, rows and program may come up in any order: what comes of it is the same."""

import re
from collections.abc import Iterator
from itertools import count

import pytest

from apps.lab import Host, Lab, Node
from apps.lab.node import OPEN_VSWITCH
from tests.system import support

ORDERS = [
    "ovs vtep switch controller rows program",
    "ovs vtep program switch rows controller",
    "ovs switch controller program vtep rows",
    "ovs program vtep rows switch controller",
    "vtep rows program ovs switch controller",
    "program ovs vtep switch controller rows",
    "program vtep rows ovs switch controller",
    "program ovs switch controller vtep rows",
]

_numbers = count(1)


class Machine:
    """A machine on which nothing runs; a method for each step that makes it a VTEP."""

    def __init__(self, lab: Lab, peer: Host) -> None:
        self.lab = lab
        self.number = next(_numbers)
        self.address = f"10.2.2.{self.number}"
        self.node: Node = lab.node(f"n{self.number}", start=False)
        self.hosts = [self.node.add_cable(port) for port in ("p0", "p1")]
        self.peer = peer

    def ovs(self) -> None:
        self._add_database("ovs")
        self.node.vsctl("--no-wait", "init")

    def vtep(self) -> None:
        self._add_database("vtep")

    def switch(self) -> None:
        self.node.start_vswitchd()
        self.node.add_bridge("br0", "--", "add-port", "br0", "p0", "--", "add-port", "br0", "p1")
        self.lab.join(self.node, f"{self.address}/24")

    def controller(self) -> None:
        self.node.vsctl("set-controller", "br0", support.CONTROLLER)

    def rows(self) -> None:
        self.node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", f"tunnel_ips={self.address}")
        support.add_logical_switch(self.node, "ls0", 5000, self.peer.ip_address)
        for port, vlan in (("p0", "0"), ("p1", "0"), ("p1", "7")):
            # The program adds the rows where it runs; before that the NVC may.
            self.node.vtep_ctl("--may-exist", "add-port", "br0", port, "--", "bind-ls", "br0", port, vlan, "ls0")

    def program(self) -> None:
        self.node.start_app()

    def _add_database(self, name: str) -> None:
        self.node.create_databases(name)
        if self.node.ovsdb_server.pid is None:
            self.node.start_ovsdb(name)
        else:
            self.node.appctl("ovsdb-server", "ovsdb-server/add-db", str(self.node.directory / f"{name}.db"))


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Host:
    """The member of unknown-dst."""
    return lab.peer("peer", "10.2.2.200/24")


@pytest.fixture
def machine(lab: Lab, peer: Host) -> Iterator[Machine]:
    """A new machine; its program ends with the test."""
    made = Machine(lab, peer)
    yield made
    made.node.app.stop()


@pytest.fixture(scope="module")
def results() -> dict[str, list[str]]:
    """What came of each order, as far as it was tried: the flows and groups."""
    return {}


def complete_flows(machine: Machine) -> list[str]:
    """The flows and groups, once there are those of a learned sender."""
    flows, mac = support.flows(machine.node), machine.hosts[0].mac
    ours = re.compile(rf"\b{machine.address}\b")
    return [ours.sub("OURS", flow.replace(mac, "SENDER")) for flow in flows] if str(flows).count(mac) == 2 else []


@pytest.mark.parametrize("order", ORDERS)
def test_whatever_comes_first_it_works_and_ends_with_the_same_flows(
    machine: Machine, order: str, results: dict[str, list[str]]
) -> None:
    for step in order.split():
        getattr(machine, step)()
    node, (sender, receiver), peer = machine.node, machine.hosts, machine.peer
    node.wait_until(lambda: support.reaches(sender, receiver, peer), 15, "a broadcast to arrive here and there")
    assert [row["fail_mode"] for row in node.rows("Bridge", OPEN_VSWITCH) if row["name"] == "br0"] == ["secure"]
    assert support.physical_ports(node) == {"p0", "p1"}
    assert node.macs("Mcast_Macs_Local") == {("ls0", "unknown-dst"): (machine.address,)}
    node.wait_until(lambda: node.macs() == {("ls0", sender.mac): (machine.address,)}, what="the sender to be learned")
    found = node.wait_until(lambda: complete_flows(machine), what="the sender's flows")
    assert found == results.setdefault(ORDERS[0], found)
