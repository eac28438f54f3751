"""From what Debian leaves, a server with Open_vSwitch alone, to a VTEP: the program is there first, and waits."""

import re
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from apps.lab import Host, Lab, Node
from apps.lab.node import SCHEMA_DIRECTORY
from tests.system import support

VNI = 5000
MISSING = "hardware_vtep: unix:{}/db.sock has no database of this name; waiting for it"
RETRIES = 2
"""Attempts to find the database that are waited for, to see that they say nothing."""

_numbers = count(1)


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Host:
    """The member of unknown-dst."""
    return lab.peer("peer", "10.2.2.200/24")


@pytest.fixture
def node(lab: Lab) -> Iterator[Node]:
    """A new machine on which nothing runs and no database exists; its program ends with the test."""
    made = lab.node(f"n{next(_numbers)}", start=False)
    yield made
    if made.app.running:
        made.app.kill()


def switch_on(lab: Lab, node: Node) -> list[Host]:
    """Open vSwitch as the package starts it, with a bridge that has two ports and a controller; their hosts."""
    if node.ovsdb_server.pid is None:
        node.create_databases("ovs")
        node.start_ovsdb("ovs")
    node.start_vswitchd()
    node.add_bridge()
    hosts = [node.add_port(port) for port in ("p0", "p1")]
    lab.join(node, f"10.2.2.{node.directory.name[1:]}/24")
    node.vsctl("set-controller", "br0", support.CONTROLLER)
    return hosts


def create_vtep(node: Node) -> str:
    """`ovsdb-tool create`; the name of the file."""
    file = f"{node.directory}/vtep.db"
    node.run("ovsdb-tool", "create", file, str(SCHEMA_DIRECTORY / "vtep.ovsschema"))
    return file


def by_a_restart(node: Node) -> None:
    """The server is started anew with both files, and otherwise as before."""
    create_vtep(node)
    node.ovsdb_server.stop()
    remotes = (f"--remote=punix:{node.socket}", "--remote=db:Open_vSwitch,Open_vSwitch,manager_options")
    files = (f"{node.directory}/{name}.db" for name in ("ovs", "vtep"))
    node.ovsdb_server.start("ovsdb-server", "--pidfile", "--detach", "--no-chdir", "--log-file", *remotes, *files)


def by_a_restart_with_managers(node: Node) -> None:
    """The server is started anew with both files and --remote=db:hardware_vtep,Global,managers."""
    create_vtep(node)
    node.ovsdb_server.stop()
    node.start_ovsdb("ovs", "vtep")


def by_add_db(node: Node) -> None:
    """The server that runs is given the second file."""
    node.appctl("ovsdb-server", "ovsdb-server/add-db", create_vtep(node))


def wait_for_attempts(node: Node) -> None:
    """Wait until the program has asked for the database some more times; the server logs what it is asked."""
    node.appctl("ovsdb-server", "vlog/set", "jsonrpc:file:dbg")
    log = node.directory / "ovsdb-server.log"

    def attempts() -> int:
        return len(re.findall(r'received request, method="get_schema", params=\["hardware_vtep"\]', log.read_text()))

    wanted = attempts() + RETRIES
    node.wait_until(lambda: attempts() >= wanted, what=f"{RETRIES} attempts")
    node.appctl("ovsdb-server", "vlog/set", "jsonrpc:file:info")


def news(node: Node) -> list[str]:
    """What the program has logged of the databases."""
    return [line for line in node.app.log().splitlines() if line.startswith(("hardware_vtep: ", "Open_vSwitch: "))]


def make_a_vtep(node: Node, hosts: list[Host], peer: Host) -> None:
    """The rows that make br0 a VTEP with both ports in one logical switch; returns once frames pass."""
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", f"tunnel_ips={node.underlay_ip}")
    support.add_logical_switch(node, "ls0", VNI, peer.ip_address)
    support.bind(node, "ls0", "p0", "p1")
    support.reach(hosts[0], hosts[1], peer)
    node.wait_until(lambda: ("ls0", hosts[0].mac) in node.macs(), what="the sender to be published")


@pytest.mark.parametrize("way", [by_a_restart, by_a_restart_with_managers, by_add_db], ids=lambda way: way.__name__)
def test_the_program_waits_for_hardware_vtep_says_so_once_writes_nothing_and_then_serves(
    lab: Lab, node: Node, peer: Host, way: Callable[[Node], None]
) -> None:
    hosts = switch_on(lab, node)
    database, flows = Path(node.directory / "ovs.db"), support.flows(node)
    node.start_app()
    missing, connected = MISSING.format(node.directory), f"Open_vSwitch: connected to unix:{node.socket}"
    node.app.wait_log(rf"^{re.escape(missing)}$")
    node.app.wait_log(r"^switch \w+ connected$")
    node.wait_until(lambda: "true" in node.vsctl("get", "Controller", "br0", "is_connected"), what="the controller")
    before = database.read_bytes()
    wait_for_attempts(node)
    assert sorted(news(node)) == sorted([missing, connected])
    assert database.read_bytes() == before
    assert support.flows(node) == flows
    assert node.appctl("ovsdb-server", "ovsdb-server/list-dbs").split() == ["Open_vSwitch", "_Server"]

    way(node)
    node.app.wait_log(rf"^hardware_vtep: connected to unix:{node.socket}$")
    make_a_vtep(node, hosts, peer)
    assert news(node).count(missing) == 1


def test_without_ovsdb_server_it_waits_says_so_once_a_database_and_then_serves_what_comes(
    lab: Lab, node: Node, peer: Host
) -> None:
    node.start_app()
    wait = "{}: no connection to unix:{} (No such file or directory); waiting for it"
    nobody = [wait.format(name, node.socket) for name in ("Open_vSwitch", "hardware_vtep")]
    node.wait_until(lambda: sorted(news(node)) == nobody, what="the program to wait")
    time.sleep(2.5)  # More than two attempts to connect, of which there is no other trace.
    assert sorted(news(node)) == nobody
    assert {path.suffix for path in node.directory.iterdir()} == {".log", ".ctl"}, "its own, and no database"

    hosts = switch_on(lab, node)
    missing = MISSING.format(node.directory)
    node.app.wait_log(rf"^{re.escape(missing)}$")
    wait_for_attempts(node)
    by_add_db(node)
    make_a_vtep(node, hosts, peer)
    connected = [f"{name}: connected to unix:{node.socket}" for name in ("Open_vSwitch", "hardware_vtep")]
    assert sorted(news(node)) == sorted([*nobody, missing, *connected])
