"""storm_control: what a port that floods may have replicated, and that nothing else is touched by it."""

import re
import time
from collections.abc import Iterator

import pytest

from apps.lab import Frame, Lab, Node
from apps.lab.frames import BROADCAST
from tests.system import support
from tests.system.support import counters, new_frame
from tests.system.traffic import TwoVteps, no_packet_lost
from vtep_ryu.core.pipeline import meter_id

pytestmark = pytest.mark.timeout(180)

RATE = 50
INTERVAL = "--vtep-statistics-interval=1"
LIMITED = (INTERVAL, f"--vtep-storm-control={RATE}")
FLOOD, PART, PAUSE = 1000, 20, 0.04
"""Frames, so many at once, seconds between: ten times the rate, and few enough for the queue of a port that waits."""
AT_ONCE = 3 * RATE
"""More than the meter lets pass at once, and fewer than the queue takes."""
OTHERS = "meter=7,pktps,bands=type=drop,rate=9"
SERVED = r"^br0: switch \w+ is served$"
BEGINS = rf"^br0: storm_control: port p0 has more than {RATE} frames a second to be replicated: the others are dropped$"
UNKNOWN, MULTICAST = "02:99:00:00:00:01", "01:00:5e:00:00:01"


@pytest.fixture(scope="module")
def site(lab: Lab) -> TwoVteps:
    """With storm control, and a meter of others."""
    made = TwoVteps(lab, *LIMITED)
    made.node.ofctl("add-meter", "br0", OTHERS)
    return made


@pytest.fixture
def node(site: TwoVteps) -> Node:
    return site.node


def restart(node: Node, *options: str) -> None:
    """Have the program begin anew with these options, and wait until it serves the switch."""
    node.app.stop()
    node.start_app(*options, timeout=60)
    node.app.wait_log(SERVED, 60)


def rates(node: Node, bridge: str = "br0") -> dict[int, int]:
    """The rates of a bridge's meters, by their ids."""
    text = node.ofctl("dump-meters", bridge)
    return {int(id): int(rate) for id, rate in re.findall(r"meter=(\d+) pktps .*?\n.*?rate=(\d+)", text)}


def of_ports(node: Node, *ports: str, rate: int = RATE) -> dict[int, int]:
    """What rates() has of ports with storm control, and of the meter of others."""
    return {meter_id(node.ofport(port)): rate for port in ports} | {7: 9}


def metered(node: Node, port: str) -> tuple[int, int]:
    """How many frames the meter of a port has let pass, and how many it has dropped."""
    text = node.ofctl("meter-stats", "br0", f"meter={meter_id(node.ofport(port))}")
    [came] = re.findall(r"packet_in_count:(\d+)", text)
    [dropped] = re.findall(r"^0: packet_count:(\d+)", text, re.MULTILINE)
    return int(came) - int(dropped), int(dropped)


def flows_with_a_meter(node: Node) -> list[str]:
    return [flow for flow in support.flows(node) if "meter:" in flow]


def await_counted(node: Node, dropped: int) -> None:
    """Wait until the status has as many as the meter of p0."""
    node.wait_until(lambda: counters(node)["br0"]["frames_storm_dropped"] == dropped, what=f"{dropped} to be counted")


def parts(frames: list[Frame], at_once: int = PART) -> Iterator[list[Frame]]:
    return (frames[start : start + at_once] for start in range(0, len(frames), at_once))


def flood(site: TwoVteps, frames: list[Frame], at_once: int = PART) -> list[Frame]:
    """Have p0 send frames; return which of them arrived at p1."""
    came: set[bytes] = set()
    with site.p1.capture() as capture:
        for part in parts(frames, at_once):
            site.p0.send(*part)
            time.sleep(PAUSE)
            came.update(each.payload for each in capture.frames)
        for _ in range(2):  # One can overtake frames that are read with it; one that is sent when another came cannot.
            marker = new_frame(site.p0.mac, site.p1.mac)
            site.p0.send(marker)
            capture.wait(marker.__eq__)
        came.update(each.payload for each in capture.frames)
    return [frame for frame in frames if frame.payload in came]


def test_a_port_that_floods_broadcasts_is_held_to_its_rate_and_known_unicast_loses_nothing(
    site: TwoVteps, node: Node
) -> None:
    (passed, dropped), begin = metered(node, "p0"), time.monotonic()
    with no_packet_lost((site.p0, site.p1), *site.pairs):
        came = flood(site, [new_frame(site.p0.mac) for _ in range(FLOOD)])
    at_most = RATE + RATE * (time.monotonic() - begin) + 1
    passed_now, dropped_now = metered(node, "p0")
    assert RATE <= len(came) == passed_now - passed <= at_most
    assert dropped_now > dropped
    await_counted(node, dropped_now)
    flood(site, [new_frame(site.p0.mac) for _ in range(AT_ONCE)], AT_ONCE)
    await_counted(node, metered(node, "p0")[1])
    assert counters(node)["br0"]["frames_storm_dropped"] > dropped_now
    assert counters(node)["br0"]["frames_storm_dropped_by_port"].keys() == {"p0"}
    assert len(re.findall(BEGINS, node.app.log(), re.MULTILINE)) == 1


