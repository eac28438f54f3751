"""Who should own which bridge: decided by each instance alone, from what it sees."""

import pytest

from vtep_ryu.core.ownership import HANDING_SECONDS, QUIET_SECONDS, TURN, Ownership

LATER = QUIET_SECONDS + HANDING_SECONDS


class Site:
    """Instances that share bridges, and a server that hands each lock to who has waited longest."""

    def __init__(self, bridges: int, *names: str) -> None:
        self.now = 0.0
        self.bridges = [f"br{number}" for number in range(bridges)]
        self.queues: dict[str, list[str]] = {bridge: [] for bridge in self.bridges}
        self.instances: dict[str, Ownership] = {}
        for name in names:
            self.join(name)

    def join(self, name: str, rebalance: bool = True) -> None:
        self.instances[name] = Ownership(rebalance)
        for queue in self.queues.values():
            queue.append(name)
        self._see()

    def leave(self, name: str) -> None:
        del self.instances[name]
        for queue in self.queues.values():
            queue.remove(name)
        self._see()

    def _see(self) -> None:
        for each in self.instances.values():
            counts = dict.fromkeys(self.bridges, len(self.instances))
            each.look(set(self.bridges), set(self.bridges), counts, self.now)
        self._answer()

    def _answer(self) -> None:
        for bridge, queue in self.queues.items():
            for name, each in self.instances.items():
                each.answered(bridge, queue[0] == name, self.now)
            for name, each in self.instances.items():
                if queue[0] != name:
                    each.handed(bridge)

    def settle(self) -> int:
        """Let them share until nobody gives anything any more; return how many bridges were given."""
        for given in range(1000):
            self.now += LATER
            waiting = [name for name, each in self.instances.items() if self._wants_turn(each)]
            if not waiting:
                return given
            name, owner = waiting[0], self.instances[waiting[0]]
            owner.take_turn(True)
            bridge = owner.to_give(self.now)
            assert bridge is not None
            assert not any(each.to_give(self.now) for each in self.instances.values() if each is not owner)
            owner.give(bridge, self.now)
            self.queues[bridge].remove(name)
            self.queues[bridge].append(name)
            self._answer()
            assert TURN not in owner.requests(), "it is the next one's"
        raise AssertionError("they go on for ever")

    def _wants_turn(self, instance: Ownership) -> bool:
        assert instance.to_give(self.now) is None
        return TURN in instance.requests()

    def shares(self) -> list[int]:
        return sorted(len(each.owned) for each in self.instances.values())


