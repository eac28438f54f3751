"""The rows of Tunnel: which there are, what is in them, and what becomes of their locators."""

import pytest

from apps.lab import Lab, Node
from tests.system import support
from tests.system.tunnels import (
    HYPERVISOR,
    LOCAL_IP,
    MAC,
    OTHER,
    PEER,
    VTEP,
    configure,
    reset,
    session,
    tunnel,
    tunnels,
    wait_tunnels,
)

pytestmark = pytest.mark.timeout(60)

DEFAULT_CONFIG = {"bfd_dst_mac": MAC, "bfd_dst_ip": LOCAL_IP}


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Node:
    """A VTEP with two ports."""
    node = lab.node("a", f"{VTEP}/24")
    support.set_up(node)
    for port in ("p0", "p1"):
        node.add_port(port)
    return node


@pytest.fixture
def node(machine: Node) -> Node:
    """The VTEP as by reset()."""
    reset(machine)
    return machine


def test_a_tunnel_has_a_row_for_as_long_as_a_bound_logical_switch_uses_its_remote_address(node: Node) -> None:
    before = support.identities(node, "Tunnel")
    support.add_logical_switch(node, "ls1", 6000, HYPERVISOR)
    node.vtep_ctl("add-ucast-remote", "ls1", "02:99:00:00:00:01", OTHER)
    node.vtep_ctl("add-ucast-remote", "ls1", "02:99:00:00:00:02", VTEP)
    support.bind(node, "ls1", "p1")
    wait_tunnels(node, HYPERVISOR, PEER, OTHER)
    assert before.items() <= support.identities(node, "Tunnel").items(), "what is right is not written again"
    node.vtep_ctl("del-ucast-remote", "ls1", "02:99:00:00:00:01")
    wait_tunnels(node, HYPERVISOR, PEER)
    assert OTHER not in {row["dst_ip"] for row in node.rows("Physical_Locator")}, "its locator is collected"
    node.vtep_ctl("del-mcast-remote", "ls0", "unknown-dst", HYPERVISOR)
    wait_tunnels(node, HYPERVISOR, PEER)
    node.vtep_ctl("unbind-ls", "br0", "p1", "0")
    wait_tunnels(node, PEER)
    node.vtep_ctl("unbind-ls", "br0", "p0", "0")
    wait_tunnels(node)
    node.vtep_ctl("clear-remote-macs", "ls0", "--", "clear-remote-macs", "ls1")
    node.wait_until(lambda: not node.rows("Physical_Locator"), what="no locator")


def test_a_row_has_the_defaults_of_vtep5_and_honours_what_is_there(node: Node) -> None:
    row = tunnel(node, HYPERVISOR)
    assert row["bfd_config_local"] == DEFAULT_CONFIG
    assert row["bfd_params"] == row["bfd_config_remote"] == row["bfd_status"] == {}
    configure(node, HYPERVISOR, "bfd_config_local", bfd_dst_ip="169.254.1.7")
    wanted = DEFAULT_CONFIG | {"bfd_dst_ip": "169.254.1.7"}
    node.wait_until(lambda: tunnel(node, HYPERVISOR)["bfd_config_local"] == wanted, what="the default of the other key")


def test_of_several_rows_for_a_tunnel_the_one_with_bfd_params_stays_and_others_go(node: Node) -> None:
    locators = {row["dst_ip"]: ["uuid", row["_uuid"]] for row in node.rows("Physical_Locator")}
    before = tunnel(node, HYPERVISOR)["_uuid"]
    inserts, names = [], []
    for number, (remote, params) in enumerate(((HYPERVISOR, {}), (HYPERVISOR, {"enable": "true"}), (VTEP, {}))):
        row = {"local": locators[VTEP], "remote": locators[remote], "bfd_params": ["map", list(params.items())]}
        inserts.append({"op": "insert", "table": "Tunnel", "row": row, "uuid-name": f"row{number}"})
        names.append(["named-uuid", f"row{number}"])
    mutation = {
        "op": "mutate",
        "table": "Physical_Switch",
        "where": [],
        "mutations": [["tunnels", "insert", ["set", names]]],
    }
    results = node.transact(*inserts, mutation)
    wait_tunnels(node, HYPERVISOR, PEER)
    assert tunnel(node, HYPERVISOR)["_uuid"] == results[1]["uuid"][1] != before
    node.wait_until(lambda: session(node, HYPERVISOR), what="its session")


def test_rows_follow_the_tunnel_address(node: Node) -> None:
    before = {row["_uuid"] for row in node.rows("Tunnel")}
    node.vtep_ctl("set", "Physical_Switch", "br0", f"tunnel_ips={OTHER}")
    wanted = {(OTHER, HYPERVISOR), (OTHER, PEER)}
    node.wait_until(lambda: tunnels(node).keys() == wanted, what="other tunnels")
    assert len(node.rows("Tunnel")) == 2
    node.vtep_ctl("set", "Physical_Switch", "br0", f"tunnel_ips={VTEP}")
    wait_tunnels(node, HYPERVISOR, PEER)
    assert before.isdisjoint({row["_uuid"] for row in node.rows("Tunnel")})


def test_a_locator_with_a_tunnel_key_serves_where_there_is_no_other(node: Node) -> None:
    (switch,) = (row["_uuid"] for row in node.rows("Logical_Switch") if row["name"] == "ls0")
    locator = {"encapsulation_type": "vxlan_over_ipv4", "dst_ip": OTHER, "tunnel_key": 7000}
    mac = {"MAC": "02:99:00:00:00:01", "logical_switch": ["uuid", switch], "locator": ["named-uuid", "keyed"]}
    node.transact(
        {"op": "insert", "table": "Physical_Locator", "row": locator, "uuid-name": "keyed"},
        {"op": "insert", "table": "Ucast_Macs_Remote", "row": mac},
    )
    wait_tunnels(node, HYPERVISOR, PEER, OTHER)
    assert [row["tunnel_key"] for row in node.rows("Physical_Locator") if row["dst_ip"] == OTHER] == [7000]
    node.vtep_ctl("clear-remote-macs", "ls0")
    wait_tunnels(node)
    assert {row["dst_ip"] for row in node.rows("Physical_Locator")} == {VTEP}
