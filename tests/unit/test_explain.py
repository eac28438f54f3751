"""What mac/explain says of an address: which way is taken, and why no other."""

import re

import pytest

from tests.unit.world import World, logical
from vtep_ryu.core.model import Settings
from vtep_ryu.show import explain
from vtep_ryu.show.commands import Unanswerable
from vtep_ryu.show.document import Document
from vtep_ryu.show.site import Served, Site

MAC = "02:00:00:00:00:01"
TWO_PORTS = """
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p0 0=ls0
    physical_port p1 7=ls0
    logical_switch ls0 tunnel_key=5000
    port p0 1
    port p1 2
    port vtep-0a020201 9
"""

CONTESTED = """
    logical_switch la tunnel_key=6000
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p2 0=la
    physical_port p0 0=ls0
    port p2 3
    mcast_remote la unknown-dst 10.2.2.2
    ucast_remote ls0 {MAC} 10.2.2.2/6000
"""


def explained(world: World, mac: str = MAC) -> Document:
    """The only physical switch's part of the document."""
    steps = explain.make(Site(world.database, {"br0": Served(world.vtep)}), "ls0", mac)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            (switch,) = end.value["physical_switches"]
            return dict(switch)


def ways(switch: Document) -> list[str]:
    """What is done, then what is not, each with why."""
    taken, others = switch["way"], switch["otherwise"]
    return [
        f"{taken['kind']} {', '.join(taken['to'])}: {taken['why']}",
        *(f"not {each['kind']} {', '.join(each['to'])}: {each['why_not']}" for each in others),
    ]


def test_a_learned_address_is_followed_before_a_row():
    world = World(TWO_PORTS, f"station ls0 {MAC} p0 0", f"ucast_remote ls0 {MAC} 10.2.2.2")
    assert ways(explained(world)) == [
        "local p0 untagged: it was learned there",
        "not remote 10.2.2.2 VNI 5000: a frame from a local port came after the row was written",
        "not flood p0 untagged, p1 VLAN 7: it is known here",
    ]
    assert explained(world)["way"]["rows"] == [{"table": "Physical_Port", "uuid": "physical_port-p0"}]


def test_the_first_of_several_rows_is_followed():
    rows = f"ucast_remote ls0 {MAC} 10.2.2.3 uuid=b", f"ucast_remote ls0 {MAC} 10.2.2.2 uuid=a"
    assert ways(explained(World(TWO_PORTS, *rows))) == [
        "remote 10.2.2.2 VNI 5000: its row has locator 10.2.2.2",
        "not remote 10.2.2.3 VNI 5000: of several rows for the address the one with the lowest UUID counts, a",
        "not flood p0 untagged, p1 VLAN 7: it is known elsewhere",
    ]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("ucast_remote ls0 {MAC} 10.2.2.1", "its locator is this VTEP itself"),
        ("ucast_remote ls0 {MAC} 10.2.2.2/0", "the locator's tunnel_key is 0, which says that it is not ready"),
        ("logical_switch ls0\nucast_remote ls0 {MAC} 10.2.2.2", "the logical switch has no VNI"),
        (CONTESTED, "the VNI is another logical switch's there"),
    ],
)
def test_a_row_that_leads_nowhere_is_named_with_the_reason(lines: str, why: str):
    switch = explained(World(TWO_PORTS, lines.replace("{MAC}", MAC)))
    assert switch["way"]["kind"] == "flood"
    assert [each["why_not"] for each in switch["otherwise"]] == [why]


def test_a_frozen_address_stays_where_it_is_and_a_pinned_one_where_the_row_is():
    world = World(TWO_PORTS, settings=Settings(mac_move_limit=1, mac_move_window=60))
    for line in (f"station ls0 {MAC} p0 0", f"station ls0 {MAC} p1 7"):
        world.become(world.now_with(line))
    switch_id, binding = world.ids(logical("ls0"), world.now.stations[logical("ls0"), MAC])
    world.vtep.seen(switch_id, binding - (1 << 12) - 7, MAC, 0)
    notes = explained(world)["notes"]
    assert notes == [
        "it is frozen where it is: it moved more than 1 times within 60 s; frames from elsewhere do not move it"
    ]
    pinned = World(TWO_PORTS, f"ucast_remote ls0 {MAC} 10.2.2.2", settings=Settings(pin_remote=True))
    assert any(note.startswith("it is pinned (pin_remote)") for note in explained(pinned)["notes"])


def test_an_address_of_several_is_copied_and_one_of_nobody_flooded():
    rows = "mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3", "mcast_remote ls0 01:00:5e:00:00:01 10.2.2.4"
    world = World(TWO_PORTS, *rows)
    assert ways(explained(world, "01:00:5e:00:00:01"))[0] == (
        "multicast p0 untagged, p1 VLAN 7, 10.2.2.4 VNI 5000: it has VTEPs of its own"
    )
    assert ways(explained(world, "01:00:5e:00:00:02")) == [
        "flood p0 untagged, p1 VLAN 7, 10.2.2.2 VNI 5000: it has no VTEPs of its own"
    ]
    assert ways(explained(world, "FF:FF:FF:FF:FF:FF"))[0].endswith(": it is broadcast")
    assert ways(explained(world))[0].endswith(": nothing is known of it")


@pytest.mark.parametrize("text", ["p0", "unknown-dst", "02:00:00:00:00", "02:00:00:00:00:01:02"])
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(Unanswerable, match=re.escape(f"'{text}' is no MAC address")):
        explained(World(TWO_PORTS), text)
