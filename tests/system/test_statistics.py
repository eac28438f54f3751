"""vlan_stats of Physical_Port: what the bindings have received and sent, from the switch's own counters."""

import pytest

from apps.lab import Frame, Host, Lab, Node, Tag
from apps.lab.database import select
from apps.lab.node import HARDWARE_VTEP
from tests.system.support import add_logical_switch, bind, identities, new_frame, physical_ports, set_up

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


def test_a_binding_that_goes_takes_its_row_along(node: Node) -> None:
    assert physical_ports(node) == {"p0", "p1"}
    node.vtep_ctl("unbind-ls", "br0", "p1", "10")
    node.wait_until(lambda: ("p1", 10) not in stats(node), what="the row of p1's VLAN 10 to go")
    node.wait_until(lambda: len(node.rows("Logical_Binding_Stats")) == len(stats(node)), what="no row without a port")
