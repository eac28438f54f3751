"""vtep-ryu when things end and begin: itself, its application, another one's; and what stays then."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import NamedTuple

import pytest

from apps.lab import Host, Lab, Node
from tests.system import command, support
from tests.system.command import (
    END_SECONDS,
    Command,
    alive,
    applications,
    controllers,
    served,
    status,
    the_application,
)

pytestmark = pytest.mark.timeout(180)

TABLES = (
    "Physical_Switch",
    "Physical_Port",
    "Logical_Switch",
    "Ucast_Macs_Local",
    "Mcast_Macs_Local",
    "Physical_Locator",
)
OPTIONS = ("--", "--vtep-statistics-interval=0")


class Machine(NamedTuple):
    """A machine and the hosts behind two of its ports."""

    node: Node
    p0: Host
    p1: Host


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Machine:
    """A machine with two bridges that have a port and a Physical_Switch row each, br0 one more port."""
    made = lab.node("a", "10.2.2.1/24")
    made.add_bridge("br1")
    p0, p1 = (made.add_port(f"p{number}", address=f"192.168.1.{number + 1}/24") for number in range(2))
    made.add_port("q0", "br1")
    made.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")
    made.vtep_ctl("add-ps", "br1")
    support.add_logical_switch(made, "ls0", 5000)
    return Machine(made, p0, p1)


@pytest.fixture
def node(machine: Machine) -> Iterator[Node]:
    """The machine, with nothing of ours running before and after."""
    assert not applications(machine.node)
    yield machine.node
    command.kill_all(machine.node)


def test_ending_it_leaves_everything_and_a_new_start_loses_nothing(machine: Machine, node: Node) -> None:
    first, second = machine.p0, machine.p1
    vtep = Command(node)
    vtep.detach(*OPTIONS)
    support.bind(node, "ls0", "p0", "p1")
    assert first.ping(second) == 3
    node.wait_until(lambda: len(node.macs()) == 2, what="both addresses")
    support.forget_megaflows(node)
    rows, flows, entry = support.identities(node, *TABLES), support.flows(node), controllers(node)
    ends = {signal.SIGTERM: lambda: vtep.stop(), signal.SIGINT: lambda: vtep.stop(signal.SIGINT), None: vtep.exit}
    with _no_packet_lost(first, second):
        for end in ends.values():
            end()
            node.wait_until(lambda: not applications(node), END_SECONDS, "the application to end")
            assert not [*node.directory.glob("vtep*.ctl"), *node.directory.glob("vtep*.pid")]
            assert (support.identities(node, *TABLES), support.flows(node)) == (rows, flows)
            assert controllers(node) == entry
            vtep.detach(*OPTIONS)
            assert (support.identities(node, *TABLES), support.flows(node)) == (rows, flows)
            assert controllers(node) == entry


class _no_packet_lost:  # noqa: N801 - a context manager
    """In the with statement a host pings another 100 times a second; every packet is answered."""

    def __init__(self, source: Host, target: Host) -> None:
        self._stop, self._pool = Event(), ThreadPoolExecutor(1)
        self._source, self._target = source, target

    def _ping(self) -> list[int]:
        answered = []
        while not self._stop.is_set():
            answered.append(self._source.ping(self._target, count=100, interval=0.01, timeout=2))
        return answered

    def __enter__(self) -> None:
        self._pings = self._pool.submit(self._ping)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        answered = self._pings.result()
        assert set(answered) == {100}
        assert len(answered) > 1


def test_killed_it_takes_its_application_with_it(node: Node) -> None:
    vtep = Command(node)
    vtep.detach()
    application = the_application(node)
    vtep.kill()
    node.wait_until(lambda: not alive(application), END_SECONDS, "the application to end")
    vtep.detach()
    assert served(node) == ["br0"]


def test_an_application_that_is_killed_is_started_again_at_the_same_port(node: Node) -> None:
    vtep = Command(node)
    vtep.detach()
    entry, application = controllers(node), the_application(node)
    os.kill(application, signal.SIGKILL)
    vtep.wait_served("br0", without=application)
    assert controllers(node) == entry
    vtep.wait_log(f"(process {application}) was killed by SIGKILL; starting it again\n")
    os.kill(the_application(node), signal.SIGKILL)
    vtep.wait_log("was killed by SIGKILL; starting it again in ")


@pytest.mark.parametrize("how", [signal.SIGSEGV, signal.SIGABRT], ids=lambda how: how.name)
def test_with_monitor_it_is_started_again_itself(node: Node, how: signal.Signals) -> None:
    vtep = Command(node)
    vtep.detach("--monitor")
    entry, pid, application = controllers(node), vtep.pid, the_application(node)
    assert pid
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    os.kill(pid, how)
    vtep.wait_until(lambda: vtep.pid not in (None, pid), "another process")
    vtep.wait_served("br0", without=application)
    assert controllers(node) == entry
    vtep.exit()
    node.wait_until(lambda: not applications(node), END_SECONDS, "the application to end")


def test_an_application_that_hangs_up_when_it_is_asked_is_not_joined(node: Node) -> None:
    socket = node.directory / "vtep_ryu.1.ctl"
    listener = node.popen(sys.executable, "-c", _HANG_UP, str(socket), stdout=subprocess.PIPE)
    assert listener.stdout
    assert listener.stdout.readline() == "ready\n"
    Command(node).detach()
    assert served(node) == ["br0"]
    listener.kill()
    socket.unlink()


_HANG_UP = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
while True:
    asker = listener.accept()[0]
    asker.recv(1, socket.MSG_PEEK)
    asker.close()
"""


def test_a_second_switch_joins_the_application_of_the_first_and_goes_on_without_it(node: Node) -> None:
    first, second = Command(node, "first"), Command(node, "second")
    first.detach()
    second.detach(switch="br1")
    application = the_application(node)
    assert list(controllers(node, "br0")) == list(controllers(node, "br1")) == status(node)["listen"]
    assert served(node) == ["br0", "br1"]
    first.exit()
    second.wait_served("br0", "br1", without=application)
    assert "has gone" in second.log()
    second.exit()
    assert not applications(node)


def test_two_that_start_at_once_have_one_application(node: Node) -> None:
    vteps = [(Command(node, "first"), "br0"), (Command(node, "second"), "br1")]
    with ThreadPoolExecutor(2) as pool:
        for result in [pool.submit(vtep.detach, switch=switch) for vtep, switch in vteps]:
            result.result()
    assert len(applications(node)) == 1
    assert served(node) == ["br0", "br1"]


def test_it_joins_an_application_that_was_started_without_it_and_takes_over_from_it(node: Node) -> None:
    node.start_app()
    vtep = Command(node)
    vtep.detach()
    assert applications(node) == {node.app.process.pid}
    assert list(controllers(node)) == ["tcp:127.0.0.1:6653"]
    node.app.stop()
    vtep.wait_served("br0")
    assert list(controllers(node)) == ["tcp:127.0.0.1:6653"]
    vtep.exit()
    assert not applications(node)
