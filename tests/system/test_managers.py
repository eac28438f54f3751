"""Managers: an NVC on another machine that is called, or that calls, drives the switch over that connection."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from apps.lab import Host, KernelVtep, Lab, Node, Peer
from tests.system import support
from tests.system.remote_nvc import RemoteNvc

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Site:
    """A VTEP, the machine of its NVC, and a VTEP of the kernel's; a host at a port, and one behind the kernel."""

    node: Node
    address: str
    """The VTEP's, for its NVC."""
    machine: Peer
    kernel: KernelVtep
    vni: int
    """The kernel takes part in this one."""
    here: Host
    there: Host


def one_interface(lab: Lab) -> Site:
    """Management and tunnels share the VTEP's one interface: the NVC is on the underlay."""
    node = lab.node("one", "10.2.2.1/24")
    return complete(lab, node, node.underlay_ip, lab.peer("nvc1", "10.2.2.101/24"), 5001)


def two_interfaces(lab: Lab) -> Site:
    """The NVC is on a network of its own, which the VTEP has a second interface to."""
    node, management = lab.node("two", "10.2.2.2/24"), lab.segment("management")
    management.plug(node, "eth0")
    node.ip("address", "add", "10.1.1.2/24", "dev", "eth0")
    return complete(lab, node, "10.1.1.2", lab.peer("nvc2", "10.1.1.101/24", management), 5002)


def complete(lab: Lab, node: Node, address: str, machine: Peer, vni: int) -> Site:
    """The site around a machine that is made a VTEP, and its NVC's machine."""
    support.set_up(node)
    here = node.add_port("p0", address="192.168.1.1/24")
    kernel = lab.kernel_vtep(f"kernel{vni}", f"10.2.2.{vni - 5000 + 10}/24")
    kernel.add_vni(vni, node.underlay_ip)
    there = kernel.add_host(vni, lab.host(f"there{vni}", "192.168.1.2/24"))
    return Site(node, address, machine, kernel, vni, here, there)


@pytest.fixture(scope="module")
def sites() -> dict[object, Site]:
    """Those that have been made."""
    return {}


@pytest.fixture(params=[one_interface, two_interfaces], ids=lambda make: make.__name__)
def site(request: pytest.FixtureRequest, lab: Lab, sites: dict[object, Site]) -> Site:
    """Each of the two."""
    if request.param not in sites:
        sites[request.param] = request.param(lab)
    return sites[request.param]


@dataclass(frozen=True)
class Way:
    """How an NVC and a VTEP meet."""

    method: str
    """The connection method, as ovsdb(7) has them; a * is the NVC's address."""
    manager: bool = True
    """Whether a Manager row says so."""

    @property
    def port(self) -> int:
        """The TCP port at which either of them listens."""
        return int(self.method.rpartition(":")[2])

    def offer(self, site: Site, nvc: RemoteNvc) -> None:
        """Do what has to be done on both sides, everything that takes time as quick as can be."""
        method, quick = self.method.replace("*", site.machine.ip_address), ("inactivity_probe=1000", "max_backoff=1000")
        if self.method.startswith("tcp"):
            nvc.listen(self.port)
        if self.manager:
            site.node.vtep_ctl("set-manager", method, "--", "set", "Manager", method, *quick)
        else:
            site.node.appctl("ovsdb-server", "ovsdb-server/add-remote", method)

    def meet(self, site: Site, nvc: RemoteNvc) -> None:
        """Connect, also after the connection was lost."""
        if self.method.startswith("tcp"):
            nvc.answer()
        else:
            site.node.wait_until(lambda: self.port in listeners(site.node), what="ovsdb-server to listen")
            nvc.call(site.address, self.port)

    def withdraw(self, site: Site) -> None:
        """The VTEP does not want it any more."""
        if self.manager:
            site.node.vtep_ctl("del-manager")
        else:
            site.node.appctl("ovsdb-server", "ovsdb-server/remove-remote", self.method)


CALLED, CALLS, CALLS_PORT_6633 = Way("tcp:*:6640"), Way("ptcp:6640"), Way("ptcp:6633", manager=False)


