"""200 BFD sessions: they come up, stay up, and cost the program nothing while nothing happens."""

import time
from ipaddress import IPv4Address

import pytest

from apps.lab import Lab, Node
from tests.system import support
from tests.system.test_quiet import cpu_seconds
from tests.system.tunnels import VNI, VTEP

pytestmark = pytest.mark.timeout(120)

SESSIONS = 200
IDLE_SECONDS = 5
CPU_SHARE = 0.01
ADDRESSES = [str(IPv4Address("10.2.3.1") + n) for n in range(SESSIONS)]


@pytest.fixture(scope="module")
def hypervisors(lab: Lab) -> Node:
    """One machine in the place of as many hypervisors: it has all the addresses, and a session from each."""
    node = lab.node("h", "10.2.2.5/16")
    node.shell(";".join(f"ip address add {ip}/16 dev {node.datapath.interface}" for ip in ADDRESSES))
    argv: list[str] = []
    for number, ip in enumerate(ADDRESSES):
        options = (f"options:remote_ip={VTEP}", f"options:local_ip={ip}", "options:key=flow", "bfd:enable=true")
        port = f"vx{number}"
        argv += ["--", "add-port", "br0", port, "--", "set", "Interface", port, "type=vxlan", *options]
    node.run("ovs-vsctl", "--timeout=60", *argv[1:])
    return node


@pytest.fixture(scope="module")
def node(lab: Lab, hypervisors: Node) -> Node:
    """The VTEP, all of whose members have BFD."""
    node = lab.node("a", f"{VTEP}/16")
    support.set_up(node)
    node.add_port("p0")
    support.add_logical_switch(node, "ls0", VNI, *ADDRESSES)
    support.bind(node, "ls0", "p0")
    node.wait_until(lambda: len(node.rows("Tunnel")) == SESSIONS, 20, "the tunnels")
    enable = {"bfd_params": ["map", [["enable", "true"]]]}
    node.transact({"op": "update", "table": "Tunnel", "where": [], "row": enable})
    return node


def states(node: Node) -> list[tuple[str | None, str | None]]:
    """What the tunnels say of themselves and of the other side, each pair of states once."""
    found = [row["bfd_status"] for row in node.rows("Tunnel")]
    return sorted({(status.get("state"), status.get("remote_state")) for status in found}, key=str)


def test_200_sessions_stay_up_while_the_program_is_idle(node: Node) -> None:
    node.wait_until(lambda: states(node) == [("up", "up")], 60, "all to be up")
    time.sleep(2)  # What the last news led to is done.
    log, cpu, begin = len(node.app.log()), cpu_seconds(node.app.process.pid), time.monotonic()
    while time.monotonic() < begin + IDLE_SECONDS:
        assert states(node) == [("up", "up")]
        time.sleep(0.5)
    used = cpu_seconds(node.app.process.pid) - cpu
    assert node.app.log()[log:] == "", "nothing is said"
    assert used < CPU_SHARE * IDLE_SECONDS
