"""The lab "Understanding hardware VTEPs": what its page shows, and the messages that the page has sent."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.lab.node import SCHEMA_DIRECTORY, SCHEMAS

FILES = Path(__file__).parents[2] / "apps" / "labs" / "understanding_files"
MESSAGES = sorted(FILES.glob("*.json"))


def test_every_step_of_the_page_does_what_the_page_shows() -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ("apps/isolate", "/usr/bin/python3", "-m", "apps.labs.understanding", "--test")
    done = subprocess.run(command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert " steps, all as docs/lab-understanding.rst shows them" in done.stdout.splitlines()[-1]


def test_there_are_messages() -> None:
    assert {file.name for file in MESSAGES} >= {"attach_red2.json", "attach_blue2.json", "get_locator_uuid.json"}


@pytest.mark.parametrize("file", MESSAGES, ids=lambda file: file.stem)
def test_a_message_is_json_and_names_what_the_installed_schema_has(file: Path) -> None:
    schema = json.loads((SCHEMA_DIRECTORY / SCHEMAS["vtep"]).read_text())
    message = json.loads(file.read_text())
    assert set(message) == {"id", "method", "params"}
    if message["method"] == "transact":
        database, *operations = message["params"]
        assert database == schema["name"]
        for operation in operations:
            table = schema["tables"][operation["table"]]
            assert set(columns(operation)) <= {"_uuid", *table["columns"]}, operation


def columns(operation: dict[str, Any]) -> Iterator[str]:
    """The columns that an operation of RFC 7047 names."""
    yield from operation.get("row", ())
    yield from operation.get("columns", ())
    for column, *_ in operation.get("where", []) + operation.get("mutations", []):
        yield column
