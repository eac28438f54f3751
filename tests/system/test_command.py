"""vtep-ryu in the place of ovs-vtep: how it starts, what it says, how it ends."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ovs.daemon import RESTART_EXIT_CODE

from apps.lab import Lab, Node
from tests.system import command, support
from tests.system.command import (
    END_SECONDS,
    PROGRAM,
    Command,
    applications,
    controllers,
    outcome,
    served,
    status,
    the_application,
)
from tests.system.test_readme import blocks
from vtep_ryu import __version__

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Node:
    return command.two_ports(lab)


@pytest.fixture
def node(machine: Node) -> Iterator[Node]:
    yield from command.nothing_else(machine)


def test_it_comes_back_from_detach_without_a_word_when_the_switch_is_served(node: Node) -> None:
    vtep = Command(node)
    status_, output, errors = outcome(node, "--log-file", "--pidfile", "--detach", "br0")
    assert (status_, output, errors) == (0, "", "")
    assert served(node) == ["br0"]
    assert status(node)["listen"] == list(controllers(node))
    assert support.physical_ports(node) == {"p0", "p1"}
    assert vtep.pid
    assert "| vtep_ryu | INFO | br0: switch" in vtep.log()


def test_ovs_appctl_finds_it_by_its_name(node: Node) -> None:
    Command(node).detach()
    assert node.appctl("vtep-ryu", "version") == f"vtep-ryu (Open vSwitch) {__version__}"
    pid, application = Command(node).pid, the_application(node)
    node.appctl("vtep-ryu", "exit")
    node.wait_until(lambda: not command.alive(pid) and not command.alive(application), END_SECONDS, "both to end")
    assert not list(node.directory.glob("vtep*.ctl"))
    assert not list(node.directory.glob("vtep*.pid"))


def test_a_link_named_ovs_vtep_answers_to_that_name(node: Node, tmp_path: Path) -> None:
    link = tmp_path / "ovs-vtep"
    link.symlink_to(PROGRAM)
    node.run(str(link), "--log-file", "--pidfile", "--detach", "br0")
    assert "ovs-vtep" in node.appctl("ovs-vtep", "version")
    assert "is served" in (node.directory / "ovs-vtep.log").read_text()
    pid = int((node.directory / "ovs-vtep.pid").read_text())
    node.appctl("ovs-vtep", "exit")
    node.wait_until(lambda: not command.alive(pid), END_SECONDS, "it to end")


def test_its_version_is_the_programs(node: Node) -> None:
    assert outcome(node, "--version") == (0, f"vtep-ryu {__version__}\n", "")


@pytest.mark.parametrize("wrong", [("--no-such-option", "br0"), (), ("br0", "br1")])
def test_a_wrong_command_line_is_a_usage_message_and_exit_status_2(node: Node, wrong: tuple[str, ...]) -> None:
    exit_status, output, errors = outcome(node, *wrong)
    assert (exit_status, output) == (2, "")
    assert errors.startswith("usage: vtep-ryu")


@pytest.mark.parametrize("detach", [("--detach",), ()])
def test_a_bridge_that_does_not_exist_is_one_line_and_exit_status_1(node: Node, detach: tuple[str, ...]) -> None:
    expected = "vtep-ryu: there is no bridge br7 (ovs-vsctl add-br br7)\n"
    assert outcome(node, "--log-file", *detach, "br7") == (1, "", expected)


@pytest.mark.parametrize("detach", [("--detach",), ()])
def test_a_physical_switch_that_does_not_exist_is_one_line_and_exit_status_1(
    node: Node, detach: tuple[str, ...]
) -> None:
    node.vsctl("--may-exist", "add-br", "bare", "--", "set", "Bridge", "bare", f"datapath_type={node.datapath.type}")
    expected = "vtep-ryu: there is no physical switch bare in hardware_vtep (vtep-ctl add-ps bare)\n"
    assert outcome(node, *detach, "bare") == (1, "", expected)


def test_a_wrong_option_of_the_application_is_one_line_and_exit_status_1(node: Node) -> None:
    exit_status, output, errors = outcome(node, "--detach", "br0", "--", "--vtep-mac-ageing-time=never")
    assert (exit_status, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert "[vtep] mac_ageing_time is 'never', must be an integer from 0 to 65535" in errors


def test_a_second_one_with_the_same_pidfile_is_told_so(node: Node) -> None:
    vtep = Command(node)
    vtep.detach()
    exit_status, _, errors = outcome(node, "--pidfile", "--detach", "br0")
    assert exit_status == 1
    assert f"already running as pid {vtep.pid}, aborting" in errors
    assert served(node) == ["br0"]


def test_the_applications_log_is_in_its_log_file_with_its_levels(node: Node) -> None:
    vtep = Command(node)
    vtep.detach("-vfile:dbg")
    assert re.search(r"^\d{4}-\S+Z \| *\d+ *\| vtep_ryu \| DBG \| br0: reconciled: ", vtep.log(), re.MULTILINE)
    vtep.appctl("vlog/set", "vtep_ryu:file:warn")
    before = vtep.log()
    support.add_logical_switch(node, "ls0", 5000)
    node.vtep_ctl("add-ucast-remote", "ls0", "no-address", "10.2.2.9")
    vtep.wait_log("| vtep_ryu | WARN | Ucast_Macs_Remote no-address of ls0: ")
    node.vtep_ctl("clear-remote-macs", "ls0", "--", "del-ls", "ls0")
    assert "INFO" not in vtep.log().removeprefix(before)


def test_a_level_that_is_set_later_reaches_the_application(node: Node) -> None:
    vtep = Command(node)
    vtep.detach()
    assert "| DBG |" not in vtep.log()
    vtep.appctl("vlog/set", "vtep_ryu:file:dbg")
    node.wait_until(lambda: "log level DEBUG" in vtep.log(), what="the level")
    support.add_logical_switch(node, "ls1", 5001)
    support.bind(node, "ls1", "p0")
    vtep.wait_log("| vtep_ryu | DBG | br0: reconciled: ")
    node.vtep_ctl("unbind-ls", "br0", "p0", "0")


def test_a_log_file_that_cannot_be_written_is_said_and_no_more(node: Node) -> None:
    outcome_ = outcome(node, "--log-file=/no/such/place", "--pidfile", "--detach", "br0")
    assert outcome_ == (0, "", "vtep-ryu: cannot write the log file /no/such/place\n")
    assert served(node) == ["br0"]


def test_the_log_file_is_opened_anew_when_told_to(node: Node) -> None:
    vtep = Command(node)
    vtep.detach()
    vtep.logfile.rename(vtep.logfile.with_suffix(".1"))
    vtep.appctl("vlog/reopen")
    node.vswitchd.stop()
    node.start_vswitchd()
    vtep.wait_log("is served")


def test_options_after_two_dashes_are_the_applications(node: Node) -> None:
    Command(node).detach("--", "--ofp-tcp-listen-port=7001")
    assert status(node)["listen"] == ["tcp:127.0.0.1:7001"]
    assert list(controllers(node)) == ["tcp:127.0.0.1:7001"]


@pytest.mark.parametrize("port", [6633, 6640])
def test_it_does_not_listen_on_a_port_that_an_nvc_may_want(node: Node, port: int) -> None:
    node.vsctl("set-controller", "br0", f"tcp:127.0.0.1:{port}")
    Command(node).detach()
    assert list(controllers(node)) == status(node)["listen"] != [f"tcp:127.0.0.1:{port}"]


def test_a_port_that_another_program_has_taken_is_given_up_for_another(node: Node) -> None:
    Command(node).detach()
    (before,) = controllers(node)
    Command(node).exit()
    with node.popen("python3", "-c", _LISTEN.format(before.rpartition(":")[2]), stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        Command(node).detach()
        (after,) = controllers(node)
        holder.kill()
    assert after != before


def test_a_port_that_is_taken_while_the_application_starts_is_given_up_for_another(node: Node) -> None:
    process = node.popen(PROGRAM, "--pidfile", "--detach", "br0", stderr=subprocess.PIPE)
    node.wait_until(lambda: applications(node), what="an application")
    before = re.search(r"listen-port=(\d+)", Path(f"/proc/{the_application(node)}/cmdline").read_text())
    assert before
    with node.popen("python3", "-c", _LISTEN.format(before[1]), stdout=subprocess.PIPE) as holder:
        _, errors = process.communicate(timeout=30)
        holder.kill()
    assert process.returncode == 0
    assert f"port {before[1]} was taken meanwhile" in errors
    assert list(controllers(node)) == status(node)["listen"] != [f"tcp:127.0.0.1:{before[1]}"]


_LISTEN = """
import signal, socket
holder = socket.create_server(("127.0.0.1", {}))
print("ready", flush=True)
signal.pause()
"""


def test_databases_that_do_not_answer_are_said_once_and_waited_for(lab: Lab) -> None:
    node = lab.node("late")
    node.vtep_ctl("add-ps", "br0")  # What a database lacks that answers is not waited for.
    node.ovsdb_server.kill()
    process = node.popen(PROGRAM, "--pidfile", "--detach", "br0", stderr=subprocess.PIPE)
    assert process.stderr
    assert re.search(r"Open_vSwitch: .*; waiting for it$", process.stderr.readline())
    node.start_ovsdb()
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert served(node) == ["br0"]
    command.kill_all(node)


def test_a_start_that_is_interrupted_while_it_waits_leaves_nothing_running(lab: Lab) -> None:
    node = lab.node("interrupted", start=False)
    process = node.popen(PROGRAM, "--pidfile", "--detach", "br0", stderr=subprocess.PIPE)
    assert process.stderr
    process.stderr.readline()
    assert len(command.commands(node)) == 2
    process.send_signal(signal.SIGINT)
    node.wait_until(lambda: not command.commands(node), END_SECONDS, "both processes to end")
    assert "who waited for it to be served has gone; exiting" in process.stderr.read()


def test_in_the_foreground_it_logs_to_stderr_and_ends_by_ctrl_c(node: Node) -> None:
    process = node.popen(PROGRAM, "br0", stderr=subprocess.PIPE)
    assert process.stderr
    for line in process.stderr:
        if "br0: served by process" in line:
            break
        assert "| INFO |" in line
    application = the_application(node)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == -signal.SIGINT
    assert not command.alive(application)


def test_it_needs_nothing_of_its_environment_in_path(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(node.env, "PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    Command(node).detach()
    assert served(node) == ["br0"]


def test_without_a_word_on_directories_it_is_where_debians_tools_look(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, log = Path("/run/openvswitch"), Path("/var/log/openvswitch/vtep-ryu.log")
    log.parent.mkdir(exist_ok=True)
    with _database_at(node, place / "db.sock"), monkeypatch.context() as without:
        for name in ("OVS_RUNDIR", "OVS_LOGDIR"):
            without.delitem(node.env, name)
            without.delenv(name, raising=False)
        assert outcome(node, "--log-file", "--pidfile", "--detach", "br0") == (0, "", "")
        assert "br0: served by" in log.read_text()
        pid = int((place / "vtep-ryu.pid").read_text())
        node.run("ovs-appctl", "-t", "vtep-ryu", "exit")
        node.wait_until(lambda: not command.alive(pid), END_SECONDS, "it to end")


def test_a_root_prefix_goes_in_front_of_the_directories(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, log = tmp_path / "var/run/openvswitch", tmp_path / "var/log/openvswitch"
    place.mkdir(parents=True)
    log.mkdir(parents=True)
    with _database_at(node, place / "db.sock"), monkeypatch.context() as without:
        for name in ("OVS_RUNDIR", "OVS_LOGDIR"):
            without.delitem(node.env, name)
            without.delenv(name, raising=False)
        arguments = (f"--root-prefix={tmp_path}", "--log-file", "--pidfile", "--detach", "br0")
        assert outcome(node, *arguments) == (0, "", "")
        assert "br0: served by" in (log / "vtep-ryu.log").read_text()
        pid = int((place / "vtep-ryu.pid").read_text())
        node.run("ovs-appctl", "-t", f"{place}/vtep-ryu.{pid}.ctl", "exit")
        node.wait_until(lambda: not command.alive(pid), END_SECONDS, "it to end")


@contextmanager
def _database_at(node: Node, socket: Path) -> Iterator[None]:
    """In the with statement ovsdb-server listens there too."""
    node.appctl("ovsdb-server", "ovsdb-server/add-remote", f"punix:{socket}")
    try:
        yield
    finally:
        node.appctl("ovsdb-server", "ovsdb-server/remove-remote", f"punix:{socket}")


def test_what_nobody_expected_is_a_traceback_in_the_log_and_the_status_that_has_monitor_try_again(node: Node) -> None:
    lock = node.directory / "vtep_ryu.lock"
    lock.mkdir()
    try:
        assert outcome(node, "--log-file", "--detach", "br0")[0] == RESTART_EXIT_CODE
        assert "IsADirectoryError" in Command(node).log()
    finally:
        lock.rmdir()


def test_it_can_be_told_to_exit_while_it_waits(node: Node) -> None:
    node.vswitchd.stop()
    process = node.popen(PROGRAM, "--pidfile", "--detach", "br0", stderr=subprocess.DEVNULL)
    node.wait_until(lambda: applications(node), what="an application")
    pid, application = Command(node).pid, the_application(node)
    assert pid
    node.appctl("vtep-ryu", "exit")
    node.wait_until(lambda: not command.alive(pid) and not command.alive(application), END_SECONDS, "it to end")
    process.wait(5)
    node.start_vswitchd()


def test_the_commands_of_the_readme_do_what_it_says(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(node.env, "PATH", f"{Path(PROGRAM).parent}:{os.environ['PATH']}")
    ((start,), (end,), (clean_up,), (doctor,)) = blocks("From the command line")
    node.shell(start)
    assert served(node) == ["br0"]
    assert "ok      controller  br0" in node.shell(doctor)
    node.shell(end)
    node.wait_until(lambda: not applications(node), END_SECONDS, "it to end")
    assert controllers(node)
    node.shell(clean_up)
    assert not controllers(node)
