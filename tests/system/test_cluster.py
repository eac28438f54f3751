"""hardware_vtep on a cluster of three servers: any of them can be lost, and nothing else is."""

import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest

from apps.lab import Lab, Node
from tests.system import support
from tests.system.cluster import Cluster, Member
from tests.system.traffic import FAR, TwoVteps, no_packet_lost

pytestmark = pytest.mark.timeout(300)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"


class Site(TwoVteps):
    """hardware_vtep is on a cluster. Statistics are not written: so the tests know what is."""

    cluster: Cluster

    def prepare(self) -> tuple[str, ...]:
        self.cluster = Cluster(self.node)
        return (f"--vtep-hardware-vtep-remotes={self.cluster.remotes}", "--vtep-statistics-interval=0")

    def lines(self) -> list[str]:
        """What was logged of hardware_vtep since the application was started."""
        return re.findall(r"^hardware_vtep: (.*)$", self.node.app.log(), re.MULTILINE)

    def await_connected(self, since: int) -> Member:
        """Wait until the log says that the leader is connected to, in a line after so many."""

        def connected() -> list[str]:
            return re.findall(r"connected to (\S+), the leader", "\n".join(self.lines()[since:]))

        self.cluster.wait(connected, "the leader to be connected to")
        (member,) = (each for each in self.cluster.members if each.remote == connected()[-1])
        return member

    def send_new(self) -> str:
        """Have a station send that was never seen; return once it is learned."""
        mac = self.lab.new_mac()
        self.p0.send(support.new_frame(mac))
        self.node.wait_until(lambda: mac in support.sources(self.node), what=f"{mac} to be learned")
        return mac

    def await_published(self, *macs: str) -> None:
        """Wait until addresses are published; see that each was written once, in all that the leader's log has."""
        leader = self.cluster.await_leader()
        self.node.wait_until(lambda: {("ls0", mac) for mac in macs} <= self.node.macs().keys(), 20, "what was learned")
        log = leader.file.read_text()
        assert {mac: log.count(f'"{mac}"') for mac in macs} == dict.fromkeys(macs, 1)

    def await_change(self) -> None:
        """The NVC adds an address: wait until that has an effect."""
        self.cluster.await_leader()
        mac = self.lab.new_mac()
        self.node.vtep_ctl("add-ucast-remote", "ls0", mac, FAR)
        self.node.wait_until(lambda: mac in support.table_flows(self.node, "unicast"), 20, "a change of the NVC")


@pytest.fixture(scope="module")
def whole(lab: Lab) -> Iterator[Site]:
    made = Site(lab)
    yield made
    made.cluster.delete()


@pytest.fixture
def site(whole: Site) -> Iterator[Site]:
    """The site with all members there, and the application connected to the leader; they are afterwards as well."""
    yield whole
    for each in whole.cluster.members:
        each.signal(signal.SIGCONT)
    whole.cluster.recover()
    whole.await_change()


@pytest.fixture
def node(site: Site) -> Node:
    return site.node


def link(node: Node) -> dict[str, str | None]:
    """How vtep/status says that hardware_vtep is reached."""
    return dict(support.status(node)["databases"]["hardware_vtep"])


def test_the_leader_is_connected_to_and_named(site: Site, node: Node) -> None:
    leader = site.cluster.await_leader()
    assert site.lines()[-1] == f"connected to {leader.remote}, the leader"
    assert link(node) == {"remote": leader.remote, "state": "leader"}


def test_a_follower_that_is_killed_is_not_noticed(site: Site) -> None:
    said, term = len(site.lines()), site.cluster.term()
    with no_packet_lost(*site.pairs):
        site.cluster.followers()[0].kill()
        site.await_change()
        site.await_published(site.send_new())
    assert site.lines()[said:] == [] or site.cluster.term() > term


def kill(leader: Member) -> None:
    leader.kill()


def stop(leader: Member) -> None:
    leader.signal(signal.SIGSTOP)


def transfer(leader: Member) -> None:
    """Have another member lead, as a leader does before it ends or writes a snapshot."""
    leader.ask("cluster/failure-test", "transfer-leadership")


LOST = "connection lost, trying again"


@pytest.mark.parametrize("lose", [kill, transfer, stop] if LONG else [kill, transfer])
def test_a_leader_that_is_lost_is_followed_by_the_next(site: Site, node: Node, lose: Callable[[Member], None]) -> None:
    leader, said, term = site.cluster.await_leader(), len(site.lines()), site.cluster.term()
    with no_packet_lost(*site.pairs):
        lose(leader)
        new = site.send_new()
        following = site.await_connected(said)
        site.await_published(new)
        site.await_change()
    lost = f"{leader.remote} does not lead any more, trying again" if lose is transfer else LOST
    lines = site.lines()[said:]
    if site.cluster.term() == term + 1:
        assert following is not leader
        assert lines == [lost, f"connected to {following.remote}, the leader"]
        assert link(node) == {"remote": following.remote, "state": "leader"}
    assert lines[0] == lost


def test_without_a_majority_everything_goes_on_and_is_published_afterwards(site: Site, node: Node) -> None:
    said = len(site.lines())
    with no_packet_lost(*site.pairs):
        left, *others = site.cluster.followers()
        others = [each for each in site.cluster.members if each is not left]
        for each in others:
            each.kill()
        new = [site.send_new() for _ in range(3)]
        site.cluster.wait(lambda: any("no leader for 5 s" in line for line in site.lines()[said:]), "that it is said")
        new.append(site.send_new())
        assert link(node) == {"remote": None, "state": "no leader"}
        site.cluster.recover()
        following = site.await_connected(said)
        site.await_published(*new)
        site.await_change()
    lost, without, back = site.lines()[said:]
    assert lost == LOST
    assert re.fullmatch("no leader for 5 s: .*; waiting for one", without)
    assert set(re.findall(r"tcp:[0-9.:]+\d", without)) == {each.remote for each in site.cluster.members}
    assert back == f"connected to {following.remote}, the leader"


def lose_during_a_write(site: Site, scenario: str) -> tuple[Member, str]:
    """Have the leader be lost while it writes a new station; return it and the station."""
    leader = site.cluster.await_leader()
    leader.ask("cluster/failure-test", scenario)
    return leader, site.send_new()


SCENARIOS = (
    "crash-after-sending-append-request",
    "crash-before-sending-append-request",
    "transfer-leadership-after-sending-append-request",
)


@pytest.mark.parametrize("scenario", SCENARIOS if LONG else SCENARIOS[:1])
def test_a_write_that_was_under_way_when_the_leader_was_lost_is_there_once(site: Site, scenario: str) -> None:
    said = len(site.lines())
    _, new = lose_during_a_write(site, scenario)
    site.await_connected(said)
    site.await_published(new)


if LONG:

    def test_a_leader_that_has_not_read_all_that_it_has_yet_is_waited_for(site: Site, node: Node) -> None:
        """A write of ours is in its log alone. That it holds shows when the third member has caught up."""
        said = len(site.lines())
        behind = site.cluster.followers()[0]
        behind.signal(signal.SIGSTOP)
        for number in range(10):
            row = {"description": f"{number}" * 5_000_000}  # Nobody reads it.
            node.transact({"op": "update", "table": "Logical_Switch", "where": [["name", "==", "ls0"]], "row": row})
        leader, new = lose_during_a_write(site, SCENARIOS[0])
        site.cluster.wait(lambda: leader.pid is None, "the leader to crash")
        behind.signal(signal.SIGCONT)
        site.await_connected(said)
        site.await_published(new)
