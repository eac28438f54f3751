"""What cannot be used: it is reported once, in the fault column where there is one, and holds up nothing else."""

import re

import pytest

from apps.lab import Host, Lab, Node, Peer
from tests.system import support

VNI = 5000


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Peer:
    """The member of unknown-dst."""
    return lab.peer("peer", "10.2.2.9/24")


@pytest.fixture(scope="module")
def node(lab: Lab, peer: Peer) -> Node:
    """A VTEP with a logical switch; without statistics, which would write to the same rows now and then."""
    made = lab.node("node", "10.2.2.1/24")
    support.set_up(made, "--vtep-statistics-interval=0")
    support.add_logical_switch(made, "ls0", VNI, peer.ip_address)
    return made


@pytest.fixture(scope="module")
def hosts(node: Node) -> list[Host]:
    """Two hosts in ls0."""
    hosts = [node.add_port(port) for port in ("p0", "p1")]
    support.bind(node, "ls0", "p0", "p1")
    return hosts


def warnings(node: Node, pattern: str) -> list[str]:
    """The lines of the log that match."""
    return [line for line in node.app.log().splitlines() if re.search(pattern, line)]


def restart_ovsdb(node: Node) -> None:
    """Kill ovsdb-server and start it again, and wait until the program has noticed."""
    before = len(node.app.log())
    node.ovsdb_server.kill()
    node.start_ovsdb()
    node.wait_until(lambda: "hardware_vtep: connected" in node.app.log()[before:], what="hardware_vtep to be back")


@pytest.mark.parametrize(
    ("row", "warning"),
    [
        ("add-ucast-remote ls0 02:00:00:00:99 10.2.2.8", r"^Ucast_Macs_Remote .*: MAC has '02:00:00:00:99', must be"),
        (
            "add-ucast-remote ls0 03:00:00:00:00:99 10.2.2.8",
            r"^Ucast_Macs_Remote .*: MAC has '03:.*', must be a unicast",
        ),
        ("add-ucast-remote ls0 02:00:00:00:00:99 fd00::8", r"^Ucast_Macs_Remote .*: dst_ip .* has 'fd00::8', must be"),
        (
            "add-mcast-remote ls0 02:00:00:00:00:98 10.2.2.8",
            r"^Mcast_Macs_Remote .*: MAC has '02:.*', must be a multicast",
        ),
        ("add-mcast-remote ls0 unknown-dst fd00::7", r"^Mcast_Macs_Remote .*: dst_ip .* has 'fd00::7', must be"),
    ],
)
def test_a_malformed_row_is_reported_once_with_column_and_value_and_the_others_are_used(
    node: Node, hosts: list[Host], peer: Peer, row: str, warning: str
) -> None:
    station = "02:00:00:00:aa:01"
    node.vtep_ctl(*row.split(), "--", "add-ucast-remote", "ls0", station, peer.ip_address)
    node.app.wait_log(warning)
    node.wait_until(lambda: station in support.table_flows(node, "unicast"), what="the flow of a good row")
    frame = support.new_frame(hosts[0].mac, station)
    with peer.capture() as arriving:
        hosts[0].send(frame)
        arriving.wait(lambda outer: support.inner(outer) == frame)
    support.reach(hosts[0], hosts[1], peer)
    assert len(warnings(node, warning)) == 1
    command, *where = row.replace("add-", "del-").split()[: 4 if "mcast" in row else 3]
    node.vtep_ctl(command, *where, "--", "del-ucast-remote", "ls0", station)
    node.wait_until(lambda: station not in support.table_flows(node, "unicast"), what="the row to be gone")


def bind_4095(node: Node, port: str) -> None:
    """What vtep-ctl refuses and the server does not."""
    (switch,) = (row["_uuid"] for row in node.rows("Logical_Switch") if row["name"] == "ls0")
    mutation = ["vlan_bindings", "insert", ["map", [[4095, ["uuid", switch]]]]]
    node.transact({"op": "mutate", "table": "Physical_Port", "where": [["name", "==", port]], "mutations": [mutation]})


