"""Databases that come late, go and come back: nothing is lost, and nothing is deleted for want of the other half."""

import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from apps.lab import Host, Lab, Node, Peer
from apps.lab.node import OPEN_VSWITCH
from tests.system import support

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
VNI = 5000
OURS = ("Physical_Switch", "Physical_Port", "Ucast_Macs_Local", "Mcast_Macs_Local")
STALE = ("ls0", "02:00:00:00:aa:01")


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Peer:
    """The member of unknown-dst."""
    return lab.peer("peer", "10.2.2.9/24")


@pytest.fixture(scope="module")
def node(lab: Lab, peer: Peer) -> Node:
    """A machine that is a VTEP, with a logical switch."""
    made = lab.node("node", "10.2.2.1/24")
    support.set_up(made)
    support.add_logical_switch(made, "ls0", VNI, peer.ip_address)
    return made


@pytest.fixture(scope="module")
def hosts(node: Node) -> list[Host]:
    """Two hosts in ls0."""
    hosts = [node.add_port(port, address=f"192.168.1.{number}/24") for number, port in enumerate(("p0", "p1"), 1)]
    support.bind(node, "ls0", "p0", "p1")
    return hosts


@pytest.fixture
def working(node: Node, hosts: list[Host], peer: Peer) -> Iterator[Node]:
    """The machine with the program running as usual, and two learned stations."""
    if not node.app.running:
        node.start_app()
        node.app.wait_log(r"^br0: switch \w+ is served$")
    support.reach(hosts[0], hosts[1], peer)
    support.reach(hosts[1], hosts[0], peer)
    node.wait_until(lambda: node.macs() == {("ls0", host.mac): ("10.2.2.1",) for host in hosts}, what="stations")
    yield node
    node.app.stop()


def tunnel_port(node: Node) -> list[str]:
    """The UUIDs of the VXLAN ports."""
    return [row["_uuid"] for row in node.rows("Interface", OPEN_VSWITCH) if row["type"] == "vxlan"]


def count(node: Node, pattern: str) -> int:
    """How many lines of this run's log match."""
    return len(re.findall(pattern, node.app.log(), re.MULTILINE))


def test_nothing_is_deleted_from_hardware_vtep_before_open_vswitch_is_loaded(
    working: Node, hosts: list[Host], peer: Peer
) -> None:
    node, late = working, f"{working.directory}/late1.sock"
    node.vsctl("add-port", "br0", "free", "--", "set", "Interface", "free", "type=internal")
    node.wait_until(lambda: "free" in support.physical_ports(node), what="a row of free")
    node.app.kill()
    right = support.identities(node, *OURS)
    (free,) = (row["_uuid"] for row in node.rows("Physical_Port") if row["name"] == "free")
    node.vsctl("del-port", "br0", "free")
    node.vtep_ctl("add-ucast-local", *STALE, "10.2.2.77")
    before = support.identities(node, *OURS)

    node.start_app(f"--vtep-open-vswitch-remotes=unix:{late}")
    node.app.wait_log(rf"^Open_vSwitch: no connection to unix:{late} \(.+\); waiting for it$")
    node.app.wait_log(r"^hardware_vtep: connected to ")
    node.app.wait_log(r"^switch \w+ connected$")
    assert hosts[0].ping(hosts[1], count=10) == 10, "a second in which something could go wrong"
    assert support.identities(node, *OURS) == before
    assert count(node, "waiting for it") == 1

    node.appctl("ovsdb-server", "ovsdb-server/add-remote", f"punix:{late}")
    node.app.wait_log(r"^br0: switch \w+ is served$")
    node.wait_until(lambda: support.physical_ports(node) == {"p0", "p1"}, what="free's row to go")
    node.wait_until(lambda: STALE not in node.macs(), what="the stale address to go")
    after = support.identities(node, *OURS)
    (switch,) = (row["_uuid"] for row in node.rows("Physical_Switch"))
    assert right.keys() - after.keys() == {free}
    assert {uuid for uuid in after if after[uuid] != right[uuid]} == {switch}, "it lists its ports"
    support.reach(hosts[0], hosts[1], peer)


def test_nothing_is_deleted_from_the_switch_before_hardware_vtep_is_loaded(
    working: Node, hosts: list[Host], peer: Peer
) -> None:
    node, late = working, f"{working.directory}/late2.sock"
    node.app.kill()
    port, flows = tunnel_port(node), support.flows(node)
    node.start_app(f"--vtep-hardware-vtep-remotes=unix:{late}")
    node.app.wait_log(rf"^hardware_vtep: no connection to unix:{late} \(.+\); waiting for it$")
    node.app.wait_log(r"^Open_vSwitch: connected to ")
    node.app.wait_log(r"^switch \w+ connected$")
    assert hosts[0].ping(hosts[1], count=10) == 10, "a second in which something could go wrong"
    support.reach(hosts[0], hosts[1], peer)
    assert (tunnel_port(node), support.flows(node)) == (port, flows)

    node.appctl("ovsdb-server", "ovsdb-server/add-remote", f"punix:{late}")
    node.app.wait_log(r"^br0: switch \w+ is served$")
    assert (tunnel_port(node), support.flows(node)) == (port, flows)


