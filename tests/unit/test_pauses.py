"""drivers/pauses: a full collection looks at what is new, and at all when something large was let go of."""

import gc
import sys
import weakref

import pytest

from vtep_ryu.drivers import pauses


class Cycle:
    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def shortened():
    interval = sys.getswitchinterval()
    pauses.shorten()
    yield
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