def test_vlan_4095_is_a_fault_of_its_port_whose_other_bindings_work(node: Node, hosts: list[Host], peer: Peer) -> None:
    warning = r"br0: Physical_Port p1: vlan_bindings: 4095 is not a VLAN id"
    bind_4095(node, "p1")
    node.wait_until(lambda: support.port_faults(node, "p1") == ["invalid_vlan_map"], what="the fault")
    assert support.port_faults(node, "p0") == []
    assert support.switch_faults(node) == []
    assert len(warnings(node, warning)) == 1
    support.reach(hosts[0], hosts[1], peer)
    support.reach(hosts[1], hosts[0], peer)
    support.bind(node, "ls0", "p1", vlan=7)
    frame = support.new_frame(hosts[0].mac)
    with hosts[1].capture() as arriving:
        hosts[0].send(frame)
        arriving.wait(lambda each: each == frame.tagged(7))
    node.vtep_ctl("unbind-ls", "br0", "p1", "7")

    restart_ovsdb(node)
    node.wait_until(lambda: support.port_faults(node, "p1") == ["invalid_vlan_map"], what="the fault again")

    mutation = ["vlan_bindings", "delete", ["set", [4095]]]
    node.transact({"op": "mutate", "table": "Physical_Port", "where": [["name", "==", "p1"]], "mutations": [mutation]})
    node.wait_until(lambda: support.port_faults(node, "p1") == [], what="no fault")
    assert len(warnings(node, warning)) == 1
    support.reach(hosts[1], hosts[0], peer)


def test_of_two_logical_switches_with_one_tunnel_key_one_keeps_it_and_the_switch_has_a_fault(
    node: Node, hosts: list[Host], peer: Peer
) -> None:
    warning = rf"br0: Logical_Switch ls1 has tunnel_key {VNI}, which is ls0's already: local switching only"
    more = [node.add_port(port) for port in ("q0", "q1")]
    support.add_logical_switch(node, "ls1", VNI, peer.ip_address)
    support.bind(node, "ls1", "q0", "q1")
    node.wait_until(lambda: support.switch_faults(node) == ["unspecified_fault"], what="the fault")
    assert support.port_faults(node, "q0") == []
    node.app.wait_log(warning)
    assert len(warnings(node, warning)) == 1

    with hosts[1].capture() as elsewhere, peer.capture() as tunnelled:
        support.reach(more[0], more[1])
        support.reach(hosts[0], hosts[1], peer)
        inside = [support.inner(frame) for frame in tunnelled.frames]
        assert more[0].mac not in {frame.src for frame in [*inside, *elsewhere.frames] if frame}
    frame = support.new_frame(peer.mac)
    with more[0].capture() as elsewhere, hosts[0].capture() as arriving:
        peer.send_vxlan(frame, VNI, to=node.underlay_ip)
        arriving.wait(lambda each: each == frame)
        support.reach(more[1], more[0])
        assert frame not in elsewhere.frames

    restart_ovsdb(node)
    node.wait_until(lambda: support.switch_faults(node) == ["unspecified_fault"], what="the fault again")

    node.vtep_ctl("set", "Logical_Switch", "ls1", f"tunnel_key={VNI + 1}")
    node.wait_until(lambda: support.switch_faults(node) == [], what="no fault")
    node.wait_until(lambda: support.reaches(more[0], more[1], peer), what="ls1's tunnels")
    assert len(warnings(node, warning)) == 1


def test_a_tunnel_key_that_is_no_vni_is_reported_and_the_logical_switch_works_locally(node: Node) -> None:
    hosts = [node.add_port(port) for port in ("r0", "r1")]
    support.add_logical_switch(node, "ls2", 1 << 24)
    support.bind(node, "ls2", "r0", "r1")
    node.app.wait_log(r"^br0: Logical_Switch ls2 has tunnel_key 16777216, which is no VNI \(1 to 16777215\): local")
    support.reach(hosts[0], hosts[1])
    node.wait_until(lambda: support.switch_faults(node) == ["unspecified_fault"], what="the fault")
    node.vtep_ctl("unbind-ls", "br0", "r0", "0", "--", "unbind-ls", "br0", "r1", "0")
    node.wait_until(lambda: support.switch_faults(node) == [], what="no fault")


