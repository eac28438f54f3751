"""The lab itself: what the other system tests rely on, each in a form that can fail."""

import time
from functools import partial
from pathlib import Path

import pytest

from apps.lab import Frame, Host, Lab, LabError, Node, Tag, Vxlan, run, wait_until
from apps.lab.frames import BROADCAST, TPID_SERVICE, arp_request

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    """A machine whose br0 is a plain learning switch."""
    return lab.node("plain")


@pytest.fixture(scope="module")
def hosts(node: Node) -> dict[str, Host]:
    """A host behind each kind of port."""
    kinds = {"p0": "veth", "p1": "veth", "tap0": "tap", "int0": "internal"}
    return {
        port: node.add_port(port, kind=kind, address=f"192.168.1.{number}/24")
        for number, (port, kind) in enumerate(kinds.items(), 1)
    }


def frame_from(host: Host, payload: bytes = bytes(46), tags: tuple[Tag, ...] = ()) -> Frame:
    """A broadcast that no host answers."""
    return Frame(BROADCAST, host.mac, payload, tags=tags)


@pytest.mark.parametrize("port", ["p1", "tap0", "int0"])
def test_hosts_behind_every_kind_of_port_reach_each_other(hosts: dict[str, Host], port: str) -> None:
    assert hosts["p0"].ping(hosts[port]) == 3
    assert hosts[port].ping(hosts["p0"]) == 3


@pytest.mark.parametrize("port", ["p1", "tap0", "int0"])
@pytest.mark.parametrize(
    "tags",
    [
        (),
        (Tag(0, pcp=5),),
        (Tag(7, pcp=3),),
        (Tag(4094), Tag(1)),
        (Tag(5, tpid=TPID_SERVICE), Tag(6)),
    ],
    ids=str,
)
def test_frames_arrive_byte_for_byte_with_their_tags(hosts: dict[str, Host], port: str, tags: tuple[Tag, ...]) -> None:
    frame = frame_from(hosts["p0"], tags=tags, payload=bytes(range(256)))
    with hosts[port].capture() as arriving:
        hosts["p0"].send(frame)
        assert arriving.wait(lambda each: each.src == frame.src).pack() == frame.pack()


def test_what_comes_before_a_marker_is_listed_and_nothing_else(hosts: dict[str, Host]) -> None:
    first, second = (frame_from(hosts["p0"], payload=bytes([number] * 46)) for number in (1, 2))
    with hosts["p1"].capture() as arriving:
        hosts["p0"].send(first, second)
        assert arriving.until(lambda frame: frame == second) == [first]
        assert arriving.quiet(0.1) == [first, second]


def test_a_frame_that_does_not_come_is_reported_with_those_that_did(hosts: dict[str, Host]) -> None:
    with hosts["p1"].capture() as arriving:
        hosts["p0"].send(frame_from(hosts["p0"], payload=b"\x77" * 46))
        arriving.wait(lambda frame: frame.payload[0] == 0x77)
        with pytest.raises(AssertionError, match="777777"):
            arriving.wait(lambda frame: frame.payload[0] == 0x77, timeout=0.1)


def test_a_capture_leaves_out_what_the_host_itself_sends(hosts: dict[str, Host]) -> None:
    with hosts["p0"].capture() as own, hosts["p1"].capture() as other:
        hosts["p0"].send(frame_from(hosts["p0"]))
        other.wait(lambda frame: frame.src == hosts["p0"].mac)
        assert own.frames == []


def test_hosts_are_silent_until_told_to_send(node: Node, hosts: dict[str, Host]) -> None:
    with hosts["p0"].capture() as arriving:
        node.add_port("p9", address="192.168.1.99/24")
        hosts["p1"].send(frame_from(hosts["p1"]))
        assert arriving.until(lambda frame: frame.src == hosts["p1"].mac) == []


def test_tcp_passes_the_switch(hosts: dict[str, Host]) -> None:
    assert hosts["p0"].iperf(hosts["p1"], seconds=1) > 10e6
    assert hosts["p0"].iperf(hosts["int0"], seconds=1, reverse=True) > 10e6


def test_an_unplugged_cable_and_a_port_that_is_down_cut_the_link(node: Node, hosts: dict[str, Host]) -> None:
    def link_state() -> str:
        return node.vsctl("get", "Interface", "p1", "link_state").strip()

    cable = hosts["p1"].unplug, hosts["p1"].plug
    port = partial(node.port_down, "p1"), partial(node.port_up, "p1")
    for down, up in (cable, port):
        down()
        node.wait_until(lambda: link_state() == "down", what="the link to go")
        assert hosts["p0"].ping(hosts["p1"], count=1) == 0
        up()
        node.wait_until(lambda: link_state() == "up", what="the link to come back")
        node.wait_until(lambda: hosts["p0"].ping(hosts["p1"], count=1), what="an answer")


