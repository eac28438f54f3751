"""vlan_bindings: which frames a binding takes in, what they look like when they leave, and by which port."""

from dataclasses import replace

import pytest

from apps.lab import Host, Lab, Node, Tag
from apps.lab.frames import BROADCAST
from tests.system.nvc import Nvc, arrivals, is_payload, new_frame, unordered
from tests.system.support import set_up

pytestmark = pytest.mark.timeout(60)

PORTS = ("p0", "p1", "p2")


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    """A VTEP with three hosts."""
    node = lab.node("a", "10.2.2.1/24")
    set_up(node)
    return node


@pytest.fixture(scope="module")
def hosts(node: Node) -> dict[str, Host]:
    """The hosts by the ports that they are behind."""
    return {port: node.add_port(port) for port in PORTS}


@pytest.fixture(scope="module")
def controller(node: Node, hosts: dict[str, Host]) -> Nvc:
    """The node's NVC."""
    return Nvc(node)


@pytest.fixture
def nvc(controller: Nvc) -> Nvc:
    """The NVC, with three logical switches that nothing is bound to."""
    controller.clear()
    for switch in ("ls0", "ls1", "ls2"):
        controller.logical_switch(switch, settle=False)
    return controller


@pytest.mark.parametrize("vlan", [1, 2, 4094])
def test_a_tag_is_stripped_on_the_way_in_and_pushed_on_the_way_out(nvc: Nvc, hosts: dict[str, Host], vlan: int) -> None:
    nvc.bind({"p0": {0: "ls0"}, "p1": {vlan: "ls0"}})
    plain = new_frame(hosts["p0"].mac, BROADCAST)
    with hosts["p1"].capture() as tagged_side, hosts["p0"].capture() as untagged_side:
        hosts["p0"].send(plain)
        assert tagged_side.wait(is_payload(plain)).pack() == plain.tagged(vlan).pack()
        tagged = new_frame(hosts["p1"].mac, BROADCAST, vlan)
        hosts["p1"].send(tagged)
        assert untagged_side.wait(is_payload(tagged)).pack() == tagged.tagged().pack()


def test_a_frame_changes_its_tag_between_bindings_with_different_vlans(nvc: Nvc, hosts: dict[str, Host]) -> None:
    nvc.bind({"p0": {1: "ls0"}, "p1": {4094: "ls0"}})
    there, back = new_frame(hosts["p0"].mac, BROADCAST, 1, size=1500), new_frame(hosts["p1"].mac, BROADCAST, 4094)
    with hosts["p0"].capture() as left, hosts["p1"].capture() as right:
        hosts["p0"].send(there)
        assert right.wait(is_payload(there)).pack() == there.tagged(4094).pack()
        hosts["p1"].send(back)
        assert left.wait(is_payload(back)).pack() == back.tagged(1).pack()


@pytest.mark.parametrize("priority", [0, 5, 7])
def test_a_priority_tag_counts_as_untagged_and_is_stripped(nvc: Nvc, hosts: dict[str, Host], priority: int) -> None:
    nvc.bind({"p0": {0: "ls0"}, "p1": {0: "ls0"}, "p2": {7: "ls0"}})
    frame = new_frame(hosts["p0"].mac, tags=(Tag(0, pcp=priority),))
    with hosts["p1"].capture() as untagged, hosts["p2"].capture() as tagged:
        hosts["p0"].send(frame)
        assert untagged.wait(is_payload(frame)).pack() == frame.tagged().pack()
        assert tagged.wait(is_payload(frame)).pack() == frame.tagged(7).pack()


def test_the_priority_of_a_tag_ends_with_the_tag(nvc: Nvc, hosts: dict[str, Host]) -> None:
    nvc.bind({"p0": {5: "ls0"}, "p1": {6: "ls0"}})
    frame = new_frame(hosts["p0"].mac, tags=(Tag(5, pcp=7),))
    with hosts["p1"].capture() as arriving:
        hosts["p0"].send(frame)
        assert arriving.wait(is_payload(frame)).tags == (Tag(6, pcp=0),)


@pytest.mark.parametrize("inner", [(Tag(7, pcp=3),), (Tag(4094), Tag(5)), (Tag(0, pcp=1),)], ids=str)
def test_inner_tags_pass_unchanged(nvc: Nvc, hosts: dict[str, Host], inner: tuple[Tag, ...]) -> None:
    nvc.bind({"p0": {5: "ls0"}, "p1": {6: "ls0"}, "p2": {0: "ls0"}})
    frame = new_frame(hosts["p0"].mac, tags=(Tag(5), *inner))
    with hosts["p1"].capture() as tagged, hosts["p2"].capture() as untagged:
        hosts["p0"].send(frame)
        assert tagged.wait(is_payload(frame)).pack() == replace(frame, tags=(Tag(6), *inner)).pack()
        assert untagged.wait(is_payload(frame)).pack() == replace(frame, tags=inner).pack()