def test_logical_routers_are_a_fault_of_the_switch_for_as_long_as_there_are_any(node: Node) -> None:
    warning = r"br0: Logical_Router lr0: logical routing is not supported"
    node.vtep_ctl("add-lr", "lr0")
    node.wait_until(lambda: support.switch_faults(node) == ["lr_support_fault"], what="the fault")
    restart_ovsdb(node)
    node.wait_until(lambda: support.switch_faults(node) == ["lr_support_fault"], what="the fault again")
    assert len(warnings(node, warning)) == 1
    node.vtep_ctl("del-lr", "lr0")
    node.wait_until(lambda: support.switch_faults(node) == [], what="no fault")


def test_an_acl_binding_is_a_fault_of_its_port_whose_bindings_work(node: Node, hosts: list[Host], peer: Peer) -> None:
    warning = r"br0: Physical_Port p1: acl_bindings: VLAN 0 has an ACL, which is not supported: not applied"
    ace = {"sequence": 1, "direction": "ingress", "action": "deny"}
    acl = {"acl_name": "web", "acl_entries": ["set", [["named-uuid", "entry"]]]}
    node.transact(
        {"op": "insert", "table": "ACL_entry", "uuid-name": "entry", "row": ace},
        {"op": "insert", "table": "ACL", "uuid-name": "acl", "row": acl},
        {
            "op": "update",
            "table": "Physical_Port",
            "where": [["name", "==", "p1"]],
            "row": {"acl_bindings": ["map", [[0, ["named-uuid", "acl"]]]]},
        },
    )
    node.wait_until(lambda: support.port_faults(node, "p1") == ["invalid_ACL_binding"], what="the fault")
    assert support.port_faults(node, "p0") == []
    support.reach(hosts[0], hosts[1], peer)
    support.reach(hosts[1], hosts[0], peer)
    restart_ovsdb(node)
    node.wait_until(lambda: support.port_faults(node, "p1") == ["invalid_ACL_binding"], what="the fault again")
    assert len(warnings(node, warning)) == 1
    node.vtep_ctl("clear", "Physical_Port", "p1", "acl_bindings")
    node.wait_until(lambda: support.port_faults(node, "p1") == [], what="no fault")


def restart(node: Node) -> None:
    """Kill the program and start it again."""
    node.app.kill()
    node.start_app("--vtep-statistics-interval=0")
    node.app.wait_log(r"^br0: switch \w+ is served$")


def test_the_logical_switch_that_forwards_keeps_its_vni_also_over_a_restart(
    node: Node, hosts: list[Host], peer: Peer
) -> None:
    key = VNI + 100
    for name in ("both0", "both1"):
        support.add_logical_switch(node, name, key, peer.ip_address)
    uuids = {row["name"]: row["_uuid"] for row in node.rows("Logical_Switch")}
    low, high = sorted(("both0", "both1"), key=uuids.__getitem__)
    to_low, to_high = node.add_port("low"), node.add_port("high")
    support.bind(node, high, "high")
    support.reach(to_high, peer)
    support.bind(node, low, "low")
    held_back = rf"br0: Logical_Switch {low} has tunnel_key {key}, which is {high}'s already: local switching only"
    node.app.wait_log(held_back)
    assert support.switch_faults(node) == ["unspecified_fault"]

    def forwards(one: Host, other: Host) -> None:
        with peer.capture() as tunnelled:
            support.reach(one, peer)
            other.send(support.new_frame(other.mac))
            support.reach(one, peer)
            assert other.mac not in {frame.src for each in tunnelled.frames if (frame := support.inner(each))}

    forwards(to_high, to_low)
    flows = support.flows(node)
    restart(node)
    forwards(to_high, to_low)
    assert support.flows(node) == flows
    assert support.switch_faults(node) == ["unspecified_fault"]

    node.vtep_ctl("unbind-ls", "br0", "high", "0")
    node.wait_until(lambda: support.reaches(to_low, peer), what="the other one's tunnels")
    node.wait_until(lambda: support.switch_faults(node) == [], what="no fault")
    node.vtep_ctl("unbind-ls", "br0", "low", "0")
    node.vtep_ctl("bind-ls", "br0", "high", "0", high, "--", "bind-ls", "br0", "low", "0", low)
    node.wait_until(lambda: support.reaches(to_low, peer), what="the lower UUID's tunnels")
    node.wait_until(lambda: support.switch_faults(node) == ["unspecified_fault"], what="the fault")
    forwards(to_low, to_high)
    node.vtep_ctl("unbind-ls", "br0", "high", "0")
    node.wait_until(lambda: support.switch_faults(node) == [], what="no fault")


