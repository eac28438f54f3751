"""The rows, indexed; and what exactly an update touches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.world import EMPTY, State, difference, locator_of, logical, state, whole
from vtep_ryu.core.database import Database
from vtep_ryu.core.model import UNKNOWN_DST, Change, Locator, McastRemote, PhysicalSwitch, UcastRemote, Update
from vtep_ryu.core.units import (
    FloodUnit,
    LogicalSwitchTouched,
    MulticastUnit,
    PhysicalPortTouched,
    PhysicalSwitchTouched,
    RemoteUnit,
    SourceUnit,
)

LS0 = logical("ls0")
MAC, OTHER_MAC, GROUP = "02:00:00:00:00:01", "02:00:00:00:00:02", "01:00:5e:00:00:01"
BASE = f"""
    physical_switch br0 tunnel_ips=10.2.2.1
    physical_port p0 0=ls0
    logical_switch ls0 tunnel_key=5000
    ucast_remote ls0 {MAC} 10.2.2.2
    mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3
    mcast_remote ls0 {GROUP} 10.2.2.3
    """


def loaded(*blocks):
    database = Database()
    database.apply(whole(state(*blocks)))
    return database


def touched(before, after):
    """What the change from one state to another touches."""
    database = Database()
    database.apply(difference(EMPTY, before))
    return database.apply(difference(before, after))


def without(text, start):
    return state("\n".join(line for line in text.splitlines() if not line.strip().startswith(start)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("physical_switch br0 tunnel_ips=10.2.2.9", {PhysicalSwitchTouched("br0")}),
        ("physical_port p0 0=ls0 10=ls0", {PhysicalPortTouched("physical_port-p0")}),
        ("logical_switch ls0 tunnel_key=5001", {LogicalSwitchTouched(LS0)}),
        ("logical_switch ls0 tunnel_key=5000 replication_mode=source_node", {LogicalSwitchTouched(LS0)}),
        ("logical_switch ls1", {LogicalSwitchTouched(logical("ls1"))}),
        (f"ucast_remote ls0 {OTHER_MAC} 10.2.2.2", {RemoteUnit(LS0, OTHER_MAC)}),
        (f"ucast_remote ls0 {OTHER_MAC} 10.2.2.4", {RemoteUnit(LS0, OTHER_MAC), SourceUnit(LS0, "10.2.2.4")}),
        (f"ucast_remote ls0 {MAC} 10.2.2.3", {RemoteUnit(LS0, MAC)}),
        (f"ucast_remote ls0 {MAC} 10.2.2.2/7001", {RemoteUnit(LS0, MAC), SourceUnit(LS0, "10.2.2.2")}),
        (f"ucast_remote ls0 {MAC} 10.2.2.4", {RemoteUnit(LS0, MAC), SourceUnit(LS0, "10.2.2.4")}),
        ("mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.3", set()),
        ("mcast_remote ls0 unknown-dst 10.2.2.2 10.2.2.4", {FloodUnit(LS0), SourceUnit(LS0, "10.2.2.4")}),
        ("mcast_remote ls0 unknown-dst", {FloodUnit(LS0)}),
        (f"mcast_remote ls0 {GROUP} 10.2.2.2", {MulticastUnit(LS0, GROUP)}),
        (f"mcast_remote ls0 {GROUP} 10.2.2.3 10.2.2.4", {MulticastUnit(LS0, GROUP), SourceUnit(LS0, "10.2.2.4")}),
    ],
)
def test_a_changed_row_touches_what_it_changes_and_nothing_else(line, expected):
    assert touched(state(BASE), state(BASE, line)) == expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("logical_switch", {LogicalSwitchTouched(LS0)}),
        ("ucast_remote", {RemoteUnit(LS0, MAC)}),
        ("mcast_remote ls0 unknown-dst", {FloodUnit(LS0)}),
        ("mcast_remote ls0 01", {MulticastUnit(LS0, GROUP)}),
        ("mcast_remote", {FloodUnit(LS0), MulticastUnit(LS0, GROUP), SourceUnit(LS0, "10.2.2.3")}),
    ],
)
def test_a_row_that_goes_touches_what_it_leaves_behind_and_nothing_else(start, expected):
    assert touched(state(BASE), without(BASE, start)) == expected


def test_a_row_that_takes_another_address_or_logical_switch_touches_both():
    row = UcastRemote("a", MAC, "x", Locator("10.2.2.2"))
    database = Database()
    database.apply(Update((Change(UcastRemote, "a", row),)))
    moved = UcastRemote("a", OTHER_MAC, "y", Locator("10.2.2.2"))
    assert database.apply(Update((Change(UcastRemote, "a", moved),))) == {
        RemoteUnit("x", MAC),
        RemoteUnit("y", OTHER_MAC),
        SourceUnit("x", "10.2.2.2"),
        SourceUnit("y", "10.2.2.2"),
    }
    assert (list(database.remotes("x")), list(database.remotes("y"))) == ([], [OTHER_MAC])


def test_a_row_that_turns_from_unknown_dst_into_a_multicast_address_touches_both():
    database = Database()
    database.apply(Update((Change(McastRemote, "a", McastRemote("a", UNKNOWN_DST, "x", (Locator("10.2.2.2"),))),)))
    group = McastRemote("a", GROUP, "x", (Locator("10.2.2.2"),))
    assert database.apply(Update((Change(McastRemote, "a", group),))) == {FloodUnit("x"), MulticastUnit("x", GROUP)}
    assert database.members("x", UNKNOWN_DST) == ()


def test_what_is_named_again_as_it_is_touches_nothing():
    database = loaded(BASE)
    assert database.apply(difference(EMPTY, state(BASE))) == set()
    assert database.apply(whole(state(BASE))) == set()


def test_a_row_that_was_never_there_can_go():
    assert Database().apply(Update((Change(UcastRemote, "a", None),))) == set()


def test_the_database_is_loaded_with_the_first_complete_update_and_not_before():
    database = Database()
    database.apply(difference(EMPTY, state(BASE)))
    assert not database.loaded
    database.apply(Update((), complete=True))
    assert database.loaded


def test_rows_are_found_by_what_the_vteps_ask_for():
    database = loaded(BASE)
    assert database.physical_switch("br0").tunnel_ips == ("10.2.2.1",)
    assert database.physical_switch("br1") is None
    assert [row.name for row in database.physical_switches()] == ["br0"]
    assert database.physical_port("physical_port-p0").name == "p0"
    assert database.logical_switch(LS0).tunnel_key == 5000
    assert list(database.remotes(LS0)) == [MAC]
    assert (database.remote(LS0, MAC), database.remote(LS0, OTHER_MAC)) == (Locator("10.2.2.2"), None)
    assert list(database.multicasts(LS0)) == [GROUP]
    assert database.members(LS0, UNKNOWN_DST) == (Locator("10.2.2.2"), Locator("10.2.2.3"))
    assert database.members(LS0, "01:00:5e:00:00:99") == ()
    assert sorted(database.sources(LS0)) == ["10.2.2.2", "10.2.2.3"]
    assert database.locators(LS0, "10.2.2.3") == [Locator("10.2.2.3")]
    assert database.locators(LS0, "10.2.2.4") == []


def test_a_vtep_is_one_source_however_many_locators_it_has():
    database = loaded(BASE, f"mcast_remote ls0 {GROUP} 10.2.2.2/7002 10.2.2.2/7001 10.2.2.4/7001")
    assert sorted(database.sources(LS0)) == ["10.2.2.2", "10.2.2.3", "10.2.2.4"]
    at_2 = [Locator("10.2.2.2"), Locator("10.2.2.2", 7001), Locator("10.2.2.2", 7002)]
    assert database.locators(LS0, "10.2.2.2") == at_2
    assert database.locators(LS0, "10.2.2.4") == [Locator("10.2.2.4", 7001)]


def test_locators_are_in_the_order_of_the_numbers_that_their_addresses_are_then_of_their_keys():
    in_order = ["10.2.2.4", "10.2.2.4/0", "10.2.2.4/7001", "10.2.2.10", "10.2.2.10/5"]
    assert [str(locator) for locator in sorted(map(locator_of, reversed(in_order)))] == in_order


def test_uuids_of_one_table_are_not_those_of_another():
    database = loaded(BASE)
    assert database.physical_port(LS0) is database.logical_switch("physical_port-p0") is None


def test_a_physical_switch_is_found_by_its_present_name_only():
    database = Database()
    database.apply(Update((Change(PhysicalSwitch, "a", PhysicalSwitch("a", "br0", (), frozenset())),)))
    renamed = Change(PhysicalSwitch, "a", PhysicalSwitch("a", "br1", (), frozenset()))
    assert database.apply(Update((renamed,))) == {PhysicalSwitchTouched("br0"), PhysicalSwitchTouched("br1")}
    assert database.physical_switch("br0") is None
    assert database.physical_switch("br1").uuid == "a"


@pytest.mark.parametrize("new_first", [True, False])
def test_a_physical_switch_row_that_is_replaced_by_another_of_its_name_is_that_one(new_first):
    database = loaded("physical_switch br0 uuid=a tunnel_ips=10.2.2.1")
    new = PhysicalSwitch("b", "br0", ("10.2.2.2",), frozenset())
    changes = (Change(PhysicalSwitch, "b", new), Change(PhysicalSwitch, "a", None))
    database.apply(Update(changes if new_first else changes[::-1]))
    assert database.physical_switch("br0") == new
    assert list(database.physical_switches()) == [new]


def test_of_duplicates_of_an_address_the_lowest_uuid_counts_whatever_came_first():
    lines = [f"ucast_remote ls0 {MAC} 10.2.2.{n} uuid={n}" for n in (4, 3, 5)]
    database = loaded(*lines)
    assert database.remote(LS0, MAC) == Locator("10.2.2.3")
    left = state(*(line for line in lines if "uuid=3" not in line))
    assert database.apply(difference(state(*lines), left)) == {RemoteUnit(LS0, MAC), SourceUnit(LS0, "10.2.2.3")}
    assert database.remote(LS0, MAC) == Locator("10.2.2.4")


def test_several_rows_for_a_multicast_address_have_the_members_of_all_each_once():
    database = loaded(
        f"mcast_remote ls0 {GROUP} 10.2.2.3 10.2.2.4/8", f"mcast_remote ls0 {GROUP} 10.2.2.10 10.2.2.3 uuid=a"
    )
    assert list(map(str, database.members(LS0, GROUP))) == ["10.2.2.3", "10.2.2.4/8", "10.2.2.10"]


SWITCHES, MACS, IPS = ("ls0", "ls1"), (MAC, OTHER_MAC), ("10.2.2.2", "10.2.2.3")
NAMED = ("10.2.2.2", "10.2.2.2/7001", "10.2.2.2/7002", "10.2.2.3")
LOCATORS = st.sets(st.sampled_from(NAMED)).map(lambda ips: " ".join(sorted(ips)))
LINES = st.one_of(
    st.builds("ucast_remote {} {} {} uuid=u{}".format, *map(st.sampled_from, (SWITCHES, MACS, NAMED, "abc"))),
    st.builds(
        "mcast_remote {} {} {} uuid=m{}".format,
        st.sampled_from(SWITCHES),
        st.sampled_from([UNKNOWN_DST, GROUP]),
        LOCATORS,
        st.sampled_from("abc"),
    ),
)
STATES = st.lists(LINES, max_size=6).map(lambda lines: state(*lines))


def contents(database: Database) -> dict[object, object]:
    """All that the database answers about these logical switches, by the touched unit that an answer belongs to."""
    found: dict[object, object] = {}
    for switch in map(logical, SWITCHES):
        found |= {RemoteUnit(switch, mac): database.remote(switch, mac) for mac in MACS}
        found |= {SourceUnit(switch, ip): database.locators(switch, ip) for ip in IPS}
        found[FloodUnit(switch)] = database.members(switch, UNKNOWN_DST)
        found[MulticastUnit(switch, GROUP)] = database.members(switch, GROUP)
        assert set(database.remotes(switch)) == {mac for mac in MACS if database.remote(switch, mac)}
        assert set(database.sources(switch)) == {ip for ip in IPS if database.locators(switch, ip)}
    return found


@given(st.lists(st.tuples(STATES, st.booleans()), max_size=6))
def test_every_answer_depends_on_the_rows_alone_and_one_that_changes_is_touched(path: list[tuple[State, bool]]):
    database, before = Database(), EMPTY
    for after, complete in path:
        answers = contents(database)
        touched = database.apply(whole(after, before) if complete else difference(before, after))
        before, fresh = after, Database()
        fresh.apply(whole(after))
        assert contents(database) == contents(fresh)
        assert {unit for unit, answer in contents(database).items() if answer != answers[unit]} <= touched
