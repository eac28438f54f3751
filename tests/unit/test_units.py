"""What is dealt with at once."""

from vtep_ryu.core.model import Place
from vtep_ryu.core.units import BindingUnit, FloodUnit, RemoteUnit, StationUnit, Unit, next_part

REMOTES: set[Unit] = {RemoteUnit("ls0", f"02:00:00:00:00:{n:02x}") for n in range(100)}
STATIONS: set[Unit] = {StationUnit("ls0", f"02:00:00:00:01:{n:02x}") for n in range(20)}


def test_of_very_many_remote_addresses_stations_do_not_wait_for_more_than_a_part() -> None:
    left, parts = REMOTES | STATIONS, []
    while left:
        parts.append(next_part(left, 30))
        left -= parts[-1]
    assert set().union(*parts) == REMOTES | STATIONS
    assert parts[0] >= STATIONS
    assert [len(part & REMOTES) for part in parts] == [30, 30, 30, 10]


def test_what_is_not_very_much_is_one_part() -> None:
    assert next_part(REMOTES, 100) == REMOTES
    assert next_part(set(), 100) == set()


def test_addresses_whose_logical_switch_or_binding_changes_with_them_are_not_parted() -> None:
    other: Unit
    for other in (FloodUnit("ls0"), BindingUnit(Place("p0", 0))):
        assert next_part(REMOTES | {other}, 30) == REMOTES | {other}
