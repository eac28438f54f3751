"""Nothing passes from one logical switch to another, whatever VLANs, ports, tunnels and addresses they share."""

from contextlib import ExitStack

import pytest

from apps.lab import Host, KernelVtep, Lab, Node
from apps.lab.frames import BROADCAST
from tests.system.nvc import UNSET, VTEP, Nvc, arrivals, is_payload, new_frame, tunnelled
from tests.system.support import set_up

pytestmark = pytest.mark.timeout(90)

REMOTE = "10.2.2.9"
TWINS = {"left": ("02:aa:00:00:00:01", "192.168.1.1/24"), "right": ("02:aa:00:00:00:02", "192.168.1.2/24")}
FAR_MAC, FAR_ADDRESS = "02:aa:00:00:00:03", "192.168.1.3/24"


@pytest.fixture(scope="module")
def node(lab: Lab) -> Node:
    """The VTEP under test."""
    node = lab.node("a", f"{VTEP}/24")
    set_up(node)
    return node


@pytest.fixture(scope="module")
def hosts(node: Node) -> dict[str, Host]:
    """Two pairs of hosts: the second has the MAC and the IP addresses of the first."""
    ports = {"p0": "left", "p1": "right", "p2": "left", "p3": "right"}
    return {port: node.add_port(port, mac=TWINS[twin][0], address=TWINS[twin][1]) for port, twin in ports.items()}


@pytest.fixture(scope="module")
def kernel(lab: Lab, node: Node) -> KernelVtep:
    """A VTEP of the kernel's with a part in VNIs 5000 and 6000."""
    kernel = lab.kernel_vtep("kernel", f"{REMOTE}/24")
    for vni in (5000, 6000):
        kernel.add_vni(vni, VTEP)
    return kernel


@pytest.fixture(scope="module")
def far(lab: Lab, kernel: KernelVtep) -> dict[int, Host]:
    """A host in each VNI behind it, both with the same addresses."""
    return {vni: kernel.add_host(vni, lab.host(f"far{vni}", FAR_ADDRESS, FAR_MAC)) for vni in (5000, 6000)}


@pytest.fixture(scope="module")
def controller(node: Node, hosts: dict[str, Host], far: dict[int, Host]) -> Nvc:
    """The node's NVC."""
    return Nvc(node)


@pytest.fixture
def nvc(controller: Nvc, hosts: dict[str, Host], far: dict[int, Host]) -> Nvc:
    """The NVC: ls0 (VNI 5000) has the first pair and ls1 (VNI 6000) the second; both have the kernel's VTEP."""
    controller.clear()
    for switch, vni in (("ls0", 5000), ("ls1", 6000)):
        controller.logical_switch(switch, tunnel_key=vni, settle=False)
        controller.multicast(switch, "unknown-dst", REMOTE, settle=False)
    controller.bind({"p0": {0: "ls0"}, "p1": {0: "ls0"}, "p2": {0: "ls1"}, "p3": {0: "ls1"}})
    for host in (*hosts.values(), *far.values()):
        host.ip("neighbour", "flush", "all")
    return controller


def assert_alone(sender: Host, receiver: Host, *others: Host) -> None:
    """The two ping each other, and the others get nothing of it."""
    with ExitStack() as stack:
        captures = [stack.enter_context(host.capture()) for host in others]
        for one, other in ((sender, receiver), (receiver, sender)):
            assert one.ping(other) == 3
        assert [capture.quiet(0.1) for capture in captures] == [[]] * len(others)


@pytest.mark.parametrize("keys", ["of their own", "none"])
def test_twins_in_two_logical_switches_reach_their_own_neighbours_alone(
    nvc: Nvc, hosts: dict[str, Host], keys: str
) -> None:
    if keys == "none":
        for switch in ("ls0", "ls1"):
            nvc.logical_switch(switch, tunnel_key=UNSET)
    for _ in range(2):
        assert_alone(hosts["p0"], hosts["p1"], hosts["p2"], hosts["p3"])
        assert_alone(hosts["p2"], hosts["p3"], hosts["p0"], hosts["p1"])