def test_a_tunnel_that_the_switch_refuses_is_a_fault_until_it_has_room_or_is_not_wanted(
    node: Node, hosts: list[Host], peer: Peer
) -> None:
    warning = r"br0: the tunnels of ls0 from 10\.3\.0\.\d+ is refused by the switch: OFPFMFC_TABLE_FULL"
    limit = support.table_flows(node, "classify").count("priority=") + 1
    table = ("--id=@table", "create", "Flow_Table", f"flow_limit={limit}", "overflow_policy=refuse")
    node.vsctl("--", *table, "--", "set", "Bridge", "br0", "flow_tables:0=@table")

    def add(*ips: str) -> None:
        node.vtep_ctl(*" -- ".join(f"add-mcast-remote ls0 unknown-dst {ip}" for ip in ips).split())

    add("10.3.0.1", "10.3.0.2", "10.3.0.3")
    node.wait_until(lambda: support.switch_faults(node) == ["tunnel_exhaustion"], what="the fault")
    support.reach(hosts[0], hosts[1], peer)
    restart_ovsdb(node)
    node.wait_until(lambda: support.switch_faults(node) == ["tunnel_exhaustion"], what="the fault again")
    assert len(warnings(node, warning)) == 2
    for ip in ("10.3.0.1", "10.3.0.2", "10.3.0.3"):
        node.vtep_ctl("del-mcast-remote", "ls0", "unknown-dst", ip)
    node.wait_until(lambda: support.switch_faults(node) == [], what="no fault")

    add("10.3.0.4", "10.3.0.5")
    node.wait_until(lambda: support.switch_faults(node) == ["tunnel_exhaustion"], what="the fault")
    node.vsctl("clear", "Bridge", "br0", "flow_tables")
    node.wait_until(lambda: support.switch_faults(node) == [], what="no fault")
    flows = support.table_flows(node, "classify")
    assert "tun_src=10.3.0.4" in flows
    assert "tun_src=10.3.0.5" in flows
    assert len(warnings(node, warning)) == 3


def test_a_tunnel_port_that_cannot_be_made_is_a_fault_until_it_can(lab: Lab) -> None:
    node = lab.node("blocked", "10.2.2.7/24")
    options = ("options:remote_ip=flow", "options:key=flow", f"options:local_ip={node.underlay_ip}")
    node.vsctl("add-port", "br0", "first", "--", "set", "Interface", "first", "type=vxlan", *options)
    support.set_up(node)
    node.wait_until(lambda: support.switch_faults(node) == ["tunnel_exhaustion"], what="the fault")
    assert len(warnings(node, r"^br0: tunnel port vtep-0a020207: could not add network device")) == 1
    node.vsctl("del-port", "br0", "first")
    node.vsctl("set", "Bridge", "br0", "external_ids:again=1")  # ovs-vswitchd tries again when something changes.
    node.wait_until(lambda: support.switch_faults(node) == [], what="no fault")
    assert len(warnings(node, r"tunnel port vtep-0a020207: ")) == 1
    node.app.kill()
