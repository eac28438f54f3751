"""The commands of docs/frame.rst, typed on a switch as the page describes it."""

from pathlib import Path

from apps.lab import Lab
from apps.labs.page import steps
from tests.system import support

PAGE = Path(__file__).parents[2] / "docs/frame.rst"


def test_frames_take_the_ways_that_the_page_shows(lab: Lab) -> None:
    node = lab.node("page", "10.2.2.1/24")
    station = node.add_port("p0", mac="02:00:00:00:00:01")
    node.add_port("p1")
    support.set_up(node)
    support.add_logical_switch(node, "ls0", 5000, "10.2.2.2", "10.2.2.3")
    node.vtep_ctl("set-replication-mode", "ls0", "source_node")
    support.bind(node, "ls0", "p0")
    support.bind(node, "ls0", "p1", vlan=100)
    node.vtep_ctl("add-ucast-remote", "ls0", "02:00:00:00:00:09", "10.2.2.2")
    support.teach(node, station, station.mac)
    node.wait_until(lambda: "02:00:00:00:00:01" in support.table_flows(node, "unicast"), what="the station's flow")
    node.wait_until(lambda: "dl_dst=02:00:00:00:00:09" in node.ofctl("dump-flows", "br0"), what="the other one's")
    node.wait_until(lambda: "10.2.2.3" in node.ofctl("dump-groups", "br0"), what="copies to both VTEPs")
    for step in steps(PAGE):
        assert step.prompt == "$ "
        output = node.shell(step.command)
        assert step.shown_by(output), f"{step.command}\n{output}"
