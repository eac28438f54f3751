"""The faults of ovs-vtep one by one: it has each of them, and this application does not."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from apps.lab import LabError, Node
from apps.lab.frames import BROADCAST
from tests.differential.faults import Avoided, Fault
from tests.differential.harness import Course, Harness
from tests.differential.predict import explain
from tests.differential.probes import LOCAL, MULTICAST, Outcome, Probe
from tests.differential.sides import Side
from tests.differential.steps import Case, station
from tests.system.support import physical_ports

pytestmark = pytest.mark.timeout(300)

P0, P1 = station(("p0", 0)), station(("p1", 5))
REMOTE = "02:99:00:00:00:01"
STRAY = "02:77:00:00:00:01"
BEGINNING = """
seed 0
vtep-ctl add-switch ls0 5001 source_node
ovsdbapp bind ls0 p0 0
vtep-ctl bind ls0 p1 5
ovsdbapp add-unknown ls0 10.2.2.8
vtep-ctl add-mac ls0 02:99:00:00:00:01 10.2.2.7
both check
"""

Test = TypeVar("Test", bound=Callable[..., object])
_shown: set[Fault | Avoided] = set()


def shows(fault: Fault | Avoided) -> Callable[[Test], Test]:
    """A test that shows this fault."""

    def marked(test: Test) -> Test:
        _shown.add(fault)
        return test

    return marked


class Both:
    """Ours and ovs-vtep in some state."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.ours = harness.ours
        self.theirs = harness.theirs
        self._there: tuple[str, Course] | None = None

    def lead(self, steps: str = "") -> Iterator[Course]:
        """Lead both through the beginning and some steps, from the beginning; yields at each check."""
        self._there = None
        return self.harness.lead(Case.read(BEGINNING + steps).steps)

    def come(self, steps: str = "") -> Course:
        """Lead both to the end of that, unless they are there."""
        if not self._there or self._there[0] != steps:
            *_, course = self.lead(steps)
            self._there = (steps, course)
        return self._there[1]

    def spoil(self) -> None:
        """Lead both to the end of the beginning, for a test that then goes its own way."""
        self.come()
        self._there = None

    def send(self, course: Course, *sent: Probe, fault: Fault | None = None) -> list[tuple[list[str], list[str]]]:
        """Where each of these frames arrives, with ours and with ovs-vtep.

        Every difference is explained by the fault, and by no other.
        """
        found = self.harness.sent(course.state, sent)
        for probe, ours, theirs in found:
            expected = frozenset({fault}) if fault and ours != theirs else frozenset()
            assert explain(course.state, course.memory, probe, theirs) == expected
        return [(texts(ours), texts(theirs)) for _, ours, theirs in found]


@pytest.fixture(scope="module")
def both(harness: Harness) -> Both:
    """The two."""
    return Both(harness)


def texts(outcome: Outcome) -> list[str]:
    """The copies of a frame as text."""
    return [str(copy) for copy in outcome]


def bridge(node: Node, name: str) -> str:
    """The bridge that ovs-vtep has for a logical switch."""
    (found,) = (
        each
        for each in node.vsctl("list-br").split()
        if node.vsctl("br-get-external-id", each, "logical_switch_name").strip() == name
    )
    return found


def forgotten(side: Side, mac: str) -> None:
    """Wait until ovs-vtep has no learned flow for frames to an address."""
    side.node.wait_until(lambda: mac not in learned(side), timeout=60, what="the flow to go")


def learned(side: Side) -> str:
    """The flows of ovs-vtep for frames to the addresses that it learned in ls0."""
    return side.node.run("ovs-ofctl", "dump-flows", bridge(side.node, "ls0"), "cookie=0x5000/-1")


def test_every_fault_is_shown_here() -> None:
    assert _shown == {*Fault, *Avoided}


@shows(Fault.UNTAGGED_TAKES_ALL)
def test_a_frame_with_a_tag_at_a_binding_of_vlan_0_is_dropped(both: Both) -> None:
    tagged = Probe("p0", LOCAL, (9,), STRAY, REMOTE)
    expected = [([], ["10.2.2.7 vni 5001 vlan 9"])]
    assert both.send(both.come(), tagged, fault=Fault.UNTAGGED_TAKES_ALL) == expected


@shows(Fault.TAG_IS_OVERWRITTEN)
def test_a_tag_inside_stays_when_a_frame_gets_another(both: Both) -> None:
    tagged = Probe("10.2.2.8", 5001, (7,), STRAY, P1)
    expected = [(["p1 vlan 5 vlan 7"], ["p1 vlan 5"])]
    assert both.send(both.come(), tagged, fault=Fault.TAG_IS_OVERWRITTEN) == expected


