"""Physical_Port rows follow the bridge's ports, and outlive them while they are bound."""

import pytest

from apps.lab import Host, Lab, Node
from tests.system import support

VNI = 5000


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    """A VTEP with two ports, one of which was there before it, and a logical switch."""
    made = lab.node("node", "10.2.2.1/24")
    made.add_port("p0")
    support.set_up(made)
    made.add_port("p1")
    support.add_logical_switch(made, "ls0", VNI)
    return made


@pytest.fixture
def sender(node: Node) -> Host:
    """A host at a port of its own that is bound to ls0; a new one every time."""
    port = f"s{len([name for name in node.vsctl('list-ports', 'br0').split() if name.startswith('s')])}"
    host = node.add_port(port)
    support.bind(node, "ls0", port)
    return host


def wait_ports(node: Node, *ports: str) -> None:
    """Wait until the rows are these and those of the senders."""
    wanted = set(ports) | {"p0", "p1"}
    node.wait_until(
        lambda: {port for port in support.physical_ports(node) if not port.startswith("s")} == wanted,
        what=f"rows of {sorted(wanted)} alone",
    )


def row_of(node: Node, port: str) -> str:
    """The UUID of a port's row."""
    (uuid,) = (row["_uuid"] for row in node.rows("Physical_Port") if row["name"] == port)
    return uuid


def test_there_are_rows_of_all_ports_but_the_local_port_and_the_tunnel_port(node: Node) -> None:
    wait_ports(node)
    assert set(node.vsctl("list-ports", "br0").split()) == {"p0", "p1", "vtep-0a020201"}
    assert len(node.rows("Physical_Port")) == 2


@pytest.mark.parametrize("kind", ["veth", "tap", "internal"])
def test_a_port_of_any_kind_gets_a_row_can_be_bound_and_loses_its_row_with_its_last_binding(
    node: Node, sender: Host, kind: str
) -> None:
    port = f"{kind[:4]}-7-a"
    host = node.add_port(port, kind=kind)
    wait_ports(node, port)
    node.app.wait_log(rf"^br0: port {port} added to Physical_Port$")
    support.bind(node, "ls0", port)
    support.reach(sender, host)
    support.reach(host, sender)
    node.app.wait_log(rf"^br0: {port} untagged is bound to ls0$")
    node.vtep_ctl("unbind-ls", "br0", port, "0")
    node.del_port(port)
    wait_ports(node)
    node.app.wait_log(rf"^br0: port {port} removed from Physical_Port$")


def test_a_port_whose_name_is_as_long_as_can_be_is_a_port_like_others(node: Node, sender: Host) -> None:
    port = "0123456789-abcd"
    host = node.add_port(port)
    support.bind(node, "ls0", port, vlan=4094)
    frame = support.new_frame(sender.mac)
    with host.capture() as arriving:
        sender.send(frame)
        assert arriving.wait(lambda each: each.src == sender.mac) == frame.tagged(4094)
    node.vtep_ctl("unbind-ls", "br0", port, "4094")
    node.del_port(port)
    wait_ports(node)


def test_a_row_with_bindings_outlives_its_port_and_serves_it_when_it_comes_back(node: Node, sender: Host) -> None:
    host = node.add_port("lost-1")
    support.bind(node, "ls0", "lost-1")
    row = row_of(node, "lost-1")
    node.del_port("lost-1")
    node.app.wait_log(r"^br0: port lost-1 is gone$")
    wait_no_binding_flows(node)
    assert row_of(node, "lost-1") == row
    assert node.vtep_ctl("list-bindings", "br0", "lost-1").split() == ["0000", "ls0"]

    node.vsctl("add-port", "br0", "lost-1")
    node.wait_until(lambda: support.reaches(sender, host), what="the binding to work again")
    assert row_of(node, "lost-1") == row

    node.del_port("lost-1")
    node.wait_until(lambda: "lost-1" not in node.vsctl("list-ports", "br0"))
    node.vtep_ctl("unbind-ls", "br0", "lost-1", "0")
    wait_ports(node)


def wait_no_binding_flows(node: Node) -> None:
    """Wait until every port that flows mention exists."""

    def gone() -> bool:
        there = {node.ofport(port) for port in node.vsctl("list-ports", "br0").split()}
        flows = support.table_flows(node, "egress")
        mentioned = {int(flow.partition("output:")[2]) for flow in flows.splitlines() if "output:" in flow}
        return bool(mentioned) and mentioned <= there

    node.wait_until(gone, what="flows of existing ports alone")


def test_a_port_that_goes_together_with_its_interface_loses_its_row(node: Node) -> None:
    node.add_port("brief")
    wait_ports(node, "brief")
    node.ip("link", "delete", "brief")
    node.vsctl("del-port", "br0", "brief")
    wait_ports(node)


def test_a_port_without_an_interface_has_a_row_and_works_once_the_interface_is_there(node: Node, sender: Host) -> None:
    node.vsctl("--no-wait", "add-port", "br0", "late")
    wait_ports(node, "late")
    node.vtep_ctl("bind-ls", "br0", "late", "0", "ls0")
    host = node.add_cable("late")
    node.wait_until(lambda: support.reaches(sender, host), what="the port to work")
    node.vtep_ctl("unbind-ls", "br0", "late", "0")
    node.del_port("late")
    wait_ports(node)


def test_rows_that_the_operator_added_before_the_port_are_kept_and_then_used(node: Node, sender: Host) -> None:
    add = ("add-port", "br0", "early", "--", "bind-ls", "br0", "early", "0", "ls0")
    node.vtep_ctl(*add)
    row = row_of(node, "early")
    host = node.add_port("early")
    node.wait_until(lambda: support.reaches(sender, host), what="the binding to work")
    assert row_of(node, "early") == row
    node.vtep_ctl("unbind-ls", "br0", "early", "0")
    node.del_port("early")
    wait_ports(node)


def test_many_ports_at_once_all_get_rows_and_lose_them(node: Node) -> None:
    ports = [f"many-{number}" for number in range(40)]
    add = (f"add-port br0 {port} -- set Interface {port} type=internal" for port in ports)
    node.vsctl(*" -- ".join(add).split())
    wait_ports(node, *ports)
    node.vsctl(*" -- ".join(f"del-port br0 {port}" for port in ports).split())
    wait_ports(node)


def test_what_became_of_the_ports_while_the_program_was_down_is_made_up_for(node: Node, sender: Host) -> None:
    node.add_port("bound")
    support.bind(node, "ls0", "bound")
    node.add_port("free")
    wait_ports(node, "bound", "free")
    kept = row_of(node, "p0"), row_of(node, "bound")
    node.app.kill()
    node.del_port("bound")
    node.del_port("free")
    node.add_port("new")
    node.start_app()
    wait_ports(node, "bound", "new")
    assert (row_of(node, "p0"), row_of(node, "bound")) == kept
    node.vtep_ctl("unbind-ls", "br0", "bound", "0")
    node.del_port("new")
    wait_ports(node)
