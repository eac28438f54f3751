"""What is measured of a VTEP for metrics."""

import pytest

from tests.unit.example import BASE, LS0, P0, A
from tests.unit.world import World
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.flow import NOTHING, Rendering
from vtep_ryu.core.measures import ANY, BUCKETS, CHANGES, Delays, Measures, TunnelTraffic
from vtep_ryu.core.plan import Change
from vtep_ryu.core.render import render
from vtep_ryu.core.units import FloodUnit
from vtep_ryu.show.metrics import METRICS


def flow(remote: str, vni: int, packets: int) -> tuple[dict[str, object], int, int]:
    return {p.TUNNEL_SRC.oxm: remote, p.TUNNEL_KEY.oxm: vni}, packets, packets * 100


@pytest.mark.parametrize(("seconds", "bucket"), [(0, 0), (0.001, 0), (0.0011, 1), (10, 12), (11, 13)])
def test_a_delay_is_in_the_first_bucket_whose_bound_it_does_not_exceed(seconds: float, bucket: int) -> None:
    delays = Delays()
    delays.came(0)
    delays.begin()
    delays.done(seconds)
    assert delays.counts.index(1) == bucket
    assert (sum(delays.counts), delays.total) == (1, seconds)
    assert len(delays.counts) == len(BUCKETS) + 1


def test_what_comes_while_something_is_applied_is_done_with_the_next() -> None:
    delays = Delays()
    delays.came(0)
    delays.begin()
    delays.came(1)
    delays.done(2)
    assert delays.total == 2
    delays.begin()
    delays.done(4)
    assert delays.total == 5
    delays.done(9)
    assert sum(delays.counts) == 2


def test_what_a_switch_that_is_gone_did_not_acknowledge_is_not_counted() -> None:
    delays = Delays()
    delays.came(0)
    delays.begin()
    delays.came(1)
    delays.forget()
    delays.begin()
    delays.done(2)
    assert sum(delays.counts) == 0


def test_what_came_from_a_vtep_is_that_of_all_its_flows_and_never_less_while_it_has_one() -> None:
    traffic = TunnelTraffic(p.TUNNEL_SRC)
    for flows, expected in (
        ([flow("10.2.2.2", 5000, 3), flow("10.2.2.3", 5000, 1)], {"10.2.2.2": (3, 300), "10.2.2.3": (1, 100)}),
        ([flow("10.2.2.2", 5000, 5), flow("10.2.2.2", 5001, 1)], {"10.2.2.2": (6, 600)}),
        ([flow("10.2.2.2", 5001, 1), ({}, 9, 900)], {"10.2.2.2": (6, 600)}),
        ([flow("10.2.2.2", 5000, 2), flow("10.2.2.2", 5001, 2)], {"10.2.2.2": (9, 900)}),
        ([flow("10.2.2.2", 5000, 1)], {"10.2.2.2": (10, 1000)}),
    ):
        traffic.read(flows)
        assert traffic.counted == expected


def test_what_may_come_from_anywhere_or_go_there_is_not_taken_for_one_vteps() -> None:
    received, sent = TunnelTraffic(p.TUNNEL_SRC), TunnelTraffic(p.TUNNEL_DST)
    received.read([({p.TUNNEL_KEY.oxm: 5000, p.TUNNEL_DST.oxm: "10.2.2.1"}, 3, 300)])
    assert received.counted == {ANY: (3, 300)}
    sent.read([({}, 1, 100), ({p.TUNNEL_DST.oxm: "10.2.2.2"}, 2, 200)])
    assert sent.counted == {"10.2.2.2": (2, 200)}


def test_what_is_installed_is_counted_by_table_and_forgotten_with_the_switch() -> None:
    world, measures = World(BASE), Measures()
    flood = render(world.vtep, FloodUnit(LS0))
    measures.replaced(NOTHING, flood)
    assert measures.installed["flood"] == len(flood.flows) > 0
    assert measures.installed["groups"] == len(flood.groups) > 0
    measures.replaced(flood, flood)
    measures.replaced(flood, Rendering(flood.flows))
    assert measures.installed["groups"] == 0
    measures.disconnected()
    assert not +measures.installed


def test_every_change_has_a_name() -> None:
    assert set(CHANGES) == set(Change.__args__)


def test_packet_ins_count_by_what_became_of_them() -> None:
    world = World(BASE)
    for _ in range(3):
        world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    assert world.vtep.measures.packet_ins == {"learned": 1, "known": 2}


def test_no_metric_has_a_label_for_addresses_of_stations() -> None:
    assert not {label for metric in METRICS for label in metric.labels} & {"mac", "address", "station"}
