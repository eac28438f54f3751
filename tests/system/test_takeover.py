"""From ovs-vtep to vtep-ryu and back, with the real one: what each finds of the other, and that frames go on."""

import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from apps.lab import Host, Lab, Node, OvsVtep
from tests.system import command, support
from tests.system.command import Command, applications, controllers, outcome

pytestmark = pytest.mark.timeout(300)

NVCS = ("Logical_Switch", "Ucast_Macs_Remote", "Mcast_Macs_Remote")
PATCH = ("0000-p0-p", "0000-p1-p", "0100-p2-p")
BINDINGS = (("p0", "0"), ("p1", "0"), ("p2", "100"))
SETTLED_SECONDS = 3
"""How long the application is given to do what it should not."""

ROUND_SECONDS = 60
"""A round of ovs-vtep runs some dozens of tools, each of which starts slowly on a busy machine."""


class Site(NamedTuple):
    """A machine with three bound ports, stations behind two of them, and one behind another VTEP."""

    node: Node
    emulator: OvsVtep
    vtep: Command
    first: Host
    second: Host
    remote: Host


@pytest.fixture(scope="module")
def machine(lab: Lab) -> Site:
    node = lab.node("a", "10.2.2.1/24")
    first, second = (node.add_port(f"p{number}", address=f"192.168.1.{number + 1}/24") for number in range(2))
    node.add_port("p2")
    node.vtep_ctl("add-ps", "br0", "--", "set", "Physical_Switch", "br0", "tunnel_ips=10.2.2.1")
    support.add_logical_switch(node, "ls0", 5000, "10.2.2.2")
    peer = lab.kernel_vtep("b", "10.2.2.2/24")
    peer.add_vni(5000, "10.2.2.1")
    remote = peer.add_host(5000, lab.host("remote", "192.168.1.9/24"))
    node.vtep_ctl("add-ucast-remote", "ls0", remote.mac, "10.2.2.2")
    return Site(node, OvsVtep(node, node.directory), Command(node), first, second, remote)


@pytest.fixture
def site(machine: Site) -> Iterator[Site]:
    """The machine, with nothing running before and after, and no more than br0 left."""
    node = machine.node
    assert not applications(node)
    yield machine
    machine.emulator.kill()
    command.kill_all(node)
    for bridge in bridges(node) - {"br-phy", "br0"}:
        node.vsctl("del-br", bridge)
    for port in ports(node) - {"p0", "p1", "p2"}:
        node.vsctl("del-port", port)
    node.vsctl("del-controller", "br0")


def ports(node: Node) -> set[str]:
    return set(node.vsctl("list-ports", "br0").split())


def bridges(node: Node) -> set[str]:
    return set(node.vsctl("list-br").split())


def start_emulator(site: Site) -> None:
    """Start ovs-vtep, and wait until it has done all that is in the database."""
    node = site.node
    site.emulator.start()
    node.wait_until(lambda: support.physical_ports(node) >= {"p0", "p1", "p2"}, ROUND_SECONDS, "rows of the ports")
    bound = [port for port, _ in BINDINGS if node.vtep_ctl("list-bindings", "br0", port)]
    for port, vlan in (each for each in BINDINGS if each[0] not in bound):
        node.vtep_ctl("bind-ls", "br0", port, vlan, "ls0")
    node.wait_until(lambda: set(PATCH) <= ports(node), ROUND_SECONDS, "the patch ports of the bindings")
    node.wait_until(lambda: "bfd10.2.2.2" in node.vsctl("show"), ROUND_SECONDS, "the tunnel")
    node.wait_until(lambda: forwards(site), ROUND_SECONDS, "stations to reach each other")


def forwards(site: Site) -> bool:
    """Whether a station reaches the other one here, and the one behind the other VTEP."""
    support.forget_megaflows(site.node)
    return all(site.first.ping(each, count=1) == 1 for each in (site.second, site.remote))