def listeners(node: Node) -> dict[int, str]:
    """The programs that wait for TCP connections on a machine, by port."""
    sockets = node.run("ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes")
    return {int(port): program for port, program in re.findall(r':(\d+) .*users:\(\("([^"]+)"', sockets)}


@pytest.fixture(params=[CALLED, CALLS, CALLS_PORT_6633], ids=lambda way: way.method)
def way(request: pytest.FixtureRequest) -> Way:
    """Each of the three."""
    made: Way = request.param
    return made


@pytest.fixture
def nvc(site: Site, way: Way) -> Iterator[RemoteNvc]:
    """The NVC, connected; nothing is in the database but what the VTEP itself has there, before and after."""
    made = RemoteNvc(site.machine)
    way.offer(site, made)
    way.meet(site, made)
    yield made
    if any(row["name"] == "ls0" for row in made.rows("Logical_Switch")):
        made.delete_logical_switch("ls0")
    made.close()
    way.withdraw(site)


def attach(site: Site, nvc: RemoteNvc) -> None:
    """The NVC attaches the host at p0 to a logical switch that the kernel's VTEP takes part in."""
    nvc.add_logical_switch("ls0", site.vni)
    nvc.bind("p0", 0, "ls0")
    nvc.set_unknown_dst("ls0", site.kernel.ip_address)
    site.node.wait_until(lambda: support.reaches(site.here, site.there), what="a broadcast to arrive")
    site.here.ip("neighbour", "flush", "all")  # An address that nobody answered for is asked for again a second later.
    nvc.session.wait(lambda: nvc.local_macs() == published(site, site.here.mac), "the address that was learned")


def published(site: Site, *macs: str) -> dict[tuple[str, str], str]:
    """What an NVC sees when these have been learned."""
    return {("ls0", mac): site.node.underlay_ip for mac in macs}


def wait_flooded(site: Site, copies: int) -> None:
    """Wait until so many other VTEPs get a copy of a broadcast."""
    wanted = f"{copies} copies"
    site.node.wait_until(lambda: site.node.ofctl("dump-groups", "br0").count("tun_dst") == copies, what=wanted)
    support.forget_megaflows(site.node)


def test_an_nvc_drives_the_switch_over_the_connection(site: Site, nvc: RemoteNvc) -> None:
    here, there = site.here, site.there
    nvc.session.wait(lambda: nvc.ports("br0") == {"p0"}, "the switch and its port")
    assert [row["tunnel_ips"] for row in nvc.rows("Physical_Switch")] == [site.node.underlay_ip]
    assert here.ping(there, count=1, timeout=0.2) == 0

    attach(site, nvc)
    assert here.ping(there) == 3
    assert there.ping(here) == 3
    assert [row["MAC"] for row in nvc.rows("Mcast_Macs_Local")] == ["unknown-dst"]

    nvc.set_remote_mac("ls0", there.mac, site.kernel.ip_address)
    nvc.delete_remote("Mcast_Macs_Remote", "unknown-dst")
    wait_flooded(site, 0)
    assert here.ping(there) == 3, "its address is known"
    nvc.delete_remote("Ucast_Macs_Remote", there.mac)
    site.node.wait_until(lambda: here.ping(there, count=1, timeout=0.2) == 0, what="its address to be unknown")

    here.unplug()
    nvc.session.wait(lambda: not nvc.local_macs(), "the address to be withdrawn")
    here.plug()
    nvc.delete_logical_switch("ls0")
    no_output = "no binding to have flows"
    site.node.wait_until(lambda: "output:" not in support.table_flows(site.node, "egress"), what=no_output)


