"""The program, or the switch, ends and starts again: what is right stays, frames pass meanwhile, and it goes on."""

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from apps.lab import Host, KernelVtep, Lab, Node
from tests.system.nvc import arrivals, is_payload
from tests.system.support import (
    ThreePorts,
    add_logical_switch,
    bind,
    flows,
    forget_megaflows,
    identities,
    new_frame,
    set_up,
    teach,
)
from tests.system.traffic import no_packet_lost

pytestmark = pytest.mark.timeout(120)

OURS = "10.2.2.1"
FAR = "10.2.2.9"
OPTIONS = ("--verbose", "--vtep-statistics-interval=0")
ALL_TABLES = (
    "Physical_Switch",
    "Physical_Port",
    "Logical_Switch",
    "Ucast_Macs_Local",
    "Ucast_Macs_Remote",
    "Mcast_Macs_Local",
    "Mcast_Macs_Remote",
    "Physical_Locator",
    "Physical_Locator_Set",
)
SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
HAND_MADE = (
    "cookie=0x1234, table=0, priority=5,in_port=99 actions=drop",
    "cookie=0x7675000000000000, table=2, priority=150,reg1=0x9999 actions=drop",
    "cookie=0x0, table=100, priority=7 actions=group:7",
)


@dataclass(frozen=True)
class Site(ThreePorts):
    """p0 and p1 are in ls0, and so is the far host, behind a VTEP of the Linux kernel; p2 is not bound."""

    kernel: KernelVtep
    far: Host

    @contextmanager
    def down(self, how: signal.Signals = signal.SIGTERM) -> Iterator[None]:
        """The program does not run in the with statement; after it, it serves the switch again."""
        self.node.app.stop(how)
        yield
        self.node.start_app(*OPTIONS)
        self.node.app.wait_log("^br0: switch .* is served$", 30)
        forget_megaflows(self.node)

    def goes_to(self, mac: str) -> set[str]:
        """Where a frame from p1 for an address arrives."""
        places = {"p0": self.p0, "far": self.far}
        frame, marker = new_frame(self.p1.mac, mac), new_frame(self.p1.mac)
        came = arrivals(self.p1, frame, marker=marker, at=places.values())
        return {place for place, frames in zip(places, came, strict=True) if any(map(is_payload(frame), frames))}


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    node = lab.node("a", f"{OURS}/24")
    hosts = [node.add_port(f"p{number}", address=f"192.168.1.{number + 1}/24") for number in range(3)]
    kernel = lab.kernel_vtep("kernel", f"{FAR}/24")
    kernel.add_vni(5000, OURS)
    far = kernel.add_host(5000, lab.host("far", "192.168.1.9/24"))
    set_up(node, *OPTIONS)
    add_logical_switch(node, "ls0", 5000, FAR)
    bind(node, "ls0", "p0", "p1")
    for flow in HAND_MADE:
        node.ofctl("add-group", "br0", "group_id=7,type=all,bucket=drop") if "group:7" in flow else None
        node.ofctl("add-flow", "br0", flow)
    assert hosts[0].ping(far) == 3
    return Site(node, *hosts, lab, kernel, far)


def hand_made(node: Node) -> list[str]:
    """What is left of the flows and groups that are not the program's."""
    dump = node.ofctl("dump-flows", "br0", "--no-stats") + node.ofctl("dump-groups", "br0")
    return [line.strip() for line in dump.splitlines() if "cookie=0x7674" not in line and "OFPST" not in line]


def packets(node: Node) -> dict[str, int]:
    """How many packets each flow has counted."""
    lines = node.ofctl("dump-flows", "br0").splitlines()
    fields = (re.search(r"(table=\d+), n_packets=(\d+),.*?((?:priority=\d+|reset_counts).*)", line) for line in lines)
    return {each[1] + each[3]: int(each[2]) for each in fields if each}


@pytest.mark.parametrize("how", SIGNALS, ids=lambda how: how.name)
def test_a_restart_loses_no_packet_touches_no_row_and_keeps_flows_counters_and_what_others_made(
    site: Site, how: signal.Signals
) -> None:
    node, stations, others = site.node, site.stations(5), hand_made(site.node)
    teach(node, site.p0, *stations, site.p0.mac)
    teach(node, site.p1, site.p1.mac)
    for _ in range(2):
        rows, entries, counted = identities(node, *ALL_TABLES), flows(node), packets(node)
        with no_packet_lost((site.p0, site.far), (site.far, site.p1)), site.down(how):
            assert identities(node, *ALL_TABLES) == rows
            assert flows(node) == entries
            assert how is signal.SIGKILL or "Traceback" not in node.app.log()
        assert flows(node) == entries
        assert identities(node, *ALL_TABLES) == rows
        after = packets(node)
        assert {flow: count for flow, count in counted.items() if after[flow] < count} == {}
        assert len(set(re.findall(r"cookie=(0x7674\w{4})", node.ofctl("dump-flows", "br0")))) == 1, "one epoch"
        assert hand_made(node) == others
        assert site.goes_to(stations[0]) == {"p0"}, "it has not sent anything since"
    teach(node, site.p0, *site.stations(1))


