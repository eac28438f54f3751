"""vlan_stats of Physical_Port: what the bindings have received and sent, from the switch's own counters."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from apps.lab import Frame, Host, Lab, Node, Tag
from apps.lab.database import select
from apps.lab.node import HARDWARE_VTEP
from tests.system.support import add_logical_switch, bind, identities, new_frame, physical_ports, set_up, table_flows

FRAMES = 7
FRAME_BYTES = 60
TAG_BYTES = 4


@pytest.fixture(scope="module")
def set_up_hosts(lab: Lab) -> tuple[Node, Host, Host]:
    node = lab.node("a", "10.2.2.1/24")
    hosts = node.add_port("p0"), node.add_port("p1")
    set_up(node, "--vtep-statistics-interval=1")
    add_logical_switch(node, "ls0", 5000)
    bind(node, "ls0", "p0")
    bind(node, "ls0", "p1", vlan=10)
    return node, *hosts


@pytest.fixture(scope="module")
def node(set_up_hosts: tuple[Node, Host, Host]) -> Node:
    return set_up_hosts[0]


def stats(node: Node) -> dict[tuple[str, int], dict[str, int]]:
    """vlan_stats by the port's name and VLAN."""
    ports, counts = select(node.socket, HARDWARE_VTEP, ("Physical_Port", "Logical_Binding_Stats"))
    rows = {row["_uuid"]: row for row in counts}
    columns = ("packets_from_local", "bytes_from_local", "packets_to_local", "bytes_to_local")
    return {
        (port["name"], int(vlan)): {column: rows[uuid][column] for column in columns}
        for port in ports
        for vlan, uuid in port["vlan_stats"].items()
    }


def counted(*numbers: int) -> dict[str, int]:
    columns = ("packets_from_local", "bytes_from_local", "packets_to_local", "bytes_to_local")
    return dict(zip(columns, numbers, strict=True))


def test_every_binding_has_exact_packets_and_bytes_as_frames_arrive_at_the_switch_both_ways(
    set_up_hosts: tuple[Node, Host, Host],
) -> None:
    node, sender, receiver = set_up_hosts
    sent = [new_frame(sender.mac) for _ in range(FRAMES)]
    assert {len(frame.pack()) for frame in sent} == {FRAME_BYTES}
    with receiver.capture() as captured:
        sender.send(*sent)
        captured.wait(lambda frame: frame.payload == sent[-1].payload)
        receiver.send(Frame(sender.mac, receiver.mac, tags=(Tag(10),)))
    size = FRAMES * FRAME_BYTES
    expected = {
        ("p0", 0): counted(FRAMES, size, 1, FRAME_BYTES + TAG_BYTES),
        ("p1", 10): counted(1, FRAME_BYTES + TAG_BYTES, FRAMES, size),
    }
    total = sum(sum(each.values()) for each in expected.values())
    node.wait_until(
        lambda: sum(sum(each.values()) for each in stats(node).values()) >= total, what="all frames counted"
    )
    assert stats(node) == expected


def test_a_binding_that_saw_no_frame_has_a_row_of_zeros_with_or_without_its_port_and_refused_ones_have_none(
    set_up_hosts: tuple[Node, Host, Host],
) -> None:
    node, sender, _ = set_up_hosts
    node.vtep_ctl("add-ls", "ls2", "--", "add-port", "br0", "p9", "--", "bind-ls", "br0", "p9", "0", "ls2")
    for vlan in ("30", "4095"):
        node.vtep_ctl("bind-ls", "br0", "p0", vlan, "ls2")
    sender.send(new_frame(sender.mac).tagged(77), new_frame(sender.mac).tagged(4095))
    node.wait_until(lambda: {("p0", 30), ("p9", 0)} <= stats(node).keys(), what="rows of the new bindings")
    assert stats(node).keys() == {("p0", 0), ("p0", 30), ("p1", 10), ("p9", 0)}
    assert stats(node)["p0", 30] == stats(node)["p9", 0] == counted(0, 0, 0, 0)
    node.vtep_ctl("unbind-ls", "br0", "p9", "0", "--", "unbind-ls", "br0", "p0", "4095")
    node.wait_until(lambda: physical_ports(node) == {"p0", "p1"}, what="p9 to go")


def test_only_rows_of_bindings_that_were_used_are_written(set_up_hosts: tuple[Node, Host, Host]) -> None:
    node, sender, _ = set_up_hosts
    place = ("p0", 30)  # It is alone in its logical switch.
    for number in (1, 2):
        before, versions = stats(node), row_versions(node)
        sender.send(new_frame(sender.mac).tagged(30))
        node.wait_until(lambda n=number: stats(node)[place]["packets_from_local"] == n, what="the frame to be counted")
        assert stats(node) == {**before, place: counted(number, number * (FRAME_BYTES + TAG_BYTES), 0, 0)}
        changed = {where for where, version in row_versions(node).items() if version != versions[where]}
        assert changed == {place}


