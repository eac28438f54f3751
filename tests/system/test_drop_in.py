"""vtep-ryu where a script expects ovs-vtep: what it opens, closes, locks and says, from start to exit."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.lab import Lab, Node
from apps.lab.node import SCHEMA_DIRECTORY
from tests.system import command, support
from tests.system.command import END_SECONDS, PROGRAM, alive, applications, served, the_application

pytestmark = pytest.mark.timeout(120)

DEBIANS_PACKAGES = Path("/usr/lib/python3/dist-packages")
"""Where openvswitch-vtep's own scripts find their ovs package."""


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Node:
    return command.two_ports(lab)


@pytest.fixture
def node(machine: Node) -> Iterator[Node]:
    yield from command.nothing_else(machine)


@pytest.fixture
def link(tmp_path: Path) -> str:
    """vtep-ryu by the name of the other."""
    path = tmp_path / "ovs-vtep"
    path.symlink_to(PROGRAM)
    return str(path)


def outcome(node: Node, *argv: str, **keywords: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    process = node.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keywords)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def locker(pidfile: Path) -> int:
    """The process that has a pidfile locked, 0 for none."""
    with pidfile.open() as file:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid)


@pytest.mark.parametrize("options", [(), ("--monitor",)], ids=["alone", "monitored"])
def test_the_pidfile_is_locked_by_the_process_that_it_names_and_that_answers(
    node: Node, link: str, options: tuple[str, ...]
) -> None:
    assert outcome(node, link, "--log-file", "--pidfile", "--detach", *options, "br0") == (0, "", "")
    pidfile = node.directory / "ovs-vtep.pid"
    pid = int(pidfile.read_text())
    assert locker(pidfile) == pid
    assert (node.directory / f"ovs-vtep.{pid}.ctl").exists()
    assert node.appctl("ovs-vtep", "version").startswith("ovs-vtep (Open vSwitch) ")
    assert Path(f"/proc/{pid}/comm").read_text() == "ovs-vtep\n"
    assert "| ovs-vtep | INFO | br0: served by" in (node.directory / "ovs-vtep.log").read_text()


@pytest.mark.parametrize("options", [(), ("--monitor",)], ids=["alone", "monitored"])
def test_told_to_exit_it_answers_at_once_and_leaves_no_process(node: Node, link: str, options: tuple[str, ...]) -> None:
    node.run(link, "--log-file", "--pidfile", "--detach", *options, "br0")
    started = command.commands(node) | applications(node)
    assert len(started) == 2 + len(options)
    node.appctl("ovs-vtep", "exit")
    node.wait_until(lambda: not any(map(alive, started)), END_SECONDS, "all to end")
    assert not [*node.directory.glob("*vtep*.ctl"), *node.directory.glob("*vtep.pid")]


def test_it_closes_what_it_inherits(node: Node, tmp_path: Path, link: str) -> None:
    inherited = tmp_path / "inherited"
    with inherited.open("w") as file:
        process = node.popen(link, "--log-file", "--pidfile", "--detach", "br0", pass_fds=(file.fileno(),))
        assert process.wait(30) == 0
    assert served(node) == ["br0"]
    for pid in command.commands(node) | applications(node):
        assert inherited not in [each.readlink() for each in Path(f"/proc/{pid}/fd").iterdir()]