@pytest.mark.parametrize("moment", ["vtep_ryu", "connected to unix", "switch .* connected", "is served"])
def test_a_start_that_is_killed_on_the_way_does_no_harm(site: Site, moment: str) -> None:
    node = site.node
    teach(node, site.p0, *site.stations(3))
    rows, entries = identities(node, *ALL_TABLES), flows(node)
    with no_packet_lost((site.p0, site.far)), site.down(signal.SIGKILL):
        node.app.start(*OPTIONS, port=None)
        node.app.wait_log(moment, 30)
        node.app.kill()
    assert identities(node, *ALL_TABLES) == rows
    assert flows(node) == entries


def test_the_epoch_of_a_start_is_in_the_learn_table_before_the_flows_of_any_row(site: Site) -> None:
    """A start that ends half-way would leave flows of an epoch that the next start takes for its own."""
    teach(site.node, site.p0, *site.stations(3))
    with site.down():
        pass
    first, second, *_ = site.node.app.log().split("units rendered")
    put = re.findall(r"^br0: \+ (\w+ \d+): (.*)$", first, re.MULTILINE)
    assert ("learn 0", "any -> goto suppress") in put
    assert not [match for _, match in put if "switch=" in match or "in_port=" in match]
    assert "in_port=" in second


@pytest.mark.parametrize("behind", [(1,), (2, 3), (1, 0x100, 0x8000)], ids=str)
def test_flows_of_every_earlier_epoch_go(site: Site, behind: tuple[int, ...]) -> None:
    node, entries = site.node, flows(site.node)
    (now,) = set(re.findall(r"cookie=0x7674(\w{4})", node.ofctl("dump-flows", "br0")))
    with site.down():
        for each in behind:
            old = 0x7674 << 16 | (int(now, 16) + 1 - each) % 0x10000
            node.ofctl("add-flow", "br0", f"cookie=0x{old:x}00000000, table=9, priority=7,metadata={each} actions=drop")
        assert len(flows(node)) == len(entries) + len(behind)
    assert flows(node) == entries


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_switch_that_was_restarted_gets_everything_again(site: Site, how: signal.Signals) -> None:
    node, stations = site.node, site.stations(3)
    teach(node, site.p0, *stations, site.p0.mac)
    teach(node, site.p1, site.p1.mac)
    published = {row["MAC"]: row["_uuid"] for row in node.rows("Ucast_Macs_Local")}
    before = node.ofctl("dump-flows", "br0").count("cookie=0x7674")
    node.vswitchd.stop(how)
    node.start_vswitchd()
    node.app.wait_log(r"(?s)disconnected.*^br0: switch \w+ is served$", 20)
    site.lab.wait_until(lambda: site.p0.ping(site.far, count=1), what="an answer through the tunnel")
    assert site.far.ping(site.p1) == site.p1.ping(site.p0) == 3
    assert published.items() <= {row["MAC"]: row["_uuid"] for row in node.rows("Ucast_Macs_Local")}.items()
    assert site.goes_to(stations[0]) == {"p0"}
    assert node.ofctl("dump-flows", "br0").count("cookie=0x7674") == before


def test_a_tunnel_ip_that_changes_while_the_program_is_down_is_followed(site: Site) -> None:
    node, stations = site.node, site.stations(3)
    teach(node, site.p0, *stations)
    for ip in ("10.2.2.77", OURS):
        with site.down():
            node.vtep_ctl("set", "Physical_Switch", "br0", f"tunnel_ips={ip}")
        wanted = {("ls0", mac): (ip,) for mac in stations}
        node.wait_until(lambda wanted=wanted: wanted.items() <= node.macs().items(), 5, f"rows that name {ip}")
        assert node.macs("Mcast_Macs_Local") == {("ls0", "unknown-dst"): (ip,)}
        ips = {row["dst_ip"] for row in node.rows("Physical_Locator")}
        assert ips == {ip, FAR}