@pytest.mark.parametrize("known", [False, True], ids=["flooded", "known"])
def test_twins_reach_those_behind_a_tunnel_in_their_own_vni_alone(
    nvc: Nvc, hosts: dict[str, Host], far: dict[int, Host], known: bool
) -> None:
    for switch in ("ls0", "ls1") if known else ():
        nvc.unicast(switch, {FAR_MAC: REMOTE})
    for _ in range(2):
        assert_alone(hosts["p0"], far[5000], hosts["p2"], hosts["p3"], far[6000])
        assert_alone(hosts["p2"], far[6000], hosts["p0"], hosts["p1"], far[5000])


def test_twins_are_learned_and_published_in_both_logical_switches(nvc: Nvc, node: Node, hosts: dict[str, Host]) -> None:
    for sender, receiver in (("p0", "p1"), ("p2", "p3")):
        assert hosts[sender].ping(hosts[receiver]) == 3
    expected = {(switch, mac): (VTEP,) for switch in ("ls0", "ls1") for mac, _ in TWINS.values()}
    node.wait_until(lambda: expected.items() <= node.macs().items(), what="all four in Ucast_Macs_Local")
    node.port_down("p0")
    try:
        node.wait_until(lambda: ("ls0", hosts["p0"].mac) not in node.macs(), what="the one at p0 to be withdrawn")
        assert ("ls1", hosts["p2"].mac) in node.macs()
        assert hosts["p3"].ping(hosts["p2"]) == 3
    finally:
        node.port_up("p0")
    node.wait_until(lambda: hosts["p0"].ping(hosts["p1"], count=1), what="p0 to be back")


def test_a_station_on_two_vlans_of_one_port_in_two_logical_switches_is_two_stations(
    nvc: Nvc, node: Node, hosts: dict[str, Host]
) -> None:
    nvc.bind({"p0": {5: "ls0", 6: "ls1"}, "p1": {0: "ls0"}, "p3": {0: "ls1"}, "p2": {}})
    mac = hosts["p0"].mac
    hosts["p0"].send(new_frame(mac, BROADCAST, 5), new_frame(mac, BROADCAST, 6))
    node.wait_until(lambda: {("ls0", mac), ("ls1", mac)} <= node.macs().keys(), what="it in both logical switches")
    nvc.settle()
    for sender, vlan, other in (("p1", 5, "p3"), ("p3", 6, "p1")):
        frame = new_frame("02:aa:00:00:00:99", mac)
        with hosts["p0"].capture() as arriving, hosts[other].capture() as elsewhere:
            hosts[sender].send(frame)
            arriving.wait(is_payload(frame))
            assert arriving.quiet() == [frame.tagged(vlan)]
            assert elsewhere.quiet(0) == []


def test_a_broadcast_arrives_at_all_places_of_its_own_logical_switch_and_no_other(
    nvc: Nvc, hosts: dict[str, Host], far: dict[int, Host]
) -> None:
    bindings = {
        "p0": {0: "ls0", 5: "ls1", 6: "ls2"},
        "p1": {0: "ls1", 5: "ls2", 6: "ls0"},
        "p2": {0: "ls2", 5: "ls0", 7: "ls2"},
        "p3": {4094: "ls0"},
    }
    nvc.logical_switch("ls2")
    nvc.bind(bindings)
    behind = {"ls0": far[5000], "ls1": far[6000]}
    places = [(port, vlan, switch) for port, vlans in bindings.items() for vlan, switch in vlans.items()]
    machines = hosts | behind
    for port, vlan, switch in places:
        frame = new_frame(hosts[port].mac, BROADCAST, *([vlan] if vlan else []))
        expected = {(other, at) for other, at, its in places if its == switch and (other, at) != (port, vlan)}
        expected |= {(switch, 0)} & {(name, 0) for name in behind}
        with ExitStack() as stack:
            captures = {name: stack.enter_context(host.capture()) for name, host in machines.items()}
            hosts[port].send(frame)
            captures[next(iter(expected))[0]].wait(is_payload(frame))
            came = [
                (name, each.tags[0].vid if each.tags else 0)
                for name, capture in captures.items()
                for each in capture.quiet(0.05)
            ]
        assert sorted(came) == sorted(expected), (port, vlan, switch)


