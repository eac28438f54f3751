"""Two instances share a switch: whatever happens to the owner, the other takes over and nothing is lost."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.lab import Lab, Node
from tests.system import support
from tests.system.instances import Instance, instances, other_version
from tests.system.traffic import FAR, TwoVteps, no_packet_lost, said

pytestmark = pytest.mark.timeout(200)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
TAKEOVER_SECONDS = 2 if LONG else 10
"""Until another has the lock, and what it then makes of that is as long as the machine is busy."""
OURS = ("Physical_Switch", "Physical_Port", "Ucast_Macs_Local", "Mcast_Macs_Local", "Tunnel", "Physical_Locator")


class Site(TwoVteps):
    """br0 is connected to two instances of the program."""

    both: list[Instance]
    options: tuple[str, ...] = ("--vtep-statistics-interval=0",)

    def owners(self) -> list[Instance]:
        """Who says that it serves br0."""
        return [each for each in self.both if each.app.running and each.serves("br0")]

    def owner(self) -> Instance:
        """Who serves br0."""
        self.node.wait_until(lambda: len(self.owners()) == 1, 20, "an owner")
        return self.owners()[0]

    def standby(self) -> Instance:
        """The other one, ready to take over."""
        owner = self.owner()
        (other,) = (each for each in self.both if each is not owner)
        if not other.app.running:
            other.start(*self.options)
        other.wait_stands_by("br0")
        return other

    def wait_both_seen(self) -> None:
        """Wait until the owner knows that another is connected too, which ovs-vswitchd tells every 5 s."""
        both = sorted(each.target for each in self.both)
        self.node.wait_until(lambda: sorted(_connected(self.node)) == both, 15, "two connections")
        # What the owner sets right has come to it after that.
        uuid = str(self.node.rows("Controller", "Open_vSwitch")[0]["_uuid"])
        self.node.vsctl("set", "Controller", uuid, "max_backoff=4000")
        self.node.wait_until(
            lambda: self.node.vsctl("get", "Controller", uuid, "max_backoff").strip() != "4000",
            what="it to be set right",
        )

    def followed(self) -> None:
        """What the NVC writes is followed, and what a station sends is learned: by whoever serves br0 now."""
        mac = self.lab.new_mac()
        self.node.vtep_ctl("add-ucast-remote", "ls0", mac, FAR)
        self.node.wait_until(lambda: mac in support.table_flows(self.node, "unicast"), what="a change of the NVC")
        self.node.vtep_ctl("del-ucast-remote", "ls0", mac)
        support.teach(self.node, self.p0, self.lab.new_mac())


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    made = Site(lab)
    node = made.node
    node.app.stop()
    with instances(node, 2) as made.both:
        for each in made.both:
            each.start(*made.options)
        node.vsctl("set-controller", "br0", *(each.target for each in made.both))
        node.wait_until(lambda: any(each.serves("br0") for each in made.both), what="an owner")
        yield made


@pytest.fixture
def node(site: Site) -> Node:
    return site.node


def test_one_of_two_instances_serves_and_the_other_stands_by(site: Site, node: Node) -> None:
    owner, standby = site.owner(), site.standby()
    assert owner.status()["owned"] == ["br0"]
    assert standby.status()["owned"] == standby.status()["bridges"] == []
    assert "br0: this instance has its lock" in owner.app.log()
    assert "br0: another instance has its lock" in standby.app.log()
    node.wait_until(lambda: _roles(node) == {owner.target: "master", standby.target: "slave"}, what="their roles")
    assert "br0\n    switch" not in standby.ask("vtep/show")
    assert standby.ask("vtep/show") == "br0\n    another instance has it, and this one stands by\n"
    assert "is served" in owner.ask("vtep/show")
    site.followed()


def _roles(node: Node) -> dict[str, str]:
    return {row["target"]: row["role"] for row in node.rows("Controller", "Open_vSwitch")}


def _connected(node: Node) -> list[str]:
    return [row["target"] for row in node.rows("Controller", "Open_vSwitch") if row["is_connected"]]


def kill(owner: Instance) -> None:
    owner.app.kill()


def cut_off_from_the_database(owner: Instance) -> None:
    owner.database.cut()
    owner.database.hold()


def cut_off_from_the_database_silently(owner: Instance) -> None:
    owner.database.hold()


def cut_off_from_the_switch(owner: Instance) -> None:
    owner.switch.cut()
    owner.switch.hold()


def cut_off_from_the_switch_silently(owner: Instance) -> None:
    owner.switch.hold()


def stop_until_woken(owner: Instance) -> None:
    owner.app.process.send_signal(signal.SIGSTOP)


WAYS = [kill, cut_off_from_the_database_silently, cut_off_from_the_switch, stop_until_woken]
LONG_WAYS = [cut_off_from_the_database, cut_off_from_the_switch_silently]


@pytest.mark.parametrize("lose", [*WAYS, *LONG_WAYS] if LONG else WAYS, ids=lambda each: each.__name__)
def test_when_the_owner_is_lost_another_takes_over_without_loss_and_rewrites_no_row(
    site: Site, node: Node, lose: Callable[[Instance], None]
) -> None:
    owner, standby = site.owner(), site.standby()
    if lose is cut_off_from_the_switch_silently:
        site.wait_both_seen()
        time.sleep(6)  # The echo requests before are 5 s apart.
    support.teach(node, site.p0, site.p0.mac)
    support.teach(node, site.p1, site.p1.mac)
    rows, flows = support.identities(node, *OURS), support.flows(node)
    with no_packet_lost(*site.pairs):
        began = time.time()
        try:
            lose(owner)
            standby.wait_serves("br0")
            assert support.identities(node, *OURS) == rows
            assert support.flows(node) == flows
            site.followed()
        finally:
            owner.app.process.send_signal(signal.SIGCONT)
            for relay in (owner.database, owner.switch):
                relay.release()
                relay.cut()
        if owner.app.running:
            owner.wait_stands_by("br0")
            site.followed()
    assert site.owner() is standby
    lines = ("br0: this instance has its lock", r"br0: switch \w+ is served")
    had, served = (said(standby.app, line)[-1] - began for line in lines)
    print(f"\n{lose.__name__}: another had the lock after {had:.2f} s, and served after {served:.2f} s")
    assert had < TAKEOVER_SECONDS


def exit(owner: Instance) -> None:
    owner.ask("exit")


def terminate(owner: Instance) -> None:
    owner.app.process.terminate()


def test_while_both_are_upgraded_one_after_the_other_each_hands_over_first_and_nothing_is_lost(
    site: Site, node: Node, tmp_path: Path
) -> None:
    site.standby()
    site.followed()
    news = other_version(tmp_path, "9.9.9")
    rows, flows = support.identities(node, *OURS), support.flows(node)
    with no_packet_lost(*site.pairs):
        for end in (exit, terminate):
            owner, standby = site.owner(), site.standby()
            site.wait_both_seen()
            end(owner)
            assert owner.app.wait() == -signal.SIGTERM
            assert standby.status()["owned"] == ["br0"], "at the moment that the other has ended"
            assert "br0: handed over" in owner.app.log()
            standby.wait_serves("br0")
            assert support.identities(node, *OURS) == rows
            assert support.flows(node) == flows
            owner.app.code = news
            owner.start(*site.options)
            owner.wait_stands_by("br0")
        assert [each.status()["version"] for each in site.both] == ["9.9.9", "9.9.9"]
        site.followed()
    assert rows.items() <= support.identities(node, *OURS).items()


def test_while_no_instance_reaches_the_database_all_stays_and_what_was_learned_is_written_afterwards(
    site: Site, node: Node
) -> None:
    owner, standby = site.owner(), site.standby()
    rows, mac = support.identities(node, *OURS), site.lab.new_mac()
    with no_packet_lost(*site.pairs):
        for each in (standby, owner):  # The other way about, the standby would still be told that it has the lock now.
            each.database.hold()
            each.database.cut()
        try:
            owner.app.wait_log("^hardware_vtep: connection lost", 20)
            site.p0.send(support.new_frame(mac))
            node.wait_until(lambda: mac in support.sources(node), what="a station that the owner learns")
            assert owner.serves("br0")
            assert standby.status()["owned"] == []
        finally:
            for each in site.both:
                each.database.release()
        node.wait_until(lambda: ("ls0", mac) in node.macs(), 20, "its row")
        site.owner()
        site.standby()
        assert rows.items() <= support.identities(node, *OURS).items()
        site.followed()


def test_an_owner_that_was_cut_off_from_all_and_finds_the_switch_first_leaves_it_to_who_has_it(
    site: Site, node: Node
) -> None:
    owner, standby = site.owner(), site.standby()
    demoted = "another controller is its master"
    before = standby.app.log().count(demoted)
    with no_packet_lost(*site.pairs):
        owner.database.hold()
        for relay in (owner.switch, owner.database):
            relay.hold()
            relay.cut()
        try:
            standby.wait_serves("br0")
            owner.app.wait_log("disconnected")
            owner.switch.release()
            owner.app.wait_log("(?s)disconnected.*^br0: another controller is its master now$")
            site.followed()
        finally:
            for relay in (owner.switch, owner.database):
                relay.release()
        owner.wait_stands_by("br0")
        site.followed()
    assert standby.app.log().count(demoted) == before
    assert standby.serves("br0")


def test_when_ovs_vswitchd_ends_its_owner_serves_it_again_and_no_row_is_rewritten(site: Site, node: Node) -> None:
    """Where one notices it PATIENCE_SECONDS before the other, as on a busy machine, the other may get it: once more."""
    lost = "br0: another instance has its lock"
    for _ in range(4):
        owner = site.owner()
        before = owner.app.log().count(lost)
        site.standby()
        mac = site.lab.new_mac()
        support.teach(node, site.p0, mac)
        rows = support.identities(node, *OURS)
        node.vswitchd.kill()
        node.wait_until(lambda owner=owner: not owner.status()["bridges"], what="the owner to lose it")
        node.start_vswitchd()
        if site.owner() is owner and owner.app.log().count(lost) == before:
            break
    assert owner.app.log().count(lost) == before, "who knows the stations"
    node.wait_until(lambda: mac in support.sources(node), what="a station that it still knows")
    assert support.identities(node, *OURS) == rows


def test_a_lock_that_is_taken_by_hand_moves_a_switch(site: Site, node: Node) -> None:
    owner, standby = site.owner(), site.standby()
    with no_packet_lost(*site.pairs):
        steal = ("ovsdb-client", "steal", f"unix:{node.socket}", "vtep_ryu_switch_br0")
        node.run("sh", "-c", 'timeout 1 "$@"; true', "sh", *steal)
        standby.wait_serves("br0")
        owner.wait_stands_by("br0")
        site.followed()


def test_an_instance_that_the_bridge_is_not_connected_to_owns_it_until_another_can_serve_it(
    site: Site, node: Node
) -> None:
    one, two = site.both
    one.app.kill()
    two.app.kill()
    one.switch.hold()
    try:
        with no_packet_lost(*site.pairs):
            one.start(f"--vtep-hardware-vtep-remotes=unix:{node.socket}")
            one.app.wait_log("^br0: this instance has its lock$")
            two.start()
            two.wait_serves("br0")
            assert one.status()["owned"] == []
    finally:
        one.switch.release()
    one.wait_stands_by("br0")
    said_of_hangs = [each.app.log().count("nobody notices an instance that hangs") for each in site.both]
    assert said_of_hangs == [1, 0], "one has the database by Unix socket"
    one.app.stop()


if LONG:  # For it takes a while until so many flows are there.

    def test_very_many_rows_do_not_make_an_instance_that_reads_them_seem_to_hang(site: Site) -> None:
        owner, standby = site.owner(), site.standby()
        news = "br0: (?:this|another) instance has its lock"
        before = [len(said(each.app, news)) for each in (owner, standby)]
        with no_packet_lost(*site.pairs):
            site.insert_remotes(100_000)
            new = site.lab.new_mac()
            site.change_remotes(new)
            site.node.wait_until(lambda: new in support.table_flows(site.node, "unicast"), 60, "one more")
        assert site.owner() is owner, owner.app.tail()
        assert [
            len(said(each.app, "br0: (?:this|another) instance has its lock")) for each in (owner, standby)
        ] == before
