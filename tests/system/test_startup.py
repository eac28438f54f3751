"""The four steps, where the databases are looked for, where OpenFlow is listened for, and what a wrong option does."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.lab import Lab, Node
from tests.system import support

SAMPLE = Path("etc/vtep_ryu.conf").resolve()
TCP = "tcp:127.0.0.1:6640"
NOBODY = "tcp:127.0.0.1:1"


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    """A machine with both databases, also by TCP, and a br0 with one port."""
    made = lab.node("node", start=False)
    made.create_databases()
    made.start_ovsdb(remotes=("ptcp:6640:127.0.0.1",))
    made.start_vswitchd()
    made.add_bridge()
    made.add_port("p0")
    lab.join(made, "10.2.2.1/24")
    return made


@pytest.fixture
def stopped(node: Node) -> Iterator[Node]:
    """The machine with nothing of ours running, before and after."""
    assert not node.app.running
    yield node
    if node.app.running:
        node.app.kill()


def write_config(path: Path, **options: str) -> str:
    """The sample configuration with the lines of some options filled in, as a command line option."""
    text = SAMPLE.read_text()
    for name, value in options.items():
        text, found = re.subn(rf"^#{name} =.*", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1
    path.write_text(text)
    return f"--config-file={path}"


def test_the_four_steps_as_written_make_a_vtep(lab: Lab, stopped: Node) -> None:
    node, peer = stopped, lab.peer("peer", "10.2.2.9/24")
    node.run("vtep-ctl", "add-ps", "br0")
    node.run("vtep-ctl", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")
    assert node.app.command()[0].endswith("/ryu-manager")
    assert node.app.command()[1:] == ("vtep_ryu.apps.vtep",)
    node.start_app()
    node.run("ovs-vsctl", "set-controller", "br0", "tcp:127.0.0.1:6653")
    node.wait_until(lambda: support.physical_ports(node) == {"p0"}, what="a row of p0")

    host = node.add_port("p1")
    support.add_logical_switch(node, "ls0", 5000, peer.ip_address)
    support.bind(node, "ls0", "p0", "p1")
    node.wait_until(lambda: support.reaches(host, peer), what="a broadcast at the other VTEP")
    node.wait_until(lambda: node.macs() == {("ls0", host.mac): ("10.2.2.1",)}, what="the address learned")
    assert node.macs("Mcast_Macs_Local") == {("ls0", "unknown-dst"): ("10.2.2.1",)}
    node.vtep_ctl("unbind-ls", "br0", "p1", "0")
    node.del_port("p1")


def listeners(node: Node) -> set[str]:
    """Where TCP connections are waited for on this machine, those of ovsdb-server excepted."""
    lines = node.run("ss", "--no-header", "--listening", "--tcp", "--numeric").splitlines()
    return {line.split()[3] for line in lines} - {"127.0.0.1:6640"}


def test_it_listens_on_127_0_0_1_port_6653_alone(stopped: Node) -> None:
    assert listeners(stopped) == set()
    stopped.start_app()
    assert listeners(stopped) == {"127.0.0.1:6653"}


def test_it_listens_elsewhere_when_told_to(stopped: Node, tmp_path: Path) -> None:
    file = write_config(tmp_path / "some.conf", ofp_listen_host="0.0.0.0", ofp_tcp_listen_port="6699")
    stopped.app.start(file, port=6699)
    assert listeners(stopped) == {"0.0.0.0:6699"}


def expect_databases_at(node: Node, hardware_vtep: str, open_vswitch: str) -> None:
    """The databases are followed at these remotes, and br0 is served with what they hold."""
    node.app.wait_log(rf"^hardware_vtep: connected to {hardware_vtep}$")
    node.app.wait_log(rf"^Open_vSwitch: connected to {open_vswitch}$")
    node.app.wait_log(r"^br0: switch \w+ is served$")


def test_the_databases_are_found_in_ovs_rundir(stopped: Node) -> None:
    assert stopped.env["OVS_RUNDIR"] == str(stopped.directory)
    stopped.start_app()
    expect_databases_at(stopped, f"unix:{stopped.directory}/db.sock", f"unix:{stopped.directory}/db.sock")


def test_without_ovs_rundir_the_databases_are_found_in_the_usual_place(
    stopped: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path("/run/openvswitch/db.sock")
    assert not place.exists(), "these tests run under apps/isolate"
    stopped.appctl("ovsdb-server", "ovsdb-server/add-remote", f"punix:{place}")
    monkeypatch.delitem(stopped.env, "OVS_RUNDIR")
    monkeypatch.delenv("OVS_RUNDIR", raising=False)
    try:
        stopped.start_app()
        expect_databases_at(stopped, f"unix:{place}", f"unix:{place}")
    finally:
        stopped.appctl("ovsdb-server", "ovsdb-server/remove-remote", f"punix:{place}")


def test_the_databases_can_be_named_on_the_command_line(stopped: Node) -> None:
    socket = f"unix:{stopped.socket}"
    stopped.start_app(f"--vtep-hardware-vtep-remotes={TCP}", f"--vtep-open-vswitch-remotes={socket}")
    expect_databases_at(stopped, TCP, socket)


def test_the_sample_configuration_works_as_it_is(stopped: Node) -> None:
    stopped.start_app(f"--config-file={SAMPLE}")
    expect_databases_at(stopped, f"unix:{stopped.socket}", f"unix:{stopped.socket}")
    assert listeners(stopped) == {"127.0.0.1:6653"}


def test_the_databases_can_be_named_in_a_configuration_file_also_as_a_cluster(stopped: Node, tmp_path: Path) -> None:
    remotes = f"{NOBODY}, {TCP}"
    file = write_config(tmp_path / "some.conf", hardware_vtep_remotes=remotes, open_vswitch_remotes=remotes)
    stopped.start_app(file)
    expect_databases_at(stopped, TCP, TCP)


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--vtep-mac-ageing-time=5m", "[vtep] mac_ageing_time is '5m', must be an integer from 0 to 65535"),
        ("--vtep-mac-aging-time=5", "unrecognized arguments: --vtep-mac-aging-time=5"),
        (
            "--vtep-open-vswitch-remotes=localhost:6640",
            "[vtep] open_vswitch_remotes is 'localhost:6640', must be unix:",
        ),
        ("--config-file=/no/such/file", "Failed to find some config files: /no/such/file"),
    ],
)
def test_a_wrong_option_is_one_clear_line_and_exit_status_1(stopped: Node, option: str, complaint: str) -> None:
    stopped.app.start(option, port=None)
    assert stopped.app.wait() == 1
    (line,) = stopped.app.log().splitlines()
    assert line.startswith(f"ryu-manager: error: {complaint}")


def test_an_unknown_option_in_a_configuration_file_is_one_clear_line_and_exit_status_1(
    stopped: Node, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.conf"
    path.write_text(SAMPLE.read_text() + "\nmac_aging_time = 5\n")
    stopped.app.start(f"--config-file={path}", port=None)
    assert stopped.app.wait() == 1
    (line,) = stopped.app.log().splitlines()
    assert line.startswith(f"ryu-manager: error: [vtep] mac_aging_time in {path} is no option, must be one of ")


def test_a_second_program_on_the_same_port_says_so_in_one_line_and_ends_with_exit_status_1(stopped: Node) -> None:
    stopped.start_app()
    second = stopped.popen(*stopped.app.command(), stderr=subprocess.PIPE)
    _, errors = second.communicate(timeout=20)
    assert second.returncode == 1
    complaints = [line for line in errors.splitlines() if "app vtep" not in line and "app ryu" not in line]
    assert complaints == ["ryu-manager: error: cannot listen on 127.0.0.1:6653 for OpenFlow: Address already in use"]
    assert stopped.app.running
    stopped.app.stop()
