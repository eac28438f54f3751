"""Pages as scripts: what is read from them, and what counts as what they show."""

import re
from pathlib import Path

import pytest

from apps.labs.page import Step, steps, title

DOCS = Path(__file__).parents[2] / "docs"
PAGE = """\
=====
Title
=====

Text, and a block that is none of ours::

    $ never typed

First
=====

.. code-block:: console

    mininet> a one
    mininet> b two
    its output

      indented
    $ three \\
        --option \\
        and argument

More text.

.. code-block:: console

    $ four

Second
------

.. code-block:: console

    $ five
    ...
"""


ROOT = DOCS.parent
PAGES = [*DOCS.rglob("*.rst"), *ROOT.glob("*.rst")]
OURS = re.compile(r"``((?:docs|tests|etc|apps|bench|core|drivers|show|command|vtep_ryu)/[\w./@-]*)``")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_and_every_target_of_make_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = OURS.findall(text)
    there = [{name, f"{name}.py", f"vtep_ryu/{name}", f"vtep_ryu/{name}.py"} for name in named]
    assert [
        name for name, places in zip(named, there, strict=True) if not any((ROOT / each).exists() for each in places)
    ] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed = re.findall(r"(?:``|^    )make ([a-z-]+)", text, re.MULTILINE)
    assert [target for target in typed if target not in targets] == []


def page(path: Path, text: str) -> Path:
    file = path / "page.rst"
    file.write_text(text)
    return file


def shows(text: str, output: str) -> bool:
    return Step("", "$ ", "true", text).shown_by(output)


def test_the_steps_of_a_page_are_its_console_blocks_in_order(tmp_path: Path) -> None:
    file = page(tmp_path, PAGE)
    assert title(file) == "Title"
    assert steps(file) == [
        Step("First", "mininet> ", "a one", ""),
        Step("First", "mininet> ", "b two", "its output\n\n  indented\n"),
        Step("First", "$ ", "three --option and argument", ""),
        Step("First", "$ ", "four", ""),
        Step("Second", "$ ", "five", "...\n"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "Title\n=====\n\n.. code-block:: console\n\n    no prompt\n",
        "Title\n=====\n\n* Item\n\n  .. code-block:: console\n\n      $ one\n",
        "Title\n=====\n\n.. code-block:: console\n    $ one\n",
        "Title\n=====\n\n.. code-block:: console\n\nText.\n",
        "Title\n=====\n\n.. code-block:: console\n\n    $ one \\\n",
        ".. code-block:: console\n\n    $ one\n",
    ],
    ids=["no prompt", "indented", "no blank line", "empty", "nothing after a backslash", "no title"],
)
def test_a_console_block_that_would_not_be_run_as_it_looks_is_an_error(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"console block|title"):
        steps(page(tmp_path, wrong))


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("", ""),
        ("one\n", "one\n"),
        ("    one\n  two", "one  \n\n two\n\n"),
        ("one ... three\n", "one two\n two three\n"),
        ("...\nlast\n...\n", "last\n"),
        ("(a+b)* [...] \\n\n", "(a+b)* [c] \\n\n"),
    ],
)
def test_dots_stand_for_anything_and_white_space_does_not_matter(text: str, output: str) -> None:
    assert shows(text, output)


@pytest.mark.parametrize(
    ("text", "output"),
    [("", "one\n"), ("one\n", ""), ("one\n", "one\ntwo\n"), ("one ... three", "three two one"), ("a.c", "abc")],
)
def test_all_else_has_to_be_there_in_this_order(text: str, output: str) -> None:
    assert not shows(text, output)


def captures() -> list[Step]:
    """The steps of the hands-on lab that show all six packets of the underlay."""
    return [step for step in steps(DOCS / "lab-hands-on.rst") if step.command.endswith("tcpdump -n -t -r eth0.pcap")]


def packets(step: Step) -> tuple[str, list[str]]:
    """tcpdump's first line, and its lines about each packet: what is inside of it is indented on the page."""
    shown = step.output.replace("\n...\n", "\n")
    first, *lines = shown.replace("...", "1").splitlines(keepends=True)
    found: list[str] = []
    for line in lines:
        if line.startswith(" "):
            found[-1] += line
        else:
            found.append(line)
    return first, found


def test_a_capture_is_as_the_hands_on_lab_shows_it_only_with_all_six_packets_in_their_order() -> None:
    assert len(captures()) == 2
    for step in captures():
        first, sent = packets(step)
        assert len(sent) == 6
        assert step.shown_by(first + "".join(sent))
        assert step.shown_by(first + "".join([sent[0], *sent[:2], sent[1], *sent[2:]])), "the hypervisor asks twice"
        for index in range(6):
            assert not step.shown_by(first + "".join(sent[:index] + sent[index + 1 :])), "one is missing"
        for index in range(5):
            swapped = [*sent[:index], sent[index + 1], sent[index], *sent[index + 2 :]]
            assert not step.shown_by(first + "".join(swapped)), "two are swapped"