def test_it_works_where_pythonpath_has_another_version_of_the_ovs_package(
    node: Node, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (DEBIANS_PACKAGES / "ovs").exists()
    monkeypatch.setitem(node.env, "PYTHONPATH", str(DEBIANS_PACKAGES))
    assert outcome(node, link, "--log-file", "--pidfile", "--detach", "br0") == (0, "", "")
    assert served(node) == ["br0"]
    for pid in (*command.commands(node), the_application(node)):
        assert f"{DEBIANS_PACKAGES}/ovs/" not in Path(f"/proc/{pid}/maps").read_text()
    node.appctl("ovs-vtep", "exit")
    node.wait_until(lambda: not applications(node), END_SECONDS, "it to end")


def test_ovs_vswitchd_has_nothing_to_warn_of_from_start_to_exit(lab: Lab, link: str) -> None:
    node = lab.node("quiet", "10.2.2.5/24")
    node.add_port("p0")
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.5")
    log = node.directory / "ovs-vswitchd.log"
    before = len(log.read_text())
    node.run(link, "--log-file", "--pidfile", "--detach", "br0")
    support.add_logical_switch(node, "ls0", 5000, "10.2.2.9")
    support.bind(node, "ls0", "p0")
    node.wait_until(lambda: node.ofctl("dump-flows", "br0", "table=8").count("cookie") > 1, what="its binding's flow")
    node.appctl("ovs-vtep", "exit")
    assert re.findall(r".*\|(?:WARN|ERR|EMER)\|.*", log.read_text()[before:]) == []


def test_two_on_one_machine_do_not_meet_though_their_bridges_have_the_same_datapath_id(lab: Lab, link: str) -> None:
    node = lab.node("twins", "10.2.2.6/24")
    node.add_bridge("br1")
    for bridge, port, tunnel_ip in (("br0", "p0", "10.2.2.6"), ("br1", "q0", "10.2.2.7")):
        node.vsctl("set", "Bridge", bridge, "other_config:datapath-id=0000000000000001")
        node.add_port(port, bridge)
        node.vtep_ctl("add-ps", bridge, "--", "set", "Physical_Switch", bridge, f"tunnel_ips={tunnel_ip}")
    for bridge, pidfile in (("br0", "first.pid"), ("br1", "second.pid")):
        node.run(link, "--log-file", f"--pidfile={pidfile}", "--detach", bridge)
    assert served(node) == ["br0", "br1"]
    for bridge, port, name in (("br0", "p0", "ls0"), ("br1", "q0", "ls1")):
        support.add_logical_switch(node, name, 5000 + len(bridge + port))
        support.bind(node, name, port, bridge=bridge)
        node.wait_until(lambda bridge=bridge: _bindings(node, bridge) == 1, what=f"the binding on {bridge}")
    assert (node.directory / "ovs-vtep.log").read_text().count("disconnected") == 0
    command.kill_all(node)


def _bindings(node: Node, bridge: str) -> int:
    """How many bindings leave a bridge by one of its ports."""
    return node.ofctl("dump-flows", bridge, "table=8").count("output:")


def test_who_waits_at_a_terminal_sees_after_some_seconds_what_for(node: Node) -> None:
    node.vswitchd.stop()
    node.ovsdb_server.signal(signal.SIGSTOP)
    try:
        assert_shown(node, "asking databases and application ...", "doctor")
        assert_shown(node, "cleaning up br0: waiting for an answer ...", "--cleanup", "br0")
    finally:
        node.ovsdb_server.signal(signal.SIGCONT)
    assert_shown(node, "br0: has not connected yet, is ovs-vswitchd running? Waiting for it", "br0")
    node.start_vswitchd()


def assert_shown(node: Node, wanted: str, *argv: str) -> None:
    """On a terminal, vtep-ryu with these arguments says this; then it is ended."""
    ours, theirs = os.openpty()
    process = node.popen(PROGRAM, *argv, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = ""
    while wanted not in seen:
        assert select.select([ours], [], [], 30)[0], seen
        seen += os.read(ours, 4096).decode()
    process.terminate()
    process.wait(30)
    os.close(ours)


class Simulated:
    """Databases and a switch in a directory of their own, on a machine with others, as OVN's tests have it."""

    def __init__(self, node: Node, name: str) -> None:
        self._node = node
        self.directory = node.directory / name
        self.directory.mkdir()
        for schema in ("vswitch", "vtep"):
            database = self.directory / f"{schema}.db"
            self.run("ovsdb-tool", "create", str(database), str(SCHEMA_DIRECTORY / f"{schema}.ovsschema"))
        files = (str(self.directory / f"{schema}.db") for schema in ("vswitch", "vtep"))
        self._daemon("ovsdb-server", f"--remote=punix:{self.directory}/db.sock", *files)
        self._daemon("ovs-vswitchd", "--enable-dummy=system")
        settings = ("datapath-type=dummy", "other-config:datapath-id=fedcba9876543210", "fail-mode=secure")
        protocols = "protocols=[OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15]"
        self.run("ovs-vsctl", "add-br", "br-vtep", "--", "set", "Bridge", "br-vtep", *settings, protocols)
        for port in ("p0", "p1"):
            self.run("ovs-vsctl", "add-port", "br-vtep", port, "--", "set", "Interface", port, "type=dummy")
        self.run("vtep-ctl", "add-ps", "br-vtep", "--", "set", "Physical_Switch", "br-vtep", "tunnel_ips=1.2.3.4")

    def run(self, *argv: str) -> str:
        """A command with the directory in its environment."""
        places = (f"{place}={self.directory}" for place in ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"))
        return self._node.run("env", *places, *argv)

    def _daemon(self, name: str, *arguments: str) -> None:
        self.run(name, "-vconsole:off", "--detach", "--no-chdir", "--pidfile", "--log-file", *arguments)

    def ports(self) -> int:
        """How many Physical_Port rows there are."""
        return self.run("vtep-ctl", "show").count("Physical_Port")

    def warnings(self) -> list[str]:
        """What ovs-vswitchd has warned of, of the connection to its controller."""
        return re.findall(
            r".*\|(?:rconn|connmgr|vconn)\|(?:WARN|ERR)\|.*", (self.directory / "ovs-vswitchd.log").read_text()
        )

    def end(self) -> None:
        """End both daemons."""
        for name in ("ovs-vswitchd", "ovsdb-server"):
            self.run("ovs-appctl", "-t", name, "exit")


def test_two_with_databases_of_their_own_do_not_meet_though_their_bridges_are_called_the_same(
    lab: Lab, link: str
) -> None:
    node = lab.node("sims")
    sims = [Simulated(node, name) for name in ("one", "two")]
    for sim in sims:
        options = (f"--log-file={sim.directory}/ovs-vtep.log", f"--pidfile={sim.directory}/ovs-vtep.pid")
        sim.run(link, *options, "--detach", "--no-chdir", "br-vtep")
        node.wait_until(lambda sim=sim: sim.ports() == 2, what="rows of both ports")
    assert len(applications(node)) == 2
    for sim in sims:
        sim.run("vtep-ctl", "add-ls", "ls0", "--", "bind-ls", "br-vtep", "p0", "100", "ls0")
        sim.run("vtep-ctl", "set", "Logical_Switch", "ls0", "tunnel_key=5000")
        flows = ("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", "br-vtep", "table=8")
        node.wait_until(lambda sim=sim, flows=flows: "output:" in sim.run(*flows), what="the flow of its binding")
    assert [sim.warnings() for sim in sims] == [[], []]
    for sim in sims:
        sim.run("ovs-appctl", "-t", "ovs-vtep", "exit")
    node.wait_until(lambda: not command.commands(node) | applications(node), END_SECONDS, "all to end")
    for sim in sims:
        sim.end()
