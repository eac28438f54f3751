"""Physical_Locator.tunnel_key: the VNI towards a VTEP and from it, alone and beside Logical_Switch.tunnel_key."""

import re
from contextlib import ExitStack

import pytest

from apps.lab import Lab
from apps.lab.frames import BROADCAST
from tests.system.nvc import UNSET, VTEP, Nvc, Site, is_payload, new_frame, tunnelled
from tests.system.support import flows, switch_faults

pytestmark = pytest.mark.timeout(120)

X, Y = "10.2.2.8", "10.2.2.9"
AT_X, AT_Y = "02:99:00:00:00:08", "02:99:00:00:00:09"
FAULT = ["unspecified_fault"]


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """A VTEP with a host in each of two logical switches, and two peers."""
    return Site(lab, ("p0", "q0"), (X, Y))


@pytest.fixture
def nvc(site: Site) -> Nvc:
    """The controller, with ls0 at p0 and ls1 at q0, which have neither a tunnel_key nor remote rows."""
    nvc = site.nvc
    nvc.clear()
    for name in ("ls0", "ls1"):
        nvc.logical_switch(name, settle=False, replication_mode="source_node")
    nvc.bind({"p0": {0: "ls0"}, "q0": {0: "ls1"}})
    return nvc


def assert_sent(site: Site, port: str, copies: dict[str, list[int]], destination: str = BROADCAST) -> None:
    """A frame from a host arrives at the peers with these VNIs, and not otherwise."""
    sender, came = site.hosts[port], {}
    frame = new_frame(sender.mac, destination)
    with ExitStack() as stack:
        captures = {ip: stack.enter_context(peer.capture()) for ip, peer in site.peers.items()}
        sender.send(frame)
        for ip, vnis in copies.items():
            for _ in vnis:
                captures[ip].wait(is_payload(frame))
        for ip, capture in captures.items():
            came[ip] = sorted(each.vni for each in tunnelled(capture.quiet(), ip) if each.frame == frame)
    assert came == {ip: sorted(copies.get(ip, [])) for ip in site.peers}


def assert_taken(site: Site, taken: dict[tuple[int, str], str], refused: list[tuple[int, str]]) -> None:
    """Frames with these (VNI, source) arrive at these ports, and those that are refused at none."""
    with ExitStack() as stack:
        captures = {port: stack.enter_context(host.capture()) for port, host in site.hosts.items()}
        for vni, ip in refused:
            site.peers[ip].send_vxlan(new_frame(AT_X), vni, to=VTEP)
        frames = {port: [] for port in captures}
        for (vni, ip), port in taken.items():
            frames[port].append(new_frame(AT_X))
            site.peers[ip].send_vxlan(frames[port][-1], vni, to=VTEP)
            captures[port].wait(is_payload(frames[port][-1]))
        assert {port: capture.quiet() for port, capture in captures.items()} == frames


def restart(site: Site, *options: str) -> None:
    """Kill the program and start it again."""
    site.node.app.kill()
    site.node.start_app(*options)
    site.node.app.wait_log(r"^br0: switch \w+ is served$")


def by_uuid(nvc: Nvc) -> list[str]:
    """The two logical switches, the lowest UUID first."""
    uuids = {row["name"]: row["_uuid"] for row in nvc.node.rows("Logical_Switch")}
    return sorted(("ls0", "ls1"), key=uuids.__getitem__)