@pytest.mark.parametrize("site", [one_interface], indirect=True)
def test_frames_flow_while_the_connection_is_cut_and_a_new_one_tells_everything(
    lab: Lab, site: Site, nvc: RemoteNvc, way: Way
) -> None:
    attach(site, nvc)
    flows, written, station = support.flows(site.node), nvc.session.tables, lab.new_mac()
    nvc.session.close()
    assert site.here.ping(site.there, count=20, interval=0.02) == 20
    site.here.send(support.new_frame(station))
    site.node.wait_until(lambda: ("ls0", station) in site.node.macs(), what="the station to be published")

    way.meet(site, nvc)
    assert nvc.local_macs() == published(site, site.here.mac, station)
    for table in ("Logical_Switch", "Ucast_Macs_Remote", "Mcast_Macs_Remote", "Physical_Locator_Set"):
        assert nvc.session.tables[table] == written[table]
    assert [flow for flow in support.flows(site.node) if station not in flow] == flows
    nvc.delete_remote("Mcast_Macs_Remote", "unknown-dst")
    wait_flooded(site, 0)
    nvc.set_unknown_dst("ls0", site.kernel.ip_address)
    wait_flooded(site, 1)


@pytest.mark.parametrize("site", [one_interface], indirect=True)
@pytest.mark.parametrize("way", [CALLED], indirect=True, ids=lambda way: way.method)
def test_an_nvc_whose_cable_was_out_is_called_again(site: Site, nvc: RemoteNvc, way: Way) -> None:
    attach(site, nvc)
    site.machine.unplug()
    site.node.wait_until(lambda: not site.node.rows("Manager")[0]["is_connected"], what="the loss to be noticed")
    assert site.here.ping(site.there) == 3
    site.machine.plug()
    nvc.session.close()
    way.meet(site, nvc)
    site.node.wait_until(lambda: site.node.rows("Manager")[0]["is_connected"], what="the call to be seen")
    nvc.session.wait(lambda: nvc.local_macs() == published(site, site.here.mac), "what was learned")


@pytest.mark.parametrize("site", [one_interface], indirect=True)
@pytest.mark.parametrize("way", [CALLED, CALLS], indirect=True, ids=lambda way: way.method)
def test_probes_are_answered_both_ways_and_the_connection_stays(site: Site, nvc: RemoteNvc) -> None:
    nvc.session.wait(lambda: nvc.session.echoes >= 2, "probes")
    assert nvc.session.request("echo", "hello", 1) == ["hello", 1]
    assert nvc.session.open


@pytest.mark.parametrize("site", [one_interface], indirect=True)
@pytest.mark.parametrize("way", [CALLED, CALLS], indirect=True, ids=lambda way: way.method)
def test_a_manager_is_there_again_after_ovsdb_server_was_killed(site: Site, nvc: RemoteNvc, way: Way) -> None:
    attach(site, nvc)
    site.node.ovsdb_server.kill()
    site.node.start_ovsdb()  # Without it ovs-vswitchd stands still, and carries no news of the connection's end.
    nvc.session.wait_closed()
    way.meet(site, nvc)
    nvc.session.wait(lambda: nvc.local_macs() == published(site, site.here.mac), "what was learned")
    nvc.delete_remote("Mcast_Macs_Remote", "unknown-dst")
    wait_flooded(site, 0)


@pytest.mark.parametrize("site", [one_interface], indirect=True)
@pytest.mark.parametrize("way", [CALLS_PORT_6633], indirect=True, ids=lambda way: way.method)
def test_port_6633_is_ovsdb_servers_and_the_program_starts_beside_it(site: Site, nvc: RemoteNvc, way: Way) -> None:
    node = site.node
    assert listeners(node) == {6633: "ovsdb-server", 6653: "ryu-manager"}
    attach(site, nvc)
    flows = support.flows(node)
    node.app.stop()
    assert listeners(node) == {6633: "ovsdb-server"}
    node.start_app()
    node.app.wait_log(r"^br0: switch \w+ is served$")
    assert listeners(node) == {6633: "ovsdb-server", 6653: "ryu-manager"}
    assert support.flows(node) == flows
    way.withdraw(site)
    node.wait_until(lambda: listeners(node) == {6653: "ryu-manager"}, what="the port to be free again")
    way.offer(site, nvc)
    nvc.session.wait_closed()
    way.meet(site, nvc)
