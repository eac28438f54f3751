"""drivers/jsonrpc: a stream of JSON objects in pieces of any size, held to the ovs package's own parser."""

import json
from itertools import pairwise
from uuid import UUID

import ovs.json
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtep_ryu.drivers import jsonrpc
from vtep_ryu.drivers.jsonrpc import Messages

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('"\\{}[]é€😀'))
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=10)
OBJECTS = st.lists(st.dictionaries(TEXT, VALUES), max_size=4)


TRICKY = st.sampled_from(['},"', '"},{"', f'}}}},"{UUID(int=1)}":{{"', "\\"]) | TEXT
CHANGES = st.just({"delete": None}) | st.builds(
    lambda kind, row: {kind: row},
    st.sampled_from(["initial", "insert", "modify"]),
    st.dictionaries(TRICKY, st.lists(TRICKY) | TRICKY, max_size=3),
)
UPDATES = st.dictionaries(
    st.sampled_from(["Ucast_Macs_Remote", "Physical_Locator", "ACL"]),
    st.dictionaries(st.uuids().map(str), CHANGES, max_size=6),
)
ENVELOPES = [
    lambda updates: {"id": None, "method": "update2", "params": [TRAP, updates]},
    lambda updates: {"id": None, "method": "update3", "params": ["x", "y", updates]},
    lambda updates: {"id": 3, "result": [False, "z", updates], "error": None},
    lambda updates: {"id": 3, "error": None, "result": updates},
    lambda updates: {"id": 4, "result": {"tables": updates}, "error": None},
]
TRAP = '{"Ucast_Macs_Remote":{'


def read(data: bytes, cuts: list[int], messages: Messages | None = None) -> list[object]:
    """The objects in the data, when it comes in pieces that end at these places."""
    messages, found = Messages() if messages is None else messages, []
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in pairwise(places):
        messages.feed(data[start:end])
        while messages:
            found.append(messages.next())
    return found


@given(OBJECTS, st.sampled_from(["", " ", "\n"]), st.booleans(), st.lists(st.integers(0, 300)))
def test_objects_are_read_however_they_are_cut(objects, space, ascii_only, cuts):
    data = space.join(json.dumps(each, ensure_ascii=ascii_only) for each in objects).encode()
    assert read(data, cuts) == objects


@given(VALUES)
def test_an_object_is_what_the_package_s_parser_makes_of_it(value):
    data = json.dumps({"": value})
    assert read(data.encode(), []) == [ovs.json.from_string(data)]


def test_an_object_is_there_as_soon_as_it_is_complete():
    messages = Messages()
    messages.feed(b'{"a": [{"b": "}"}, {"c": 1}]')
    assert not messages
    messages.feed(b'}{"d"')
    assert (messages.next(), bool(messages), messages.next()) == ({"a": [{"b": "}"}, {"c": 1}]}, False, None)
    messages.feed(b": 2}")
    assert messages.next() == {"d": 2}


@pytest.mark.parametrize("data", [b"[]]", b"}", b'{"a"}', b"x", b'{"a": \xff}'])
def test_what_is_no_json_is_an_error(data):
    messages = Messages()
    with pytest.raises(ValueError):  # noqa: PT011
        messages.feed(data)


def test_a_large_string_in_small_pieces_is_read():
    """The package's parser would take hours: the time grows with the square of the length."""
    text = '\\"é{' * 2_500_000
    data = json.dumps({"a": text}, ensure_ascii=False).encode()
    assert read(data, list(range(0, len(data), 65536))) == [{"a": text}]


@given(
    st.lists(st.builds(lambda envelope, updates: envelope(updates), st.sampled_from(ENVELOPES), UPDATES), max_size=4),
    st.booleans(),
    st.lists(st.integers(0, 3000), max_size=20),
)
def test_updates_that_are_read_in_parts_are_the_same(objects, spaced, cuts):
    data = "".join(json.dumps(each, separators=None if spaced else (",", ":")) for each in objects).encode()
    with pytest.MonkeyPatch.context() as short:
        short.setattr(jsonrpc, "PART", 1)
        messages = Messages()
        messages.shorten = lambda updates: updates
        assert read(data, cuts, messages) == objects


def test_the_rows_of_a_long_update_are_shortened_as_they_come():
    rows = {str(UUID(int=n)): {"initial": {"MAC": f"{n:012x}"}} for n in range(20000)}
    object_ = {"id": 3, "result": [False, "z", {"A": {str(UUID(int=1)): {"initial": {}}}, "B": rows}], "error": None}
    data, lengths = json.dumps(object_).encode(), []

    def shorten(updates):
        lengths.append(sum(map(len, updates.values())))
        return {table: dict.fromkeys(rows) for table, rows in updates.items()}

    messages = Messages()
    messages.shorten = shorten
    (found,) = read(data, list(range(0, len(data), 65536)), messages)
    assert found["result"][2].keys() == {"A", "B"}
    assert list(found["result"][2]["B"]) == list(rows)
    assert len(lengths) > 1
    assert sum(lengths) > 0.8 * len(rows)