def test_daemons_can_be_stopped_and_killed_one_by_one_and_started_again(lab: Lab) -> None:
    node = lab.node("restart", underlay="10.2.2.9/24")
    left = node.add_port("p0", address="192.168.2.1/24")
    right = node.add_port("p1", address="192.168.2.2/24", kind="internal")
    peer = lab.peer("restart-peer", "10.2.2.10/24")
    for end in (node.vswitchd.stop, node.vswitchd.kill):
        end()
        with right.capture() as arriving:
            # From a new station: what it has flows for, the kernel's datapath goes on to forward.
            left.send(Frame(BROADCAST, lab.new_mac()))
            assert arriving.quiet(0.1) == []
        node.start_vswitchd()
        lab.wait_until(lambda: left.ping(right, count=1), what="the switch to forward again")
        lab.wait_until(lambda: peer.ping(node.underlay_ip, count=1), what="the underlay address to answer again")
    node.ovsdb_server.kill()
    with pytest.raises(LabError, match=r"vtep-ctl.*list-ps"):
        node.vtep_ctl("list-ps")
    node.start_ovsdb()
    assert node.vtep_ctl("list-ps") == ""
    assert left.ping(right, count=1) == 1


def test_an_address_on_the_underlay_is_answered_for_with_one_mac(lab: Lab) -> None:
    node, peer = lab.node("arp", underlay="10.2.2.15/24"), lab.peer("arp-peer", "10.2.2.16/24")
    with peer.capture() as arriving:
        peer.send(arp_request(peer.mac, peer.ip_address, node.underlay_ip))
        arriving.wait(lambda frame: frame.dst == peer.mac)
        answers = {frame.src for frame in arriving.quiet() if frame.dst == peer.mac}
    assert answers == {lab.underlay.mac_of(node.underlay_ip)}


def test_kernel_vteps_reach_each_other_across_the_underlay(lab: Lab) -> None:
    first, second = lab.kernel_vtep("kernel1", "10.2.2.11/24"), lab.kernel_vtep("kernel2", "10.2.2.12/24")
    first.add_vni(33, second.ip_address)
    second.add_vni(33, first.ip_address)
    left = first.add_host(33, lab.host("left", "192.168.1.1/24"))
    right = second.add_host(33, lab.host("right", "192.168.1.2/24"))
    assert left.ping(right) == 3
    assert first.learned(33)[right.mac] == second.ip_address
    assert left.iperf(right) > 10e6


def test_vxlan_datagrams_are_built_and_read_as_the_kernel_does(lab: Lab) -> None:
    kernel, peer = lab.kernel_vtep("kernel3", "10.2.2.13/24"), lab.peer("crafted", "10.2.2.14/24")
    kernel.add_vni(44, peer.ip_address)
    host = kernel.add_host(44, lab.host("target", "192.168.4.1/24"))
    with peer.capture() as arriving:
        peer.send_vxlan(arp_request("02:00:00:00:44:44", "192.168.4.2", "192.168.4.1"), vni=44, to=kernel.ip_address)
        answer = Vxlan.parse(arriving.wait(lambda frame: Vxlan.parse(frame) is not None))
    assert answer is not None
    assert (answer.source, answer.destination, answer.vni) == (kernel.ip_address, peer.ip_address, 44)
    assert (answer.frame.src, answer.frame.dst) == (host.mac, "02:00:00:00:44:44")


def test_rows_and_addresses_are_read_in_one_transaction(node: Node) -> None:
    node.vtep_ctl("add-ps", "br0", "--", "add-ls", "ls0")
    node.vtep_ctl("add-ucast-local", "ls0", "02:00:00:00:00:77", "10.2.2.1")
    for address in ("10.2.2.2", "10.2.2.1"):
        node.vtep_ctl("add-mcast-local", "ls0", "unknown-dst", address)
    assert node.macs() == {("ls0", "02:00:00:00:00:77"): ("10.2.2.1",)}
    assert node.macs("Mcast_Macs_Local") == {("ls0", "unknown-dst"): ("10.2.2.1", "10.2.2.2")}
    assert [row["name"] for row in node.rows("Physical_Switch")] == ["br0"]
    with pytest.raises(LabError, match="no_such_column"):
        node.transact({"op": "update", "table": "Global", "where": [], "row": {"no_such_column": 1}})


def test_errors_name_the_command_its_status_and_what_it_said(node: Node) -> None:
    with pytest.raises(LabError, match=r"(?s)\$ nsenter .* false-bridge.*exit status 1.*no bridge named false-bridge"):
        node.vsctl("list-ports", "false-bridge")
    with pytest.raises(LabError, match="s for the moon"):
        wait_until(lambda: False, timeout=0.1, what="the moon")


def uses(process: Path, directory: Path) -> bool:
    """Whether a process has this directory in its environment, as all Open vSwitch of a machine in there has."""
    try:
        return str(directory).encode() in (process / "environ").read_bytes()
    except OSError:
        return False


def test_a_lab_of_two_nodes_starts_in_two_seconds_and_leaves_nothing() -> None:
    start = time.monotonic()
    with Lab("brief-") as lab:
        for number in (1, 2):
            node = lab.node(f"s{number}", underlay=f"10.2.2.{number}/24")
            node.add_port("p0", address=f"192.168.1.{number}/24")
        assert time.monotonic() - start < 4, "twice the time, for a busy machine"
        files = lab.directory
        assert "brief-s1-p0" in run("ip", "netns")
        assert any(uses(process, files) for process in Path("/proc").glob("[0-9]*"))
    assert not files.exists()
    processes = [process for process in Path("/proc").glob("[0-9]*") if uses(process, files)]
    wait_until(lambda: not any(process.exists() for process in processes), what="the processes to go")
    # Other tests have their labs at the same time.
    assert "brief-" not in run("ip", "netns")
    assert "brief-" not in run("ip", "-o", "link")
