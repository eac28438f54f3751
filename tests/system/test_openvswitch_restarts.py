"""Open vSwitch's daemons are killed and start again, and its controllers change, under traffic that is counted."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.lab import Lab, Node
from tests.system import support
from tests.system.relay import Relay
from tests.system.traffic import FAR, OURS, Stream, TwoVteps, no_packet_lost, traffic

pytestmark = pytest.mark.timeout(580)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
FLOWS = 100_000 if LONG else 3_000
TABLES = ("Physical_Switch", "Physical_Port", "Ucast_Macs_Local", "Mcast_Macs_Local")
SERVED = r"br0: switch \w+ is served"
ELSEWHERE = "tcp:127.0.0.1:9"


class Site(TwoVteps):
    """hardware_vtep has an ovsdb-server of its own, which is reached by way of a relay."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.node.app.stop()
        self.node.start_vtep_server()
        self.path = Path(self.node.directory, "relay.sock")

    def start(self) -> None:
        self.node.start_app(f"--vtep-hardware-vtep-remotes=unix:{self.path}")
        self.await_served(0)

    def await_served(self, before: int) -> None:
        """Wait until the switch was served more often than before."""
        self.node.wait_until(lambda: len(self.said(SERVED)) > before, 60, "the switch to be served")

    def connections(self) -> int:
        """How often hardware_vtep has been connected to."""
        return len(self.said("hardware_vtep: connected"))

    def await_connected(self, before: int) -> None:
        self.node.wait_until(lambda: self.connections() > before, 60, "hardware_vtep to be connected")


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    return Site(lab)


@pytest.fixture(scope="module")
def relay(site: Site) -> Iterator[Relay]:
    """On the way from the program to the server of hardware_vtep."""
    with Relay.unix(site.path, site.node.vtep_socket) as made:
        site.start()
        yield made


@pytest.fixture
def node(site: Site, relay: Relay) -> Node:
    return site.node


def contents(node: Node) -> dict[str, dict[str, Any]]:
    """The rows of ours by _uuid; a server that starts gives each a new _version, and counters go on."""
    kept = {row["_uuid"]: row for table in TABLES for row in node.rows(table)}
    return {uuid: {k: v for k, v in row.items() if k not in ("_version", "vlan_stats")} for uuid, row in kept.items()}


def print_losses(what: str, streams: list[Stream]) -> None:
    """For docs/reliability.rst; pytest shows it with -s."""
    for stream in streams:
        print(f"\n{what}: {stream.lost} of {stream.sent} lost, latest {stream.latest:.2f} s, {stream.outages}")


def test_after_ovs_vswitchd_was_killed_frames_pass_within_a_second_of_its_reconnect(site: Site, node: Node) -> None:
    site.insert_remotes(FLOWS)
    flows, served = site.flow_count(), len(site.said(SERVED))
    rows = support.identities(node, *TABLES)
    with traffic(*site.pairs) as streams:
        node.vswitchd.kill()
        node.start_vswitchd()
        site.await_served(served)
        assert site.flow_count() == flows, "none before and as many after"
    print_losses("ovs-vswitchd killed", streams)
    back = site.said(r"switch \w+ connected")[-1]
    assert max(outage.end for stream in streams for outage in stream.outages) - back < 1
    assert support.identities(node, *TABLES) == rows


def test_a_switch_that_was_started_anew_looks_for_the_program_every_second(site: Site, node: Node) -> None:
    served, log = len(site.said(SERVED)), node.directory / "ovs-vswitchd.log"
    node.vswitchd.kill()
    node.start_vswitchd()
    site.await_served(served)
    began = len(log.read_text())
    node.app.stop()
    time.sleep(4)  # Where it waits for longer than a second it says so.
    waits = re.findall(r"waiting \d+ seconds before reconnect", log.read_text()[began:])
    site.start()
    assert not waits


@pytest.mark.parametrize("seconds", [0.5, 12] if LONG else [2])
def test_while_the_server_of_hardware_vtep_is_away_nothing_is_lost_and_what_changed_is_applied(
    site: Site, node: Node, seconds: float
) -> None:
    rows, connections = contents(node), site.connections()
    new, station = site.lab.new_mac(), site.lab.new_mac()
    with no_packet_lost(*site.pairs):
        node.vtep_server.kill()
        site.p0.send(support.new_frame(station))  # Which cannot be published.
        node.app.wait_log(f"{station} learned")
        time.sleep(seconds)
        # The NVC is faster than the program.
        aside = node.directory / "nvc.sock"
        node.start_vtep_server(f"punix:{aside}")
        node.run("vtep-ctl", f"--db=unix:{aside}", "add-ucast-remote", "ls0", new, FAR)
        node.vtep_server.kill()
        aside.unlink(missing_ok=True)
        node.start_vtep_server()
        site.await_connected(connections)
        node.wait_until(lambda: new in support.table_flows(node, "unicast"), what="the change of the NVC")
        node.wait_until(lambda: ("ls0", station) in node.macs(), what="the new station")
    after = contents(node)
    assert {uuid: after.get(uuid) for uuid in rows} == rows
    assert len(after) == len(rows) + 1


