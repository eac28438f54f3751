"""Numbers for keys, and which logical switch goes by which id and VNI."""

from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtep_ryu.core import pipeline as p
from vtep_ryu.core.identity import Identities, Identity, Numbers, usable_key
from vtep_ryu.core.model import LogicalSwitch


def switch(name, key, uuid=None):
    return LogicalSwitch(uuid or f"uuid-{name}", name, key, "service_node")


def given_switches(*rows):
    identities = Identities()
    for row in rows:
        identities.update({row.uuid: row})
    return identities


def vnis(identities, *names):
    return {name: identity.vni for name in names if (identity := identities.of(f"uuid-{name}"))}


def test_a_key_keeps_its_number_until_it_is_released():
    numbers = Numbers(100)
    first = numbers.claim("a")
    assert numbers.claim("a") == first
    numbers.release("a")
    numbers.release("a")
    assert numbers.claim("a") == first


def test_a_keys_number_is_the_same_in_every_run_of_the_program():
    assert Numbers(1 << 28).claim("a") == crc32(b"'a'") % (1 << 28)
    assert Numbers(1 << 28).claim(("a", 1)) == crc32(b"('a', 1)") % (1 << 28)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
def test_no_two_keys_have_a_number_at_once_however_crowded_it_is(steps):
    numbers, held = Numbers(10), {}
    for claim, key in steps:
        if claim:
            number = numbers.claim(key)
            assert 0 <= number < 10
            assert held.setdefault(key, number) == number
        else:
            numbers.release(key)
            held.pop(key, None)
        assert len(set(held.values())) == len(held)


def test_an_owner_has_numbers_for_the_names_that_it_claimed_last_and_for_no_others():
    numbers = Numbers(3)
    first = numbers.claim_exactly("a", ["x", "y"])
    assert numbers.claim_exactly("a", ["y", "z"])[0] == first[1]
    kept = numbers.claim_exactly("a", ["z"])
    assert sorted(kept + numbers.claim_exactly("b", ["y", "z"])) == [0, 1, 2]
    assert numbers.claim_exactly("a", []) == []
    assert sorted(numbers.claim_exactly("b", ["x", "y", "z"])) == [0, 1, 2]


def test_a_logical_switch_goes_by_its_vni():
    identities = given_switches(switch("ls0", 5000))
    assert identities.of("uuid-ls0") == Identity(5000, 5000)
    assert identities.logical_switch(5000) == "uuid-ls0"


@pytest.mark.parametrize("key", [None, 0, -1, p.MAX_VNI + 1, 1 << 40])
def test_without_a_usable_key_a_logical_switch_has_a_number_above_all_vnis_and_no_vni(key):
    identities = given_switches(switch("ls0", key))
    identity = identities.of("uuid-ls0")
    assert identity.vni is None
    assert p.UNKEYED <= identity.id < 2 * p.UNKEYED
    assert identities.logical_switch(identity.id) == "uuid-ls0"
    assert given_switches(switch("other", key), switch("ls0", key)).of("uuid-ls0") == identity


@pytest.mark.parametrize("key", [1, 5000, p.MAX_VNI])
def test_the_24_bits_of_a_vni_but_0_are_usable_keys(key):
    assert usable_key(key) == usable_key(key, honour_vni_0=True) == key


def test_0_is_a_usable_key_if_it_is_to_be_honoured():
    assert usable_key(0) is None
    assert usable_key(0, honour_vni_0=True) == 0
    for key in (None, -1, p.MAX_VNI + 1):
        assert usable_key(key, honour_vni_0=True) is None


def test_vni_0_can_be_had_by_one_and_be_refused_to_another():
    identities = Identities(honour_vni_0=True)
    identities.update({f"uuid-{name}": switch(name, 0) for name in ("ls0", "ls1")})
    assert vnis(identities, "ls0", "ls1") == {"ls0": 0, "ls1": None}
    assert (identities.of("uuid-ls0").id, identities.logical_switch(0)) == (0, "uuid-ls0")
    assert identities.is_refused("uuid-ls1")
    assert owner(identities, 0) == "ls0"
    assert not given_switches(switch("ls0", 0)).any_refused()
    assert identities.keep([(0, p.note_on("uuid-ls1"))]) == {"uuid-ls0", "uuid-ls1"}
    assert vnis(identities, "ls0", "ls1") == {"ls0": None, "ls1": 0}


def test_a_key_that_comes_late_changes_and_goes_is_followed():
    identities = given_switches(switch("ls0", None))
    without = identities.of("uuid-ls0")
    for key, expected in ((5000, Identity(5000, 5000)), (5001, Identity(5001, 5001)), (None, without)):
        assert identities.update({"uuid-ls0": switch("ls0", key)}) == {"uuid-ls0"}
        assert identities.of("uuid-ls0") == expected
        assert identities.logical_switch(expected.id) == "uuid-ls0"
    assert identities.logical_switch(5000) is identities.logical_switch(5001) is None


def test_a_row_that_changes_otherwise_keeps_its_identity():
    identities = given_switches(switch("ls0", 5000))
    assert identities.update({"uuid-ls0": LogicalSwitch("uuid-ls0", "ls0", 5000, "source_node")}) == set()


def test_one_that_is_bound_no_more_has_no_identity():
    identities = given_switches(switch("ls0", 5000), switch("ls1", None))
    unkeyed = identities.of("uuid-ls1").id
    assert identities.update({"uuid-ls0": None}) == {"uuid-ls0"}
    assert identities.update({"uuid-ls1": None}) == {"uuid-ls1"}
    assert identities.update({"uuid-ls1": None}) == set()
    assert identities.of("uuid-ls0") is identities.of("uuid-ls1") is None
    assert identities.logical_switch(5000) is identities.logical_switch(unkeyed) is None


