"""Documents: what they are made of, and how one becomes JSON."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

Document: TypeAlias = dict[str, Any]

LEVELS = 4
"""As deep as what is long is within documents: what is below is JSON at once."""

T = TypeVar("T")

Slices: TypeAlias = Generator[None, None, T]
"""Makes something, and yields where others may have their turn. What it reads can have changed when it goes on."""


def as_json(document: Document) -> Iterator[str]:
    """The document's JSON, in pieces."""
    yield from _pieces(document, LEVELS)
    yield "\n"


def _pieces(value: Any, levels: int) -> Iterator[str]:
    if not levels or not value or not isinstance(value, dict | list):
        yield json.dumps(value)
        return
    before = "[" if isinstance(value, list) else "{"
    for each in value:
        key, item = ("", each) if isinstance(value, list) else (f"{json.dumps(each)}: ", value[each])
        yield before + key
        yield from _pieces(item, levels - 1)
        before = ", "
    yield "]" if isinstance(value, list) else "}"


def printable(lines: Iterator[str]) -> Iterator[str]:
    """The lines, with what cannot be printed escaped: a database has any names, and this is for terminals."""
    for line in lines:
        body = line.removesuffix("\n")
        yield line if body.isprintable() else f"{''.join(map(_escaped, body))}\n"


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def columns(rows: Sequence[Sequence[str]], indent: str = "") -> Iterator[str]:
    """Lines in which what is in one column begins at one place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield f"{indent}{'  '.join(cells).rstrip()}\n"


def counted(number: int, what: str, several: str = "") -> str:
    """A number of things."""
    return f"{number} {what if number == 1 else several or what + 's'}"
