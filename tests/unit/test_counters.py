"""What is counted of a VTEP."""

from tests.unit.example import BASE, LS0, P0, P1, A, B, C
from tests.unit.world import World
from vtep_ryu.core.counters import Counters
from vtep_ryu.core.model import Settings
from vtep_ryu.core.statistics import Drops


def counted(*sightings, settings=None):
    """The counters after addresses were seen at places of ls0, in this order."""
    world = World(BASE, settings=settings)
    for mac, place in sightings:
        world.vtep.seen(*world.ids(LS0, place), mac, now=0)
    return world.vtep.counters


def test_an_address_counts_as_learned_once_and_as_moved_each_time_it_is_followed():
    assert counted((A, P0), (A, P0)) == Counters(addresses_learned=1)
    assert counted((A, P0), (A, P1), (A, P1), (A, P0)) == Counters(addresses_learned=1, addresses_moved=2)


def test_every_sighting_that_a_limit_refuses_counts_whosever_it_is():
    for settings in (Settings(binding_mac_limit=1), Settings(switch_mac_limit=1)):
        refused = counted((A, P0), (B, P0), (C, P0), (C, P0), settings=settings)
        assert refused == Counters(addresses_learned=1, addresses_refused=3)


def test_an_address_counts_as_frozen_once_however_often_it_is_seen_elsewhere():
    settings = Settings(mac_move_limit=1)
    frozen = counted((A, P0), (A, P1), (A, P0), (A, P0), settings=settings)
    assert frozen == Counters(addresses_learned=1, addresses_moved=1, addresses_frozen=1, frozen_now=1)


def test_what_a_switch_still_knew_was_not_learned_now():
    world = World(BASE)
    world.vtep.restore([(*world.ids(LS0, P0), A, 0)], kept=True)
    assert world.vtep.counters == Counters()


def test_a_copy_is_what_was_counted_then():
    counters = Counters(addresses_learned=1)
    copy = counters.copy()
    counters.addresses_learned += 1
    assert copy == Counters(addresses_learned=1)


def test_frames_undelivered_are_those_of_all_flows_that_ever_counted_any():
    counters = Counters()
    drops, one, other = Drops(counters), {"metadata": 5000}, {"metadata": (5001, 0xFFFFFFFF)}
    for flows, total in (
        ([(one, 3, 180)], 3),
        ([(one, 5, 300), (other, 1, 60)], 6),
        ([(other, 1, 60)], 6),
        ([(one, 2, 120), (other, 1, 60)], 8),
        ([(one, 1, 60), (other, 4, 240)], 12),
    ):
        drops.read((), (), flows)
        assert counters == Counters(frames_undelivered=total)


def test_frames_that_are_dropped_on_their_way_in_are_counted_by_why():
    counters = Counters()
    drops, bound, missed = Drops(counters), ({"in_port": 1, "vlan_vid": 0}, 7, 420), ({}, 2, 120)
    zeros, group = ({"eth_src": "00:00:00:00:00:00"}, 3, 180), ({"eth_src": ("01:00:00:00:00:00",) * 2}, 4, 240)
    for _ in range(2):
        drops.read([bound, missed], [zeros, group], [])
        assert counters == Counters(frames_unclassified=2, frames_impossible=7)