@pytest.mark.parametrize("bridges", [1, 2, 5, 9, 16])
@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
def test_whoever_joins_gets_its_share_and_who_leaves_has_its_share_taken_over(bridges: int, names: str) -> None:
    site = Site(bridges, "a")
    assert site.shares() == [bridges]
    for name in names[1:]:
        site.join(name)
        site.settle()
        assert max(site.shares()) == -(-bridges // len(site.instances))
        assert sum(site.shares()) == bridges
    site.leave("a")
    site.settle()
    assert max(site.shares()) == -(-bridges // len(site.instances))
    assert sum(site.shares()) == bridges


def test_two_share_by_giving_as_few_as_can_be() -> None:
    site = Site(10, "a", "b")
    assert site.settle() == 5
    assert site.settle() == 0


def test_nothing_is_given_away_without_rebalancing() -> None:
    site = Site(4)
    site.join("a", rebalance=False)
    site.join("b", rebalance=False)
    assert site.settle() == 0
    assert site.shares() == [0, 4]


class AlwaysItsTurn(Ownership):
    def to_give(self, now: float) -> str | None:
        super().to_give(now)
        self.take_turn(True)
        return super().to_give(now)


def owner_of(*bridges: str, controllers: int = 2) -> Ownership:
    """One that owns all bridges, and whose turn it is whenever it asks for it."""
    made = AlwaysItsTurn(rebalance=True)
    made.look(set(bridges), set(bridges), dict.fromkeys(bridges, controllers), 0)
    for bridge in bridges:
        assert made.answered(bridge, True, 0)
    return made


def test_one_at_a_time_is_given_and_the_next_as_soon_as_another_is_master() -> None:
    owner = owner_of("br0", "br1", "br2", "br3")
    assert owner.to_give(QUIET_SECONDS / 2) is None
    assert owner.to_give(10) == "br3"
    owner.give("br3", 10)
    assert owner.is_handing("br3")
    assert owner.to_give(10 + HANDING_SECONDS / 2) is None
    assert owner.answered("br3", False, 11)
    assert owner.is_under_way("br3")
    owner.handed("br3")
    assert not owner.is_under_way("br3")
    assert owner.to_give(12) == "br2"


def test_nothing_more_is_given_while_others_come_and_go() -> None:
    owner = owner_of("br0", "br1", "br2", "br3")
    owner.give("br3", 10)
    owner.answered("br3", False, 11)
    owner.handed("br3")
    owner.look({"br0", "br1", "br2"}, {"br0", "br1", "br2"}, dict.fromkeys(("br0", "br1", "br2"), 3), 12)
    assert owner.to_give(12 + QUIET_SECONDS / 2) is None
    assert owner.to_give(12 + QUIET_SECONDS) == "br2"


def test_a_turn_is_asked_for_before_one_is_given_and_left_to_others_when_that_is_done() -> None:
    owner = Ownership(rebalance=True)
    bridges = {"br0": 2, "br1": 2, "br2": 2, "br3": 2}
    owner.look(bridges.keys(), bridges.keys(), bridges, 0)
    for bridge in bridges:
        owner.answered(bridge, True, 0)
    assert TURN not in owner.requests()
    assert owner.to_give(10) is None
    assert owner.requests()[TURN]
    owner.take_turn(True)
    assert owner.to_give(11) == "br3"
    owner.give("br3", 11)
    owner.answered("br3", False, 12)
    assert owner.to_give(12) is None
    assert TURN in owner.requests(), "another is not its master yet"
    owner.handed("br3")
    assert TURN not in owner.requests()
    assert owner.to_give(20) is None
    owner.take_turn(True)
    owner.look(bridges.keys(), bridges.keys(), dict.fromkeys(bridges, 1), 30)
    assert owner.to_give(40) is None
    assert TURN not in owner.requests(), "nobody is there any more to share with"


def test_who_is_given_one_and_does_not_serve_it_keeps_nobody_elses_turn() -> None:
    owner = owner_of("br0", "br1")
    assert owner.to_give(10) == "br1"
    owner.give("br1", 10)
    owner.answered("br1", False, 11)
    assert owner.to_give(11 + HANDING_SECONDS / 2) is None
    assert TURN in owner.requests()
    assert owner.to_give(11 + HANDING_SECONDS) is None
    assert TURN not in owner.requests()


def test_another_may_be_master_before_the_lock_is_known_to_be_gone() -> None:
    owner = owner_of("br0", "br1")
    owner.give("br1", 10)
    owner.handed("br1")
    assert owner.is_handing("br1"), "or it would be served again"
    assert owner.answered("br1", False, 12)
    assert not owner.is_under_way("br1")


def test_what_nobody_takes_is_kept_until_something_changes() -> None:
    owner = owner_of("br0", "br1")
    owner.give("br1", 10)
    assert not owner.answered("br1", True, 11)
    assert not owner.is_handing("br1")
    assert owner.to_give(20) == "br0"
    owner.give("br0", 20)
    owner.answered("br0", True, 21)
    assert owner.to_give(100) is None
    owner.look({"br0", "br1"}, {"br0", "br1"}, {"br0": 2, "br1": 3}, 100)
    assert owner.to_give(110) == "br1"


def test_bridges_that_nobody_else_is_connected_to_are_its_own_share() -> None:
    owner = owner_of("br0", "br1", controllers=1)
    assert owner.surplus() == 0
    assert not owner.has_heir("br0")
    owner.look({"br0", "br1"}, {"br0", "br1"}, {"br0": 1, "br1": 2}, 0)
    assert owner.surplus() == 0
    owner.look({"br0", "br1"}, {"br0", "br1"}, {"br0": 0, "br1": 0}, 0)
    assert owner.surplus() == 0, "the database is some seconds late"


def test_a_lock_is_waited_for_while_the_bridge_is_connected_and_kept_while_nobody_else_wants_it() -> None:
    owner = owner_of("br0", "br1")
    assert owner.requests() == {"br0": True, "br1": True}
    owner.look({"br0", "br1"}, {"br1"}, {}, 1)
    assert owner.requests() == {"br0": False, "br1": True}
    owner.look({"br1"}, {"br1"}, {}, 1)
    assert owner.requests() == {"br0": False, "br1": True}, "its rows are still to be removed"
    owner.answered("br0", False, 2)
    assert owner.requests() == {"br1": True}


def test_who_is_about_to_end_waits_for_nothing_new() -> None:
    owner = owner_of("br0")
    owner.look({"br0", "br1"}, {"br0", "br1"}, {"br0": 2, "br1": 2}, 1)
    assert owner.standby == ("br1",)
    owner.leave()
    assert owner.requests() == {"br0": True}
    assert owner.to_give(100) is None
