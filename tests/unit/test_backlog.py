"""What is dealt with at once."""

from vtep_ryu.core.backlog import Backlog
from vtep_ryu.core.model import Place
from vtep_ryu.core.units import BindingUnit, FloodUnit, RemoteUnit, StationUnit, Unit

REMOTES: set[Unit] = {RemoteUnit("ls0", f"02:00:00:00:00:{n:02x}") for n in range(100)}
STATIONS: set[Unit] = {StationUnit("ls0", f"02:00:00:00:01:{n:02x}") for n in range(20)}


def backlog(units: set[Unit]) -> Backlog:
    """One in which these units wait."""
    made = Backlog()
    made.touch(units)
    return made


def test_of_very_many_remote_addresses_stations_do_not_wait_for_more_than_a_part() -> None:
    left, parts = backlog(REMOTES), []
    parts.append(left.take(30))
    left.touch(STATIONS)
    while left:
        parts.append(left.take(30))
    assert set().union(*parts) == REMOTES | STATIONS
    assert parts[1] >= STATIONS
    assert [len(part & REMOTES) for part in parts] == [30, 30, 30, 10]


def test_what_is_not_very_much_is_one_part() -> None:
    assert backlog(REMOTES).take(100) == REMOTES
    assert backlog(set()).take(100) == set()


def test_addresses_whose_logical_switch_or_binding_changes_with_them_are_not_parted() -> None:
    other: Unit
    for other in (FloodUnit("ls0"), BindingUnit(Place("p0", 0))):
        left = backlog(REMOTES | {other})
        assert left.take(30) == REMOTES | {other}
        assert not left


def test_what_changes_again_while_it_waits_is_dealt_with_once_more_but_waits_once() -> None:
    left = backlog(REMOTES)
    first = left.take(30)
    left.touch(REMOTES)
    rest = left.take(100)
    assert (len(first), rest, bool(left)) == (30, REMOTES, False)
