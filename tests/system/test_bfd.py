"""BFD in tunnels, with another Open vSwitch and with packets made by hand, and what bfd_status says of it."""

import re
import struct
import time
from ipaddress import IPv4Address
from typing import Any

import pytest

from apps.lab import Frame, Host, Lab, Node, Peer, Vxlan
from apps.lab.frames import ETHERTYPE_IPV4, checksum
from apps.lab.node import OPEN_VSWITCH
from tests.system import support
from tests.system.traffic import no_packet_lost
from tests.system.tunnels import (
    HYPERVISOR,
    LOCAL_IP,
    MAC,
    PEER,
    REMOTE_IP,
    VNI,
    VTEP,
    configure,
    reset,
    session,
    status,
    tunnel,
    wait_status,
)
from vtep_ryu.core.pipeline import bfd_port_name

pytestmark = pytest.mark.timeout(90)

BFD_PORT = 3784
DOWN = 1
"""A state of RFC 5880, section 4.1."""


@pytest.fixture(scope="module")
def hypervisor(lab: Lab) -> Node:
    """A machine with Open vSwitch."""
    node = lab.node("h", f"{HYPERVISOR}/24")
    options = (f"options:remote_ip={VTEP}", f"options:local_ip={HYPERVISOR}", "options:key=flow")
    node.vsctl("add-port", "br0", "vx", "--", "set", "Interface", "vx", "type=vxlan", *options)
    return node


@pytest.fixture(scope="module")
def there(hypervisor: Node) -> Host:
    """A host behind the hypervisor, which forwards whatever it gets."""
    host = hypervisor.add_port("q0", address="192.168.1.9/24")
    hypervisor.ofctl("del-flows", "br0")
    cable, tunnels = hypervisor.ofport("q0"), hypervisor.ofport("vx")
    hypervisor.ofctl("add-flow", "br0", f"in_port={cable},actions=set_field:{VNI}->tun_id,output:{tunnels}")
    hypervisor.ofctl("add-flow", "br0", f"in_port={tunnels},actions=output:{cable}")
    return host


@pytest.fixture(scope="module")
def peer(lab: Lab) -> Peer:
    """A machine that speaks BFD by hand."""
    return lab.peer("peer", f"{PEER}/24")


@pytest.fixture(scope="module")
def machine(lab: Lab, hypervisor: Node, peer: Peer) -> Node:
    """A VTEP with two ports, to one of which comes a host."""
    node = lab.node("a", f"{VTEP}/24")
    support.set_up(node)
    node.add_port("p1")
    return node


@pytest.fixture(scope="module")
def here(machine: Node) -> Host:
    """The host."""
    return machine.add_port("p0", address="192.168.1.1/24")


@pytest.fixture
def node(machine: Node, hypervisor: Node, here: Host) -> Node:
    """The VTEP as by reset(); the hypervisor has BFD disabled, too."""
    hypervisor.vsctl("clear", "Interface", "vx", "bfd")
    reset(machine)
    return machine


def bfd(node: Node, **values: Any) -> None:
    """Give the hypervisor's own session these settings."""
    pairs = (f'bfd:{key}="{value}"'.lower() for key, value in values.items())
    node.vsctl("set", "Interface", "vx", *pairs)


def establish(node: Node, hypervisor: Node, **params: Any) -> None:
    """Bring BFD up between the VTEP and the hypervisor."""
    bfd(hypervisor, enable=True, min_rx=100, min_tx=100)
    configure(node, HYPERVISOR, "bfd_params", enable=True, min_rx=100, min_tx=100, **params)
    wait_status(node, HYPERVISOR, state="up", forwarding="true", remote_state="up")


