"""What breaks or hangs is said with a traceback and with names, and ends the program; started again, it goes on."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from apps.lab import Lab, Node
from tests.system import saboteur, support
from tests.system.traffic import FAR, TwoVteps, no_packet_lost

pytestmark = pytest.mark.timeout(200)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
TABLES = ("Physical_Switch", "Physical_Port", "Ucast_Macs_Local", "Mcast_Macs_Local")
WATCHDOG = 3
OPTIONS = (saboteur.__file__, "--vtep-statistics-interval=0", f"--vtep-watchdog={WATCHDOG}")

Break = Callable[[TwoVteps, str], object]


def write(site: TwoVteps, mac: str) -> None:
    """The NVC writes an address."""
    site.node.vtep_ctl("add-ucast-remote", "ls0", mac, FAR)


def send(site: TwoVteps, mac: str) -> None:
    """A station sends its first frame."""
    site.p0.send(support.new_frame(mac))


@pytest.fixture(scope="module")
def site(lab: Lab) -> TwoVteps:
    return TwoVteps(lab)


@pytest.fixture
def node(site: TwoVteps) -> Iterator[Node]:
    """The machine, with the program running and the saboteur in it; afterwards nothing is left of what it broke by."""
    site.node.app.stop()
    site.node.start_app(*OPTIONS)
    site.node.app.wait_log(r"^br0: switch \w+ is served$", 20)
    yield site.node
    site.node.app.stop()
    everywhere = {"op": "delete", "where": [["MAC", "!=", site.far.mac]]}
    site.node.transact({**everywhere, "table": "Ucast_Macs_Remote"})
    site.node.ofctl("del-flows", "br0", f"table=2,dl_src={saboteur.WRITING}")


def go_on(site: TwoVteps) -> None:
    """Start the program again, as the unit does."""
    site.node.start_app("--vtep-statistics-interval=0")
    site.node.app.wait_log(r"^br0: switch \w+ is served$", 20)


BREAKS = [
    (write, saboteur.RENDERING, "ZeroDivisionError: rendering", "'br0': rendering 'Ucast_Macs_Remote {} of ls0'"),
    (write, saboteur.READING, "OverflowError: reading", "reading Ucast_Macs_Remote '{} of ls0'"),
    (write, saboteur.APPLYING, "KeyError: 'applying'", "taking in 1 rows: UcastRemote '{}'"),
    (send, saboteur.LEARNING, "AttributeError: learning", r"'br0': learning {} at binding 0x\w+ of 5000"),
    (send, saboteur.WRITING, "TypeError: writing", r"writing the local address .*{}"),
]


@pytest.mark.parametrize(("do", "mac", "error", "note"), BREAKS if LONG else BREAKS[:2])
def test_an_exception_is_logged_with_its_traceback_and_names_and_ends_the_program_which_loses_nothing(
    site: TwoVteps, node: Node, do: Break, mac: str, error: str, note: str
) -> None:
    rows = support.identities(node, *TABLES)
    with no_packet_lost(*site.pairs):
        do(site, mac)
        assert node.app.wait() == 1
        log = node.app.log()
        go_on(site)
    assert "Traceback (most recent call last):" in log
    assert re.search(rf"^{re.escape(error)}$", log, re.MULTILINE)
    assert re.search(rf"^{note.format(mac)}", log, re.MULTILINE)
    assert re.search(r"^ending the program$", log, re.MULTILINE)
    assert rows.items() <= support.identities(node, *TABLES).items()


@pytest.mark.parametrize(
    ("mac", "thread", "function"),
    [(saboteur.READING_HANGS, "hardware_vtep", "read"), (saboteur.RENDERING_HANGS, "main", "render")][
        : 2 if LONG else 1
    ],
)
def test_a_thread_that_hangs_is_noticed_and_ends_the_program_with_a_traceback_of_each(
    site: TwoVteps, node: Node, mac: str, thread: str, function: str
) -> None:
    with no_packet_lost(*site.pairs):
        write(site, mac)
        assert node.app.wait(20) == 1
        log = node.app.log()
        go_on(site)
    assert re.search(rf"^the thread {thread} hangs since {WATCHDOG} s; ending the program$", log, re.MULTILINE)
    assert 'saboteur.py", line' in log
    assert f" in {function}" in log
    node.wait_until(lambda: mac in support.table_flows(node, "unicast"), what="the address that it hung at")


def test_a_program_that_is_stopped_for_a_while_does_not_hang(node: Node) -> None:
    node.app.process.send_signal(signal.SIGSTOP)
    time.sleep(WATCHDOG + 1)
    node.app.process.send_signal(signal.SIGCONT)
    time.sleep(WATCHDOG / 2)
    assert node.app.running


def test_a_program_that_cannot_take_connections_any_more_ends(site: TwoVteps, node: Node) -> None:
    """It has no file descriptor left: Ryu's listener ends then, and no switch could come back."""
    pid = node.app.process.pid
    used = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
    lowest_free = next(number for number in count() if number not in used)
    with no_packet_lost(*site.pairs):
        node.run("prlimit", f"--pid={pid}", f"--nofile={lowest_free}")
        node.vsctl("--no-wait", "set-controller", "br0", "tcp:127.0.0.1:9")
        connections = [node.popen("nc", "127.0.0.1", "6653") for _ in range(8)]
        assert node.app.wait(20) == 1
        log = node.app.log()
        for each in connections:
            each.kill()
        node.vsctl("--no-wait", "set-controller", "br0", support.CONTROLLER)
        go_on(site)
    assert "Too many open files" in log
    assert re.search("^ending the program$", log, re.MULTILINE)
