"""Pages as scripts: what is read from them, and what counts as what they show."""

from pathlib import Path

import pytest

from apps.labs.page import Step, steps, title

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
