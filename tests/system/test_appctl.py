"""What ovs-appctl is told: of a real switch, by the application and by vtep-ryu, as text and as JSON."""

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import pytest

from apps.lab import Frame, Lab, LabError, Node
from apps.lab.frames import BROADCAST
from tests.system import command, support
from tests.system.command import Command
from tests.system.support import ThreePorts, ask, bind, teach
from vtep_ryu.show.commands import COMMANDS

REMOTE = "00:11:22:33:44:55"
GROUP = "01:00:5e:01:01:01"
UNKNOWN = "02:ff:ff:ff:ff:ff"


def asked(node: Node, *words: str) -> dict[str, Any]:
    """The document that the application answers with."""
    return dict(json.loads(ask(node, *words, "--format", "json")))


@pytest.fixture(scope="module")
def site(lab: Lab) -> ThreePorts:
    """A VTEP: ls0 at p0 untagged and p1 VLAN 7, with one address here, one elsewhere, and a multicast address."""
    node = lab.node("a", "10.2.2.1/24")
    lab.peer("peer", "10.2.2.2/24")
    hosts = [node.add_port(f"p{number}") for number in range(3)]
    support.set_up(node)
    support.add_logical_switch(node, "ls0", 5000, "10.2.2.2", "10.2.2.3")
    bind(node, "ls0", "p0")
    bind(node, "ls0", "p1", vlan=7)
    node.vtep_ctl("add-ucast-remote", "ls0", REMOTE, "10.2.2.2")
    node.vtep_ctl("add-mcast-remote", "ls0", GROUP, "10.2.2.2")
    teach(node, hosts[0], hosts[0].mac)
    node.wait_until(lambda: GROUP in ask(node, "mdb/show", "ls0"), what="the multicast address")
    return ThreePorts(node, *hosts, lab)


def test_every_command_is_listed_with_its_arguments(site: ThreePorts) -> None:
    listed = ask(site.node, "list-commands")
    for each in COMMANDS:
        assert f"  {each.name:<23} {each.usage}\n" in listed
        assert "[--format text|json]" in each.usage
    for name in ("vtep/status", "vlog/set", "exit", "version"):
        assert re.search(rf"(?m)^  {name} .*\[--format text\|json\]$", listed)


def test_vtep_show_is_a_tree_of_what_there_is(site: ThreePorts) -> None:
    (row,) = site.node.rows("Physical_Switch")
    datapath = site.node.vsctl("get", "Bridge", "br0", "datapath_id").strip().strip('"')
    assert ask(site.node, "vtep/show").splitlines() == [
        "br0",
        f"    Physical_Switch {row['_uuid']}: tunnel_ips 10.2.2.1",
        f"    switch {datapath} is served",
        "    Logical_Switch ls0: VNI 5000, service_node; 1 address here, 1 behind other VTEPs",
        "        p0 untagged",
        "        p1 VLAN 7",
        "        unknown-dst: 10.2.2.2, 10.2.2.3",
        "    tunnel to 10.2.2.2: no BFD",
        "    tunnel to 10.2.2.3: no BFD",
        "    no faults",
    ]


def test_vtep_show_has_the_rows_uuids_and_states_as_json(site: ThreePorts) -> None:
    (switch,) = asked(site.node, "vtep/show", "br0")["physical_switches"]
    (logical,) = switch["logical_switches"]
    ports = {row["name"]: row["_uuid"] for row in site.node.rows("Physical_Port")}
    assert switch["served"] is True
    assert logical["bindings"] == [
        {"port": "p0", "vlan": 0, "physical_port": ports["p0"], "state": "up"},
        {"port": "p1", "vlan": 7, "physical_port": ports["p1"], "state": "up"},
    ]
    tunnels = {row["_uuid"] for row in site.node.rows("Tunnel")}
    assert {tunnel["uuid"] for tunnel in switch["tunnels"]} == tunnels


def test_fdb_show_has_where_each_address_is(site: ThreePorts) -> None:
    assert ask(site.node, "fdb/show", "ls0").splitlines() == [
        "br0: ls0 has 1 address here, 1 behind other VTEPs",
        *sorted([f"    {REMOTE}  10.2.2.2 VNI 5000", f"    {site.p0.mac}  p0 untagged"]),
    ]
    (row,) = site.node.rows("Ucast_Macs_Remote")
    (switch,) = asked(site.node, "fdb/show", "ls0")["physical_switches"]
    (remote,) = (each for each in switch["addresses"] if each["kind"] == "remote")
    assert (remote["mac"], remote["ucast_macs_remote"]) == (REMOTE, [row["_uuid"]])


