"""docs/versions.rst says what is tested: this is tested with what it says."""

import json
import re
import sys
from pathlib import Path

import pytest

from apps.lab import run
from apps.lab.node import SCHEMA_DIRECTORY, SCHEMAS

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^(\S.*?) {2,}(\S.*?) {2,}\S", re.MULTILINE)


@pytest.fixture(scope="module")
def tested() -> dict[str, set[str]]:
    """The table of the page: what was tested in which versions."""
    page = (ROOT / "docs" / "versions.rst").read_text()
    versions: dict[str, set[str]] = {}
    for what, cell in ROW.findall(page):
        versions.setdefault(what.replace("`", ""), set()).update(cell.split(", "))
    return versions


def test_this_python_is_among_those_tested(tested: dict[str, set[str]]) -> None:
    assert "{}.{}".format(*sys.version_info) in tested["Python"]


@pytest.mark.parametrize("program", ["ovs-vswitchd", "ovsdb-server", "vtep-ctl"])
def test_the_open_vswitch_of_this_machine_is_among_those_tested(program: str, tested: dict[str, set[str]]) -> None:
    assert run(program, "--version").split("\n")[0].split()[-1] in tested["Open vSwitch"]


@pytest.mark.parametrize("file", SCHEMAS.values())
def test_the_schemas_of_this_machine_are_among_those_tested(file: str, tested: dict[str, set[str]]) -> None:
    schema = json.loads((SCHEMA_DIRECTORY / file).read_text())
    assert schema["version"] in tested[f"schema {schema['name']}"]


def test_the_pinned_packages_are_those_of_the_page(tested: dict[str, set[str]]) -> None:
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert {name: tested[name] for name in ("ryu", "eventlet", "ovs")} == {
        name: {pinned[name]} for name in ("ryu", "eventlet", "ovs")
    }


def test_the_older_schemas_of_the_page_are_those_that_have_tests(tested: dict[str, set[str]]) -> None:
    code = (ROOT / "tests" / "system" / "test_schemas.py").read_text()
    installed = json.loads((SCHEMA_DIRECTORY / SCHEMAS["vtep"]).read_text())["version"]
    assert set(re.findall(r'"(\d+\.\d+\.\d+)":', code)) == tested["schema hardware_vtep"] - {installed}
