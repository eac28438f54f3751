"""What the program does not do: fork, use the switch's own learning, write or log without cause."""

import re
import time
from pathlib import Path

import pytest

from apps.lab import Host, Lab, Node, Peer
from tests.system import support

VNI = 5000
IDLE_SECONDS = 5
CPU_SHARE = 0.05
"""Of one core, while idle; the greater part of it is the statistics, which are read every second here."""


@pytest.fixture(scope="module")
def peers(lab: Lab) -> list[Peer]:
    """The members of unknown-dst."""
    return [lab.peer(f"peer{number}", f"10.2.2.{number}/24") for number in (8, 9)]


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    """A VTEP that reads its statistics every second."""
    made = lab.node("node", "10.2.2.1/24")
    support.set_up(made, "--vtep-statistics-interval=1")
    return made


@pytest.fixture(scope="module")
def hosts(node: Node, peers: list[Peer]) -> list[Host]:
    """Three hosts in a logical switch that has everything a logical switch can have."""
    hosts = [node.add_port(port) for port in ("p0", "p1", "p2")]
    support.add_logical_switch(node, "ls0", VNI, *(peer.ip_address for peer in peers))
    node.vtep_ctl("add-ucast-remote", "ls0", "02:00:00:00:aa:01", peers[0].ip_address)
    node.vtep_ctl("add-mcast-remote", "ls0", "01:00:5e:00:00:01", peers[1].ip_address)
    support.bind(node, "ls0", "p0", "p1")
    support.bind(node, "ls0", "p2", vlan=7)
    support.teach(node, hosts[0], hosts[0].mac)
    support.teach(node, hosts[1], hosts[1].mac)
    support.teach(node, hosts[2], hosts[2].mac, vlan=7)
    return hosts


def test_no_flow_uses_normal_flood_or_learn(node: Node, hosts: list[Host], peers: list[Peer]) -> None:
    text = []
    for mode in ("service_node", "source_node"):
        node.vtep_ctl("set-replication-mode", "ls0", mode)
        buckets = 1 if mode == "source_node" else 2
        node.wait_until(lambda buckets=buckets: str(support.flows(node)).count("watch_port") != buckets % 2, what=mode)
        text += support.flows(node)
    assert any("group:" in line for line in text)
    assert any("CONTROLLER" in line for line in text)
    assert not re.findall(r"normal|flood|learn\(|all,output|output:all", "\n".join(text), re.IGNORECASE)


def test_what_an_operator_would_want_to_know_is_one_line_each_with_names(node: Node, hosts: list[Host]) -> None:
    log = node.app.log().splitlines()
    for line in (
        "br0: tunnel_ips 10.2.2.1",
        "br0: tunnel port vtep-0a020201 created for 10.2.2.1",
        "br0: port p0 added to Physical_Port",
        "br0: p0 untagged is bound to ls0",
        "br0: p2 VLAN 7 is bound to ls0",
        f"br0: ls0 has VNI {VNI}",
        f"br0: {hosts[0].mac} learned in ls0 at p0 untagged",
        f"br0: {hosts[2].mac} learned in ls0 at p2 VLAN 7",
    ):
        assert log.count(line) == 1, line
    assert len(set(log)) == len(log), "nothing is said twice"
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-", node.app.log()), "no UUIDs"
    assert "Traceback" not in node.app.log()


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_when_nothing_happens_nothing_is_logged_or_written_and_hardly_any_time_is_used(
    node: Node, hosts: list[Host]
) -> None:
    # The counters of the last frames have been published: the databases do not change any more.
    def state() -> tuple[str, int, int]:
        sizes = (Path(node.directory / f"{name}.db").stat().st_size for name in ("vtep", "ovs"))
        return (node.app.log(), *sizes)

    def settled() -> bool:
        before = state()
        time.sleep(1.5)
        return state() == before

    node.wait_until(settled, 20, "the last news to be written")
    before, cpu = state(), cpu_seconds(node.app.process.pid)
    time.sleep(IDLE_SECONDS)
    assert state() == before
    assert cpu_seconds(node.app.process.pid) - cpu < CPU_SHARE * IDLE_SECONDS


def test_it_has_forked_no_process_whatever_it_did(node: Node, hosts: list[Host], peers: list[Peer]) -> None:
    hosts[0].unplug()
    support.wait_gone(node, hosts[0].mac)
    hosts[0].plug()
    node.wait_until(lambda: support.reaches(hosts[0], hosts[1], peers[0]), what="the port to be up")
    node.vtep_ctl("set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.2")
    node.wait_until(lambda: "vtep-0a020202" in node.vsctl("list-ports", "br0"), what="another tunnel port")
    node.vtep_ctl("del-ps", "br0")
    node.wait_until(lambda: support.flows(node) == [], what="no flow")

    pid = node.app.process.pid
    parents = [stat.read_text().rpartition(")")[2].split()[1] for stat in Path("/proc").glob("[0-9]*/stat")]
    assert str(pid) not in parents, "no children"
    # A process that ends leaves its page faults with the parent that has waited for it (proc(5), cminflt).
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[8] == "0", "and there have been none"
