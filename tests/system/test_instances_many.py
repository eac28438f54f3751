"""Three and four instances share several bridges evenly, whoever joins or leaves, and move one of them at a time."""

import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

import pytest

from apps.lab import Lab
from tests.system import support
from tests.system.instances import Instance, instances
from tests.system.traffic import TwoVteps, no_packet_lost
from vtep_ryu.core.ownership import QUIET_SECONDS

pytestmark = pytest.mark.timeout(200)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
BRIDGES = tuple(f"br{number}" for number in range(12 if LONG else 3))
OPTIONS = ("--vtep-statistics-interval=0",)
LOOK_SECONDS = 1.0
"""How often an instance looks whether it is to give a bridge away."""


class Site(TwoVteps):
    """Bridges that are each connected to as many instances as run; traffic goes through br0."""

    all: list[Instance]

    @property
    def running(self) -> list[Instance]:
        """Those that run."""
        return [each for each in self.all if each.app.running]

    def wait_shared(self) -> None:
        """Wait until those that run serve equally many bridges, and each bridge is served by one of them."""
        fair = [len(BRIDGES) // len(self.running)] * len(self.running)
        shares = self.node.wait_until(lambda: self._shares(fair), 100, f"{fair} bridges")
        assert _all(shares) == sorted(BRIDGES)

    def _shares(self, fair: list[int]) -> list[list[str]] | None:
        shares = self._served()
        return shares if [len(share) for share in shares] == fair else None

    def wait_all_served(self) -> None:
        """Wait until each bridge is served by one of those that run."""
        what = "all bridges to be served"
        self.node.wait_until(lambda: _all(self._served()) == sorted(BRIDGES), 30, what)

    def _served(self) -> list[list[str]]:
        return [each.status()["bridges"] for each in self.running]

    def connections(self) -> int:
        """How many controllers Open vSwitch says to be connected."""
        return sum(bool(row["is_connected"]) for row in self.node.rows("Controller", "Open_vSwitch"))

    def moves(self) -> list[tuple[float, float, str]]:
        """When each bridge that those which run gave away was given, and when another had it."""
        events = sorted(event for each in self.running for event in _events(each))
        given: dict[str, float] = {}
        moves = []
        for when, what, bridge in events:
            if what == "given":
                given[bridge] = when
            elif bridge in given:
                moves.append((given.pop(bridge), when, bridge))
        assert not given
        return sorted(moves)

    def expect_one_at_a_time(self) -> None:
        """Bridges were given away by those that run, and never two at once."""
        moves = self.moves()
        assert moves
        for (_, had, _), (given, _, _) in pairwise(moves):
            assert had < given, moves


def _all(shares: list[list[str]]) -> list[str]:
    return sorted(bridge for share in shares for bridge in share)


_EVENT = re.compile(r"^(\S+)Z [A-Z]+ (br\d+): (?:is (given) to another|this instance (has) its lock)", re.MULTILINE)


def _events(instance: Instance) -> list[tuple[float, str, str]]:
    """When it gave bridges away, and when it got some."""
    found = _EVENT.findall(instance.app.logfile.read_text())
    return [
        (datetime.fromisoformat(f"{stamp}+00:00").timestamp(), given or got, bridge)
        for stamp, bridge, given, got in found
    ]


@pytest.fixture(scope="module")
def made(lab: Lab) -> Iterator[Site]:
    made = Site(lab)
    made.node.app.stop()
    for bridge in BRIDGES[1:]:
        made.node.add_bridge(bridge)
        made.node.vtep_ctl("add-ps", bridge)
    with instances(made.node, 4 if LONG else 3) as made.all:
        yield made


@pytest.fixture
def site(made: Site) -> Iterator[Site]:
    """The site, where no instance runs yet."""
    yield made
    for each in made.running:
        each.app.kill()


def connect(site: Site, *to: Instance, bridges: tuple[str, ...] = BRIDGES) -> None:
    """Connect bridges to these instances and no others."""
    for bridge in bridges:
        site.node.vsctl("set-controller", bridge, *(each.target for each in to))


def test_who_joins_gets_its_share_one_at_a_time_and_who_is_killed_is_replaced(site: Site) -> None:
    first, second, *others = site.all
    half = (len(BRIDGES) + 1) // 2
    for each, bridges in ((first, BRIDGES[:half]), (second, BRIDGES[half:])):
        each.start(*OPTIONS)
        connect(site, each, bridges=bridges)
        each.wait_serves(*bridges)
    connect(site, *site.all)
    with no_packet_lost(*site.pairs):
        for each in others:
            each.start(*OPTIONS)
            site.wait_shared()
        support.teach(site.node, site.p0, site.lab.new_mac())
    site.expect_one_at_a_time()
    with no_packet_lost(*site.pairs):
        for each in (first, second) if LONG else (first,):
            each.app.kill()
            site.wait_all_served()
            if LONG:
                site.wait_shared()
            support.teach(site.node, site.p0, site.lab.new_mac())


if LONG:  # For it waits for what must not happen.

    def test_without_rebalancing_who_joins_is_given_nothing_and_who_is_killed_is_replaced(site: Site) -> None:
        first, second, *_ = site.all
        connect(site, first, second)
        with no_packet_lost(*site.pairs):
            first.start(*OPTIONS, "--vtep-norebalance")
            first.wait_serves(*BRIDGES)
            second.start(*OPTIONS, "--vtep-norebalance")
            second.wait_stands_by(*BRIDGES)
            site.node.wait_until(lambda: site.connections() == 2 * len(BRIDGES), 20, "Open vSwitch to say so")
            time.sleep(QUIET_SECONDS + 2 * LOOK_SECONDS)
            assert first.serves(*BRIDGES)
            first.app.kill()
            second.wait_serves(*BRIDGES)
            support.teach(site.node, site.p0, site.lab.new_mac())
        assert site.moves() == []
