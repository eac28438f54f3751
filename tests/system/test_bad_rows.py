"""Rows that cannot be used: each is reported once and mended by the NVC, and everything else goes on all the while."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

import pytest

from apps.lab import Host, Lab, Node
from apps.lab.database import listed
from tests.system import support
from tests.system.nvc import VTEP, Nvc

pytestmark = pytest.mark.timeout(90)

REMOTE, OTHER = "10.2.2.9", "10.2.2.8"
MAC, GROUP = "02:99:00:00:00:01", "01:00:5e:00:00:05"
SWITCH_FAULT = ("Physical_Switch", "br0", "switch_fault_status", "unspecified_fault")
PORT_FAULT = ("Physical_Port", "p1", "port_fault_status", "invalid_vlan_map")


@dataclass(frozen=True)
class Network:
    """A VTEP with two hosts in ls0 (VNI 5000) and one in ls1 (5001), and a host of ls0 behind another VTEP."""

    node: Node
    nvc: Nvc
    here: Host
    neighbour: Host
    there: Host


@pytest.fixture(scope="module")
def network(lab: Lab) -> Network:
    """All of it; without statistics, which would write to the same rows now and then."""
    node = lab.node("node", f"{VTEP}/24")
    support.set_up(node, "--vtep-statistics-interval=0")
    here, neighbour = (node.add_port(f"p{n}", address=f"192.168.1.{n + 1}/24") for n in (0, 1))
    node.add_port("q0")
    kernel = lab.kernel_vtep("kernel", f"{REMOTE}/24")
    kernel.add_vni(5000, VTEP)
    there = kernel.add_host(5000, lab.host("there", "192.168.1.3/24"))
    nvc = Nvc(node)
    nvc.logical_switch("ls0", tunnel_key=5000, settle=False)
    nvc.logical_switch("ls1", tunnel_key=5001, settle=False)
    nvc.multicast("ls0", "unknown-dst", REMOTE, settle=False)
    nvc.bind({"p0": {0: "ls0"}, "p1": {0: "ls0"}, "q0": {0: "ls1"}})
    network = Network(node, nvc, here, neighbour, there)
    node.wait_until(lambda: here.ping(neighbour, count=1) and here.ping(there, count=1), what="the first answers")
    return network


@contextmanager
def pinging(sender: Host, receiver: Host) -> Iterator[None]:
    """Pings all the while, 50 a second, every one of which is answered once, but for those under way at the end."""
    with TemporaryFile("w+") as output:
        process = sender.popen("ping", "-n", "-i", "0.02", receiver.ip_address, stdout=output)
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=10)
        output.seek(0)
        text = output.read()
    (sent,) = map(int, re.findall(r"(\d+) packets transmitted", text))
    answered = [int(number) for number in re.findall(r"icmp_seq=(\d+)", text)]
    assert answered == list(range(1, len(answered) + 1))
    assert answered
    assert len(answered) > sent - 10


@pytest.fixture
def local_pings(network: Network) -> Iterator[None]:
    """Pings between two good ports."""
    with pinging(network.here, network.neighbour):
        yield


@pytest.fixture
def pings(network: Network, local_pings: None) -> Iterator[None]:
    """Those, and pings through a tunnel."""
    with pinging(network.here, network.there):
        yield


def times(network: Network, warning: str) -> int:
    """How often a warning stands in the log."""
    return len(re.findall(rf"^{warning}", network.node.app.log(), re.MULTILINE))


def has_fault(network: Network, fault: tuple[str, str, str, str]) -> bool:
    """Whether the column of the row with this name has the keyword, and nothing else."""
    table, name, column, keyword = fault
    (row,) = (row for row in network.node.rows(table) if row["name"] == name)
    assert listed(row[column]) in ([], [keyword])
    return listed(row[column]) == [keyword]


def check(
    network: Network,
    broken: Callable[[], None],
    mended: Callable[[], None],
    warning: str,
    works: Callable[[], bool],
    fault: tuple[str, str, str, str] | None = None,
) -> None:
    """Break a row twice, and mend it: a warning each time, the fault and its effect for as long as it is broken."""
    node, said = network.node, times(network, warning)
    for more in (1, 2):
        broken()
        node.app.wait_log(warning)
        node.wait_until(lambda: not works(), what="the broken row to have no effect")
        if fault:
            node.wait_until(lambda: has_fault(network, fault), what="the fault")
        network.nvc.settle()
        assert times(network, warning) == said + more
        mended()
        node.wait_until(works, what="the mended row to have its effect")
        if fault:
            node.wait_until(lambda: not has_fault(network, fault), what="no fault")
    network.nvc.settle()
    assert times(network, warning) == said + 2


def update(network: Network, table: str, where: list[Any], column: str, value: Any) -> None:
    """Set a column of a row, as the NVC would."""
    network.nvc.write({"op": "update", "table": table, "where": [where], "row": {column: value}})


def unicast_flow(network: Network) -> bool:
    """Whether frames for MAC are sent to OTHER."""
    flows = support.table_flows(network.node, "unicast").splitlines()
    return any(f"dl_dst={MAC}" in flow and f"{OTHER}->tun_dst" in flow for flow in flows)


def is_member(network: Network) -> bool:
    """Whether OTHER gets copies of what is flooded."""
    return f"{OTHER}->tun_dst" in network.node.ofctl("dump-groups", "br0")


@pytest.mark.usefixtures("pings")
@pytest.mark.parametrize("wrong", ["02:99:00:00:01", "nobody", "", "03:99:00:00:00:01", "unknown-dst"])
def test_a_mac_that_is_none_or_no_stations(network: Network, wrong: str) -> None:
    network.nvc.unicast("ls0", {MAC: OTHER})
    (row,) = (row["_uuid"] for row in network.node.rows("Ucast_Macs_Remote"))

    def name(mac: str) -> Callable[[], None]:
        return lambda: update(network, "Ucast_Macs_Remote", ["_uuid", "==", ["uuid", row]], "MAC", mac)

    warning = f"Ucast_Macs_Remote {wrong} of ls0: MAC has '{wrong}', must be a"
    check(network, name(wrong), name(MAC), warning, lambda: unicast_flow(network))
    network.nvc.delete("Ucast_Macs_Remote", MAC)


@pytest.mark.usefixtures("pings")
@pytest.mark.parametrize("wrong", ["10.2.2.300", "fd00::8", "somewhere", "", "0.0.0.0", "224.0.0.5"])
def test_a_dst_ip_of_a_station_that_is_no_address(network: Network, wrong: str) -> None:
    network.nvc.unicast("ls0", {MAC: OTHER})
    warning = f"Ucast_Macs_Remote {MAC} of ls0: dst_ip of its Physical_Locator has '{wrong}', must be an IPv4 address"
    check(
        network,
        lambda: network.nvc.move_unicast(MAC, wrong),
        lambda: network.nvc.move_unicast(MAC, OTHER),
        warning,
        lambda: unicast_flow(network),
    )
    network.nvc.delete("Ucast_Macs_Remote", MAC)


@pytest.mark.usefixtures("pings")
@pytest.mark.parametrize("address", ["unknown-dst", GROUP])
def test_a_dst_ip_of_a_member_that_is_no_address(network: Network, address: str) -> None:
    network.nvc.logical_switch("ls0", replication_mode="source_node")
    warning = f"Mcast_Macs_Remote {address} of ls0: dst_ip of its Physical_Locator has 'here', must be an IPv4 address"
    check(
        network,
        lambda: network.nvc.multicast("ls0", address, REMOTE, "here"),
        lambda: network.nvc.multicast("ls0", address, REMOTE, OTHER),
        warning,
        lambda: is_member(network),
    )
    network.nvc.multicast("ls0", address, REMOTE)


@pytest.mark.usefixtures("pings")
def test_a_mac_of_a_group_that_is_a_stations(network: Network) -> None:
    network.nvc.multicast("ls0", GROUP, OTHER)
    where = ["MAC", "!=", "unknown-dst"]
    warning = f"Mcast_Macs_Remote {MAC} of ls0: MAC has '{MAC}', must be a multicast address or unknown-dst"
    check(
        network,
        lambda: update(network, "Mcast_Macs_Remote", where, "MAC", MAC),
        lambda: update(network, "Mcast_Macs_Remote", where, "MAC", GROUP),
        warning,
        lambda: is_member(network),
    )
    network.nvc.delete("Mcast_Macs_Remote", GROUP)


@pytest.mark.usefixtures("pings")
def test_vlan_4095(network: Network) -> None:
    (switch,) = (row["_uuid"] for row in network.node.rows("Logical_Switch") if row["name"] == "ls0")
    bound, more = [0, ["uuid", switch]], [4095, ["uuid", switch]]
    warning = r"br0: Physical_Port p1: vlan_bindings: 4095 is not a VLAN id \(0 for untagged, or 1 to 4094\); refused"

    def bind(*bindings: list[Any]) -> Callable[[], None]:
        return lambda: update(network, "Physical_Port", ["name", "==", "p1"], "vlan_bindings", ["map", bindings])

    check(network, bind(bound, more), bind(bound), warning, lambda: not has_fault(network, PORT_FAULT), PORT_FAULT)


@pytest.mark.usefixtures("pings")
@pytest.mark.parametrize("wrong", [-1, 0x1000000])
def test_a_tunnel_key_that_is_no_vni(network: Network, wrong: int) -> None:
    warning = (
        rf"br0: Logical_Switch ls1 has tunnel_key {wrong}, which is no VNI \(1 to 16777215\): "
        r"local switching only, but for locators with a key$"
    )
    check(
        network,
        lambda: network.nvc.logical_switch("ls1", tunnel_key=wrong),
        lambda: network.nvc.logical_switch("ls1", tunnel_key=5001),
        warning,
        lambda: "metadata=0x1389" in support.table_flows(network.node, "flood"),
        SWITCH_FAULT,
    )


@pytest.mark.usefixtures("pings")
@pytest.mark.parametrize("wrong", ["fd00::1", "10.2.2.300", "here", "", "255.255.255.255"])
def test_a_tunnel_ip_that_is_no_address_beside_one_that_is(network: Network, wrong: str) -> None:
    warning = f"Physical_Switch br0: tunnel_ips has '{wrong}', must be an IPv4 address"
    said = times(network, "br0: .*tunnel_ips")
    set_tunnel_ips(network, VTEP, wrong)
    network.node.app.wait_log(warning)
    network.nvc.settle()
    assert times(network, warning) == 1
    assert times(network, "br0: .*tunnel_ips") == said
    set_tunnel_ips(network, VTEP)
    set_tunnel_ips(network, VTEP, wrong)
    assert times(network, warning) == 2
    set_tunnel_ips(network, VTEP)


@pytest.mark.usefixtures("pings")
def test_two_tunnel_ips_are_both_used(network: Network) -> None:
    other = "10.2.2.77"
    warning = f"br0: Physical_Switch br0: tunnel_ips has {VTEP}, {other}: tunnels end at each, {VTEP} is published"
    check(
        network,
        lambda: set_tunnel_ips(network, VTEP, other),
        lambda: set_tunnel_ips(network, VTEP),
        warning,
        lambda: network.node.vsctl("list-ports", "br0").count("vtep-") == 1,
    )


@pytest.mark.usefixtures("local_pings")
@pytest.mark.parametrize("wrong", [(), ("fd00::1",)])
def test_no_tunnel_ip_that_can_be_used(network: Network, wrong: tuple[str, ...]) -> None:
    check(
        network,
        lambda: set_tunnel_ips(network, *wrong),
        lambda: set_tunnel_ips(network, VTEP),
        "br0: Physical_Switch br0: tunnel_ips has no IPv4 address: no tunnels",
        lambda: network.here.ping(network.there, count=1, timeout=0.2) == 1,
    )


def set_tunnel_ips(network: Network, *ips: str) -> None:
    """Set the column to these."""
    update(network, "Physical_Switch", ["name", "==", "br0"], "tunnel_ips", ["set", ips])


@pytest.mark.usefixtures("pings")
def test_a_name_of_a_million_characters_delays_nothing_and_forges_no_log_line(network: Network) -> None:
    name = "ls\n2026-11-21T09:30:00.000Z ERROR é" * 30_000
    network.nvc.logical_switch(name, tunnel_key=5002)
    network.nvc.bind({"q0": {0: "ls1", 5: name}})
    network.node.app.wait_log(r"^br0: q0 VLAN 5 is bound to ls\\n2026-11-21T09:30:00.000Z ERROR é.*\(\d+ more\)$")
    network.nvc.bind({"q0": {0: "ls1"}})
    assert "\n2026-11-21T09:30:00.000Z" not in network.node.app.log()
