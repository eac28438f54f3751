"""Which stations were seen where, within limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtep_ryu.core.learning import Outcome, Stations
from vtep_ryu.core.model import Place

P0, P0_TAGGED, P1 = Place("p0", 0), Place("p0", 10), Place("p1", 0)
A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"


def stations(binding_limit=10, switch_limit=10):
    return Stations(binding_limit, switch_limit)


def test_a_station_is_learned_known_and_moves():
    known = stations()
    assert known.place("ls0", A) is None
    assert known.seen("ls0", A, P0) is Outcome.LEARNED
    assert known.seen("ls0", A, P0) is Outcome.KNOWN
    assert known.seen("ls0", A, P1) is Outcome.MOVED
    assert known.place("ls0", A) == P1
    assert known.on_port("p0") == ()
    assert known.on_port("p1") == (("ls0", A, P1),)


def test_another_vlan_of_a_port_is_another_place():
    known = stations()
    known.seen("ls0", A, P0)
    assert known.seen("ls0", A, P0_TAGGED) is Outcome.MOVED
    assert known.on_port("p0") == (("ls0", A, P0_TAGGED),)


def test_one_address_in_two_logical_switches_is_two_stations():
    known = stations()
    assert known.seen("ls0", A, P0) is known.seen("ls1", A, P1) is Outcome.LEARNED
    assert (known.place("ls0", A), known.place("ls1", A)) == (P0, P1)
    assert known.forget("ls0", A) == P0
    assert known.place("ls1", A) == P1


def test_a_station_that_is_forgotten_is_learned_anew():
    known = stations()
    known.seen("ls0", A, P0)
    assert known.forget("ls0", A) == P0
    assert known.forget("ls0", A) is None
    assert list(known.of_switch("ls0")) == []
    assert known.on_port("p0") == ()
    assert known.seen("ls0", A, P0) is Outcome.LEARNED


def test_a_full_binding_learns_no_more_until_a_station_goes():
    known = stations(binding_limit=2)
    known.seen("ls0", A, P0)
    known.seen("ls0", B, P0)
    assert known.seen("ls0", C, P0) is Outcome.BINDING_FULL
    assert known.place("ls0", C) is None
    assert known.seen("ls0", A, P0) is Outcome.KNOWN
    assert known.seen("ls0", C, P1) is Outcome.LEARNED
    known.forget("ls0", B)
    assert known.seen("ls0", C, P0) is Outcome.MOVED


def test_a_full_binding_leaves_the_other_vlans_of_its_port_theirs():
    known = stations(binding_limit=1)
    known.seen("ls0", A, P0)
    assert (known.is_full(P0), known.is_full(P0_TAGGED)) == (True, False)
    assert known.seen("ls0", B, P0_TAGGED) is Outcome.LEARNED
    assert set(known.on_port("p0")) == {("ls0", A, P0), ("ls0", B, P0_TAGGED)}
    assert set(known.at(P0_TAGGED)) == {("ls0", B)}


@pytest.mark.parametrize("elsewhere", [P0_TAGGED, P1])
def test_a_station_that_moves_to_a_full_binding_is_at_neither(elsewhere):
    known = stations(binding_limit=1)
    known.seen("ls0", A, P0)
    known.seen("ls0", B, elsewhere)
    assert known.seen("ls0", B, P0) is Outcome.BINDING_FULL
    assert known.place("ls0", B) is None
    assert not known.at(elsewhere)
    assert known.seen("ls0", B, P0) is Outcome.BINDING_FULL
    assert known.seen("ls0", A, elsewhere) is Outcome.MOVED
    assert known.seen("ls0", A, elsewhere) is Outcome.KNOWN


def test_a_full_logical_switch_learns_no_more_but_its_stations_move_and_others_learn():
    known = stations(switch_limit=1)
    known.seen("ls0", A, P0)
    assert known.seen("ls0", B, P1) is Outcome.SWITCH_FULL
    assert known.seen("ls0", A, P1) is Outcome.MOVED
    assert known.seen("ls1", B, P1) is Outcome.LEARNED
    known.forget("ls0", A)
    assert known.seen("ls0", B, P1) is Outcome.LEARNED


MACS, PLACES, SWITCHES = (A, B, C), (P0, P0_TAGGED, P1), ("ls0", "ls1")
STEPS = st.tuples(st.booleans(), st.sampled_from(SWITCHES), st.sampled_from(MACS), st.sampled_from(PLACES))


@given(st.integers(1, 4), st.integers(1, 4), st.lists(STEPS, max_size=30))
def test_what_is_known_by_switch_and_by_port_is_the_same_and_never_above_a_limit(binding_limit, switch_limit, steps):
    known = stations(binding_limit, switch_limit)
    for seen, switch, mac, place in steps:
        if seen:
            outcome = known.seen(switch, mac, place)
            full = outcome in (Outcome.BINDING_FULL, Outcome.SWITCH_FULL)
            assert (known.place(switch, mac) == place) != full
        else:
            known.forget(switch, mac)
        by_switch = {(s, m, known.place(s, m)) for s in SWITCHES for m in known.of_switch(s)}
        assert {each for port in ("p0", "p1") for each in known.on_port(port)} == by_switch
        assert max(len(known.at(place)) for place in PLACES) <= binding_limit
        assert max(len(list(known.of_switch(s))) for s in SWITCHES) <= switch_limit
