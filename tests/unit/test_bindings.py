"""Which VLAN of which port is bound to which logical switch."""

from hypothesis import given
from hypothesis import strategies as st

from vtep_ryu.core.bindings import Bindings
from vtep_ryu.core.model import Bridge, PhysicalPort, Place


def row(uuid, name, **vlans):
    """A Physical_Port row; v10="x" binds VLAN 10 to x."""
    return PhysicalPort(uuid, name, tuple(sorted((int(vlan[1:]), switch) for vlan, switch in vlans.items())))


def bound(*rows):
    bindings = Bindings()
    for each in rows:
        bindings.update(each.uuid, each)
    return bindings


def test_a_row_binds_its_vlans():
    bindings = Bindings()
    assert bindings.update("a", row("a", "p0", v0="ls0", v10="ls1")) == {
        Place("p0", 0): (None, "ls0"),
        Place("p0", 10): (None, "ls1"),
    }
    assert bindings.logical_switch(Place("p0", 0)) == "ls0"
    assert bindings.logical_switch(Place("p0", 10)) == "ls1"
    assert bindings.logical_switch(Place("p0", 11)) is bindings.logical_switch(Place("p1", 0)) is None
    assert bindings.row(Place("p0", 10)) == "a"
    assert bindings.row(Place("p0", 11)) is None


def test_the_places_of_a_logical_switch_are_sorted_by_port_and_vlan():
    bindings = bound(row("b", "p1", v0="ls0"), row("a", "p0", v100="ls0", v20="ls0", v3="ls1"))
    assert bindings.places("ls0") == [Place("p0", 20), Place("p0", 100), Place("p1", 0)]
    assert bindings.places("nowhere") == []
    assert sorted(bindings.logical_switches()) == ["ls0", "ls1"]
    assert set(bindings.on_port("p0")) == {Place("p0", 3), Place("p0", 20), Place("p0", 100)}
    assert set(bindings.on_port("p2")) == set()


def test_a_change_names_only_the_places_whose_logical_switch_is_another_now():
    bindings = bound(row("a", "p0", v0="ls0", v10="ls0", v20="ls0"))
    assert bindings.update("a", row("a", "p0", v0="ls0", v10="ls1", v30="ls1")) == {
        Place("p0", 10): ("ls0", "ls1"),
        Place("p0", 20): ("ls0", None),
        Place("p0", 30): (None, "ls1"),
    }
    assert bindings.update("a", row("a", "p0", v0="ls0", v10="ls1", v30="ls1")) == {}


def test_a_row_that_goes_unbinds_and_a_logical_switch_without_places_is_bound_no_more():
    bindings = bound(row("a", "p0", v0="ls0", v10="ls1"), row("b", "p1", v0="ls1"))
    bindings.update("a", None)
    assert (bindings.is_bound("ls0"), bindings.is_bound("ls1")) == (False, True)
    assert bindings.logical_switches() == ["ls1"]
    assert list(bindings.rows()) == [row("b", "p1", v0="ls1")]
    assert bindings.update("a", None) == {}


def test_a_row_with_another_name_takes_its_bindings_along():
    bindings = bound(row("a", "p0", v0="ls0"))
    assert bindings.update("a", row("a", "p1", v0="ls0")) == {
        Place("p0", 0): ("ls0", None),
        Place("p1", 0): (None, "ls0"),
    }
    assert set(bindings.on_port("p0")) == set()


def test_a_place_that_two_rows_bind_is_the_lowest_uuids_and_the_other_row_is_faulty():
    bindings = bound(row("b", "p0", v0="ls1", v10="ls0"), row("a", "p0", v0="ls0", v10="ls0"))
    assert bindings.logical_switch(Place("p0", 0)) == "ls0"
    assert bindings.row(Place("p0", 0)) == "a"
    assert bindings.refusals("a") == []
    [fault] = bindings.refusals("b")
    assert "VLAN 0" in fault


def test_a_place_passes_on_when_the_row_that_had_it_goes_or_lets_it_go():
    bindings = bound(row("a", "p0", v0="ls0", v10="ls0"), row("b", "p0", v0="ls1", v10="ls1"))
    assert bindings.update("a", row("a", "p0", v10="ls0")) == {Place("p0", 0): ("ls0", "ls1")}
    assert bindings.update("a", None) == {Place("p0", 10): ("ls0", "ls1")}
    assert bindings.refusals("b") == []
    assert bindings.row(Place("p0", 0)) == "b"