def test_keys_of_locators_carry_a_logical_switch_that_has_none_of_its_own(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", (X, 7001), (Y, 7002), settle=False)
    nvc.unicast("ls0", {AT_Y: (Y, 7002)})
    assert_sent(site, "p0", {X: [7001], Y: [7002]})
    assert_sent(site, "p0", {Y: [7002]}, AT_Y)
    assert_taken(site, {(7001, X): "p0", (7002, Y): "p0"}, [(7002, X), (7001, Y), (0, X), (5000, X)])
    assert switch_faults(site.node) == []


def test_a_multicast_address_has_members_with_keys(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "01:00:5e:00:00:05", (X, 7001), (X, 7003))
    assert_sent(site, "p0", {X: [7001, 7003]}, "01:00:5e:00:00:05")
    assert_sent(site, "p0", {})
    assert_taken(site, {(7001, X): "p0", (7003, X): "p0"}, [(7001, Y)])


def test_both_models_mix_within_a_logical_switch_and_between_two(nvc: Nvc, site: Site) -> None:
    nvc.logical_switch("ls0", tunnel_key=5000, settle=False)
    nvc.logical_switch("ls1", tunnel_key=5001, settle=False)
    nvc.multicast("ls0", "unknown-dst", (X, 7001), Y, settle=False)
    nvc.multicast("ls1", "unknown-dst", X, Y, settle=False)
    nvc.unicast("ls0", {AT_X: (X, 7001), AT_Y: Y})
    assert_sent(site, "p0", {X: [7001], Y: [5000]})
    assert_sent(site, "q0", {X: [5001], Y: [5001]})
    assert_sent(site, "p0", {X: [7001]}, AT_X)
    assert_sent(site, "p0", {Y: [5000]}, AT_Y)
    taken = {(7001, X): "p0", (5000, Y): "p0", (5001, X): "q0", (5001, Y): "q0"}
    assert_taken(site, taken, [(5000, X), (7001, Y)])


def test_one_vni_leads_to_different_logical_switches_at_different_locators(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", (X, 7001), (Y, 7002), settle=False)
    nvc.multicast("ls1", "unknown-dst", (X, 7002), (Y, 7001))
    assert_sent(site, "p0", {X: [7001], Y: [7002]})
    assert_sent(site, "q0", {X: [7002], Y: [7001]})
    assert_taken(site, {(7001, X): "p0", (7002, Y): "p0", (7002, X): "q0", (7001, Y): "q0"}, [])
    assert switch_faults(site.node) == []


def test_a_key_that_changes_goes_and_comes_while_running_changes_the_vni_both_ways(nvc: Nvc, site: Site) -> None:
    nvc.logical_switch("ls0", tunnel_key=5000, settle=False)
    nvc.multicast("ls0", "unknown-dst", (X, 7001), Y, settle=False)
    nvc.unicast("ls0", {AT_X: (X, 7001)}, settle=False)
    nvc.settle()
    for locator, key in (((X, 7001), 7002), ((X, 7002), None), (X, 7001)):
        nvc.rekey((locator, key))
        vni = 5000 if key is None else key
        assert_sent(site, "p0", {X: [vni], Y: [5000]})
        assert_sent(site, "p0", {X: [vni]}, AT_X)
        refused = [(other, X) for other in (5000, 7001, 7002) if other != vni]
        assert_taken(site, {(vni, X): "p0", (5000, Y): "p0"}, [*refused, (7001, Y)])
    nvc.logical_switch("ls0", tunnel_key=6000)
    assert_sent(site, "p0", {X: [7001], Y: [6000]})
    assert_taken(site, {(7001, X): "p0", (6000, Y): "p0"}, [(6000, X), (5000, Y)])
    nvc.logical_switch("ls0", tunnel_key=UNSET)
    assert_sent(site, "p0", {X: [7001]})
    assert_taken(site, {(7001, X): "p0"}, [(6000, X), (6000, Y)])


def test_locators_that_exchange_their_keys_at_once_exchange_them(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", (X, 7001), settle=False)
    nvc.multicast("ls1", "unknown-dst", (X, 7002))
    nvc.rekey(((X, 7001), 7002), ((X, 7002), 7001))
    assert_sent(site, "p0", {X: [7002]})
    assert_sent(site, "q0", {X: [7001]})
    assert_taken(site, {(7002, X): "p0", (7001, X): "q0"}, [])
    assert switch_faults(site.node) == []


def test_of_two_logical_switches_that_name_one_locator_one_has_it_also_over_a_restart(nvc: Nvc, site: Site) -> None:
    low, high = by_uuid(nvc)
    ports = {"ls0": "p0", "ls1": "q0"}
    nvc.multicast(high, "unknown-dst", (X, 7001), settle=False)
    nvc.unicast(high, {AT_X: (X, 7001)})
    nvc.multicast(low, "unknown-dst", (X, 7001), (Y, 7002), settle=False)
    nvc.unicast(low, {AT_X: (X, 7001)})

    def held_back() -> None:
        assert_sent(site, ports[high], {X: [7001]})
        assert_sent(site, ports[high], {X: [7001]}, AT_X)
        assert_sent(site, ports[low], {Y: [7002]})
        assert_taken(site, {(7001, X): ports[high], (7002, Y): ports[low]}, [])
        site.node.wait_until(lambda: switch_faults(site.node) == FAULT, what="the fault")
        warning = rf"^br0: Logical_Switch {low}: VNI 7001 at {X} is {high}'s already"
        assert len(re.findall(warning, site.node.app.log(), re.MULTILINE)) == 1

    held_back()
    before = flows(site.node)
    restart(site)
    assert flows(site.node) == before
    held_back()

    nvc.delete("Ucast_Macs_Remote", AT_X, high)
    assert_sent(site, ports[low], {Y: [7002]})
    nvc.delete("Mcast_Macs_Remote", "unknown-dst", high)
    assert_sent(site, ports[high], {})
    assert_sent(site, ports[low], {X: [7001], Y: [7002]})
    assert_sent(site, ports[low], {X: [7001]}, AT_X)
    assert_taken(site, {(7001, X): ports[low], (7002, Y): ports[low]}, [])
    site.node.wait_until(lambda: switch_faults(site.node) == [], what="no fault")


@pytest.mark.parametrize("first", ["key", "own"])
def test_a_locators_key_and_another_logical_switchs_own_vni_are_never_merged(nvc: Nvc, site: Site, first: str) -> None:
    nvc.logical_switch("ls1", tunnel_key=7001)
    rows = {"key": ("ls0", (X, 7001)), "own": ("ls1", X)}
    second = "own" if first == "key" else "key"
    for each in (first, second):
        switch, locator = rows[each]
        nvc.multicast(switch, "unknown-dst", locator)
    ports = {"key": "p0", "own": "q0"}
    assert_sent(site, ports[first], {X: [7001]})
    assert_sent(site, ports[second], {})
    assert_taken(site, {(7001, X): ports[first]}, [(7001, Y)])
    site.node.wait_until(lambda: switch_faults(site.node) == FAULT, what="the fault")
    if first == "key":
        nvc.rekey(((X, 7001), 7002))
        assert_sent(site, "p0", {X: [7002]})
        assert_sent(site, "q0", {X: [7001]})
        assert_taken(site, {(7002, X): "p0", (7001, X): "q0"}, [])
    else:
        nvc.logical_switch("ls1", tunnel_key=5001)
        assert_sent(site, "p0", {X: [7001]})
        assert_sent(site, "q0", {X: [5001]})
        assert_taken(site, {(7001, X): "p0", (5001, X): "q0"}, [])
    site.node.wait_until(lambda: switch_faults(site.node) == [], what="no fault")


@pytest.mark.parametrize("key", [-1, 0x1000000, (1 << 32) + 7001])
def test_a_locator_whose_key_is_no_vni_is_reported_and_left_out_until_it_is_one(nvc: Nvc, site: Site, key: int) -> None:
    nvc.multicast("ls0", "unknown-dst", (X, key), (Y, 7002), settle=False)
    nvc.unicast("ls0", {AT_X: (X, key)})
    what = rf"tunnel_key of its Physical_Locator has {key}, must be a VNI \(0 to 16777215\)"
    site.node.app.wait_log(rf"^Mcast_Macs_Remote unknown-dst of ls0: {what}; the value is left out$")
    site.node.app.wait_log(rf"^Ucast_Macs_Remote {AT_X} of ls0: {what}; the row is left out$")
    assert_sent(site, "p0", {Y: [7002]})
    assert_taken(site, {(7002, Y): "p0"}, [(key & 0xFFFFFF, X)])
    nvc.rekey(((X, key), 7001))
    assert_sent(site, "p0", {X: [7001], Y: [7002]})
    assert_sent(site, "p0", {X: [7001]}, AT_X)
    nvc.rekey(((X, 7001), key))
    assert_sent(site, "p0", {Y: [7002]})


def test_a_key_of_0_is_not_used_and_said_once_and_is_vni_0_with_honour_vni_0(nvc: Nvc, site: Site) -> None:
    nvc.logical_switch("ls1", tunnel_key=0, settle=False)
    nvc.multicast("ls0", "unknown-dst", (X, 0), (Y, 7002), settle=False)
    nvc.unicast("ls0", {AT_X: (X, 0)}, settle=False)
    nvc.multicast("ls1", "unknown-dst", Y)
    said = rf"^br0: Logical_Switch ls0: locator {X} has tunnel_key 0, which says that it is not ready: not used$"
    site.node.app.wait_log(said)
    assert_sent(site, "p0", {Y: [7002]})
    assert_sent(site, "q0", {})
    assert_taken(site, {(7002, Y): "p0"}, [(0, X), (0, Y)])
    assert len(re.findall(said, site.node.app.log(), re.MULTILINE)) == 1
    assert switch_faults(site.node) == []
    try:
        restart(site, "--vtep-honour-vni-0")
        assert_sent(site, "p0", {X: [0], Y: [7002]})
        assert_sent(site, "q0", {Y: [0]})
        # What is learned in the logical switch with VNI 0 is used, and published.
        host = site.hosts["q0"]
        site.node.wait_until(lambda: ("ls1", host.mac) in site.node.macs(), what="the host in Ucast_Macs_Local")
        assert_taken(site, {(0, X): "p0", (7002, Y): "p0", (0, Y): "q0"}, [(7002, X)])
        assert not re.search(said, site.node.app.log(), re.MULTILINE)
        before = flows(site.node)
        restart(site, "--vtep-honour-vni-0")
        assert flows(site.node) == before
        nvc.logical_switch("ls0", tunnel_key=0)
        site.node.app.wait_log("ls0 has tunnel_key 0, which is ls1's already")
        assert_sent(site, "q0", {Y: [0]})
    finally:
        restart(site)
    assert_sent(site, "p0", {Y: [7002]})


def test_with_accept_any_source_keys_of_locators_stay_tied_to_their_addresses(nvc: Nvc, site: Site) -> None:
    nvc.logical_switch("ls0", tunnel_key=5000, settle=False)
    nvc.logical_switch("ls1", tunnel_key=7002, settle=False)
    nvc.multicast("ls0", "unknown-dst", (X, 7001), (Y, 7002))
    try:
        restart(site, "--vtep-accept-any-source")
        taken = {(7001, X): "p0", (7002, Y): "p0", (5000, X): "p0", (5000, Y): "p0", (7002, X): "q0"}
        assert_taken(site, taken, [(7001, Y)])
        # Another one's own VNI is refused it where a key has it, also if that names the address itself.
        nvc.multicast("ls1", "unknown-dst", Y)
        assert_sent(site, "q0", {})
        assert_sent(site, "p0", {X: [7001], Y: [7002]})
        assert_taken(site, taken, [(7001, Y)])
        site.node.wait_until(lambda: switch_faults(site.node) == FAULT, what="the fault")
    finally:
        restart(site)


def test_local_rows_have_a_locator_without_a_key_whatever_locators_the_nvc_has_of_that_address(
    nvc: Nvc, site: Site
) -> None:
    nvc.unicast("ls0", {AT_X: (VTEP, 7001)})
    assert_sent(site, "q0", {})
    host = site.hosts["q0"]
    site.node.wait_until(lambda: ("ls1", host.mac) in site.node.macs(), what="the host in Ucast_Macs_Local")
    (row,) = (row for row in site.node.rows("Ucast_Macs_Local") if row["MAC"] == host.mac)
    (locator,) = (each for each in site.node.rows("Physical_Locator") if each["_uuid"] == row["locator"])
    assert (locator["dst_ip"], locator["tunnel_key"]) == (VTEP, [])


def test_vtep_ctl_takes_any_locator_of_an_address_whatever_its_key(nvc: Nvc, site: Site) -> None:
    nvc.unicast("ls0", {AT_X: (X, 7001)})
    site.node.vtep_ctl("add-ucast-remote", "ls0", AT_Y, X)
    locators = {row["MAC"]: row["locator"] for row in site.node.rows("Ucast_Macs_Remote")}
    assert locators[AT_Y] == locators[AT_X]
    reference = next(row["_uuid"] for row in site.node.rows("Logical_Switch") if row["name"] == "ls1")
    site.node.vtep_ctl(
        *("--", "--id=@there", "create", "Physical_Locator", "encapsulation_type=vxlan_over_ipv4", f'dst_ip="{X}"'),
        *("tunnel_key=7002", "--", "create", "Ucast_Macs_Remote", f'MAC="{AT_X}"', f"logical_switch={reference}"),
        *("locator=@there",),
    )
    nvc.settle()
    assert_sent(site, "p0", {X: [7001]}, AT_Y)
    assert_sent(site, "q0", {X: [7002]}, AT_X)
