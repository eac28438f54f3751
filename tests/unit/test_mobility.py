"""Addresses that move too often: when they are frozen, what that looks like in the switch, and when it ends."""

import pytest

from tests.unit.example import BASE, LEARNED, LS0, P0, P1, REMOTE, A, B
from tests.unit.world import World, changed, difference, state, text
from vtep_ryu.core.counters import Counters
from vtep_ryu.core.events import Events
from vtep_ryu.core.mobility import Moves
from vtep_ryu.core.model import Port, Settings
from vtep_ryu.core.units import FrozenUnit

ELSEWHERE = f"ucast_remote ls0 {A} 10.2.2.2"
SETTINGS = Settings(mac_move_limit=2, mac_move_window=10)


def recorder(limit, window):
    return Moves(
        "br0",
        Settings(mac_move_limit=limit, mac_move_window=window),
        str,
        lambda unit: None,
        Counters(),
        Events().of("br0"),
    )


def moves(*times, limit=2, window=10):
    """Whether each of the moves at these times, to and fro, is one too many."""
    known, places = recorder(limit, window), (P0, P1)
    return [known.seen(LS0, A, places[n % 2], places[(n + 1) % 2], time) for n, time in enumerate(times)]


@pytest.mark.parametrize(
    ("times", "frozen"),
    [
        ((0, 1), [False, False]),
        ((0, 1, 9), [False, False, True]),
        ((0, 1, 10), [False, False, False]),
        ((0, 9, 11, 12), [False, False, False, True]),
        ((0, 20, 21, 22), [False, False, False, True]),
    ],
)
def test_more_moves_than_the_limit_within_the_window_are_one_too_many(times, frozen):
    assert moves(*times) == frozen


def test_a_limit_of_0_follows_every_move():
    assert not any(moves(*range(100), limit=0))


def test_what_is_learned_or_known_is_no_move_and_what_the_nvc_has_taken_is_one():
    known = recorder(1, 10)
    assert not known.seen(LS0, A, P0, P1, 0)
    assert not known.seen(LS0, A, None, P0, 1)
    assert not known.seen(LS0, A, P0, P0, 1)
    known.taken(LS0, A)
    known.released(LS0, A)
    assert not known.seen(LS0, A, None, P0, 1)
    known.taken(LS0, A)
    assert known.seen(LS0, A, None, P0, 1)


def test_addresses_are_counted_each_by_itself_and_forgotten_after_the_window():
    known = recorder(1, 10)
    for n in range(100):
        assert not known.seen(LS0, f"{n}", P0, P1, n)
    assert known.seen(LS0, "99", P1, P0, 100)
    assert not known.seen(LS0, "90", P1, P0, 100)
    assert len(known._times) < 12


def frozen_world(*blocks):
    """A at p0, where it is frozen, since it was at p1 and back."""
    world = World(BASE, REMOTE, LEARNED, *blocks, settings=SETTINGS)
    for place in (P1, P0, P1):
        world.vtep.seen(*world.ids(LS0, place), A, now=0)
    return world


def test_an_address_that_moves_too_often_stays_where_it_is_and_its_frames_from_elsewhere_go_on_unlearned():
    before, world = World(BASE, REMOTE, LEARNED), frozen_world()
    assert world.vtep.stations.place(LS0, A) == P0
    assert world.vtep.counters.addresses_frozen == 1
    assert changed(before.flows(), world.flows()) == text(
        f"""
        + learn 150 idle_timeout=10: switch=5000 from_tunnel=0 eth_src={A} -> goto suppress
        """
    )
    world.vtep.dirty.clear()
    world.vtep.seen(*world.ids(LS0, P1), A, now=0)
    assert world.vtep.stations.place(LS0, A) == P0
    assert world.vtep.dirty == set()


def test_an_address_that_was_quiet_elsewhere_moves_again():
    world = frozen_world()
    switch_id, _ = world.ids(LS0, P0)
    assert world.vtep.aged(switch_id, 0, A) == FrozenUnit(LS0, A)
    assert world.flows() == World(BASE, REMOTE, LEARNED).flows()
    world.vtep.seen(*world.ids(LS0, P1), A, now=0)
    assert world.vtep.stations.place(LS0, A) == P1


def age(world):
    world.vtep.aged(*world.ids(LS0, P0), A)


def take_the_port_down(world):
    world.vtep.set_ports({**world.vtep.ports, "p0": Port("p0", 1, up=False)})


def reconnect(world):
    world.vtep.restore([], kept=False)


def follow(world, *blocks):
    after = state(*blocks)
    world.vtep.touch(world.database.apply(difference(world.now, after)))
    world.now = after


def write_a_remote_row(world):
    follow(world, BASE, REMOTE, ELSEWHERE)


@pytest.mark.parametrize("end", [age, take_the_port_down, reconnect, write_a_remote_row])
def test_an_address_that_is_not_there_any_more_is_frozen_no_more(end):
    world = frozen_world()
    end(world)
    assert not world.vtep.moves.is_frozen(LS0, A)
    world.vtep.seen(*world.ids(LS0, P1), A, now=0)
    assert world.vtep.stations.place(LS0, A) == P1


@pytest.fixture
def contested():
    """A is behind another VTEP by the NVC's row, and frozen there: it was seen here again and again."""
    world = World(BASE, REMOTE, LEARNED, settings=SETTINGS)
    for _ in range(3):
        follow(world, BASE, REMOTE)
        follow(world, BASE, REMOTE, ELSEWHERE)
        world.vtep.seen(*world.ids(LS0, P0), A, now=0)
    return world


def test_an_address_that_two_vteps_claim_too_often_stays_with_the_other(contested):
    assert contested.vtep.stations.place(LS0, A) is None
    assert contested.vtep.moves.is_frozen(LS0, A)


@pytest.mark.parametrize("after", [[BASE, REMOTE], [BASE, REMOTE, f"ucast_remote ls0 {A} 10.2.2.1"]])
def test_an_address_whose_other_vtep_has_it_no_more_moves_here(contested, after):
    follow(contested, *after)
    contested.vtep.seen(*contested.ids(LS0, P0), A, now=0)
    assert contested.vtep.stations.place(LS0, A) == P0


def test_nothing_is_frozen_in_a_logical_switch_that_is_bound_no_more(contested):
    follow(contested, BASE, REMOTE, ELSEWHERE, "physical_port p0", "physical_port p1")
    assert not contested.vtep.moves.is_frozen(LS0, A)


def test_freezing_one_address_leaves_others_alone():
    world = frozen_world()
    world.vtep.seen(*world.ids(LS0, P0), B, now=0)
    assert world.vtep.stations.place(LS0, B) == P0
