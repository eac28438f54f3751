"""Two instances whose hardware_vtep is on a cluster: the leader is lost, the owner is, and both are at once."""

import os
from collections.abc import Iterator

import pytest

from apps.lab import Lab
from tests.system import support
from tests.system.cluster import Cluster
from tests.system.instances import instances
from tests.system.test_instances import Site
from tests.system.traffic import no_packet_lost

pytestmark = pytest.mark.timeout(300)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"


class Clustered(Site):
    """br0 is connected to two instances that follow all members of a cluster."""

    cluster: Cluster

    def prepare(self) -> tuple[str, ...]:
        self.cluster = Cluster(self.node)
        self.options = (*self.options, f"--vtep-hardware-vtep-remotes={self.cluster.remotes}")
        return self.options

    def all_is_well(self) -> None:
        """One instance serves br0 and the other stands by; what the NVC writes and what stations send is followed."""
        self.cluster.recover()
        self.owner()
        self.standby()
        self.followed()


@pytest.fixture(scope="module")
def site(lab: Lab) -> Iterator[Clustered]:
    made = Clustered(lab)
    node = made.node
    node.app.stop()
    try:
        with instances(node, 2, clustered=True) as made.both:
            for each in made.both:
                each.start(*made.options)
            node.vsctl("set-controller", "br0", *(each.target for each in made.both))
            made.all_is_well()
            yield made
    finally:
        made.cluster.delete()


if LONG:  # For a cluster and two instances are long in coming.

    def test_when_the_leader_is_lost_one_instance_serves_and_no_packet_or_row_is_lost(site: Clustered) -> None:
        mac = site.lab.new_mac()
        support.teach(site.node, site.p0, mac)
        with no_packet_lost(*site.pairs):
            leader = site.cluster.await_leader()
            leader.kill()
            following = site.cluster.await_leader()
            assert following is not leader
            site.all_is_well()
        assert ("ls0", mac) in site.node.macs()
        assert following.file.read_text().count(f'"{mac}"') == 1, "it was written once"

    def test_when_the_owner_is_lost_while_another_member_begins_to_lead_the_standby_serves(site: Clustered) -> None:
        owner, standby = site.owner(), site.standby()
        mac = site.lab.new_mac()
        support.teach(site.node, site.p0, mac)
        with no_packet_lost(*site.pairs):
            site.cluster.await_leader().kill()
            owner.app.kill()
            site.cluster.await_leader()
            standby.wait_serves("br0")
            assert ("ls0", mac) in site.node.macs()
            site.all_is_well()
