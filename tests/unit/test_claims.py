"""Who has what only one can have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.claims import Claims


def test_what_one_alone_claims_it_has():
    claims = Claims[str]()
    assert claims.update([], [("x", "a")]) == {"x"}
    assert (claims.owner("x"), claims.owner("y")) == ("a", None)
    assert not claims.waiting("x")
    assert not claims.any_waiting()


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_of_those_that_claim_a_thing_together_the_lowest_has_it_and_the_others_wait(order):
    claims = Claims[str]()
    claims.update([], [("x", name) for name in order])
    assert claims.owner("x") == "a"
    assert claims.waiting("x") == {"b", "c"}
    assert claims.any_waiting()


def test_who_has_a_thing_keeps_it_until_it_lets_go():
    claims = Claims[str]()
    claims.update([], [("x", "c")])
    claims.update([], [("x", "b"), ("x", "a")])
    assert claims.owner("x") == "c"
    assert claims.update([("x", "c")], [("y", "c")]) == {"x", "y"}
    assert (claims.owner("x"), claims.owner("y")) == ("a", "c")
    claims.update([("x", "b")], [])
    assert not claims.any_waiting()
    claims.update([("x", "a")], [])
    assert claims.owner("x") is None


def test_two_that_exchange_their_things_at_once_exchange_them():
    claims = Claims[str]()
    claims.update([], [("x", "a"), ("y", "b")])
    claims.update([("x", "a"), ("y", "b")], [("x", "b"), ("y", "a")])
    assert (claims.owner("x"), claims.owner("y")) == ("b", "a")
    assert not claims.any_waiting()


def test_the_one_that_a_switch_forwards_a_thing_for_has_it_if_it_claims_it():
    claims = Claims[str]()
    claims.update([], [("x", "a"), ("x", "b")])
    assert claims.keep("x", p.note_on("b"))
    assert (claims.owner("x"), claims.waiting("x")) == ("b", {"a"})
    assert not claims.keep("x", p.note_on("b"))
    assert not claims.keep("x", p.note_on("c"))
    assert not claims.keep("y", p.note_on("a"))
    assert claims.owner("y") is None


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sets(st.sampled_from("xyz")))))
def test_whatever_is_claimed_has_an_owner_and_all_others_wait(steps):
    claims, wanted, owners = Claims[str](), {}, {}
    for step in steps:
        before, wanted = wanted, wanted | step
        claims.update(
            [(thing, name) for name in step for thing in before.get(name, set()) - step[name]],
            [(thing, name) for name in step for thing in step[name] - before.get(name, set())],
        )
        for thing in "xyz":
            claimants = {name for name, things in wanted.items() if thing in things}
            kept = owners.get(thing) if owners.get(thing) in claimants else min(claimants, default=None)
            owners[thing] = kept
            assert claims.owner(thing) == kept
            assert set(claims.waiting(thing)) == claimants - {kept}
        assert claims.any_waiting() == any(claims.waiting(thing) for thing in "xyz")
