"""Several bridges are shared evenly among the instances that they are connected to, one after another, without loss."""

import os
from collections.abc import Iterator

import pytest

from apps.lab import Lab
from tests.system import support
from tests.system.instances import Instance, instances
from tests.system.traffic import TwoVteps, no_packet_lost

pytestmark = pytest.mark.timeout(200)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
BRIDGES = ("br0", "br1", "br2", "br3")


class Site(TwoVteps):
    """Four bridges, each connected to two instances of the program; traffic goes through br0."""

    both: list[Instance]

    def shares(self) -> list[list[str]]:
        """The bridges that each instance serves."""
        return [each.status()["bridges"] if each.app.running else [] for each in self.both]

    def wait_shared(self) -> None:
        """Wait until each instance serves two of them."""
        fair = "two bridges for each"
        self.node.wait_until(lambda: [len(each) for each in self.shares()] == [2, 2], 60, fair)
        assert sorted(bridge for share in self.shares() for bridge in share) == sorted(BRIDGES)


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Site]:
    made = Site(lab)
    node = made.node
    node.app.stop()
    for bridge in BRIDGES[1:]:
        node.add_bridge(bridge)
        node.vtep_ctl("add-ps", bridge)
    with instances(node, 2) as made.both:
        made.both[0].start()
        for bridge in BRIDGES:
            node.vsctl("set-controller", bridge, *(each.target for each in made.both))
        made.both[0].wait_serves(*BRIDGES)
        yield made


def test_an_instance_that_joins_gets_its_share_one_by_one_and_nothing_is_lost(site: Site) -> None:
    first, second = site.both
    with no_packet_lost(*site.pairs):
        for _ in range(2 if LONG else 1):
            second.start()
            site.wait_shared()
            support.teach(site.node, site.p0, site.lab.new_mac())
            second.app.kill()
            first.wait_serves(*BRIDGES)
    given = [line for line in first.app.log().splitlines() if "is given to another instance" in line]
    assert len(given) == (4 if LONG else 2)


def test_a_bridge_that_is_no_vtep_any_more_is_left_by_its_owner_alone_and_served_again_by_one(site: Site) -> None:
    node, (_, second) = site.node, site.both
    if not second.app.running:
        second.start()
    second.wait_stands_by(*BRIDGES)
    node.vtep_ctl("del-ps", "br3")
    node.wait_until(lambda: "cookie=0x7674" not in node.ofctl("dump-flows", "br3"), what="its flows to be removed")
    node.vtep_ctl("add-ps", "br3")
    node.wait_until(lambda: sum("br3" in share for share in site.shares()) == 1, what="one to serve it")