def test_with_nothing_but_defaults_bfd_with_a_hypervisor_comes_up_and_is_followed_in_both_directions(
    node: Node, hypervisor: Node
) -> None:
    bfd(hypervisor, enable=True)
    configure(node, HYPERVISOR, "bfd_params", enable=True)
    up = wait_status(node, HYPERVISOR, state="up", remote_state="up")
    none = {"diagnostic": "No Diagnostic", "remote_diagnostic": "No Diagnostic"}
    assert up == {
        "enabled": "true", "state": "up", "forwarding": "true", "remote_state": "up", "info": "BFD is up", **none
    }  # fmt: skip
    shown = node.appctl("ovs-vswitchd", "bfd/show")
    assert "Local Minimum TX Interval: 100ms" in re.sub(" +", " ", shown)
    assert "Local Minimum RX Interval: 1000ms" in re.sub(" +", " ", shown)
    bfd(hypervisor, enable=False)
    node.wait_until(lambda: said(node)["state"] == "down", what="Open vSwitch to say so")
    down = wait_status(
        node, HYPERVISOR, 1, state="down", forwarding="false", diagnostic="Control Detection Time Expired"
    )
    assert down["info"] == "BFD is down: Control Detection Time Expired"
    assert lines(node, rf"tunnel to {HYPERVISOR}: BFD is .*") == [
        f"tunnel to {HYPERVISOR}: BFD is up",
        f"tunnel to {HYPERVISOR}: BFD is down: Control Detection Time Expired",
    ]
    configure(node, HYPERVISOR, "bfd_params", enable=False)
    node.wait_until(lambda: status(node, HYPERVISOR) == {} and session(node, HYPERVISOR) is None, 1, "nothing of it")


def said(node: Node) -> dict[str, str]:
    """What Open vSwitch says of the session with the hypervisor."""
    row = session(node, HYPERVISOR)
    return row["bfd_status"] if row else {}


def lines(node: Node, pattern: str) -> list[str]:
    """The lines of the log, without the bridge's name."""
    return re.findall(rf"^br0: ({pattern})$", node.app.log(), re.MULTILINE)


def test_there_is_one_session_a_tunnel_and_it_is_no_port_for_anybody_else(node: Node, hypervisor: Node) -> None:
    support.add_logical_switch(node, "ls1", 6000, HYPERVISOR)
    support.bind(node, "ls1", "p1")
    establish(node, hypervisor)
    ports = {row["name"]: row for row in node.rows("Interface", OPEN_VSWITCH) if row["type"] == "vxlan"}
    assert len(ports) == 2
    (name,) = ports.keys() - {"vtep-0a020201"}
    assert re.fullmatch("bfd[0-9a-f]{4}0a020205", name)
    assert ports[name]["options"] == {"remote_ip": HYPERVISOR, "local_ip": VTEP, "key": "flow"}
    assert ports[name]["external_ids"] == {"vtep-ryu": VTEP}
    assert support.physical_ports(node) == {"p0", "p1"}
    before = session(node, HYPERVISOR)
    configure(node, HYPERVISOR, "bfd_params", enable=True, min_rx=200, min_tx=100)
    node.wait_until(lambda: session(node, HYPERVISOR)["bfd"]["min_rx"] == "200", what="the change")
    assert session(node, HYPERVISOR)["_uuid"] == before["_uuid"], "the port stays"
    assert status(node, HYPERVISOR)["state"] == "up"


def test_what_the_params_say_reaches_open_vswitch_and_the_hypervisor(node: Node, hypervisor: Node) -> None:
    establish(node, hypervisor, decay_min_rx=500, forwarding_if_rx=True, cpath_down=True, check_tnl_key=True)
    row = session(node, HYPERVISOR)["bfd"]
    assert row == {
        "enable": "true", "min_rx": "100", "min_tx": "100", "decay_min_rx": "500", "forwarding_if_rx": "true",
        "cpath_down": "true", "check_tnl_key": "true", "bfd_dst_ip": REMOTE_IP,
        "bfd_local_dst_mac": MAC, "bfd_remote_dst_mac": MAC,
    }  # fmt: skip

    def told() -> str:
        return hypervisor.vsctl("get", "Interface", "vx", "bfd_status")

    hypervisor.wait_until(lambda: 'remote_diagnostic="Concatenated Path Down"' in told(), what="cpath_down there")
    assert 'forwarding="false"' in told()
    interval = "Remote Minimum RX Interval:"
    shown = lambda: hypervisor.appctl("ovs-vswitchd", "bfd/show")  # noqa: E731
    hypervisor.wait_until(lambda: re.search(rf"{interval} +500ms", shown()), what="decay_min_rx without traffic")


def test_addresses_can_be_chosen_on_either_side(node: Node, hypervisor: Node) -> None:
    ours, its = {"mac": "02:00:5e:00:00:01", "ip": "169.254.7.1"}, {"mac": "02:00:5e:00:00:02", "ip": "169.254.7.2"}
    configure(node, HYPERVISOR, "bfd_config_local", bfd_dst_mac=ours["mac"], bfd_dst_ip=ours["ip"])
    configure(node, HYPERVISOR, "bfd_config_remote", bfd_dst_mac=its["mac"], bfd_dst_ip=its["ip"])
    bfd(
        hypervisor,
        bfd_local_dst_mac=ours["mac"],
        bfd_remote_dst_mac=its["mac"],
        bfd_src_ip=its["ip"],
        bfd_dst_ip=ours["ip"],
    )
    establish(node, hypervisor)
    bfd(hypervisor, bfd_dst_ip="169.254.7.3")
    wait_status(node, HYPERVISOR, forwarding="false")


