"""drivers/jsonrpc: a stream of JSON objects in pieces of any size, held to the ovs package's own parser."""

import json
from itertools import pairwise

import ovs.json
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtep_ryu.drivers.jsonrpc import Messages

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('"\\{}[]é€😀'))
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=10)
OBJECTS = st.lists(st.dictionaries(TEXT, VALUES), max_size=4)


def read(data: bytes, cuts: list[int]) -> list[object]:
    """The objects in the data, when it comes in pieces that end at these places."""
    messages, found = Messages(), []
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
