"""drivers/companion: what a thread hands over, and when it is made."""

import logging

import ovs.poller
import pytest

from vtep_ryu.drivers.companion import Companion


class Worker(Companion[str, str]):
    """Its thread is the test. It notes when what it hands over is made."""

    def __init__(self):
        super().__init__("worker", logging.getLogger("worker"))
        self.made = []

    def loop(self):
        self.made += self.taken()
        poller = ovs.poller.Poller()
        poller.immediate_wake()
        self.wait(poller)

    def make(self, *values):
        for value in values:
            self.made.append(value)
            yield value


@pytest.fixture
def worker():
    return Worker()


def test_very_many_are_made_one_a_turn_and_what_is_posted_meanwhile_is_taken_between(worker):
    worker.hand_over_each(worker.make("a", "b", "c"))
    worker.loop()
    worker.post("posted")
    worker.loop()
    assert worker.made == ["a", "posted", "b"]
    assert list(worker._outbox) == ["a", "b"]


def test_what_is_handed_over_later_comes_later(worker):
    worker.hand_over_each(worker.make("a", "b"))
    worker.hand_over("c")
    worker.hand_over_each(worker.make("d"))
    worker.hand_over_each(worker.make())
    worker.hand_over("e")
    for _ in range(7):
        worker.loop()
    worker.hand_over("f")
    assert list(worker._outbox) == ["a", "b", "c", "d", "e", "f"]


@pytest.mark.parametrize("hasten", [False, True])
def test_the_rest_can_be_handed_over_at_once(worker, hasten):
    worker.hand_over_each(worker.make("a", "b"))
    worker.hand_over("c")
    worker.hand_over_rest(hasten=hasten)
    worker.hand_over("d")
    assert list(worker._outbox) == ["a", "b", "c", "d"]
