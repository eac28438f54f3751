"""Pages of docs/ as scripts: what they have typed at a prompt, and what they show as the answer.

A console block of a page is a session. A line that begins with a prompt is a command, what follows up to the next
prompt is its output, where "..." stands for anything, as in doctest. A command may go on after a backslash.
"""

import doctest
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROMPTS = ("mininet> ", "$ ")
ANYTHING = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

_BLOCK = re.compile(r"^\.\. code-block:: console\n\n((?:(?:    [^\n]*)?\n)+)", re.MULTILINE)
_HEADING = re.compile(r"^([^\n]+)\n([=~-])\2{3,}$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """One command of a page, the section it is in, and the output that the page shows."""

    section: str
    prompt: str
    command: str
    output: str

    def shown_by(self, output: str) -> bool:
        """Whether this output is what the page shows."""
        return doctest.OutputChecker().check_output(self.output, output, ANYTHING)


def steps(page: Path) -> list[Step]:
    """The commands of a page, in order."""
    text = page.read_text()
    headings = [(found.start(), found[1]) for found in _HEADING.finditer(text)]
    return [
        Step([title for start, title in headings if start < block.start()][-1], prompt, command, output)
        for block in _BLOCK.finditer(text)
        for prompt, command, output in _session(block[1])
    ]


def _session(block: str) -> Iterator[tuple[str, str, str]]:
    """The (prompt, command, output) of a console block."""
    lines = [line.removeprefix("    ") for line in block.rstrip("\n").split("\n")]
    while lines:
        line = lines.pop(0)
        prompt = next((prompt for prompt in PROMPTS if line.startswith(prompt)), None)
        if prompt is None:
            raise ValueError(f"a console block begins with {line!r}, must be one of {PROMPTS}")
        command = line.removeprefix(prompt)
        while command.endswith("\\"):
            command = command.removesuffix("\\") + lines.pop(0).strip()
        output = []
        while lines and not lines[0].startswith(PROMPTS):
            output.append(lines.pop(0) + "\n")
        yield prompt, command, "".join(output)