def test_it_takes_over_what_ovs_vtep_has_left_once_that_has_ended_and_keeps_the_rows_of_the_nvc(site: Site) -> None:
    node = site.node
    start_emulator(site)
    wrong = f"br0 is served by ovs-vtep, process {site.emulator.pid}: end that first (ovs-appctl -t ovs-vtep exit)"
    assert outcome(node, "--detach", "br0") == (1, "", f"vtep-ryu: {wrong}\n")
    site.emulator.stop()
    assert bridges(node) == {"br-phy", "br0", "br0_vtep_ls1", "vtep_bfd"}
    before = support.identities(node, *NVCS)
    site.vtep.detach()
    assert bridges(node) == {"br-phy", "br0"}
    assert ports(node) == {"p0", "p1", "p2", "vtep-0a020201"}
    assert "cookie=0x0," not in node.ofctl("dump-flows", "br0")
    assert support.identities(node, *NVCS) == before
    assert node.vtep_ctl("list-bindings", "br0", "p2").split() == ["0100", "ls0"]
    assert f"br0: what ovs-vtep has left is removed: br0_vtep_ls1, vtep_bfd, {', '.join(PATCH)}\n" in site.vtep.log()
    node.wait_until(lambda: forwards(site), what="stations to reach each other")
    node.wait_until(lambda: support.physical_ports(node) == {"p0", "p1", "p2"}, what="no rows of its patch ports")


def test_an_application_beside_it_leaves_its_bridge_alone_until_that_has_a_controller(site: Site) -> None:
    node = site.node
    node.vsctl("del-fail-mode", "br0")
    start_emulator(site)
    rows, flows = support.physical_ports(node), node.ofctl("--no-stats", "dump-flows", "br0")
    application = node.start_app()
    try:
        application.wait_log("^hardware_vtep: connected")
        application.wait_log("^Open_vSwitch: connected")
        time.sleep(SETTLED_SECONDS)
        assert node.vsctl("get-fail-mode", "br0") == ""
        assert (support.physical_ports(node), node.ofctl("--no-stats", "dump-flows", "br0")) == (rows, flows)
        assert forwards(site)
        site.emulator.stop()
        node.vsctl("set-controller", "br0", support.CONTROLLER)
        application.wait_log(r"^br0: switch \w+ is served$")
        assert node.vsctl("get-fail-mode", "br0") == "secure\n"
    finally:
        application.stop()


def test_without_a_clean_up_ovs_vtep_forwards_and_its_flows_go_again_though_there_is_a_controller(site: Site) -> None:
    node = site.node
    site.vtep.detach()
    site.vtep.exit()
    start_emulator(site)
    site.emulator.stop()
    assert "cookie=0x0," in node.ofctl("dump-flows", "br0")
    site.vtep.detach()
    assert "cookie=0x0," not in node.ofctl("dump-flows", "br0")
    node.wait_until(lambda: forwards(site), what="stations to reach each other")


def test_ovs_vtep_takes_back_a_bridge_that_was_cleaned_up(site: Site) -> None:
    node = site.node
    site.vtep.detach()
    site.vtep.exit()
    before = support.identities(node, *NVCS)
    assert outcome(node, "--cleanup", "br0") == (0, "", "")
    assert (controllers(node), ports(node)) == ({}, {"p0", "p1", "p2"})
    log = node.directory / "ovs-vswitchd.log"
    said = len(log.read_text())
    start_emulator(site)
    assert support.physical_ports(node) == {"p0", "p1", "p2"}
    assert support.identities(node, *NVCS) == before
    assert "|WARN|" not in log.read_text()[said:]


def test_what_ovs_vtep_has_for_another_bridge_stays(site: Site) -> None:
    node = site.node
    node.add_bridge("br1_vtep_ls1", "external_ids:vtep_logical_switch=true")
    node.add_bridge("vtep_bfd")
    node.add_bridge("br0_vtep_ls1", "external_ids:vtep_logical_switch=true")
    site.vtep.detach()
    assert bridges(node) == {"br-phy", "br0", "br1_vtep_ls1", "vtep_bfd"}
