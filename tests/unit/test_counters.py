"""What is counted of a VTEP."""

from tests.unit.example import BASE, LS0, P0, P1, A, B, C
from tests.unit.world import World
from vtep_ryu.core import pipeline as p
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


def of(table, *flows):
    """What flows of a table have counted, as the switch says it."""
    return [(table.id, (match, packets, 60 * packets)) for match, packets in flows]


def test_frames_undelivered_are_those_of_all_flows_that_ever_counted_any():
    counters = Counters()
    drops, one, other = Drops(counters), {"metadata": 5000}, {"metadata": (5001, 0xFFFFFFFF)}
    for flows, total in (
        ([(one, 3)], 3),
        ([(one, 5), (other, 1)], 6),
        ([(other, 1)], 6),
        ([(one, 2), (other, 1)], 8),
        ([(one, 1), (other, 4)], 12),
    ):
        drops.read(of(p.UNDELIVERED, *flows))
        assert counters == Counters(frames_undelivered=total)


def test_frames_that_are_dropped_are_counted_by_table_and_by_why():
    counters = Counters()
    drops, missed = Drops(counters), ({}, 2)
    zeros, group = ({"eth_src": "00:00:00:00:00:00"}, 3), ({"eth_src": ("01:00:00:00:00:00",) * 2}, 4)
    for _ in range(2):
        drops.read([*of(p.CLASSIFY, missed), *of(p.LEARN, zeros, group), *of(p.PINNED, ({}, 5)), *of(p.FLOOD, ({}, 6))])
        assert counters == Counters(frames_unclassified=2, frames_impossible=7, frames_pinned=5)
        assert drops.frames == {"classify": 2, "learn": 7, "pinned": 5, "flood": 6}