def test_a_vlan_above_4094_is_refused_and_the_rest_of_the_row_holds():
    bindings = bound(row("a", "p0", v4094="ls0", v4095="ls0"))
    assert bindings.places("ls0") == [Place("p0", 4094)]
    [fault] = bindings.refusals("a")
    assert "4095" in fault
    bindings.update("a", row("a", "p0", v4094="ls0"))
    assert bindings.refusals("a") == []


def test_a_tunnel_port_cannot_be_bound_and_a_port_with_a_longer_name_can():
    bindings = bound(row("a", "vtep-0a020201", v0="ls0"), row("b", "vtep-0a0202011", v0="ls0"))
    assert bindings.places("ls0") == [Place("vtep-0a0202011", 0)]
    [fault] = bindings.refusals("a")
    assert "vtep-0a020201" in fault
    assert bindings.refusals("b") == []


def bridge(*ports, **unbindable):
    """A bridge with these ports, and with these names that are unbindable for some reason."""
    return Bridge("br0", 1, frozenset(ports), unbindable)


def updated(bindings, rows):
    """The changes when these rows are updated again, as they are."""
    return [bindings.update(uuid, bindings.physical_port(uuid)) for uuid in rows]


def test_a_port_that_the_bridge_says_to_be_unbindable_is_refused_with_the_reason_until_it_is_not_any_more():
    bindings = bound(row("a", "p0", v0="ls0", v10="ls1"), row("b", "p1", v0="ls0"))
    concerned = bindings.set_bridge(bridge("p0", "p1", p0="it is a bond"))
    assert updated(bindings, sorted(concerned)) == [
        {Place("p0", 0): ("ls0", None), Place("p0", 10): ("ls1", None)},
        {},
    ]
    assert bindings.refusals("a") == ["VLAN 0 of p0: it is a bond", "VLAN 10 of p0: it is a bond"]
    assert bindings.row(Place("p0", 0)) is None
    concerned = bindings.set_bridge(bridge("p0", "p1"))
    assert updated(bindings, concerned) == [{Place("p0", 0): (None, "ls0"), Place("p0", 10): (None, "ls1")}]
    assert bindings.refusals("a") == []


def test_only_rows_whose_ports_are_otherwise_are_concerned_by_a_change_of_the_bridge():
    bindings = Bindings(bridge("p0", "p1", p2="it is a bond"))
    for each in (row("a", "p0", v0="ls0"), row("b", "p1", v0="ls0"), row("c", "p2", v0="ls0")):
        bindings.update(each.uuid, each)
    assert bindings.places("ls0") == [Place("p0", 0), Place("p1", 0)]
    assert bindings.set_bridge(bridge("p0", "p1", p2="it is a bond")) == []
    assert bindings.set_bridge(bridge("p1", p2="it is a bond")) == ["a"]
    assert bindings.set_bridge(bridge("p1", p1="it has a tag", p2="it is a bond")) == ["b"]
    assert bindings.set_bridge(bridge("p1", p1="it has another tag")) == ["b", "c"]


def test_a_row_that_is_not_there_is_refused_nothing():
    assert Bindings().refusals("a") == []


ROWS = st.builds(
    lambda uuid, name, vlans: (uuid, vlans and PhysicalPort(uuid, name, tuple(sorted(vlans.items())))),
    st.sampled_from("abc"),
    st.sampled_from(["p0", "p1"]),
    st.none() | st.dictionaries(st.sampled_from([0, 10, 4095]), st.sampled_from(["ls0", "ls1"]), min_size=1),
)


@given(st.lists(ROWS, max_size=20))
def test_bindings_depend_on_the_rows_alone_and_every_change_is_told(steps):
    bindings, rows, told = Bindings(), {}, {}
    for uuid, each in steps:
        rows[uuid] = each
        for place, (was, becomes) in bindings.update(uuid, each).items():
            assert told.get(place) == was
            told[place] = becomes
    fresh = bound(*(each for each in rows.values() if each))
    assert sorted(bindings.logical_switches()) == sorted(fresh.logical_switches())
    for switch in ("ls0", "ls1"):
        assert bindings.places(switch) == fresh.places(switch)
        assert bindings.is_bound(switch) == (switch in told.values()) == bool(bindings.places(switch))
    for place, switch in told.items():
        assert bindings.logical_switch(place) == switch
        assert (place in bindings.on_port(place.port)) == (switch is not None)
        assert bindings.row(place) == fresh.row(place)
    assert [bindings.refusals(uuid) for uuid in "abc"] == [fresh.refusals(uuid) for uuid in "abc"]
