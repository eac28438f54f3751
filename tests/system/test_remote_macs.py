"""Ucast_Macs_Remote: where frames for an address go, and what happens to rows that cannot be used."""

from typing import Any

import pytest

from apps.lab import Frame, Lab, Tag
from tests.system.nvc import VTEP, Nvc, Site, arrivals, is_payload, new_frame, tunnelled

pytestmark = pytest.mark.timeout(60)

NEAR, FAR = "10.2.2.8", "10.2.2.9"
MAC = "02:99:00:00:ab:cd"


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    """A VTEP with two hosts and two peers."""
    return Site(lab, ("p0", "p1"), (NEAR, FAR))


@pytest.fixture
def nvc(site: Site) -> Nvc:
    """The controller; unknown-dst of ls0 is at both peers, so that what is not known arrives at all of them."""
    nvc = site.reset(replication_mode="source_node")
    nvc.multicast("ls0", "unknown-dst", NEAR, FAR)
    return nvc


def places(site: Site, mac: str = MAC) -> list[str]:
    """Where a frame for an address arrives: peers' addresses, and ports; each as often as it does."""
    sender = site.hosts["p0"]
    frame = new_frame(sender.mac, mac)
    with site.hosts["p1"].capture() as local:
        remote = site.carried(sender, frame)
        came = [ip for ip, datagrams in remote.items() for each in datagrams if each.frame == frame]
        return came + ["p1" for each in local.quiet(0.1) if each == frame]


EVERYWHERE = [NEAR, FAR, "p1"]


@pytest.mark.parametrize("size", [46, 1500])
def test_a_frame_for_a_remote_address_goes_to_its_locator_alone_with_the_vni_byte_for_byte(
    nvc: Nvc, site: Site, size: int
) -> None:
    nvc.unicast("ls0", {MAC: FAR})
    sender, receiver = site.hosts["p0"], site.peers[FAR]
    frame = new_frame(sender.mac, MAC, size=size)
    with receiver.capture() as arriving:
        sender.send(frame)
        outer = arriving.wait(is_payload(frame))
        (datagram,) = tunnelled(arriving.quiet())
    assert outer.dst == receiver.mac
    assert (datagram.source, datagram.destination, datagram.vni) == (VTEP, FAR, 5000)
    assert datagram.frame.pack() == frame.pack()
    udp = outer.payload[20:]
    assert udp[2:4] == (4789).to_bytes(2)
    assert udp[8:16] == bytes.fromhex("08000000") + (5000).to_bytes(3) + b"\0"
    assert udp[16:] == frame.pack()
    assert places(site) == [FAR]


def test_inner_tags_pass_a_tunnel_and_outer_ones_do_not(nvc: Nvc, site: Site) -> None:
    nvc.unicast("ls0", {MAC: FAR})
    nvc.bind({"p0": {5: "ls0"}, "p1": {0: "ls0"}})
    sender, peer = site.hosts["p0"], site.peers[FAR]
    out = new_frame(sender.mac, MAC, tags=(Tag(5, pcp=3), Tag(7, pcp=2)))
    back = new_frame(MAC, sender.mac, tags=(Tag(7, pcp=6),))
    with peer.capture() as outside, sender.capture() as tagged, site.hosts["p1"].capture() as untagged:
        sender.send(out)
        outside.wait(is_payload(out))
        (datagram,) = tunnelled(outside.frames)
        assert datagram.frame.pack() == Frame(MAC, sender.mac, out.payload, tags=(Tag(7, pcp=2),)).pack()
        site.node.wait_until(lambda: ("ls0", sender.mac) in site.node.macs(), what="the address to be learned")
        nvc.settle()
        peer.send_vxlan(back, 5000, to=VTEP)
        assert tagged.wait(is_payload(back)).tags == (Tag(5), Tag(7, pcp=6))
        assert untagged.quiet() == []


def test_a_row_whose_locator_changes_is_followed(nvc: Nvc, site: Site) -> None:
    nvc.unicast("ls0", {MAC: FAR})
    assert places(site) == [FAR]
    nvc.move_unicast(MAC, NEAR)
    assert places(site) == [NEAR]


def test_an_address_whose_row_is_deleted_is_unknown_again(nvc: Nvc, site: Site) -> None:
    assert places(site) == EVERYWHERE
    nvc.unicast("ls0", {MAC: FAR})
    assert places(site) == [FAR]
    nvc.delete("Ucast_Macs_Remote", MAC)
    assert places(site) == EVERYWHERE


def test_a_row_holds_for_its_own_logical_switch_alone(nvc: Nvc, site: Site) -> None:
    nvc.logical_switch("ls1", tunnel_key=6000)
    nvc.unicast("ls1", {MAC: FAR})
    assert places(site) == EVERYWHERE


def test_of_several_rows_for_an_address_one_counts_and_another_takes_over(nvc: Nvc, site: Site) -> None:
    for ip in (NEAR, FAR, FAR):
        nvc.unicast("ls0", {MAC: ip})
    (first,) = places(site)
    assert places(site) == [first]
    rows = [row for row in site.node.rows("Ucast_Macs_Remote") if row["MAC"] == MAC]
    locators = {row["_uuid"]: row["dst_ip"] for row in site.node.rows("Physical_Locator")}
    for row in (each for each in rows if locators[each["locator"]] == first):
        nvc.write({"op": "delete", "table": "Ucast_Macs_Remote", "where": [["_uuid", "==", ["uuid", row["_uuid"]]]]})
    (second,) = places(site)
    assert {first, second} == {NEAR, FAR}
    nvc.delete("Ucast_Macs_Remote", MAC)
    assert places(site) == EVERYWHERE


