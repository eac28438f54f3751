"""Queues of which none keeps the others waiting."""

from vtep_ryu.core.turns import Turns


def all_of(turns):
    return [turns.take() for _ in range(len(turns))]


def test_one_of_each_source_is_taken_in_turn_and_those_of_a_source_in_order():
    turns = Turns(room=10)
    for source, item in ("aA", "aB", "aC", "bD", "cE", "bF"):
        turns.put(source, item)
    assert all_of(turns) == ["A", "D", "E", "B", "F", "C"]
    assert not turns
    assert turns.lost == 0


def test_where_there_is_no_room_the_source_with_the_most_loses_its_oldest():
    turns = Turns(room=3)
    for source, item in ("aA", "aB", "bC", "bD", "bE"):
        turns.put(source, item)
    assert turns.lost == 2
    assert sorted(all_of(turns)) == ["B", "D", "E"]


def test_who_floods_pushes_nobody_out_but_himself():
    turns = Turns(room=100)
    turns.put("station", "once")
    for number in range(10_000):
        turns.put("flood", number)
    assert len(turns) == 100
    assert "once" in (turns.take(), turns.take())
