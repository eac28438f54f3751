"""drivers/pauses: what the garbage collector looks at, and when."""

import gc
import sys
import weakref

import pytest

from vtep_ryu.drivers import pauses


class Cycle:
    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def shortened(monkeypatch):
    monkeypatch.setattr(pauses, "_reasons", set())
    interval = sys.getswitchinterval()
    pauses.shorten()
    yield
    pauses.go_on("a test")
    gc.callbacks.remove(pauses._keep)
    gc.unfreeze()
    sys.setswitchinterval(interval)


def test_what_survives_a_full_collection_is_not_looked_at_again():
    there = Cycle()
    gc.collect()
    assert not any(each is there for generation in range(3) for each in gc.get_objects(generation))


def test_cycles_are_freed_by_the_next_full_collection_or_after_they_were_let_go_of():
    young, old = Cycle(), Cycle()
    left = [weakref.ref(young), weakref.ref(old)]
    del young
    gc.collect()
    assert [each() for each in left] == [None, old]
    del old
    gc.collect()
    assert left[1]() is not None
    pauses.let_go()
    gc.collect()
    assert left[1]() is None


def test_nothing_is_looked_at_while_there_is_a_reason_to_rest_nor_afterwards_what_was_made_meanwhile():
    for reason in ("a test", "another"):
        pauses.hold(reason)
    assert not gc.isenabled()
    there = Cycle()
    pauses.go_on("another")
    assert not gc.isenabled()
    pauses.go_on("a test")
    assert gc.isenabled()
    assert not any(each is there for generation in range(3) for each in gc.get_objects(generation))


def test_who_has_no_reason_ends_no_rest():
    pauses.hold("a test")
    pauses.go_on("another")
    assert not gc.isenabled()
