"""From the counters of flows to the statistics of bindings."""

import pytest

from tests.unit.example import BASE
from tests.unit.world import World
from vtep_ryu.core import pipeline as p
from vtep_ryu.core.statistics import BindingStats, count, of_bindings

UNTAGGED, TAGGED = p.binding_id(3, 0), p.binding_id(3, 10)


def test_a_binding_counts_what_its_classify_flow_took_in_and_its_egress_flow_sent():
    classify = [({"in_port": 3, "vlan_vid": p.TAG | 10}, 5, 500)]
    egress = [({"reg2": TAGGED}, 7, 700)]
    assert count(classify, egress) == {TAGGED: BindingStats(5, 500, 7, 700)}


def test_an_untagged_binding_counts_frames_without_a_tag_and_with_a_priority_tag():
    classify = [({"in_port": 3, "vlan_vid": p.NO_TAG}, 5, 500), ({"in_port": 3, "vlan_vid": p.PRIORITY_TAG}, 2, 200)]
    assert count(classify, []) == {UNTAGGED: BindingStats(7, 700, 0, 0)}


def test_bindings_are_counted_apart():
    classify = [({"in_port": 3, "vlan_vid": p.NO_TAG}, 1, 10), ({"in_port": 3, "vlan_vid": p.TAG | 10}, 2, 20)]
    egress = [({"reg2": UNTAGGED}, 3, 30), ({"reg2": TAGGED}, 4, 40), ({"reg2": p.binding_id(4, 0)}, 5, 50)]
    assert count(classify, egress) == {
        UNTAGGED: BindingStats(1, 10, 3, 30),
        TAGGED: BindingStats(2, 20, 4, 40),
        p.binding_id(4, 0): BindingStats(0, 0, 5, 50),
    }


@pytest.mark.parametrize(
    ("classify", "egress"),
    [
        ([({}, 9, 900)], []),
        ([({"tunnel_id": 5000, "tun_ipv4_src": "10.2.2.2", "tun_ipv4_dst": "10.2.2.1"}, 9, 900)], []),
        ([], [({}, 9, 900)]),
        ([], [({"reg1": TAGGED, "reg2": TAGGED}, 9, 900)]),
    ],
    ids=["missed", "from a tunnel", "no binding", "not sent back"],
)
def test_what_no_binding_received_or_sent_is_not_counted(classify, egress):
    assert count(classify, egress) == {}


def test_every_binding_has_statistics_by_its_row_and_nothing_else_has():
    vtep = World(BASE, "physical_port p1 0=ls0 4095=ls0", "physical_port p9 0=ls0").vtep
    counted = {
        p.binding_id(1, 0): BindingStats(1, 2, 3, 4),
        p.binding_id(1, 99): BindingStats(9, 9, 9, 9),
        p.binding_id(77, 0): BindingStats(9, 9, 9, 9),
    }
    assert of_bindings(counted, vtep.bindings, vtep.ports) == {
        ("physical_port-p0", 0): BindingStats(1, 2, 3, 4),
        ("physical_port-p0", 10): BindingStats(),
        ("physical_port-p1", 0): BindingStats(),
        ("physical_port-p9", 0): BindingStats(),
    }
