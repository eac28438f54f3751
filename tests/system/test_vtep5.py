"""docs/vtep5.rst says what becomes of every table and column of hardware_vtep, and names tests: they exist."""

import json
import re
from pathlib import Path

import pytest

from apps.lab.node import SCHEMA_DIRECTORY, SCHEMAS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "vtep5.rst").read_text()
TABLES = json.loads((SCHEMA_DIRECTORY / SCHEMAS["vtep"]).read_text())["tables"]
OWNERS = {"NVC", "ours", "both", "server"}


def rows(table: str) -> list[list[str]]:
    """The rows of a table's section, each as its four cells."""
    headings = list(re.finditer(r"^(.+)\n([=-])\2+$", PAGE, re.MULTILINE))
    (place,) = (number for number, heading in enumerate(headings) if heading[1] == table)
    ends = [heading.start() for heading in headings] + [len(PAGE)]
    section = PAGE[headings[place].end() : ends[place + 1]]
    found = [re.split(r"\n     -", row) for row in re.split(r"^   \* -", section, flags=re.MULTILINE)[1:]]
    return [[" ".join(cell.split()) for cell in row] for row in found[1:]]


@pytest.mark.parametrize("table", TABLES)
def test_every_column_has_a_row_that_says_whose_it_is_and_what_becomes_of_it(table: str) -> None:
    ephemeral = {column: declared.get("ephemeral", False) for column, declared in TABLES[table]["columns"].items()}
    named: dict[str, bool] = {}
    for columns, owner, what, _ in rows(table):
        assert owner in OWNERS
        assert what
        named |= {column: bool(star) for column, star in re.findall(r"``(\w+)``(\\\*)?", columns)}
    assert named == ephemeral


@pytest.mark.parametrize("table", TABLES)
def test_the_tests_that_are_named_exist(table: str) -> None:
    source = "".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))
    for _, _, _, tests in rows(table):
        for name in re.findall(r"``(\w+)``", tests):
            assert f"def {name}(" in source


def test_what_is_done_has_a_test() -> None:
    without = [row for table in TABLES for row in rows(table) if not row[3]]
    excuses = ("nothing", "**not done**", "left empty")
    assert [row for row in without if not row[2].startswith(excuses)] == []