def test_a_logical_switch_goes_by_its_uuid_too(site: ThreePorts) -> None:
    (row,) = site.node.rows("Logical_Switch")
    assert ask(site.node, "fdb/show", row["_uuid"]) == ask(site.node, "fdb/show", "ls0")


def test_mdb_show_has_who_gets_what_is_replicated(site: ThreePorts) -> None:
    rows = {row["MAC"]: row["_uuid"] for row in site.node.rows("Mcast_Macs_Remote")}
    assert ask(site.node, "mdb/show", "ls0").splitlines() == [
        "br0: ls0, service_node",
        "    every binding: p0 untagged, p1 VLAN 7",
        f"    unknown-dst: one of (Mcast_Macs_Remote {rows['unknown-dst']})",
        "        10.2.2.2  VNI 5000  no BFD  gets frames",
        "        10.2.2.3  VNI 5000  no BFD",
        f"    {GROUP}: one of (Mcast_Macs_Remote {rows[GROUP]})",
        "        10.2.2.2  VNI 5000  no BFD  gets frames",
    ]


def dumped(node: Node) -> str:
    """What ovs-ofctl prints of flows and groups, without cookies and flags."""
    flows = re.sub(r"cookie=\w+, (?!table)", "table=0, ", node.ofctl("dump-flows", "br0", "--no-stats"))
    flows = re.sub(r"cookie=\w+, ", "", flows).replace("send_flow_rem ", "")
    return flows + node.ofctl("dump-groups", "br0")


@pytest.mark.parametrize("kind", ["local", "remote", "multicast", "broadcast", "unknown"])
def test_mac_explain_has_flows_and_groups_as_ovs_ofctl_prints_them(site: ThreePorts, kind: str) -> None:
    macs = {"local": site.p0.mac, "remote": REMOTE, "multicast": GROUP, "broadcast": BROADCAST, "unknown": UNKNOWN}
    (switch,) = asked(site.node, "mac/explain", "ls0", macs[kind])["physical_switches"]
    there = dumped(site.node)
    assert switch["flows"]
    for each in switch["flows"]:
        assert f" {each['flow']}\n" in there
        assert each["packets"] is not None
    for group in switch["groups"]:
        buckets = ",".join(f"bucket={each['bucket']}" for each in group["buckets"])
        kinds = {"fast_failover": "ff"}
        assert f" group_id={group['id']},type={kinds.get(group['type'], group['type'])},{buckets}\n" in there
    assert bool(switch["groups"]) is (kind in ("multicast", "broadcast", "unknown"))


def test_mac_explain_reads_counters_at_that_moment(site: ThreePorts) -> None:
    def packets() -> int:
        (switch,) = asked(site.node, "mac/explain", "ls0", BROADCAST)["physical_switches"]
        (group,) = (group for group in switch["groups"] if group["type"] == "all")
        return int(group["buckets"][0]["packets"])

    before = packets()
    site.p0.send(*(Frame(BROADCAST, site.p0.mac) for _ in range(7)))
    # ovs-vswitchd adds up what its datapath has counted once a second or so.
    site.node.wait_until(lambda: packets() >= before + 7, what="7 more copies")


def test_mac_explain_names_what_would_have_won_otherwise(site: ThreePorts) -> None:
    """An address moves to and fro: whoever is not followed is named, with the row and why."""
    node, (mac,) = site.node, site.stations(1)

    def explained() -> str:
        return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "UUID", ask(node, "mac/explain", "ls0", mac))

    flooded = "a frame for it is flooded to p0 untagged, p1 VLAN 7, 10.2.2.2 VNI 5000\n    since nothing is known of it"
    assert flooded in explained()
    teach(node, site.p0, mac)
    assert "a frame for it goes to p0 untagged\n    since it was learned there (Physical_Port UUID)" in explained()
    node.vtep_ctl("add-ucast-remote", "ls0", mac, "10.2.2.4")
    remote = "a frame for it goes to 10.2.2.4 VNI 5000\n    since its row has locator 10.2.2.4 (Ucast_Macs_Remote UUID)"
    node.wait_until(lambda: remote in explained(), what="the row to count")
    teach(node, site.p0, mac)
    why_not = "a frame from a local port came after the row was written"
    assert f"    not to 10.2.2.4 VNI 5000 (Ucast_Macs_Remote UUID): {why_not}\n" in explained()
    node.vtep_ctl("del-ucast-remote", "ls0", mac)


