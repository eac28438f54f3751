"""Documents as JSON and as text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from vtep_ryu.show.document import as_json, columns, counted, printable

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3))
def test_json_in_pieces_is_the_document(document):
    text = "".join(as_json(document))
    assert json.loads(text) == document
    assert text.count("\n") == 1


def test_what_is_long_is_in_many_pieces():
    document = {"switches": [{"addresses": [{"mac": str(n)} for n in range(1000)]}]}
    assert max(map(len, as_json(document))) < 50


def test_what_cannot_be_printed_is_escaped_and_lines_stay_lines():
    assert list(printable(iter(["one\n", "two\x1b\nthree\n", "ö"]))) == ["one\n", "two\\x1b\\nthree\n", "ö"]


def test_columns_begin_at_one_place_and_things_are_counted():
    assert list(columns([("a", "b"), ("cc", "")], " ")) == [" a   b\n", " cc\n"]
    assert (counted(1, "port"), counted(2, "port"), counted(0, "address", "addresses")) == (
        "1 port",
        "2 ports",
        "0 addresses",
    )
