"""vtep-ryu doctor: each thing that it looks for is broken on a real machine, and it says so."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from apps.lab import Lab, Node
from apps.lab.node import SCHEMA_DIRECTORY, SCHEMAS
from tests.system import support
from tests.system.command import PROGRAM, outcome
from vtep_ryu.command.doctor.report import CHECKS, WRONG_USAGE

pytestmark = pytest.mark.timeout(120)

Found = dict[str, str]


def findings(node: Node, *argv: str) -> list[Found]:
    """What it says; its exit status has to be that of the worst."""
    status, output, errors = outcome(node, "doctor", "--format", "json", *argv)
    assert not errors
    document: dict[str, Any] = json.loads(output)
    verdicts = [each["verdict"] for each in document["findings"]]
    worst = "error" if "error" in verdicts else "warning" if "warning" in verdicts else "ok"
    assert (document["verdict"], status) == (worst, ["ok", "warning", "error"].index(worst))
    return list(document["findings"])


def is_said(found: list[Found], check: str, verdict: str, says: str) -> bool:
    """Whether a check has come to this; what is wrong has an advice."""
    return any(
        each["check"] == check and each["verdict"] == verdict and re.search(says, f"{each['subject']}: {each['says']}")
        for each in found
        if each["verdict"] == "ok" or each["advice"]
    )


def says(node: Node, check: str, verdict: str, text: str, *argv: str) -> None:
    """It says so, as soon as what was changed is to be seen."""
    last: list[list[Found]] = []

    def said() -> bool:
        last.append(findings(node, *argv))
        return is_said(last[-1], check, verdict, text)

    try:
        node.wait_until(said, 20, f"{check} {verdict} {text}")
    except Exception as error:
        error.add_note(json.dumps(last[-1:], indent=2))
        raise


@pytest.fixture(scope="module")
def site(lab: Lab) -> Node:
    """A machine with which all is well, and a VTEP that answers."""
    node = lab.node("a", "10.2.2.1/24")
    lab.kernel_vtep("k", "10.2.2.3/24")
    for port in ("p0", "p1"):
        node.add_port(port)
    support.set_up(node)
    support.add_logical_switch(node, "ls0", 5000, "10.2.2.3")
    support.bind(node, "ls0", "p0")
    return node


@pytest.fixture(scope="module")
def bare(lab: Lab) -> Node:
    """A machine on which a physical switch is all that was done."""
    node = lab.node("b", "10.2.2.4/24")
    node.vtep_ctl("add-ps", "br0")
    return node


@contextmanager
def meanwhile(node: Node, *undo: str) -> Iterator[None]:
    """Undo it by vtep-ctl afterwards."""
    try:
        yield
    finally:
        node.vtep_ctl(*undo)


def test_where_all_is_well_it_says_so_and_exits_with_0(site: Node) -> None:
    says(site, "controller", "ok", "br0: tcp:127.0.0.1:6653 is connected")
    found = findings(site, "br0")
    assert {each["verdict"] for each in found} == {"ok"}, found
    assert not any(each["advice"] for each in found)
    checked = {each["check"] for each in found}
    assert checked >= {"daemons", "databases", "versions", "bridge", "fail_mode", "controller", "tunnel_ips", "routes"}
    assert checked >= {"mtu", "vxlan_port", "vni", "bindings", "faults", "locators"}
    assert len(CHECKS) == 12


def test_a_machine_on_which_nothing_is_set_up_yet_for_people_and_programs(bare: Node) -> None:
    found = findings(bare)
    for check, verdict, text in (
        ("daemons", "error", "^vtep_ryu: no application"),
        ("controller", "error", "^br0: the bridge has none"),
        ("fail_mode", "warning", "^br0: is not secure"),
        ("tunnel_ips", "error", "^br0: has none"),
    ):
        assert is_said(found, check, verdict, text), (check, found)
    status, output, _ = outcome(bare, "doctor")
    assert status == 2
    wrong = r"(?m)^error   daemons     vtep_ryu: no application follows these databases\n {20}-> start vtep-ryu"
    assert re.search(wrong, output)
    assert re.search(r"(?m)^ok      daemons     ovs-vswitchd: runs$", output)


def test_addresses_that_are_not_the_machines_or_too_many(bare: Node) -> None:
    bare.vtep_ctl("set", "Physical_Switch", "br0", "tunnel_ips=10.9.9.9,10.2.2.4,127.0.0.1")
    found = findings(bare)
    assert is_said(found, "tunnel_ips", "error", "^br0: 10.9.9.9 is no address of this machine")
    assert is_said(found, "tunnel_ips", "ok", "^br0: 10.2.2.4 is at ")
    assert is_said(found, "tunnel_ips", "warning", "^br0: has 10.2.2.4, 10.9.9.9, 127.0.0.1: one address")
    assert is_said(found, "tunnel_ips", "error", "^br0: 127.0.0.1 is no IPv4 address that other VTEPs can send to")
    device = bare.datapath.interface
    bare.ip("link", "set", device, "down")
    try:
        assert is_said(findings(bare), "tunnel_ips", "error", f"^br0: 10.2.2.4 is at {device}, which is down")
    finally:
        bare.ip("link", "set", device, "up")


def test_a_controller_that_nobody_is_at(bare: Node) -> None:
    bare.vsctl("set-controller", "br0", "tcp:127.0.0.1:6699")
    says(bare, "controller", "error", "^br0: tcp:127.0.0.1:6699 is not connected")


def test_one_of_two_controllers_that_nobody_is_at(site: Node) -> None:
    site.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653", "tcp:127.0.0.1:6699")
    try:
        says(site, "controller", "warning", "^br0: tcp:127.0.0.1:6699 is not connected")
    finally:
        site.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653")


def test_a_switch_without_a_row_and_one_without_a_bridge(bare: Node) -> None:
    assert is_said(findings(bare, "br8"), "bridge", "error", "^br8: there is no Physical_Switch row")
    with meanwhile(bare, "del-ps", "br9"):
        bare.vtep_ctl("add-ps", "br9")
        assert is_said(findings(bare, "br9"), "bridge", "error", "^br9: there is no bridge of this name")


def test_a_server_without_hardware_vtep(lab: Lab) -> None:
    node = lab.node("c", start=False)
    node.create_databases("ovs")
    node.start_ovsdb("ovs")
    found = findings(node)
    assert is_said(found, "databases", "error", "^hardware_vtep: the server at unix:.* does not have it")
    assert is_said(found, "daemons", "error", "^ovs-vswitchd: does not run")


def test_databases_in_two_servers_of_which_one_is_old_and_then_gone(lab: Lab) -> None:
    node = lab.node("d", start=False)
    schema = json.loads(Path(SCHEMA_DIRECTORY, SCHEMAS["vtep"]).read_text())
    del schema["tables"]["Logical_Switch"]["columns"]["replication_mode"]
    old = node.directory / "old.ovsschema"
    old.write_text(json.dumps(schema | {"version": "1.5.0"}))
    node.create_databases("ovs")
    node.run("ovsdb-tool", "create", str(node.directory / "vtep.db"), str(old))
    node.start_ovsdb("ovs")
    node.vtep_socket = node.directory / "vtep.sock"
    node.start_vtep_server(f"punix:{node.vtep_socket}")
    there = ("--", f"--vtep-hardware-vtep-remotes=unix:{node.vtep_socket}")
    found = findings(node, *there)
    assert is_said(found, "databases", "warning", "^hardware_vtep: in another server than Open_vSwitch")
    assert is_said(found, "versions", "warning", "schema 1.5.0 lacks Logical_Switch.replication_mode, which came with")
    node.vtep_server.kill()
    assert is_said(findings(node, *there), "daemons", "error", "^ovsdb-server: hardware_vtep at unix:.*vtep.sock: ")


def test_vteps_to_which_there_is_no_route_or_that_do_not_answer(site: Node) -> None:
    with meanwhile(site, "clear-remote-macs", "ls1", "--", "unbind-ls", "br0", "p1", "8"):
        support.add_logical_switch(site, "ls1", 5001, "192.0.2.9", "10.2.2.66", "host.example")
        support.bind(site, "ls1", "p1", vlan=8)
        found = findings(site)
        assert is_said(found, "routes", "error", "^br0: there is no route from 10.2.2.1 to the VTEP 192.0.2.9")
        assert is_said(found, "locators", "warning", "^br0: 10.2.2.66 answers no ping")
        assert is_said(found, "locators", "error", "^br0: dst_ip host.example is no IPv4 address of a VTEP")
        assert not any("host.example" in each["says"] for each in found if each["check"] == "routes")


def test_a_vtep_whose_bfd_is_down(site: Node) -> None:
    site.wait_until(lambda: len(site.rows("Tunnel")) == 1, what="the only tunnel's row")
    (row,) = site.rows("Tunnel")
    with meanwhile(site, "clear", "Tunnel", row["_uuid"], "bfd_params"):
        site.vtep_ctl("set", "Tunnel", row["_uuid"], "bfd_params:enable=true")
        says(site, "locators", "error", "^br0: BFD with 10.2.2.3 is down")


def test_an_mtu_below_that_is_too_small(site: Node) -> None:
    below = site.datapath.interface
    before = json.loads(site.ip("-json", "link", "show", below))[0]["mtu"]

    def set_mtu(mtu: int) -> None:
        if below == "br-phy":
            site.vsctl("set", "Interface", below, f"mtu_request={mtu}")
        else:
            site.ip("link", "set", below, "mtu", str(mtu))

    set_mtu(1500)
    try:
        text = f"^br0: p0 has MTU 1500, {below} 1500: what is above 1450 bytes does not fit into a tunnel"
        says(site, "mtu", "warning", text)
    finally:
        set_mtu(before)
    says(site, "mtu", "ok", "^br0: ")


def test_a_device_of_the_kernels_on_vxlans_port(site: Node) -> None:
    site.ip("link", "add", "vx9", "type", "vxlan", "id", "9", "dev", "lo", "dstport", "4789")
    try:
        assert is_said(findings(site), "vxlan_port", "error", "^vx9: the kernel's device vx9 takes UDP 4789")
    finally:
        site.ip("link", "del", "vx9")


def test_a_program_on_vxlans_port(site: Node) -> None:
    program = (
        "import socket, sys; s = socket.socket(2, 2); s.bind(('', 4789)); print('there', flush=True); sys.stdin.read()"
    )
    process = site.popen(sys.executable, "-c", program, stdin=-1, stdout=-1)
    try:
        assert process.stdout
        process.stdout.readline()
        assert is_said(findings(site), "vxlan_port", "error", "another program has UDP 4789")
    finally:
        process.kill()
        process.wait()


def test_checksums_that_nobody_fills_in(bare: Node) -> None:
    """In the kernel's datapath whoever transmits does."""
    bare.ip("link", "add", "near", "type", "veth", "peer", "name", "far")
    bare.vsctl("add-port", "br0", "near")
    is_wrong = is_said(findings(bare), "checksums", "error", "^br0: far leaves checksums to its driver")
    assert is_wrong is (bare.datapath.type == "netdev")
    bare.offload_off("far")
    is_right = is_said(findings(bare), "checksums", "ok", "^br0: complete from far")
    assert is_right is (bare.datapath.type == "netdev")