def test_broadcast_multicast_and_unknown_addresses_share_the_rate_of_their_port(site: TwoVteps, node: Node) -> None:
    begin = time.monotonic()
    frames = [new_frame(site.p0.mac, to) for _ in range(2 * RATE) for to in (BROADCAST, MULTICAST, UNKNOWN)]
    came = flood(site, frames)
    assert 0 < len(came) <= RATE + RATE * (time.monotonic() - begin) + 1
    assert {frame.dst for frame in came} == {BROADCAST, MULTICAST, UNKNOWN}
    support.reach(site.p1, site.p0, site.far)


def test_what_is_dropped_has_been_learned_from(site: TwoVteps, node: Node) -> None:
    _, dropped = metered(node, "p0")
    stations = [site.lab.new_mac() for _ in range(AT_ONCE)]
    flood(site, [new_frame(mac) for mac in stations], AT_ONCE)
    assert metered(node, "p0")[1] > dropped
    wanted = {("ls0", mac) for mac in stations}
    node.wait_until(lambda: wanted <= node.macs().keys(), what="all of them to be published")


def test_frames_from_tunnels_are_not_limited(site: TwoVteps) -> None:
    frames = [new_frame(site.far.mac) for _ in range(4 * RATE)]
    with site.p1.capture() as capture:
        for part in parts(frames):
            site.far.send(*part)
            for frame in part:
                capture.wait(frame.__eq__)


def test_a_port_has_a_meter_while_it_is_bound(site: TwoVteps, node: Node) -> None:
    node.add_port("p2")
    wanted = of_ports(node, "p0", "p1")
    assert rates(node) == wanted
    support.bind(node, "ls0", "p2")
    assert rates(node) == wanted | of_ports(node, "p2")
    node.vtep_ctl("unbind-ls", "br0", "p2", "0")
    node.wait_until(lambda: rates(node) == wanted, what="its meter to go")
    support.bind(node, "ls0", "p2")
    node.vsctl("del-port", "br0", "p2")
    node.wait_until(lambda: rates(node) == wanted, what="its meter to go with it")


def test_a_bridge_that_is_no_vtep_any_more_has_no_meter_of_ours(node: Node) -> None:
    node.add_bridge("br1")
    node.add_port("q0", "br1")
    node.vtep_ctl("add-ps", "br1")
    node.vsctl("set-controller", "br1", support.CONTROLLER)
    support.bind(node, "ls0", "q0", bridge="br1")
    node.ofctl("add-meter", "br1", OTHERS)
    assert rates(node, "br1") == of_ports(node, "q0")
    node.vtep_ctl("del-ps", "br1")
    node.wait_until(lambda: rates(node, "br1") == of_ports(node), what="the meter of q0 to go")


def test_meters_are_made_again_after_ovs_vswitchd_was_killed(site: TwoVteps, node: Node) -> None:
    served = len(site.said(SERVED[1:-1]))
    node.vswitchd.kill()
    node.start_vswitchd()
    node.wait_until(lambda: len(site.said(SERVED[1:-1])) > served, 60, "the switch to be served")
    node.ofctl("add-meter", "br0", OTHERS)
    assert rates(node) == of_ports(node, "p0", "p1")
    support.forget_megaflows(node)
    assert len(flood(site, [new_frame(site.p0.mac) for _ in range(AT_ONCE)], AT_ONCE)) < AT_ONCE
    assert metered(node, "p0")[1]


def test_a_restart_leaves_the_meters_and_another_limit_changes_them_without_loss(site: TwoVteps, node: Node) -> None:
    (_, dropped), flows, wanted = metered(node, "p0"), flows_with_a_meter(node), of_ports(node, "p0", "p1")
    assert dropped
    assert rates(node) == wanted
    with no_packet_lost(*site.pairs):
        restart(node, *LIMITED)
        assert rates(node) == wanted
        assert metered(node, "p0")[1] == dropped
        assert flows_with_a_meter(node) == flows
        await_counted(node, dropped)
        assert "storm_control:" not in node.app.log(), "what was dropped before is no news"
        restart(node, INTERVAL, f"--vtep-storm-control={RATE + 1}")
        assert rates(node) == of_ports(node, "p0", "p1", rate=RATE + 1)
        assert flows_with_a_meter(node) == flows
        restart(node, INTERVAL)
        assert rates(node) == of_ports(node)
        assert flows_with_a_meter(node) == []