def packet(state: int = DOWN, *, mac: str = MAC, ip: str = LOCAL_IP) -> Frame:
    """A BFD packet (RFC 5880, section 4.1; RFC 5881) by somebody who has heard of no other yet."""
    control = struct.pack("!BBBBIIIII", 1 << 5, state << 6, 3, 24, 7, 0, 1_000_000, 1_000_000, 0)
    udp = struct.pack("!HHHH", 49152, BFD_PORT, 8 + len(control), 0) + control
    addresses = IPv4Address(REMOTE_IP).packed + IPv4Address(ip).packed
    header = struct.pack("!BBHHHBBH", 0x45, 0xC0, 20 + len(udp), 0, 0, 255, 17, 0) + addresses
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return Frame(mac, "02:99:00:00:00:09", header + udp, ETHERTYPE_IPV4)


def is_bfd(outer: Frame) -> bool:
    """Whether a frame is our BFD in a tunnel."""
    datagram = Vxlan.parse(outer)
    return datagram is not None and datagram.frame.payload[22:24] == BFD_PORT.to_bytes(2)


def test_what_is_sent_is_addressed_as_vtep5_says(node: Node, peer: Peer) -> None:
    with peer.capture() as arriving:
        configure(node, PEER, "bfd_params", enable=True)
        datagram = Vxlan.parse(arriving.wait(is_bfd))
    assert datagram is not None
    assert (datagram.source, datagram.vni, datagram.frame.dst) == (VTEP, 0, MAC)
    assert str(IPv4Address(datagram.frame.payload[16:20])) == REMOTE_IP


def heard(node: Node, peer: Peer, frame: Frame, vni: int) -> bool:
    """Whether a BFD packet from the peer with this VNI is taken; the session starts anew before."""
    params = tunnel(node, PEER)["bfd_params"]
    configure(node, PEER, "bfd_params", enable=False)
    # Of a port that is removed and made again at once Open vSwitch says nothing in the new row until something changes.
    port = bfd_port_name(VTEP, PEER)
    node.wait_until(lambda: status(node, PEER) == {} and port not in node.ofctl("show", "br0"), what="no session")
    configure(node, PEER, "bfd_params", **params)
    wait_status(node, PEER, state="down")
    for _ in range(5):
        peer.send_vxlan(frame, vni, to=VTEP)
        time.sleep(0.1)
    return status(node, PEER)["state"] == "init"


@pytest.mark.parametrize("vni", [0, VNI, 6000])
def test_bfd_is_taken_with_any_vni_unless_check_tnl_key_asks_for_0(node: Node, peer: Peer, vni: int) -> None:
    configure(node, PEER, "bfd_params", enable=True)
    assert heard(node, peer, packet(), vni)
    configure(node, PEER, "bfd_params", enable=True, check_tnl_key=True)
    assert heard(node, peer, packet(), vni) == (vni == 0)


def test_bfd_for_another_mac_address_is_a_station_s_own(node: Node, peer: Peer) -> None:
    configure(node, PEER, "bfd_params", enable=True)
    assert not heard(node, peer, packet(mac="02:00:00:00:00:99"), VNI)


def test_another_vtep_with_nothing_but_defaults_is_heard(node: Node, peer: Peer) -> None:
    configure(node, PEER, "bfd_params", enable=True)
    assert heard(node, peer, packet(ip=REMOTE_IP), 0)