@pytest.mark.parametrize(
    ("binding", "tags"),
    [
        (0, (Tag(5),)),
        (0, (Tag(1),)),
        (0, (Tag(4094, pcp=3),)),
        (0, (Tag(5), Tag(0))),
        (5, ()),
        (5, (Tag(0, pcp=2),)),
        (5, (Tag(6),)),
        (5, (Tag(4),)),
        (5, (Tag(6), Tag(5))),
        (5, (Tag(0), Tag(5))),
    ],
    ids=str,
)
def test_frames_in_no_binding_are_dropped(
    nvc: Nvc, hosts: dict[str, Host], binding: int, tags: tuple[Tag, ...]
) -> None:
    nvc.bind({"p0": {binding: "ls0"}, "p1": {0: "ls0"}, "p2": {5: "ls0"}})
    stray = new_frame(hosts["p0"].mac, tags=tags)
    marker = new_frame(hosts["p0"].mac, BROADCAST, *([binding] if binding else []))
    assert arrivals(hosts["p0"], stray, marker=marker, at=[hosts["p1"], hosts["p2"]]) == [[], []]


def test_frames_of_an_unbound_port_go_nowhere_and_it_gets_none(nvc: Nvc, hosts: dict[str, Host]) -> None:
    nvc.bind({"p0": {0: "ls0"}, "p1": {0: "ls0"}})
    frames = [new_frame(hosts["p2"].mac, dst, *vids) for dst in (BROADCAST, hosts["p1"].mac) for vids in ((), (5,))]
    with hosts["p2"].capture() as unbound, hosts["p1"].capture() as bound:
        hosts["p2"].send(*frames)
        marker = new_frame(hosts["p0"].mac)
        hosts["p0"].send(new_frame(hosts["p0"].mac, hosts["p2"].mac), marker)
        bound.until(is_payload(marker))
        assert {each.src for each in bound.quiet()} == {hosts["p0"].mac}
        assert unbound.quiet(0) == []


def test_a_frame_reaches_every_other_binding_of_its_logical_switch_once(nvc: Nvc, hosts: dict[str, Host]) -> None:
    nvc.bind({"p0": {0: "ls0"}, "p1": {0: "ls0", 9: "ls0"}, "p2": {3: "ls0", 4: "ls1"}})
    first, marker = new_frame(hosts["p0"].mac), new_frame(hosts["p0"].mac)
    with hosts["p0"].capture() as own, hosts["p1"].capture() as two, hosts["p2"].capture() as one:
        hosts["p0"].send(first, marker)
        two.until(is_payload(marker))
        assert unordered(two.quiet()) == unordered([first, first.tagged(9), marker, marker.tagged(9)])
        assert unordered(one.quiet(0)) == unordered([first.tagged(3), marker.tagged(3)])
        assert own.quiet(0) == []


def test_several_bindings_of_a_port_are_kept_apart(nvc: Nvc, hosts: dict[str, Host]) -> None:
    vlans = {0: "ls0", 1: "ls1", 4094: "ls2"}
    nvc.bind({"p0": vlans, "p1": {0: "ls0"}, "p2": {0: "ls1", 5: "ls2"}})
    frames = {vlan: new_frame(hosts["p0"].mac, BROADCAST, *([vlan] if vlan else [])) for vlan in vlans}
    with hosts["p1"].capture() as left, hosts["p2"].capture() as right:
        hosts["p0"].send(*frames.values())
        right.until(is_payload(frames[4094]))
        assert unordered(right.quiet()) == unordered([frames[1].tagged(), frames[4094].tagged(5)])
        assert left.quiet(0) == [frames[0]]


def test_a_broadcast_crosses_to_the_other_vlan_of_its_port_and_not_back_to_its_own(
    nvc: Nvc, hosts: dict[str, Host]
) -> None:
    nvc.bind({"p0": {5: "ls0", 6: "ls0", 0: "ls0"}, "p1": {0: "ls0"}})
    frame, marker = new_frame(hosts["p0"].mac, BROADCAST, 5), new_frame(hosts["p0"].mac, BROADCAST, 5)
    with hosts["p0"].capture() as own, hosts["p1"].capture() as other:
        hosts["p0"].send(frame, marker)
        own.until(is_payload(marker))
        expected = [each for sent in (frame, marker) for each in (sent.tagged(6), sent.tagged())]
        assert unordered(own.quiet()) == unordered(expected)
        assert unordered(other.quiet(0)) == unordered([frame.tagged(), marker.tagged()])


def test_known_stations_on_two_vlans_of_one_port_reach_each_other_by_that_port(
    nvc: Nvc, node: Node, hosts: dict[str, Host], lab: Lab
) -> None:
    nvc.bind({"p0": {5: "ls0", 6: "ls0"}, "p1": {0: "ls0"}})
    here, there = lab.new_mac(), lab.new_mac()
    hosts["p0"].send(new_frame(here, BROADCAST, 5), new_frame(there, BROADCAST, 6))
    node.wait_until(lambda: {("ls0", here), ("ls0", there)} <= node.macs().keys(), what="both addresses")
    nvc.settle()
    frames = [new_frame(here, there, 5), new_frame(there, here, 6)]
    hairpin = new_frame(here, here, 5)
    with hosts["p0"].capture() as own, hosts["p1"].capture() as other:
        hosts["p0"].send(hairpin, *frames)
        own.until(is_payload(frames[1]))
        assert unordered(own.quiet()) == unordered([frames[0].tagged(6), frames[1].tagged(5)])
        assert other.quiet(0) == []