def test_when_ovsdb_server_is_killed_and_comes_back_the_program_goes_on_and_says_so_once(
    working: Node, hosts: list[Host], peer: Peer
) -> None:
    node = working
    before = support.identities(node, *OURS)
    port, flows = tunnel_port(node), support.flows(node)
    said = node.app.log()
    node.ovsdb_server.kill()
    lost = {f"{name}: connection lost, trying again" for name in ("hardware_vtep", "Open_vSwitch")}
    node.wait_until(lambda: set(node.app.log()[len(said) :].splitlines()) == lost, what="the loss to be noticed")
    time.sleep(2.5)  # More than two attempts to connect. Open vSwitch itself stands still without its database.
    assert set(node.app.log()[len(said) :].splitlines()) == lost
    said = node.app.log()

    node.start_ovsdb()
    back = {f"{name}: connected to unix:{node.socket}" for name in ("hardware_vtep", "Open_vSwitch")}
    node.wait_until(lambda: back <= set(node.app.log()[len(said) :].splitlines()), what="the databases to be back")
    support.reach(hosts[0], hosts[1], peer)
    support.bind(node, "ls0", "p1", vlan=9)
    news = node.app.log()[len(said) :].splitlines()
    assert sorted(line for line in news if "switch" not in line) == sorted([*back, "br0: p1 VLAN 9 is bound to ls0"])
    node.vtep_ctl("unbind-ls", "br0", "p1", "9")
    node.wait_until(lambda: support.flows(node) == flows, what="the flows as they were")
    assert tunnel_port(node) == port
    assert support.identities(node, *OURS).keys() == before.keys()


@pytest.fixture
def without_hardware_vtep(working: Node) -> Iterator[Node]:
    """The machine while hardware_vtep is away; afterwards it is back."""
    working.appctl("ovsdb-server", "ovsdb-server/remove-db", "hardware_vtep")
    working.app.wait_log(r"^hardware_vtep: connection lost")
    yield working
    if "hardware_vtep" not in working.appctl("ovsdb-server", "ovsdb-server/list-dbs"):
        put_back(working)


def put_back(node: Node) -> None:
    """hardware_vtep comes back, and the program has noticed."""
    node.appctl("ovsdb-server", "ovsdb-server/add-db", f"{node.directory}/vtep.db")
    node.wait_until(lambda: count(node, "^hardware_vtep: connected to ") == 2, what="hardware_vtep to be back")


def test_while_hardware_vtep_is_away_everything_stays_and_works(
    without_hardware_vtep: Node, hosts: list[Host], peer: Peer
) -> None:
    node = without_hardware_vtep
    port, flows = tunnel_port(node), support.flows(node)
    assert hosts[0].ping(hosts[1], count=25) == 25, "longer than between attempts to connect"
    support.reach(hosts[0], hosts[1], peer)
    assert count(node, "^hardware_vtep: ") == 2, "one line for its coming, one for its going"
    put_back(node)
    assert (tunnel_port(node), support.flows(node)) == (port, flows)


def test_what_happens_while_hardware_vtep_is_away_is_made_up_for(
    without_hardware_vtep: Node, hosts: list[Host], peer: Peer
) -> None:
    node = without_hardware_vtep
    station = support.new_frame("02:00:00:00:aa:02")
    hosts[0].send(station)
    node.app.wait_log(r"^br0: 02:00:00:00:aa:02 learned in ls0 at p0 untagged$")
    hosts[1].unplug()
    node.app.wait_log(rf"^br0: {hosts[1].mac} in ls0 at p1 untagged is gone: its port is down$")
    node.vsctl("add-port", "br0", "free", "--", "set", "Interface", "free", "type=internal")

    put_back(node)
    wanted = {("ls0", station.src): ("10.2.2.1",), ("ls0", hosts[0].mac): ("10.2.2.1",)}
    node.wait_until(lambda: node.macs() == wanted, what="the addresses as they are now")
    node.wait_until(lambda: support.physical_ports(node) == {"p0", "p1", "free"}, what="the ports as they are now")
    node.vsctl("del-port", "br0", "free")
    hosts[1].plug()
    node.app.wait_log(r"^br0: port p1 went up$")
    support.bind(node, "ls0", "p1", vlan=9)
    node.vtep_ctl("unbind-ls", "br0", "p1", "9")
    node.wait_until(lambda: support.reaches(hosts[1], hosts[0], peer), what="the port to work")


@pytest.fixture
def node_with_probes(node: Node, hosts: list[Host], request: pytest.FixtureRequest) -> Iterator[Node]:
    """The machine with the program asking for an echo after so many seconds."""
    node.start_app(f"--vtep-database-probe-interval={request.param}")
    node.app.wait_log(r"^br0: switch \w+ is served$")
    yield node
    node.app.stop()


@pytest.mark.parametrize("node_with_probes", [1], indirect=True)
def test_a_server_that_stands_still_is_given_up_after_twice_the_probe_interval(node_with_probes: Node) -> None:
    node = node_with_probes
    lost = "^(hardware_vtep|Open_vSwitch): connection lost, trying again$"
    before = count(node, lost)
    node.ovsdb_server.signal(signal.SIGSTOP)
    try:
        node.wait_until(lambda: count(node, lost) >= before + 2, 9, "both to be given up sooner than by default")
    finally:
        node.ovsdb_server.signal(signal.SIGCONT)
    support.bind(node, "ls0", "p1", vlan=9)
    node.vtep_ctl("unbind-ls", "br0", "p1", "9")


if LONG:

    @pytest.mark.parametrize("node_with_probes", [0, 15], indirect=True)
    def test_a_server_that_stands_still_for_less_than_the_probe_interval_is_waited_for(node_with_probes: Node) -> None:
        node = node_with_probes
        node.ovsdb_server.signal(signal.SIGSTOP)
        try:
            time.sleep(13)  # By default it would be given up after 10.
        finally:
            node.ovsdb_server.signal(signal.SIGCONT)
        support.bind(node, "ls0", "p1", vlan=9)
        node.vtep_ctl("unbind-ls", "br0", "p1", "9")
        assert count(node, "connection lost") == 0