@pytest.mark.parametrize("moment", ["before it is read", "after it is done"])
def test_a_write_that_was_cut_off_is_made_again_and_there_is_one_row_each(
    site: Site, node: Node, relay: Relay, moment: str
) -> None:
    rows, connections, stations = contents(node), site.connections(), []
    with no_packet_lost(*site.pairs):
        if moment == "before it is read":
            relay.hold()
        else:
            relay.cut_after(0)  # The server's answer does not arrive.
        stations += [site.lab.new_mac() for _ in range(20)]
        site.p0.send(*map(support.new_frame, stations))
        node.app.wait_log(f"{stations[-1]} learned")
        if moment == "before it is read":
            relay.cut()
            relay.release()
        site.await_connected(connections)
        wanted = {("ls0", mac) for mac in stations}
        node.wait_until(lambda: wanted <= node.macs().keys(), what="the stations' rows")  # It refuses two of one.
    after = contents(node)
    assert {uuid: after.get(uuid) for uuid in rows} == rows
    assert len(after) == len(rows) + len(stations)


def replace(node: Node, database: Path) -> None:
    """hardware_vtep is another file from now on; the old one is kept as old.db."""
    node.vtep_server.kill()
    file = node.directory / "vtep.db"
    file.rename(node.directory / "old.db")
    database.rename(file)
    node.start_vtep_server()


def test_a_restored_copy_of_hardware_vtep_is_followed_and_gets_what_it_lacks(site: Site, node: Node) -> None:
    copy, since, dropped = node.directory / "copy.db", site.lab.new_mac(), site.lab.new_mac()
    node.vtep_ctl("add-ucast-remote", "ls0", dropped, FAR)
    node.wait_until(lambda: dropped in support.table_flows(node, "unicast"), what="a remote address")
    copy.write_bytes((node.directory / "vtep.db").read_bytes())
    rows = contents(node)
    node.vtep_ctl("del-ucast-remote", "ls0", dropped)
    support.teach(node, site.p0, since)
    connections = site.connections()
    with no_packet_lost(*site.pairs):
        replace(node, copy)
        site.await_connected(connections)
        node.wait_until(lambda: dropped in support.table_flows(node, "unicast"), what="the copy to be followed")
        node.wait_until(lambda: ("ls0", since) in node.macs(), what="the station that was learned since")
    after = contents(node)
    assert {uuid: after.get(uuid) for uuid in rows} == rows
    assert len(after) == len(rows) + 1


def test_an_empty_hardware_vtep_ends_the_vtep_and_what_is_written_there_makes_it_one_again(
    site: Site, node: Node
) -> None:
    empty, served = node.directory / "empty.db", len(site.said(SERVED))
    node.run("ovsdb-tool", "create", str(empty), "/usr/share/openvswitch/vtep.ovsschema")
    with traffic(*site.pairs) as streams:
        replace(node, empty)
        node.app.wait_log("^br0: not a VTEP any more$")
        node.app.wait_log("^br0: flows and groups of the VTEP that it was are removed$")
        assert "0x7674" not in node.ofctl("dump-flows", "br0")
        node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", f"tunnel_ips={OURS}")
        site.await_served(served)
        site.fill()
    print_losses("hardware_vtep empty", streams)
    assert node.macs().keys() >= {("ls0", site.p0.mac), ("ls0", site.p1.mac)}


def test_a_bridge_that_is_pointed_elsewhere_goes_on_forwarding_and_is_recovered(site: Site, node: Node) -> None:
    rows, served = support.identities(node, *TABLES), len(site.said(SERVED))
    disconnected, new = len(site.said(r"switch \w+ disconnected")), site.lab.new_mac()
    with no_packet_lost(*site.pairs):
        node.vsctl("--no-wait", "set-controller", "br0", ELSEWHERE)
        node.wait_until(lambda: len(site.said(r"switch \w+ disconnected")) == disconnected + 1, what="it to be said")
        node.vtep_ctl("add-ucast-remote", "ls0", new, FAR)
        time.sleep(1)
        node.vsctl("set-controller", "br0", support.CONTROLLER)
        site.await_served(served)
        node.wait_until(lambda: new in support.table_flows(node, "unicast"), what="the change of the NVC")
    assert support.identities(node, *TABLES) == rows


def test_a_bridge_whose_controller_was_deleted_forwards_again_when_it_has_one_again(site: Site, node: Node) -> None:
    rows, served = support.identities(node, *TABLES), len(site.said(SERVED))
    disconnected = len(site.said(r"switch \w+ disconnected"))
    with traffic(*site.pairs) as streams:
        node.vsctl("del-controller", "br0")
        node.wait_until(lambda: len(site.said(r"switch \w+ disconnected")) == disconnected + 1, what="it to be said")
        time.sleep(1)
        node.vsctl("set-controller", "br0", support.CONTROLLER)
        site.await_served(served)
    print_losses("del-controller", streams)
    back = site.said(r"switch \w+ connected")[-1]
    assert max(outage.end for stream in streams for outage in stream.outages) - back < 1
    assert support.identities(node, *TABLES) == rows


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM][: 2 if LONG else 1])
def test_while_the_server_of_open_vswitch_is_away_ovs_vswitchd_stands_still_and_then_goes_on(
    site: Site, node: Node, how: signal.Signals
) -> None:
    """As many packets are lost as find no room in the queues of its ports; the others are late."""
    rows = support.identities(node, *TABLES)
    before = len(site.said("Open_vSwitch: connected"))
    with traffic(*site.pairs) as streams:
        node.ovsdb_server.stop(how)
        time.sleep(0.2)
        node.start_ovsdb("ovs")
        node.wait_until(lambda: len(site.said("Open_vSwitch: connected")) > before, what="Open_vSwitch to be back")
        for stream in streams:
            stream.wait_answer(time.time())
    print_losses("ovsdb-server of Open_vSwitch", streams)
    assert max(stream.latest for stream in streams) > 0.2
    assert support.identities(node, *TABLES) == rows