def test_duplicate_rows_with_one_locator_are_one_and_outlive_each_other(nvc: Nvc, site: Site) -> None:
    for _ in range(3):
        nvc.unicast("ls0", {MAC: FAR})
    for row in [each for each in site.node.rows("Ucast_Macs_Remote") if each["MAC"] == MAC]:
        assert places(site) == [FAR]
        nvc.write({"op": "delete", "table": "Ucast_Macs_Remote", "where": [["_uuid", "==", ["uuid", row["_uuid"]]]]})
    assert places(site) == EVERYWHERE


@pytest.mark.parametrize("spelt", [MAC.upper(), MAC.replace(":", "-"), MAC.replace(":", ""), "2:99:0:0:ab:CD"])
def test_an_address_is_known_however_it_is_spelt(nvc: Nvc, site: Site, spelt: str) -> None:
    nvc.unicast("ls0", {spelt: FAR})
    assert places(site) == [FAR]
    nvc.unicast("ls0", {MAC: FAR})
    nvc.delete("Ucast_Macs_Remote", spelt)
    assert places(site) == [FAR], "by the row that spells it in the usual way"
    nvc.delete("Ucast_Macs_Remote", MAC)
    assert places(site) == EVERYWHERE


def warnings(site: Site, text: str) -> list[str]:
    """The lines of the log with this text."""
    return [line for line in site.node.app.log().splitlines() if text in line]


def row_id(site: Site, table: str, mac: str) -> Any:
    """The UUID of the row for an address."""
    return next(row["_uuid"] for row in site.node.rows(table) if row["MAC"] == mac)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "unknown",
        "02:99:00:00:ab",
        "02:99:00:00:ab:cd:ef",
        "02:99:00:00:ab:0g",
        "02:99:00:00:ab:100",
        "01:00:5e:00:00:01",
    ],
)
def test_a_row_with_a_malformed_mac_is_named_once_and_does_not_disturb_the_others(
    nvc: Nvc, site: Site, bad: str
) -> None:
    nvc.unicast("ls0", {bad: FAR, MAC: FAR})
    refused = f"Ucast_Macs_Remote {bad} of ls0: MAC has {bad!r}"
    assert len(warnings(site, refused)) == 1
    assert places(site) == [FAR]
    nvc.delete("Ucast_Macs_Remote", bad)
    assert places(site) == [FAR]
    assert len(warnings(site, refused)) == 1


@pytest.mark.parametrize("bad", ["", "10.2.2", "10.2.2.256", "10.2.2.9/32", "fd00::9", "a.peer.example", "10.2.2.9 "])
def test_a_row_with_a_malformed_locator_is_named_once_and_does_not_disturb_the_others(
    nvc: Nvc, site: Site, bad: str
) -> None:
    nvc.unicast("ls0", {"02:99:00:00:ab:01": bad, MAC: FAR})
    refused = f"Ucast_Macs_Remote 02:99:00:00:ab:01 of ls0: dst_ip of its Physical_Locator has {bad!r}"
    assert len(warnings(site, refused)) == 1
    assert places(site) == [FAR]
    assert places(site, "02:99:00:00:ab:01") == EVERYWHERE


def test_a_row_that_becomes_malformed_is_withdrawn_and_one_that_is_put_right_works(nvc: Nvc, site: Site) -> None:
    nvc.unicast("ls0", {MAC: FAR})
    where = [["_uuid", "==", ["uuid", row_id(site, "Ucast_Macs_Remote", MAC)]]]
    nvc.write({"op": "update", "table": "Ucast_Macs_Remote", "where": where, "row": {"MAC": "bad"}})
    assert len(warnings(site, "Ucast_Macs_Remote bad of ls0: MAC has 'bad'")) == 1
    assert places(site) == EVERYWHERE
    nvc.write({"op": "update", "table": "Ucast_Macs_Remote", "where": where, "row": {"MAC": MAC}})
    assert places(site) == [FAR]


def test_a_malformed_row_of_mcast_macs_remote_is_named_once_and_the_others_work(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown_dst", NEAR)
    nvc.multicast("ls0", MAC, NEAR)
    for bad in ("unknown_dst", MAC):
        assert len(warnings(site, f"Mcast_Macs_Remote {bad} of ls0: MAC has {bad!r}")) == 1
    assert places(site) == EVERYWHERE


def test_of_a_set_of_locators_only_the_malformed_ones_are_left_out(nvc: Nvc, site: Site) -> None:
    nvc.multicast("ls0", "unknown-dst", "10.2.2.999", FAR)
    refused = "Mcast_Macs_Remote unknown-dst of ls0: dst_ip of its Physical_Locator has '10.2.2.999'"
    assert len(warnings(site, refused)) == 1
    assert places(site) == [FAR, "p1"]


def test_frames_for_a_remote_address_are_not_flooded_before_the_first_is_learned_from(nvc: Nvc, site: Site) -> None:
    nvc.unicast("ls0", {MAC: FAR})
    stranger = site.lab.new_mac()
    frame, marker = new_frame(stranger, MAC), new_frame(site.hosts["p0"].mac)
    assert arrivals(site.hosts["p0"], frame, marker=marker, at=[site.hosts["p1"]]) == [[]]