def test_frames_follow_a_binding_that_moves_to_another_logical_switch_at_once(
    nvc: Nvc, node: Node, hosts: dict[str, Host]
) -> None:
    nvc.bind({"p0": {5: "ls0"}, "p1": {0: "ls0"}, "p2": {0: "ls1"}})
    mac = hosts["p0"].mac
    assert len(arrivals(hosts["p0"], marker=new_frame(mac, BROADCAST, 5), at=[hosts["p1"]])) == 1
    node.wait_until(lambda: ("ls0", mac) in node.macs(), what="the address to be learned")

    nvc.bind({"p0": {5: "ls1"}})
    to_old, to_new = new_frame(mac, BROADCAST, 5), new_frame(mac, BROADCAST, 5)
    with hosts["p1"].capture() as old:
        assert arrivals(hosts["p0"], to_old, marker=to_new, at=[hosts["p2"]]) == [[to_old.tagged()]]
        assert old.quiet() == []
    # What goes to the address in its former logical switch finds it no more; in its new one it does.
    lost, found = new_frame(hosts["p1"].mac, mac), new_frame(hosts["p2"].mac, mac)
    with hosts["p0"].capture() as moved:
        hosts["p1"].send(lost)
        hosts["p2"].send(found)
        assert moved.wait(is_payload(found)) == found.tagged(5)
        assert moved.quiet() == [found.tagged(5)]


def test_learned_addresses_of_a_binding_that_moves_are_withdrawn_and_learned_anew(
    nvc: Nvc, node: Node, hosts: dict[str, Host], lab: Lab
) -> None:
    nvc.bind({"p0": {5: "ls0", 6: "ls0"}})
    moving, staying = lab.new_mac(), lab.new_mac()
    hosts["p0"].send(new_frame(moving, BROADCAST, 5), new_frame(staying, BROADCAST, 6))
    both = {("ls0", moving), ("ls0", staying)}
    node.wait_until(lambda: both <= node.macs().keys(), what="both addresses")
    nvc.bind({"p0": {5: "ls1", 6: "ls0"}})
    node.wait_until(lambda: ("ls0", moving) not in node.macs(), what="the address to be withdrawn")
    assert ("ls1", moving) not in node.macs(), "it has sent nothing there"
    hosts["p0"].send(new_frame(moving, BROADCAST, 5))
    node.wait_until(lambda: ("ls1", moving) in node.macs(), what="the address in its new logical switch")
    assert ("ls0", staying) in node.macs()
    assert ("ls0", moving) not in node.macs()


def test_a_binding_that_changes_its_vlan_takes_in_the_new_one_alone(nvc: Nvc, hosts: dict[str, Host]) -> None:
    nvc.bind({"p0": {5: "ls0"}, "p1": {0: "ls0"}})
    nvc.bind({"p0": {6: "ls0"}})
    old, new = new_frame(hosts["p0"].mac, BROADCAST, 5), new_frame(hosts["p0"].mac, BROADCAST, 6)
    assert arrivals(hosts["p0"], old, marker=new, at=[hosts["p1"]]) == [[]]
    frame = new_frame(hosts["p1"].mac)
    with hosts["p0"].capture() as arriving:
        hosts["p1"].send(frame)
        assert arriving.wait(is_payload(frame)) == frame.tagged(6)
        assert arriving.quiet() == [frame.tagged(6)]


def test_the_bindings_of_two_ports_change_places_in_one_transaction(nvc: Nvc, hosts: dict[str, Host]) -> None:
    nvc.bind({"p0": {5: "ls0"}, "p1": {5: "ls1"}, "p2": {1: "ls0", 2: "ls1"}})
    nvc.bind({"p0": {5: "ls1"}, "p1": {5: "ls0"}})
    frames = {port: new_frame(hosts[port].mac, BROADCAST, 5) for port in ("p0", "p1")}
    with hosts["p2"].capture() as arriving:
        for port, vlan in (("p0", 2), ("p1", 1)):
            hosts[port].send(frames[port])
            assert arriving.wait(is_payload(frames[port])) == frames[port].tagged(vlan)
        assert len(arriving.quiet()) == 2


def test_vlan_4095_is_refused_and_the_other_bindings_of_its_port_work(
    nvc: Nvc, node: Node, hosts: dict[str, Host]
) -> None:
    nvc.bind({"p0": {0: "ls0", 4095: "ls0"}, "p1": {0: "ls0"}})
    node.app.wait_log(r"Physical_Port p0: vlan_bindings: 4095 .*refused")
    refused, taken = new_frame(hosts["p0"].mac, BROADCAST, 4095), new_frame(hosts["p0"].mac)
    assert arrivals(hosts["p0"], refused, marker=taken, at=[hosts["p1"]]) == [[]]
