"""vtep-ryu --cleanup: what it removes, what it leaves, and how it does without one thing or another."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from apps.lab import Host, Lab, Node
from tests.system import command, support
from tests.system.command import Command, applications, controllers, outcome, the_application

pytestmark = pytest.mark.timeout(120)

FOREIGN = "cookie=0x1234,table=100,priority=7,actions=drop"
NVCS = ("Logical_Switch", "Ucast_Macs_Remote", "Mcast_Macs_Remote")


class Machine(NamedTuple):
    """A machine with the VTEPs br0 (two bound ports, one that is not) and br1, whose station has the same address."""

    node: Node
    p0: Host
    p1: Host
    q0: Host


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Machine:
    node = lab.node("a", "10.2.2.1/24")
    node.add_bridge("br1")
    p0, p1 = (node.add_port(f"p{number}", address=f"192.168.1.{number + 1}/24") for number in range(2))
    node.add_port("p2")
    q0 = node.add_port("q0", "br1")
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")
    node.vtep_ctl("add-ps", "br1", "--", "set", "Physical_Switch", "br1", "tunnel_ips=10.2.2.2")
    support.add_logical_switch(node, "ls0", 5000, "10.2.2.9")
    node.vtep_ctl("add-ucast-remote", "ls0", "00:11:22:33:44:55", "10.2.2.9")
    return Machine(node, p0, p1, q0)


@pytest.fixture
def idle(machine: Machine) -> Iterator[Machine]:
    """The machine, with nothing of ours running, and nothing bound or changed on br0."""
    node = machine.node
    assert not applications(node)
    yield machine
    command.kill_all(node)
    for bridge, port in (("br0", "p0"), ("br0", "p1"), ("br1", "q0")):
        node.run("vtep-ctl", "unbind-ls", bridge, port, "0", check=False)
    node.vsctl("set-fail-mode", "br0", "standalone", "--", "del-controller", "br0")
    node.vsctl("clear", "Bridge", "br0", "external_ids")


@pytest.fixture
def served(idle: Machine) -> Machine:
    """The machine, served by one vtep-ryu for br0 and one for br1, with a station learned on each."""
    machine, node = idle, idle.node
    Command(node, "first").detach("--", "--vtep-statistics-interval=1", "--vtep-storm-control=50")
    Command(node, "second").detach(switch="br1")
    support.bind(node, "ls0", "p0", "p1")
    support.bind(node, "ls0", "q0", bridge="br1")
    machine.p0.ping(machine.p1)
    machine.q0.send(support.new_frame(machine.q0.mac))
    wanted = {("ls0", machine.p0.mac), ("ls0", machine.p1.mac), ("ls0", machine.q0.mac)}
    node.wait_until(lambda: wanted <= node.macs().keys(), what="the stations' rows")
    node.wait_until(lambda: _port(node, "p0")["vlan_stats"], what="statistics")
    node.wait_until(lambda: len(node.rows("Tunnel")) == 2, what="a tunnel of each")
    (tunnel,) = (row["_uuid"] for row in node.rows("Tunnel") if row["local"] == _locator(node, "10.2.2.1"))
    node.vtep_ctl("set", "Tunnel", tunnel, "bfd_params:enable=true")
    node.wait_until(lambda: "metadata" in support.table_flows(node, "undelivered"), what="its BFD to be watched")
    return machine


@pytest.fixture
def left(served: Machine) -> Machine:
    """The same, when both have ended."""
    for name in ("second", "first"):
        Command(served.node, name).exit()
    return served


def _locator(node: Node, address: str) -> str:
    """The UUID of the locator with this address."""
    return next(row["_uuid"] for row in node.rows("Physical_Locator") if row["dst_ip"] == address)


def _port(node: Node, name: str) -> dict[str, Any]:
    return next((row for row in node.rows("Physical_Port") if row["name"] == name), {})


def clean_up(node: Node, switch: str = "br0") -> str:
    """Clean up, which succeeds; what it says on stderr."""
    status, output, errors = outcome(node, "--cleanup", switch)
    assert (status, output) == (0, ""), errors
    return errors


def ours(node: Node, bridge: str = "br0") -> str:
    """Our flows on a bridge, and all its groups and meters."""
    flows = node.ofctl("dump-flows", bridge, "cookie=0x7674000000000000/0xffff000000000000", "--no-stats")
    return "\n".join(
        line.strip()
        for text in (flows, node.ofctl("dump-groups", bridge), node.ofctl("dump-meters", bridge))
        for line in text.splitlines()
        if "OFPST" not in line
    )


def test_it_refuses_in_one_line_while_the_bridge_is_served(served: Machine) -> None:
    node = served.node
    before = support.flows(node)
    status, output, errors = outcome(node, "--cleanup", "br0")
    assert (status, output) == (1, "")
    assert errors == (
        f"vtep-ryu: br0 is served by process {the_application(node)}: end that first (ovs-appctl -t vtep-ryu exit)\n"
    )
    assert support.flows(node) == before


def test_the_application_of_a_service_is_in_the_way_too_and_the_doctor_finds_it(idle: Machine) -> None:
    node = idle.node
    directory = node.directory.parent / "vtep_ryu-6654"
    directory.mkdir()
    (directory / "db.sock").symlink_to(node.socket)
    arguments = ("env", f"OVS_RUNDIR={directory}", *node.app.command("--ofp-tcp-listen-port=6654"))
    with node.popen(*arguments) as application:
        found = f"vtep_ryu: runs (process {application.pid})"
        node.wait_until(lambda: found in outcome(node, "doctor")[1], 60, "the doctor to find it")
        refusal = f"br0 is served by process {application.pid}: end that first (systemctl stop vtep_ryu@6654)"
        assert outcome(node, "--cleanup", "br0") == (1, "", f"vtep-ryu: {refusal}\n")
        application.terminate()
    clean_up(node)


def test_what_is_ours_goes_and_what_is_not_stays(left: Machine) -> None:
    node = left.node
    nvcs, others, tunnel_ips = support.identities(node, *NVCS), support.flows(node, "br1"), _switches(node)
    assert all(what in ours(node) for what in ("table=8", "group_id=", "meter="))
    assert clean_up(node) == ""
    assert ours(node) == ""
    assert controllers(node) == {}
    assert set(node.vsctl("list-ports", "br0").split()) == {"p0", "p1", "p2"}
    assert node.macs() == {("ls0", left.q0.mac): ("10.2.2.2",)}
    assert [row["local"] for row in node.rows("Tunnel")] == [_locator(node, "10.2.2.2")]
    assert node.macs("Mcast_Macs_Local") == {("ls0", "unknown-dst"): ("10.2.2.2",)}
    assert support.physical_ports(node) == {"p0", "p1"}
    assert _port(node, "p0")["vlan_stats"] == {}
    assert node.vtep_ctl("list-bindings", "br0", "p0").split() == ["0000", "ls0"]
    assert _switches(node) == tunnel_ips
    assert support.identities(node, *NVCS) == nvcs
    assert support.flows(node, "br1") == others
    assert len(controllers(node, "br1")) == 1


def _switches(node: Node) -> dict[str, Any]:
    return {row["name"]: row["tunnel_ips"] for row in node.rows("Physical_Switch")}


def test_with_a_controller_of_anothers_its_flows_groups_and_meters_stay_too(left: Machine) -> None:
    node, other = left.node, "tcp:10.2.2.9:6653"
    node.vsctl("set-controller", "br0", *controllers(node), other)
    node.ofctl("add-group", "br0", "group_id=7,type=all,bucket=drop")
    node.ofctl("add-flow", "br0", FOREIGN)
    node.ofctl("add-meter", "br0", "meter=7,pktps,bands=type=drop,rate=9")
    assert clean_up(node) == ""
    assert ours(node).split("\n") == [
        "group_id=7,type=all,bucket=actions=drop",
        "meter=7 pktps bands=",
        "type=drop rate=9",
    ]
    assert "cookie=0x1234, table=100, priority=7" in node.ofctl("dump-flows", "br0", "--no-stats")
    assert controllers(node).keys() == {other}


def test_the_bridge_forwards_as_it_did_before(left: Machine) -> None:
    node = left.node
    assert node.vsctl("get-fail-mode", "br0").strip() == "secure"
    clean_up(node)
    assert node.vsctl("get-fail-mode", "br0").strip() in ("", "standalone")
    assert node.vsctl("get", "Bridge", "br0", "external_ids").strip() == "{}"
    support.forget_megaflows(node)
    assert left.p0.ping(left.p1) == 3
    Command(node, "first").detach()
    support.forget_megaflows(node)
    assert left.p0.ping(left.p1) == 3


def test_a_bridge_that_was_secure_before_stays_so(idle: Machine) -> None:
    node = idle.node
    node.vsctl("set-fail-mode", "br0", "secure")
    Command(node).detach()
    Command(node).exit()
    clean_up(node)
    assert node.vsctl("get-fail-mode", "br0").strip() == "secure"


def test_a_second_time_it_finds_nothing_to_do(left: Machine) -> None:
    node = left.node
    clean_up(node)
    rows = support.identities(node, *NVCS, "Physical_Port", "Physical_Switch", "Ucast_Macs_Local")
    assert clean_up(node) == ""
    assert support.identities(node, *NVCS, "Physical_Port", "Physical_Switch", "Ucast_Macs_Local") == rows


def test_without_ovs_vswitchd_it_says_what_it_could_not_do_and_does_the_rest(left: Machine) -> None:
    node = left.node
    node.vswitchd.stop()
    status, output, errors = outcome(node, "--cleanup", "br0")
    assert (status, output) == (1, "")
    assert re.fullmatch(r"vtep-ryu: br0: its flows and groups are left, if it still has any: .*\n", errors)
    assert controllers(node) == {}
    assert ("ls0", left.p0.mac) not in node.macs()
    node.start_vswitchd()
    assert ours(node) == ""
    assert set(node.vsctl("list-ports", "br0").split()) == {"p0", "p1", "p2"}


def test_without_the_physical_switch_row_it_removes_the_rest(left: Machine) -> None:
    node = left.node
    node.vtep_ctl("del-ps", "br0")
    try:
        assert clean_up(node) == ""
        assert ours(node) == ""
        assert node.macs().keys() == {("ls0", left.q0.mac)}
        assert controllers(node) == {}
        assert set(node.vsctl("list-ports", "br0").split()) == {"p0", "p1", "p2"}
    finally:
        node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")


def test_an_application_that_serves_others_is_not_in_the_way(served: Machine) -> None:
    node = served.node
    node.vtep_ctl("del-ps", "br0")
    try:
        node.wait_until(lambda: command.served(node) == ["br1"], what="br0 to be none of its")
        assert clean_up(node) == ""
        assert controllers(node) == {}
        assert command.served(node) == ["br1"]
    finally:
        node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")


def test_without_the_bridge_it_removes_the_rows(lab: Lab) -> None:
    node = lab.node("b", "10.2.2.3/24")
    host = node.add_port("p0")
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.3")
    vtep = Command(node)
    vtep.detach()
    support.add_logical_switch(node, "ls0", 5000)
    support.bind(node, "ls0", "p0")
    support.teach(node, host, host.mac)
    vtep.exit()
    node.vsctl("del-br", "br0")
    assert clean_up(node) == ""
    assert node.macs() == node.macs("Mcast_Macs_Local") == {}


def test_a_name_that_nothing_has_is_one_line(idle: Machine) -> None:
    wrong = "vtep-ryu: there is neither a bridge nor a physical switch never-was\n"
    assert outcome(idle.node, "--cleanup", "never-was") == (1, "", wrong)