@pytest.mark.parametrize(("vni", "port", "other"), [(5000, "p0", "p2"), (6000, "p2", "p0")])
def test_a_frame_from_a_tunnel_stays_in_the_logical_switch_of_its_vni(
    nvc: Nvc, hosts: dict[str, Host], far: dict[int, Host], vni: int, port: str, other: str
) -> None:
    frames = [new_frame(FAR_MAC, dst) for dst in (BROADCAST, "02:aa:00:00:00:77", hosts[other].mac)]
    with hosts[other].capture() as outside:
        marker = new_frame(FAR_MAC)
        (came,) = arrivals(far[vni], *frames, marker=marker, at=[hosts[port]])
        assert len(came) == 3
        assert outside.quiet() == []


def test_one_address_has_a_locator_of_its_own_in_each_logical_switch(
    nvc: Nvc, hosts: dict[str, Host], kernel: KernelVtep, lab: Lab
) -> None:
    other = lab.peer("other", "10.2.2.10/24")
    nvc.unicast("ls0", {FAR_MAC: REMOTE})
    nvc.unicast("ls1", {FAR_MAC: "10.2.2.10"})
    frames = {port: new_frame(hosts[port].mac, FAR_MAC) for port in ("p0", "p2")}
    with kernel.capture() as one, other.capture() as two:
        for port, frame in frames.items():
            hosts[port].send(frame)
        one.wait(is_payload(frames["p0"]))
        two.wait(is_payload(frames["p2"]))
        assert [(each.vni, each.frame) for each in tunnelled(one.quiet(), REMOTE)] == [(5000, frames["p0"])]
        assert [(each.vni, each.frame) for each in tunnelled(two.quiet(0), "10.2.2.10")] == [(6000, frames["p2"])]


def test_logical_switches_that_exchange_their_keys_in_one_transaction_exchange_their_tunnels(
    nvc: Nvc, hosts: dict[str, Host], far: dict[int, Host]
) -> None:
    assert_alone(hosts["p0"], far[5000], hosts["p2"], far[6000])
    keys = {"ls0": 6000, "ls1": 5000}
    nvc.write(
        *(
            {"op": "update", "table": "Logical_Switch", "where": [["name", "==", switch]], "row": {"tunnel_key": key}}
            for switch, key in keys.items()
        )
    )
    assert_alone(hosts["p0"], far[6000], hosts["p2"], hosts["p3"], far[5000])
    assert_alone(hosts["p2"], far[5000], hosts["p0"], hosts["p1"], far[6000])
    assert_alone(hosts["p0"], hosts["p1"], hosts["p2"], hosts["p3"])


def test_logical_switches_with_the_same_key_are_not_merged_and_one_of_them_has_the_tunnels(
    nvc: Nvc, node: Node, hosts: dict[str, Host], far: dict[int, Host]
) -> None:
    nvc.logical_switch("ls1", tunnel_key=5000)
    node.app.wait_log(r"Logical_Switch ls1 has tunnel_key 5000, which is ls0's already")
    assert_alone(hosts["p0"], hosts["p1"], hosts["p2"], hosts["p3"])
    assert_alone(hosts["p2"], hosts["p3"], hosts["p0"], hosts["p1"], far[5000], far[6000])
    assert_alone(hosts["p0"], far[5000], hosts["p2"], hosts["p3"])
    nvc.logical_switch("ls0", tunnel_key=UNSET)
    assert_alone(hosts["p2"], far[5000], hosts["p0"], hosts["p1"])
    assert_alone(hosts["p0"], hosts["p1"], hosts["p2"], hosts["p3"], far[5000], far[6000])
