"""The commands of docs/networking-l2gw.rst, typed on a switch, and a frame on the way that they make."""

from pathlib import Path

from apps.lab import Frame, Lab, Tag
from apps.labs.page import steps
from tests.system import support

PAGE = Path(__file__).parents[2] / "docs/networking-l2gw.rst"
INSTANCE = "fa:16:3e:00:00:09"


def test_the_agents_transaction_makes_a_way_to_an_instance_and_what_is_learned_is_published(lab: Lab) -> None:
    node = lab.node("page", "10.2.2.1/24")
    station = node.add_port("p0")
    node.add_port("p1")
    machine = lab.peer("compute", "10.2.2.2/24")
    support.set_up(node)
    node.wait_until(lambda: support.physical_ports(node) == {"p0", "p1"}, what="rows of both ports")
    for step in steps(PAGE):
        assert step.prompt == "$ "
        output = node.shell(step.command)
        assert step.shown_by(output), f"{step.command}\n{output}"
    node.wait_until(lambda: f"dl_dst={INSTANCE}" in support.table_flows(node, "unicast"), what="the instance's flow")
    node.wait_until(lambda: "dl_vlan=100" in support.table_flows(node, "classify"), what="the binding's flow")
    support.forget_megaflows(node)
    frame = Frame(INSTANCE, station.mac, b"to the instance".ljust(46), tags=(Tag(100),))
    with machine.capture() as captured:
        station.send(frame)
        captured.wait(lambda each: (inner := support.inner(each)) is not None and inner.dst == INSTANCE)
    node.wait_until(lambda: ("4c7b6a1e", station.mac) in node.macs(), what="the station's row")
