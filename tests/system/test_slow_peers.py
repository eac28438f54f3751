"""Switches and databases that stop reading, answer late or are cut off: the others go on, and it ends well."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.lab import Host, Lab, Node
from tests.system import support
from tests.system.relay import Relay
from tests.system.traffic import FAR, TwoVteps, no_packet_lost, traffic

pytestmark = pytest.mark.timeout(200)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
RELAYED = 6654
ROWS = 1_500
MEGABYTE = 1 << 20
NO_ANSWER = r"switch \w+ disconnected: no answer for 15 s$"


class Site(TwoVteps):
    """br0 reaches the program by a relay, as the program reaches the databases; br1 is beside it, with q0 in ls1."""

    q0: Host
    options: tuple[str, ...]
    switch: Relay
    hardware_vtep: Relay
    open_vswitch: Relay

    def warnings(self) -> list[str]:
        """The warnings and errors of this run."""
        return re.findall(r"^\S+Z (?:WARNING|ERROR|CRITICAL) (.*)$", self.node.app.logfile.read_text(), re.MULTILINE)

    def rewrite(self, logical_switch: str, generation: int) -> None:
        """Have the NVC replace all addresses of a logical switch by as many others."""
        (switch,) = (row["_uuid"] for row in self.node.rows("Logical_Switch") if row["name"] == logical_switch)
        (locator,) = (row["_uuid"] for row in self.node.rows("Physical_Locator") if row["dst_ip"] == FAR)
        where = [["logical_switch", "==", ["uuid", switch]], ["MAC", "!=", self.far.mac]]
        refer = {"logical_switch": ["uuid", switch], "locator": ["uuid", locator]}
        macs = (f"02:20:{generation:02x}:00:{n >> 8:02x}:{n & 255:02x}" for n in range(ROWS))
        self.node.transact(
            {"op": "delete", "table": "Ucast_Macs_Remote", "where": where},
            *({"op": "insert", "table": "Ucast_Macs_Remote", "row": {"MAC": mac, **refer}} for mac in macs),
        )

    def generation(self) -> tuple[set[str], int]:
        """Of which generations br0 has addresses, and how many."""
        found = re.findall(r"priority=200,\S*dl_dst=02:20:(..)", support.table_flows(self.node, "unicast"))
        return set(found), len(found)

    def await_generation(self, number: int) -> None:
        """Wait until br0 has the addresses of one generation alone."""
        self.node.wait_until(lambda: self.generation() == ({f"{number:02x}"}, ROWS), 60, f"generation {number}")


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    made = Site(lab)
    node = made.node
    node.app.stop()
    places = [Path(node.directory, name) for name in ("vtep-relay.sock", "ovs-relay.sock")]
    with (
        Relay.unix(places[0], node.socket) as made.hardware_vtep,
        Relay.unix(places[1], node.socket) as made.open_vswitch,
        Relay.tcp(node, RELAYED, 6653) as made.switch,
    ):
        made.options = (
            f"--vtep-hardware-vtep-remotes=unix:{places[0]}",
            f"--vtep-open-vswitch-remotes=unix:{places[1]}",
            "--vtep-statistics-interval=0",
        )
        node.start_app(*made.options)
        node.vsctl("set-controller", "br0", f"tcp:127.0.0.1:{RELAYED}")
        node.app.wait_log(r"^br0: switch \w+ is served$")
        node.add_bridge("br1")
        made.q0 = node.add_port("q0", bridge="br1")
        node.vtep_ctl("add-ps", "br1")
        node.vsctl("set-controller", "br1", support.CONTROLLER)
        node.app.wait_log(r"^br1: switch \w+ is served$")
        support.add_logical_switch(node, "ls1", 6000)
        support.bind(node, "ls1", "q0", bridge="br1")
        made.rewrite("ls0", 1)
        made.await_generation(1)
        yield made


@pytest.fixture
def node(site: Site) -> Node:
    return site.node


def seconds_until_learned(node: Node, site: Site) -> float:
    """How long br1 takes to learn a station, until that is in its flows."""
    mac, began = site.lab.new_mac(), time.monotonic()
    site.q0.send(support.new_frame(mac))
    node.wait_until(lambda: f"dl_src={mac}" in node.ofctl("dump-flows", "br1", "table=2"), what=f"{mac} in br1")
    return time.monotonic() - began


def test_a_switch_and_a_database_that_hang_are_one_warning_each_and_delay_nobody_else(site: Site, node: Node) -> None:
    said, memory, generation = len(site.warnings()), node.app.memory(), 1
    with no_packet_lost(*site.pairs):
        site.switch.hold()
        site.open_vswitch.hold()
        longest = 0.0
        while len(site.warnings()) < said + 2:
            generation += 1
            site.rewrite("ls0", generation)
            longest = max(longest, seconds_until_learned(node, site))
            assert node.app.memory() - memory < 60 * MEGABYTE
            assert generation < 200
        assert longest < 5, "it hangs for 15 s"
        gone = site.warnings()[said:]
        site.switch.release()
        site.open_vswitch.release()
        site.await_generation(generation)
        node.wait_until(lambda: len(site.said("Open_vSwitch: connected")) == 2, 30, "Open_vSwitch to be back")
    # Open vSwitch reads its routes anew when there is another link, and can lose a packet meanwhile.
    node.vsctl("add-port", "br1", "new", "--", "set", "Interface", "new", "type=internal")
    node.wait_until(lambda: "new" in support.physical_ports(node, "br1"), what="a change there to be followed")
    assert sorted(gone)[0] == "Open_vSwitch: connection lost, trying again"
    assert re.match(NO_ANSWER, sorted(gone)[1])
    assert site.warnings()[said:] == gone
    assert node.app.memory() - memory < 60 * MEGABYTE


@pytest.mark.parametrize(("size", "generation"), [(60_000, 201), (100, 202), (200_000, 203)][: 3 if LONG else 1])
def test_a_connection_that_is_cut_in_the_middle_of_a_bundle_is_made_up_for(
    site: Site, node: Node, size: int, generation: int
) -> None:
    said, served = len(site.warnings()), len(site.said(r"br0: switch \w+ is served"))
    with no_packet_lost(*site.pairs):
        site.switch.cut_after(size)
        site.rewrite("ls0", generation)
        node.wait_until(lambda: len(site.said(r"br0: switch \w+ is served")) > served, 30, "br0 to be served again")
        site.await_generation(generation)
    (warning,) = site.warnings()[said:]
    assert re.match(r"switch \w+ disconnected", warning)


def test_a_database_that_answers_late_gets_every_row_once(site: Site, node: Node) -> None:
    said, late = len(site.warnings()), 1.0
    new, stations = site.lab.new_mac(), [site.lab.new_mac() for _ in range(20)]
    site.hardware_vtep.delay = late
    try:
        with no_packet_lost(*site.pairs):
            for mac in stations:
                site.p0.send(support.new_frame(mac))
                time.sleep(0.1)
            node.vtep_ctl("add-ucast-remote", "ls0", new, FAR)
            node.wait_until(lambda: new in support.table_flows(node, "unicast"), what="a change of the NVC")
            wanted = {("ls0", mac) for mac in stations}
            node.wait_until(lambda: wanted <= node.macs().keys(), what="all stations")  # It refuses two of one.
    finally:
        site.hardware_vtep.delay = 0
    assert site.warnings()[said:] == []


@pytest.mark.parametrize("seconds", [2, 20] if LONG else [2])
def test_ovs_vswitchd_that_stands_still_goes_on_where_it_was(site: Site, node: Node, seconds: int) -> None:
    said, served = len(site.warnings()), len(site.said(r"br\d: switch \w+ is served"))
    rows = support.identities(node, "Physical_Port", "Ucast_Macs_Local", "Mcast_Macs_Local")
    memory = node.app.memory()
    with traffic(*site.pairs) as streams:
        node.vswitchd.signal(signal.SIGSTOP)
        try:
            site.rewrite("ls0", 210 + seconds)
            time.sleep(seconds)
        finally:
            node.vswitchd.signal(signal.SIGCONT)
        woken = time.time()
        site.await_generation(210 + seconds)
        if seconds > 15:
            what = "both switches to be served again"
            node.wait_until(lambda: len(site.said(r"br\d: switch \w+ is served")) == served + 2, what=what)
    for stream in streams:
        print(f"\nstopped for {seconds} s: {stream.lost} of {stream.sent} lost, latest {stream.latest:.2f} s")
        assert all(outage.end - woken < 3 for outage in stream.outages)
    assert all(re.match(NO_ANSWER, warning) for warning in site.warnings()[said:])
    assert len(site.warnings()[said:]) == (2 if seconds > 15 else 0), "one for each switch"
    assert support.identities(node, "Physical_Port", "Ucast_Macs_Local", "Mcast_Macs_Local") == rows
    assert node.app.memory() - memory < 60 * MEGABYTE


@pytest.mark.parametrize("which", ["open_vswitch", "hardware_vtep"] if LONG else ["open_vswitch"])
def test_a_database_that_is_silent_from_the_start_is_waited_for_and_said_once(
    site: Site, node: Node, which: str
) -> None:
    node.app.stop()
    name = {"hardware_vtep": "hardware_vtep", "open_vswitch": "Open_vSwitch"}[which]
    relay: Relay = getattr(site, which)
    relay.hold()
    try:
        node.start_app(*site.options)
        node.app.wait_log(rf"^{name}: unix:\S+ does not answer; waiting for it$", 15)
        time.sleep(14 if LONG else 1)
    finally:
        relay.release()
    node.app.wait_log(r"^br0: switch \w+ is served$", 20)
    assert len([warning for warning in site.warnings() if warning.startswith(name)]) == 1