def test_trace_follows_a_broadcast_in_words(site: ThreePorts) -> None:
    lines = ask(site.node, "trace", "p0", "0", site.p0.mac, BROADCAST).splitlines()
    assert lines[:-1] == [
        f"br0: p0 untagged, from {site.p0.mac} to {BROADCAST}",
        "    classify   p0 untagged is bound to ls0, VNI 5000",
        "    learn      the source is known here",
        "    unicast    the destination is multicast or broadcast",
        "    multicast  it has no VTEPs of its own",
        "    flood      copies to every binding and the VTEPs of unknown-dst",
        "        bucket 0   a copy for p0 untagged",
        "            egress     it came by p0 untagged: dropped",
        "        bucket 1   a copy for p1 VLAN 7",
        "            egress     leaves by p1, with VLAN tag 7",
        "        bucket 0   a copy for 10.2.2.2 VNI 5000",
        "            tunnel     leaves for 10.2.2.2 VNI 5000",
        "delivered to p1 VLAN 7, 10.2.2.2 VNI 5000",
    ]
    assert "vni=0x1388" in lines[-1]


@pytest.mark.parametrize(
    ("port", "vlan", "source", "destination", "words", "to"),
    [
        ("p1", "7", "new", "p0", ["source is not known here: on, with a copy", "is at p0 untagged"], ["p0 untagged"]),
        ("p0", "0", "p0", REMOTE, ["destination is behind 10.2.2.2 VNI 5000"], ["10.2.2.2 VNI 5000"]),
        ("p0", "0", "p0", GROUP, ["multicast  copies to its VTEPs"], ["10.2.2.2 VNI 5000", "p1 VLAN 7"]),
        ("p0", "0", "p0", UNKNOWN, ["the destination is not known"], ["p1 VLAN 7", "10.2.2.2 VNI 5000"]),
        ("p0", "0", "p0", "p0", ["egress     it came by p0 untagged: dropped"], []),
        ("p0", "0", GROUP, "p0", ["no station has this source: dropped"], []),
        ("p1", "8", "new", "p0", ["p1 VLAN 8 is bound to no logical switch: dropped"], []),
    ],
)
def test_trace_says_who_gets_a_frame(
    site: ThreePorts, port: str, vlan: str, source: str, destination: str, words: list[str], to: list[str]
) -> None:
    macs = {"p0": site.p0.mac, "new": UNKNOWN}
    command = ("trace", port, vlan, macs.get(source, source), macs.get(destination, destination))
    said = ask(site.node, *command)
    assert all(word in said for word in words), said
    assert asked(site.node, *command)["delivered"] == to


def test_trace_says_that_a_vteps_mac_address_is_not_known_yet(site: ThreePorts) -> None:
    site.node.vtep_ctl("add-ucast-remote", "ls0", UNKNOWN, "10.2.2.77")
    there = ("trace", "br0", "p0", "0", site.p0.mac, UNKNOWN)
    try:
        site.node.wait_until(lambda: "is behind 10.2.2.77" in ask(site.node, *there), what="the row to count")
        assert asked(site.node, *there)["delivered"] == []
        remark = "the switch does not know the MAC address of 10.2.2.77 yet: it asks for it, and drops the frame"
        assert asked(site.node, *there)["remarks"] == [remark]
    finally:
        site.node.vtep_ctl("del-ucast-remote", "ls0", UNKNOWN)


def test_trace_says_why_the_switch_cannot_be_asked(site: ThreePorts) -> None:
    pidfile = site.node.directory / "ovs-vswitchd.pid"
    hidden = pidfile.rename(f"{pidfile}.hidden")
    try:
        with pytest.raises(LabError, match=rf"(?m)^there is no ovs-vswitchd.pid in {site.node.directory}, /run/openv"):
            ask(site.node, "trace", "p0", "0", site.p0.mac, BROADCAST)
    finally:
        hidden.rename(pidfile)