def owner(identities, vni):
    row = identities.owner(switch("any", vni))
    return row and row.name


@pytest.mark.parametrize("order", [("ls0", "ls1", "ls2"), ("ls2", "ls1", "ls0"), ("ls1", "ls2", "ls0")])
def test_of_those_that_ask_for_one_vni_together_the_one_with_the_lowest_uuid_has_it_in_whatever_order(order):
    identities = Identities()
    identities.update({f"uuid-{name}": switch(name, 5000) for name in order})
    assert vnis(identities, "ls0", "ls1", "ls2") == {"ls0": 5000, "ls1": None, "ls2": None}
    assert identities.logical_switch(5000) == "uuid-ls0"
    assert owner(identities, 5000) == "ls0"
    assert owner(identities, 5001) is None


@pytest.mark.parametrize("first", ["ls0", "ls1", "ls2"])
def test_the_one_that_has_a_vni_keeps_it_whoever_asks_for_it_later(first):
    identities = given_switches(switch(first, 5000), *(switch(name, 5000) for name in ("ls0", "ls1", "ls2")))
    assert owner(identities, 5000) == first
    assert identities.logical_switch(5000) == f"uuid-{first}"
    renamed = LogicalSwitch(f"uuid-{first}", "renamed", 5000, "source_node")
    assert identities.update({renamed.uuid: renamed}) == set()


def test_a_vni_passes_on_to_the_lowest_uuid_when_its_owner_goes():
    identities = given_switches(*(switch(name, 5000) for name in ("ls2", "ls1", "ls0")))
    assert identities.update({"uuid-ls2": None}) == {"uuid-ls2", "uuid-ls0"}
    assert vnis(identities, "ls0", "ls1", "ls2") == {"ls0": 5000, "ls1": None}
    assert identities.logical_switch(5000) == "uuid-ls0"
    assert identities.update({"uuid-ls0": switch("ls0", 6000)}) == {"uuid-ls0", "uuid-ls1"}
    assert vnis(identities, "ls0", "ls1") == {"ls0": 6000, "ls1": 5000}


def test_the_one_that_a_switch_forwards_for_has_its_vni():
    identities = Identities()
    identities.update({f"uuid-{name}": switch(name, 5000) for name in ("ls0", "ls1", "ls2")})
    assert identities.keep([(5000, p.note_on("uuid-ls1"))]) == {"uuid-ls0", "uuid-ls1"}
    assert vnis(identities, "ls0", "ls1", "ls2") == {"ls0": None, "ls1": 5000, "ls2": None}
    assert identities.logical_switch(5000) == "uuid-ls1"
    assert identities.keep([(5000, p.note_on("uuid-ls1"))]) == set()


@pytest.mark.parametrize("note", [0, p.note_on("uuid-other"), p.note_on("uuid-ls2")])
def test_a_switch_that_forwards_for_one_that_does_not_ask_for_the_vni_changes_nothing(note):
    identities = given_switches(switch("ls0", 5000), switch("ls1", 5000), switch("ls2", 5001))
    assert identities.keep([(5000, note), (5002, note), (p.UNKEYED | 1, note)]) == set()
    assert vnis(identities, "ls0", "ls1", "ls2") == {"ls0": 5000, "ls1": None, "ls2": 5001}


def test_two_that_exchange_their_keys_at_once_exchange_them():
    identities = given_switches(switch("ls0", 5000), switch("ls1", 5001))
    identities.update({"uuid-ls0": switch("ls0", 5001), "uuid-ls1": switch("ls1", 5000)})
    assert vnis(identities, "ls0", "ls1") == {"ls0": 5001, "ls1": 5000}


def test_two_that_exchange_their_keys_exchange_their_ids():
    identities = given_switches(switch("ls0", 5000), switch("ls1", 5001))
    identities.update({"uuid-ls0": switch("ls0", 5001)})
    identities.update({"uuid-ls1": switch("ls1", 5000)})
    assert vnis(identities, "ls0", "ls1") == {"ls0": 5001, "ls1": 5000}
    assert (identities.logical_switch(5000), identities.logical_switch(5001)) == ("uuid-ls1", "uuid-ls0")


NAMES = ("ls0", "ls1", "ls2", "ls3")


UPDATES = st.dictionaries(
    st.sampled_from(NAMES), st.none() | st.sampled_from([None, 0, 5000, 5001]).map(lambda key: (key,))
)


@given(st.lists(UPDATES))
def test_who_has_a_vni_keeps_it_else_the_lowest_uuid_gets_it_every_change_is_told_and_a_restart_changes_nothing(steps):
    identities, rows, told, owners = Identities(), {}, {}, {}
    for step in steps:
        changes = {f"uuid-{name}": key and switch(name, key[0]) for name, key in step.items()}
        rows |= changes
        for uuid in identities.update(changes):
            told[uuid] = identities.of(uuid)
        asking = {
            vni: [uuid for uuid in sorted(rows) if rows[uuid] and rows[uuid].tunnel_key == vni] for vni in (5000, 5001)
        }
        owners = {vni: owners[vni] if owners.get(vni) in uuids else uuids[0] for vni, uuids in asking.items() if uuids}
        assert {vni: identities.logical_switch(vni) for vni in owners} == owners
    fresh = Identities()
    fresh.update(rows)
    fresh.keep((vni, p.note_on(uuid)) for vni, uuid in owners.items())
    for name in NAMES:
        uuid = f"uuid-{name}"
        assert identities.of(uuid) == fresh.of(uuid) == told.get(uuid)
        if rows.get(uuid):
            assert identities.logical_switch(identities.of(uuid).id) == uuid