@shows(Fault.TUNNEL_TO_TUNNEL)
def test_what_a_vtep_sends_does_not_go_to_another(both: Both) -> None:
    known, flooded = Probe("10.2.2.8", 5001, (), STRAY, REMOTE), Probe("10.2.2.7", 5001, (), STRAY, BROADCAST)
    assert both.send(both.come(), known, flooded, fault=Fault.TUNNEL_TO_TUNNEL) == [
        (["p0", "p1 vlan 5"], ["10.2.2.7 vni 5001"]),
        (["p0", "p1 vlan 5"], ["10.2.2.8 vni 5001", "p0", "p1 vlan 5"]),
    ]


@shows(Fault.KEY_ZERO)
def test_what_comes_with_vni_0_goes_nowhere(both: Both) -> None:
    frame = Probe("10.2.2.7", 0, (), STRAY, BROADCAST)
    assert both.send(both.come(), frame, fault=Fault.KEY_ZERO) == [([], ["10.2.2.8 vni 0"])]


@shows(Avoided.FORGETS)
def test_an_address_that_sends_is_not_forgotten(both: Both) -> None:
    to_it = Probe("p0", LOCAL, (), P0, P1)
    assert both.send(both.come(), to_it) == [(["p1 vlan 5"], ["p1 vlan 5"])]
    forgotten(both.theirs, P1)
    for side, expected in ((both.ours, ["p1 vlan 5"]), (both.theirs, ["10.2.2.8 vni 5001", "p1 vlan 5"])):
        assert [texts(each) for each in side.send([to_it])] == [expected]


@shows(Avoided.OTHER_MULTICAST)
def test_a_multicast_address_can_have_vteps_of_its_own(both: Both) -> None:
    both.come()
    to_group = Probe("p0", LOCAL, (), P0, MULTICAST)
    for side, vtep in ((both.ours, "10.2.2.7"), (both.theirs, "10.2.2.8")):
        side.node.vtep_ctl("add-mcast-remote", "ls0", MULTICAST, "10.2.2.7")
        side.follow()
        assert [texts(each) for each in side.send([to_group])] == [[f"{vtep} vni 5001", "p1 vlan 5"]]
        side.node.vtep_ctl("del-mcast-remote", "ls0", MULTICAST, "10.2.2.7")


@shows(Avoided.PORT_NAMES)
def test_a_port_can_have_any_name(both: Both) -> None:
    for side in (both.ours, both.theirs):
        for port in ("left-p", "right"):
            side.node.vsctl("add-port", "br0", port, "--", "set", "Interface", port, "type=internal")
    both.theirs.follow()
    both.ours.node.wait_until(lambda: {"left-p", "right"} <= physical_ports(both.ours.node), what="both rows")
    assert physical_ports(both.theirs.node) & {"left-p", "right"} == {"right"}
    for side in (both.ours, both.theirs):
        side.node.vsctl("del-port", "left-p", "--", "del-port", "right")


@shows(Avoided.UNTAGGED_AND_TAGGED)
def test_a_tag_decides_between_the_bindings_of_a_port(both: Both) -> None:
    both.spoil()
    tagged = Probe("p0", LOCAL, (6,), STRAY, BROADCAST)
    for side in (both.ours, both.theirs):
        side.node.vtep_ctl(
            "add-ls", "ls1", "--", "bind-ls", "br0", "p2", "0", "ls1", "--", "bind-ls", "br0", "p0", "6", "ls1"
        )
        side.follow()
    (ours,), (theirs,) = both.ours.send([tagged]), both.theirs.send([tagged])
    assert texts(ours) == ["p2"]
    assert texts(theirs) in (["p2"], ["10.2.2.8 vni 5001 vlan 6", "p1 vlan 5"])
    flows = both.theirs.node.run("ovs-ofctl", "--no-stats", "--no-names", "dump-flows", "br0").splitlines()
    port = f"in_port={both.theirs.node.ofport('p0')}"
    assert len([line for line in flows if port in line and "priority" not in line]) == 2, "both match, and are equals"


@shows(Fault.ARBITRARY_SERVICE_NODE)
def test_the_service_node_is_the_first_by_address(both: Both) -> None:
    steps = "vtep-ctl add-unknown ls0 10.2.2.7\nvtep-ctl add-unknown ls0 10.2.2.9\nvtep-ctl set-mode ls0 -\nboth check"
    for _ in range(20):  # Each time ovs-vtep is another process.
        *_, course = both.lead(steps)
        frame = Probe("p0", LOCAL, (), P0, BROADCAST)
        ((ours, theirs),) = both.send(course, frame, fault=Fault.ARBITRARY_SERVICE_NODE)
        assert ours == ["10.2.2.7 vni 5001", "p1 vlan 5"]
        if theirs != ours:
            return
    pytest.fail("ovs-vtep sends to the first too")


