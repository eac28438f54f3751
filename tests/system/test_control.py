"""The application's control socket, as ovs-appctl finds it."""

import signal
import time
from collections.abc import Iterator

import pytest

from apps.lab import Frame, Host, Lab, LabError, Node
from apps.lab.frames import BROADCAST
from tests.system import support
from tests.system.support import ask, counters, new_frame, sockets, status
from vtep_ryu import __version__

NOTHING_COUNTED = {
    "addresses_learned": 0,
    "addresses_moved": 0,
    "addresses_refused": 0,
    "packet_ins_ignored": 0,
    "addresses_frozen": 0,
    "frozen_now": 0,
    "frames_unclassified": 0,
    "frames_impossible": 0,
    "frames_undelivered": 0,
    "frames_pinned": 0,
    "frames_storm_dropped": 0,
    "frames_storm_dropped_by_port": {},
}


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Node:
    """A machine with a br0 that has a Physical_Switch row, and a controller where the application will be."""
    made = lab.node("a", "10.2.2.1/24")
    made.add_port("p0")
    made.vtep_ctl("add-ps", "br0")
    made.vsctl("set-controller", "br0", support.CONTROLLER)
    return made


@pytest.fixture
def node(machine: Node) -> Iterator[Node]:
    """The machine, without an application before and after."""
    yield machine
    if machine.app.running:
        machine.app.stop()


def wait_served(node: Node, *bridges: str) -> None:
    """Wait until these bridges and no others are served."""
    node.wait_until(lambda: status(node)["bridges"] == list(bridges), what=f"{bridges} to be served")


def test_the_status_tells_where_it_listens_what_it_follows_and_what_it_serves(node: Node) -> None:
    node.start_app()
    wait_served(node, "br0")
    (socket,) = sockets(node)
    assert status(node) == {
        "listen": [support.CONTROLLER],
        "hardware_vtep": [f"unix:{node.socket}"],
        "open_vswitch": [f"unix:{node.socket}"],
        "bridges": ["br0"],
        "owned": ["br0"],
        "standby": [],
        "databases": {
            name: {"remote": f"unix:{node.socket}", "state": "connected"} for name in ("hardware_vtep", "Open_vSwitch")
        },
        "counters": {"br0": NOTHING_COUNTED},
        "pid": int(socket.name.split(".")[1]),
        "version": __version__,
    }


def test_a_bridge_is_served_until_it_is_lost_or_no_vtep_any_more(node: Node) -> None:
    node.start_app()
    wait_served(node, "br0")
    node.vswitchd.stop()
    wait_served(node)
    node.start_vswitchd()
    wait_served(node, "br0")
    node.vtep_ctl("del-ps", "br0")
    wait_served(node)
    node.vtep_ctl("add-ps", "br0")
    wait_served(node, "br0")


def test_addresses_that_are_learned_moved_refused_or_frozen_are_counted(node: Node, lab: Lab) -> None:
    one, other = (node.add_port(port) for port in ("p1", "p2"))
    node.start_app("--vtep-binding-mac-limit=2", "--vtep-mac-move-limit=1")
    support.add_logical_switch(node, "ls1", 5001)
    support.bind(node, "ls1", "p1", "p2")
    moving, settled, refused = (lab.new_mac() for _ in range(3))
    expected = dict(NOTHING_COUNTED)

    def becomes(sender: Host, mac: str, **counts: int) -> None:
        """An address is counted as this, however often it sends from there."""

        def counted() -> bool:
            sender.send(Frame(BROADCAST, mac))
            return counters(node)["br0"] == expected

        expected.update(counts)
        node.wait_until(counted, what=f"{counts}")

    becomes(one, moving, addresses_learned=1)
    becomes(other, moving, addresses_moved=1)
    becomes(one, moving, addresses_frozen=1, frozen_now=1)
    becomes(other, settled, addresses_learned=2)
    with one.capture() as flooded:
        frames = [new_frame(refused) for _ in range(7)]
        other.send(*frames)
        expected["addresses_refused"] = len(frames)
        node.wait_until(lambda: counters(node)["br0"] == expected, what="each frame to be counted as refused")
        assert [frame for frame in flooded.quiet() if frame in frames] == frames
    node.port_down("p2")
    expected["frozen_now"] = 0
    node.wait_until(lambda: counters(node)["br0"] == expected, what="nothing to be frozen any more")


def test_it_answers_with_its_version_and_its_commands(node: Node) -> None:
    node.start_app()
    assert ask(node, "version") == f"vtep_ryu {__version__}"
    assert "vtep/status" in ask(node, "help")


def test_the_log_level_can_be_changed(node: Node) -> None:
    node.start_app()
    wait_served(node, "br0")
    assert "reconciled" not in node.app.log()
    ask(node, "vtep/log-level", "debug")
    node.app.wait_log("^log level DEBUG$")
    support.add_logical_switch(node, "ls0", 5000)
    support.bind(node, "ls0", "p0")
    node.app.wait_log("^br0: reconciled: ")
    with pytest.raises(LabError, match="the level is 'loud', must be one of debug, info, warning, error"):
        ask(node, "vtep/log-level", "loud")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda how: how.name)
def test_the_application_ends_by_signals_as_programs_do_and_removes_its_socket(node: Node, how: signal.Signals) -> None:
    node.start_app()
    node.wait_until(lambda: sockets(node), what="the socket")
    assert node.app.stop(how) == (0 if how is signal.SIGINT else -how)
    assert not sockets(node)
    assert "Traceback" not in node.app.log()


def test_it_ends_by_ctrl_c_also_while_it_starts(node: Node) -> None:
    for tenths in (0, 2, 4):
        node.start_app()
        node.wait_until(lambda: sockets(node), what="the socket")
        time.sleep(tenths / 10)
        assert node.app.stop(signal.SIGINT) == 0
        assert "Traceback" not in node.app.log()


def test_without_a_directory_for_the_socket_there_is_one_warning_and_everything_else(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = f"unix:{node.socket}"
    with monkeypatch.context() as elsewhere:
        elsewhere.setitem(node.env, "OVS_RUNDIR", "/nowhere")
        node.start_app(f"--vtep-hardware-vtep-remotes={remote}", f"--vtep-open-vswitch-remotes={remote}")
    node.app.wait_log(r"^br0: switch \w+ is served$")
    assert node.app.log().count("no control socket /nowhere/") == 1