@pytest.mark.parametrize(
    ("column", "key", "value", "allowed"),
    [
        ("bfd_params", "min_rx", "0", "an integer from 1 to 4294967"),
        ("bfd_params", "min_tx", "fast", "an integer from 1 to 4294967"),
        ("bfd_params", "decay_min_rx", "299", "0 or an integer of at least min_rx, 300"),
        ("bfd_params", "cpath_down", "maybe", "true or false"),
        ("bfd_config_remote", "bfd_dst_mac", "00:23", "a MAC address"),
        ("bfd_config_remote", "bfd_dst_ip", "169.254.1", "an IPv4 address"),
        ("bfd_config_local", "bfd_dst_ip", "::1", "an IPv4 address"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_warning_and_its_default_holds(
    node: Node, column: str, key: str, value: str, allowed: str
) -> None:
    wanted = {"enable": "true", "min_rx": "300"}
    before = node.app.log().count(f"{column}:{key}")
    if column == "bfd_params":
        wanted |= {key: value}
    else:
        configure(node, PEER, column, **{key: value})
    configure(node, PEER, "bfd_params", **wanted)
    node.wait_until(lambda: session(node, PEER), what="a session")
    line = f"Tunnel {VTEP} to {PEER}: {column}:{key} has {value!r}, must be {allowed}; the value is left out\n"
    node.wait_until(lambda: node.app.log().count(line) == 1, what=line)
    assert node.app.log().count(f"{column}:{key}") == before + 1
    found = session(node, PEER)["bfd"]
    defaults = {"min_tx": "100", "decay_min_rx": "0", "cpath_down": "false", "bfd_dst_ip": REMOTE_IP}
    assert found.items() >= (defaults | {"min_rx": "1000" if key == "min_rx" else "300"}).items()
    assert "bfd_src_ip" not in found


def test_enable_that_is_neither_true_nor_false_enables_nothing(node: Node) -> None:
    configure(node, PEER, "bfd_params", enable="yes", min_rx=300)
    node.app.wait_log(rf"^Tunnel {VTEP} to {PEER}: bfd_params:enable has 'yes', must be true or false; .*")
    assert session(node, PEER) is None
    assert status(node, PEER) == {}


def test_where_the_port_cannot_be_made_enabled_is_false_and_info_says_why(node: Node) -> None:
    node.add_bridge("br9")
    options = (f"options:remote_ip={PEER}", f"options:local_ip={VTEP}", "options:key=flow")
    node.vsctl("add-port", "br9", "first", "--", "set", "Interface", "first", "type=vxlan", *options)
    try:
        configure(node, PEER, "bfd_params", enable=True)
        found = wait_status(node, PEER, enabled="false")
        assert found.keys() == {"enabled", "info"}
        assert "could not" in found["info"]
        assert support.switch_faults(node) == ["tunnel_exhaustion"]
    finally:
        node.vsctl("del-br", "br9")
    configure(node, PEER, "bfd_params", enable=False)
    node.wait_until(lambda: status(node, PEER) == {} and not support.switch_faults(node), what="nothing of it")


def test_status_is_written_again_when_the_server_has_forgotten_it(node: Node, hypervisor: Node) -> None:
    establish(node, hypervisor)
    before = status(node, HYPERVISOR)
    node.ovsdb_server.stop()
    node.start_ovsdb()
    node.wait_until(lambda: status(node, HYPERVISOR).keys() == before.keys(), 20, "the status")
    wait_status(node, HYPERVISOR, state="up", forwarding="true")


def test_after_a_restart_the_session_is_the_same(node: Node, hypervisor: Node) -> None:
    establish(node, hypervisor)
    rows, port = {row["_uuid"] for row in node.rows("Tunnel")}, session(node, HYPERVISOR)
    node.app.kill()
    node.start_app()
    node.app.wait_log(r"^br0: switch \w+ is served$")
    wait_status(node, HYPERVISOR, state="up")
    assert {row["_uuid"] for row in node.rows("Tunnel")} == rows
    kept = ("_uuid", "ofport", "options", "bfd")
    assert [session(node, HYPERVISOR)[column] for column in kept] == [port[column] for column in kept]
    assert "created" not in node.app.log()


def test_no_frame_is_lost_while_bfd_is_enabled_and_disabled(
    node: Node, hypervisor: Node, here: Host, there: Host
) -> None:
    bfd(hypervisor, enable=True, min_rx=100, min_tx=100)
    node.vtep_ctl("add-ucast-remote", "ls0", there.mac, HYPERVISOR)
    node.wait_until(lambda: here.ping(there, count=1) == 1, what="an answer")
    with no_packet_lost((here, there)):
        for _ in range(2):
            configure(node, HYPERVISOR, "bfd_params", enable=True, min_rx=100)
            wait_status(node, HYPERVISOR, state="up")
            configure(node, HYPERVISOR, "bfd_params", enable=False)
            node.wait_until(lambda: session(node, HYPERVISOR) is None, what="no session")