def test_wishes_that_clash_and_bindings_without_a_vni_or_a_port(site: Node) -> None:
    try:
        for name, key in (("ls8", "tunnel_key=6000"), ("ls9", "tunnel_key=6000"), ("ls7", "tunnel_key=0")):
            site.vtep_ctl("add-ls", name, "--", "set", "Logical_Switch", name, key)
        support.bind(site, "ls7", "p1", vlan=7)
        site.del_port("p1")
        found = findings(site)
        assert is_said(found, "vni", "error", "^ls8: VNI 6000 is ls8 and ls9's")
        assert is_said(found, "vni", "warning", "^ls7: is bound, and has tunnel_key 0, which is no VNI: no tunnels")
        assert is_said(found, "bindings", "error", "^br0: VLAN 7 of p1 is bound, but the bridge has no port p1")
    finally:
        site.vsctl("add-port", "br0", "p1")
        site.vtep_ctl("unbind-ls", "br0", "p1", "7")
        for name in ("ls8", "ls9"):
            site.vtep_ctl("del-ls", name)


def test_what_the_application_says_is_wrong(site: Node) -> None:
    support.bind(site, "ls0", "p1", vlan=9)
    site.vsctl("set", "Port", "p1", "tag=5")
    try:
        says(site, "faults", "warning", "^br0: p1: invalid_vlan_map")
    finally:
        site.vsctl("clear", "Port", "p1", "tag")
        site.vtep_ctl("unbind-ls", "br0", "p1", "9")