@shows(Fault.OLD_KEY)
def test_a_tunnel_key_that_changes_is_the_one_that_counts(both: Both) -> None:
    out, old = Probe("p0", LOCAL, (), P0, REMOTE), Probe("10.2.2.8", 5001, (), STRAY, P0)
    new = Probe("10.2.2.8", 5002, (), STRAY, P0)
    course = both.come("vtep-ctl set-key ls0 5002\nboth check")
    assert both.send(course, out, old, new, fault=Fault.OLD_KEY) == [
        (["10.2.2.7 vni 5002"], ["10.2.2.7 vni 5001"]),
        ([], ["p0"]),
        (["p0"], []),
    ]


@shows(Fault.FORMER_UNKNOWN_DST)
def test_what_a_vtep_floods_that_left_unknown_dst_reaches_new_bindings(both: Both) -> None:
    left = "vtep-ctl add-unknown ls0 10.2.2.7\nboth check\nvtep-ctl del-unknown ls0 10.2.2.7\nboth check\n"
    course = both.come(left + "vtep-ctl bind ls0 p2 0\nboth check")
    flooded = Probe("10.2.2.7", 5001, (), STRAY, BROADCAST)
    expected = [(["p0", "p1 vlan 5", "p2"], ["p0", "p1 vlan 5"])]
    assert both.send(course, flooded, fault=Fault.FORMER_UNKNOWN_DST) == expected


@shows(Fault.LEARNED_AT_NO_BINDING)
def test_an_address_whose_binding_goes_is_unknown(both: Both) -> None:
    to_it = Probe("p0", LOCAL, (), P0, P1)
    way = both.lead("vtep-ctl unbind p1 5\nboth check")
    assert both.send(next(way), to_it) == [(["p1 vlan 5"], ["p1 vlan 5"])]
    assert both.send(next(way), to_it, fault=Fault.LEARNED_AT_NO_BINDING) == [(["10.2.2.8 vni 5001"], [])]


@shows(Fault.REMOTE_NOT_RESTORED)
def test_an_address_whose_binding_goes_is_where_a_remote_row_says(both: Both) -> None:
    to_it = Probe("p0", LOCAL, (), P0, P1)
    way = both.lead(f"vtep-ctl add-mac ls0 {P1} 10.2.2.7\nboth check\nvtep-ctl unbind p1 5\nboth check")
    next(way)
    assert both.send(next(way), to_it) == [(["p1 vlan 5"], ["p1 vlan 5"])]
    assert both.send(next(way), to_it, fault=Fault.REMOTE_NOT_RESTORED) == [(["10.2.2.7 vni 5001"], [])]
    (line,) = (each for each in learned(both.theirs).splitlines() if P1 in each)
    assert "idle_timeout" not in line


@shows(Fault.LAST_BINDING_MOVES)
def test_a_logical_switch_whose_bindings_are_given_to_another_can_be_deleted(both: Both) -> None:
    way = both.lead(
        "vtep-ctl add-switch ls1 5002 -\nvtep-ctl rebind ls1 p0 0\novsdbapp rebind ls1 p1 5\nboth check\n"
        f"vtep-ctl del-mac ls0 {REMOTE}\nvtep-ctl del-unknown ls0 10.2.2.8\nvtep-ctl del-switch ls0\nboth check"
    )
    next(way)
    state = next(way).state
    assert both.ours.published_unknown_dst(state) == {"ls1"}
    assert both.theirs.published_unknown_dst(state) == {"ls0", "ls1"}
    course = next(way)
    assert (course.kept, course.refused) == (1, [])
    assert bridge(both.theirs.node, "ls0")


@shows(Avoided.SAME_KEY)
def test_two_logical_switches_can_ask_for_one_tunnel_key(both: Both) -> None:
    both.spoil()
    for side in (both.ours, both.theirs):
        side.node.vtep_ctl("add-ls", "ls1", "--", "set", "Logical_Switch", "ls1", "tunnel_key=5001")
        side.node.vtep_ctl("add-mcast-remote", "ls1", "unknown-dst", "10.2.2.8")
        side.node.vtep_ctl("bind-ls", "br0", "p2", "0", "ls1")
    both.ours.follow()
    with pytest.raises(LabError, match=r"KeyError: 'vxlan_over_ipv4/10.2.2.8'"):
        both.theirs.follow()
    out, back = Probe("p0", LOCAL, (), P0, BROADCAST), Probe("10.2.2.8", 5001, (), STRAY, BROADCAST)
    assert [texts(each) for each in both.ours.send([out, back])] == [
        ["10.2.2.8 vni 5001", "p1 vlan 5"],
        ["p0", "p1 vlan 5"],
    ]
