"""docs/reliability.rst says what fails, what happens then and what is lost, and names tests: they exist."""

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.rst").read_text()
UNIT = ROOT / "etc" / "vtep_ryu.service"
ROWS = [
    [" ".join(cell.split()) for cell in re.split(r"\n     -", row)]
    for row in re.split(r"^(?:   \* -|\S)", PAGE, flags=re.MULTILINE)
    if "\n     -" in row and not row.startswith(" what fails")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_happens_and_what_is_lost_is_said_and_tested(row: list[str]) -> None:
    source = "".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))
    what, happens, lost, tests = row
    assert all((what, happens, lost))
    names = re.findall(r"``(\w+)``", tests)
    assert names
    for name in names:
        assert f"def {name}(" in source


def test_the_unit_starts_the_program_again_however_often_it_fails() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.read(UNIT)
    assert (unit["Service"]["Restart"], unit["Unit"]["StartLimitIntervalSec"]) == ("on-failure", "0")