def as_other(node: Node, *before: str) -> str:
    """What it says when it is run by these words before it."""
    process = node.popen(*before, PROGRAM, "doctor", stdout=subprocess.PIPE)
    output, _ = process.communicate(timeout=30)
    return str(output)


def test_who_may_not_ask_or_has_no_tools_is_told_so(site: Node) -> None:
    said = as_other(site, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert re.search(
        r"error   daemons     ovsdb-server: Open_vSwitch at .*Permission denied.*\n +-> run it as root", said
    )
    said = as_other(site, "env", "PATH=/nowhere")
    assert re.search(r"ovsdb-client is not installed\n +-> install Open vSwitch's tools", said)
    assert "ip(8) fails" in said


def test_who_reads_the_first_line_alone_is_no_error(bare: Node) -> None:
    assert bare.run("sh", "-c", f"{PROGRAM} doctor 2>&1 | head -n 1").startswith("ok ")


def test_programs_that_hang(site: Node) -> None:
    """It does not hang as well."""
    site.app.process.send_signal(signal.SIGSTOP)
    site.vswitchd.signal(signal.SIGSTOP)
    try:
        found = findings(site)
    finally:
        site.vswitchd.signal(signal.SIGCONT)
        site.app.process.send_signal(signal.SIGCONT)
    assert is_said(found, "daemons", "error", r"^ovs-vswitchd: process \d+ does not answer")
    assert is_said(found, "daemons", "error", r"^vtep_ryu: no answer from vtep_ryu\.\d+\.ctl")


def test_a_bridge_that_forwards_without_its_flows(site: Node) -> None:
    """The application would set it right; so it is ended first."""
    site.app.stop()
    site.vsctl("set-fail-mode", "br0", "standalone")
    found = findings(site)
    assert is_said(found, "fail_mode", "warning", "^br0: is not secure")
    assert is_said(found, "daemons", "error", "^vtep_ryu: no application")


def test_without_ovs_vswitchd_and_ovsdb_server(site: Node) -> None:
    if os.environ.get("VTEP_TEST_LONG") == "1":
        site.ovsdb_server.signal(signal.SIGSTOP)
        try:
            assert is_said(findings(site), "daemons", "error", "^ovsdb-server: Open_vSwitch at unix:.*: no answer$")
        finally:
            site.ovsdb_server.signal(signal.SIGCONT)
    site.vswitchd.kill()
    assert is_said(findings(site), "daemons", "error", "^ovs-vswitchd: does not run on this machine")
    site.ovsdb_server.kill()
    found = findings(site)
    for name in ("Open_vSwitch", "hardware_vtep"):
        assert is_said(found, "daemons", "error", f"^ovsdb-server: {name} at unix:")


def test_wrong_usage_is_one_line_and_a_status_of_its_own(bare: Node) -> None:
    assert outcome(bare, "doctor", "--x") == (WRONG_USAGE, "", "vtep-ryu doctor: unrecognized arguments: --x\n")
    remote = "--vtep-hardware-vtep-remotes=foo"
    status, output, errors = outcome(bare, "doctor", "--", remote)
    assert (status, output) == (WRONG_USAGE, "")
    assert "hardware_vtep_remotes is 'foo'" in errors