def row_versions(node: Node) -> dict[tuple[str, int], tuple[str, str]]:
    """The _uuid and _version of the statistics by the port's name and VLAN."""
    versions = identities(node, "Logical_Binding_Stats")
    ports = node.rows("Physical_Port")
    rows = {(port["name"], int(vlan)): uuid for port in ports for vlan, uuid in port["vlan_stats"].items()}
    return {place: (uuid, versions[uuid]) for place, uuid in rows.items()}


def change_the_vni(node: Node) -> None:
    for key in (6000, 6001, 5000):
        node.vtep_ctl("set", "Logical_Switch", "ls0", f"tunnel_key={key}")
        node.wait_until(lambda key=key: f"metadata={key:#x}/" in table_flows(node, "flood"), what=f"VNI {key}")


def bind_another(node: Node) -> None:
    bind(node, "ls0", "p1", vlan=11)
    node.vtep_ctl("unbind-ls", "br0", "p1", "11")
    egress = f"table=8,reg2={node.ofport('p1') << 12 | 11:#x}"
    node.wait_until(lambda: "output:" not in node.ofctl("dump-flows", "br0", egress), what="its flows to go")


def bind_otherwise(node: Node) -> None:
    """Both are in another logical switch for a while, and go there in one transaction."""
    node.vtep_ctl("set", "Logical_Switch", "ls2", "tunnel_key=5002")
    uuids = {row["name"]: row["_uuid"] for row in node.rows("Logical_Switch")}
    classify = f"table=0,in_port={node.ofport('p1')},dl_vlan=10"
    for switch, key in (("ls2", 5002), ("ls0", 5000)):
        one, other = (
            ("set", "Physical_Port", port, f"vlan_bindings:{vlan}={uuids[switch]}")
            for port, vlan in (("p0", 0), ("p1", 10))
        )
        node.vtep_ctl(*one, "--", *other)
        led = f"to lead to {switch}"
        node.wait_until(lambda key=key: f"{key:#x}" in node.ofctl("dump-flows", "br0", classify), what=led)


def restart(node: Node) -> None:
    node.app.kill()
    node.start_app("--vtep-statistics-interval=1", "--verbose")
    node.app.wait_log("is served$")


@pytest.mark.parametrize("change", [change_the_vni, bind_another, bind_otherwise, restart])
def test_not_a_frame_is_counted_wrongly_while_flows_are_rendered_anew(
    set_up_hosts: tuple[Node, Host, Host], change: Callable[[Node], None]
) -> None:
    node, sender, receiver = set_up_hosts
    before, sent = stats(node), []
    with receiver.capture() as capture, ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change, node)
        while not changing.done() or len(sent) < 50:
            sent.append(new_frame(sender.mac))
            sender.send(sent[-1])
            time.sleep(0.01)
        changing.result()
        payloads = {frame.payload for frame in sent}
        came = [frame for frame in capture.quiet() if frame.payload in payloads and frame.tags == (Tag(10),)]

    def since(place: tuple[str, int]) -> dict[str, int]:
        return {column: count - before[place][column] for column, count in stats(node)[place].items()}

    here = counted(len(sent), FRAME_BYTES * len(sent), 0, 0)
    there = counted(0, 0, len(came), FRAME_BYTES * len(came))
    node.wait_until(lambda: (since(("p0", 0)), since(("p1", 10))) == (here, there), what=f"{here} and {there}")


def test_rows_stay_as_they_are_while_nothing_is_sent_and_over_a_restart_of_the_program(node: Node) -> None:
    before, values = identities(node, "Logical_Binding_Stats"), stats(node)
    node.app.kill()
    node.start_app("--vtep-statistics-interval=1", "--verbose")
    node.app.wait_log("is served$")
    add_logical_switch(node, "ls1", 5001)
    node.vtep_ctl("bind-ls", "br0", "p0", "20", "ls1")
    node.wait_until(lambda: ("p0", 20) in stats(node), what="a row of the new binding: there was a turn")
    after = identities(node, "Logical_Binding_Stats")
    assert before.items() <= after.items()
    assert {place: stats(node)[place] for place in values} == values


def test_a_binding_that_goes_and_comes_back_at_once_begins_at_zero(node: Node) -> None:
    place = ("p1", 10)
    assert stats(node)[place]["packets_to_local"]
    node.vtep_ctl("unbind-ls", "br0", "p1", "10")
    egress = f"table=8,reg2={node.ofport('p1') << 12 | 10:#x}"
    node.wait_until(lambda: "output:" not in node.ofctl("dump-flows", "br0", egress), what="its flows to go")
    node.vtep_ctl("bind-ls", "br0", "p1", "10", "ls0")
    seen = []
    node.wait_until(lambda: seen.append(stats(node).get(place)) or seen[-1], what="its new row")
    assert [row for row in seen if row] == [counted(0, 0, 0, 0)]


def test_a_binding_that_goes_takes_its_row_along(node: Node) -> None:
    assert physical_ports(node) == {"p0", "p1"}
    node.vtep_ctl("unbind-ls", "br0", "p1", "10")
    node.wait_until(lambda: ("p1", 10) not in stats(node), what="the row of p1's VLAN 10 to go")
    node.wait_until(lambda: len(node.rows("Logical_Binding_Stats")) == len(stats(node)), what="no row without a port")