def test_event_show_has_what_happened_in_order(site: ThreePorts) -> None:
    node, (mac,) = site.node, site.stations(1)
    begin = time.time()
    teach(node, site.p0, mac)
    teach(node, site.p1, mac, vlan=7)
    node.wait_until(lambda: re.search(rf"moved +{mac} ", ask(node, "event/show")), what="the move")
    events = [each for each in asked(node, "event/show", "br0")["events"] if each["fields"].get("mac") == mac]
    assert [each["event"] for each in events] == ["learned", "moved"]
    assert [each["fields"]["at"] for each in events] == ["p0 untagged", "p1 VLAN 7"]
    assert begin <= events[0]["time"] <= events[1]["time"] <= time.time()
    kept = asked(node, "event/show")["events"]
    assert [each["number"] for each in kept] == list(range(1, len(kept) + 1))
    assert ("connected", "br0") in [(each["event"], each["physical_switch"]) for each in kept]


def test_coverage_show_has_every_counter_and_its_rate(site: ThreePorts) -> None:
    counted = {each["name"]: each for each in asked(site.node, "coverage/show")["counters"]}
    learned = support.counters(site.node)["br0"]["addresses_learned"]
    assert counted["addresses_learned"]["total"] >= learned > 0
    assert counted["addresses_learned"]["per_second"].keys() == {"5s", "1m", "1h"}
    assert "frozen_now" not in counted
    assert re.search(r"(?m)^br0  addresses_learned +\d+\.\d/sec .*  total: \d+$", ask(site.node, "coverage/show"))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("fdb/show",), r"usage: fdb/show LS \[--format text\|json\]"),
        (("fdb/show", "ls9"), "there is no Logical_Switch with the name or UUID ls9"),
        (("trace", "p0", "0", UNKNOWN), r"usage: trace \[PS-NAME\] PORT VLAN SRC DST \[--format text\|json\]"),
        (("trace", "p9", "0", UNKNOWN, UNKNOWN), "br0 has no port p9, or is not connected"),
        (("trace", "p0", "4095", UNKNOWN, UNKNOWN), "the VLAN is '4095', must be 0 for untagged, or 1 to 4094"),
        (("mac/explain", "ls0", "p0"), "'p0' is no MAC address, as 00:11:22:33:44:55 is one"),
        (("vtep/show", "br9"), "this instance serves no physical switch br9; it serves: br0"),
        (("vtep/show", "--format", "xml"), "--format is 'xml', must be one of text, json"),
        (("set-options", "--format", "xml"), "--format is 'xml', must be one of text, json"),
    ],
)
def test_what_cannot_be_answered_is_one_line_that_says_why(site: ThreePorts, words: tuple[str, ...], why: str) -> None:
    with pytest.raises(LabError, match=f"(?m)^{why}$"):
        ask(site.node, *words)
    assert "Traceback" not in site.node.app.log()


def test_a_name_that_cannot_be_printed_writes_no_line_of_its_own(site: ThreePorts) -> None:
    site.node.vtep_ctl("add-ls", "two\x1b[2J\nlines")
    bind(site.node, "two\x1b[2J\nlines", "p2", vlan=9)
    try:
        assert "    Logical_Switch two\\x1b[2J\\nlines: no VNI" in ask(site.node, "vtep/show")
        names = [each["name"] for each in asked(site.node, "vtep/show")["physical_switches"][0]["logical_switches"]]
        assert "two\x1b[2J\nlines" in names
    finally:
        site.node.vtep_ctl("unbind-ls", "br0", "p2", "9")
        site.node.vtep_ctl("del-ls", "two\x1b[2J\nlines")


def test_very_many_addresses_are_shown_beside_the_programs_work(site: ThreePorts) -> None:
    count, node = 20_000 if os.environ.get("VTEP_TEST_LONG") == "1" else 4_000, site.node
    (row,) = node.rows("Logical_Switch")
    locators = {"op": "insert", "table": "Physical_Locator", "uuid-name": "it"}
    locators["row"] = {"encapsulation_type": "vxlan_over_ipv4", "dst_ip": "10.2.2.9"}
    macs = [f"06:00:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}" for n in range(count)]
    where = {"logical_switch": ["uuid", row["_uuid"]], "locator": ["named-uuid", "it"]}
    inserts = [{"op": "insert", "table": "Ucast_Macs_Remote", "row": {"MAC": mac, **where}} for mac in macs]
    node.transact(locators, *inserts)
    try:
        node.wait_until(lambda: f"{count + 1} behind" in ask(node, "vtep/show"), 60, "all of them")
        assert set(macs) < {each["mac"] for each in asked(node, "fdb/show", "ls0")["physical_switches"][0]["addresses"]}
        assert f"    {macs[-1]}  10.2.2.9 VNI 5000\n" in ask(node, "fdb/show", "ls0")
        assert "disconnected" not in node.app.log()
    finally:
        node.transact({"op": "delete", "table": "Ucast_Macs_Remote", "where": [["MAC", "!=", REMOTE]]})
        node.wait_until(lambda: "1 behind" in ask(node, "vtep/show"), 60, "them to go")


def test_who_does_not_wait_for_the_answer_is_forgotten(site: ThreePorts) -> None:
    for _ in range(5):
        process = site.node.popen("ovs-appctl", "-t", str(support.sockets(site.node)[0]), "fdb/show", "ls0")
        time.sleep(0.01)
        process.kill()
        process.wait()
    assert ask(site.node, "fdb/show", "ls0")


def test_a_client_can_ask_for_json_before_the_command(site: ThreePorts) -> None:
    """So newer ovs-appctl do: ``ovs-appctl --format json -t vtep-ryu vtep/show``."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        (path,) = support.sockets(site.node)
        connection.connect(str(path))
        lines = connection.makefile("rb")
        for number, (method, words) in enumerate((("set-options", ["--format", "json"]), ("vtep/show", []))):
            connection.sendall(json.dumps({"id": number, "method": method, "params": words}).encode())
            answer = next(iter_json(lines))
            assert (answer["id"], answer["error"]) == (number, None)
    assert [each["name"] for each in answer["result"]["physical_switches"]] == ["br0"]


def iter_json(stream: BinaryIO) -> Iterator[Any]:
    """The JSON objects in a stream, as they come."""
    data = b""
    while piece := stream.read1():  # type: ignore[attr-defined]
        data += piece
        with suppress(ValueError):
            found, data = json.loads(data), b""
            yield found


def test_what_is_text_by_nature_is_text_within_json(site: ThreePorts) -> None:
    assert asked(site.node, "vlog/set", "info") == {"reply-format": "plain", "reply": ""}
    assert asked(site.node, "version")["reply"].startswith("vtep_ryu ")
    assert "  fdb/show " in asked(site.node, "list-commands")["reply"]
    assert asked(site.node, "vtep/status") == support.status(site.node)
    with pytest.raises(LabError, match=r"(?m)^usage: exit \[--format text\|json\]$"):
        ask(site.node, "exit", "now")


def test_vlog_set_takes_open_vswitchs_levels(site: ThreePorts) -> None:
    ask(site.node, "vlog/set", "ANY:console:dbg")
    site.node.app.wait_log("^log level DEBUG$")
    ask(site.node, "vlog/set", "info")
    site.node.app.wait_log("^log level INFO$")
    with pytest.raises(LabError, match=r"(?m)^the level is 'loud', must be one of debug, info, warning, error$"):
        ask(site.node, "vlog/set", "loud")


def test_mac_explain_does_not_say_what_a_switch_has_that_is_away(site: ThreePorts) -> None:
    node = site.node
    node.vsctl("set-controller", "br0", "tcp:127.0.0.1:6699")
    try:
        node.wait_until(lambda: "the switch is not connected" in ask(node, "vtep/show"), what="it to be away")
        said = ask(node, "mac/explain", "ls0", REMOTE)
        assert "a frame for it goes to 10.2.2.2 VNI 5000\n" in said
        assert said.endswith("    the switch is not connected, or not served yet: what it has is not known\n")
    finally:
        node.vsctl("set-controller", "br0", support.CONTROLLER)
        node.wait_until(lambda: "is served" in ask(node, "vtep/show"), 30, "it to be back")


def test_vtep_ryu_answers_for_the_application(lab: Lab) -> None:
    node = lab.node("b", "10.2.3.1/24")
    node.add_port("p0")
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.3.1")
    Command(node).detach()
    try:
        assert node.appctl("vtep-ryu", "vtep/show").startswith("br0\n    Physical_Switch ")
        assert (
            json.loads(node.appctl("vtep-ryu", "vtep/show", "--format=json"))["physical_switches"][0]["name"] == "br0"
        )
        listed = node.appctl("vtep-ryu", "list-commands")
        assert all(f"  {each.name:<23} {each.usage}\n" in listed for each in COMMANDS)
        with pytest.raises(LabError, match=r"(?m)^there is no Logical_Switch with the name or UUID ls9$"):
            node.appctl("vtep-ryu", "fdb/show", "ls9")
        for words in (("vlog/set", "ANY:file:dbg"), ("vlog/list",), ("version",), ("exit",)):
            assert json.loads(node.appctl("vtep-ryu", *words, "--format", "json"))["reply-format"] == "plain"
    finally:
        command.kill_all(node)
