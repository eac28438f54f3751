"""Pages of docs/ as scripts: what they have typed at a prompt, and what they show as the answer.

A console block of a page is a session. A line that begins with a prompt is a command, what follows up to the next
prompt is its output, where "..." stands for anything or nothing. A command may go on after a backslash.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MININET = "mininet> "
PROMPTS = (MININET, "$ ")

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
        """Whether this output is what the page shows, but for the amount of white space."""
        pieces = [re.escape(_single_spaced(piece)) for piece in self.output.split("...")]
        return bool(re.fullmatch(".*".join(pieces), _single_spaced(output)))


def title(page: Path) -> str:
    """The title of a page."""
    found = _HEADING.search(page.read_text())
    if not found:
        raise ValueError(f"{page.name} has no title")
    return found[1]


def steps(page: Path) -> list[Step]:
    """The commands of a page, in order."""
    text = page.read_text()
    blocks = list(_BLOCK.finditer(text))
    if len(blocks) != text.count("code-block:: console"):
        raise ValueError(f"{page.name} has a console block that is indented, empty, or without its blank line")
    headings = [(0, title(page)), *((found.start(), found[1]) for found in _HEADING.finditer(text))]
    return [
        Step([heading for start, heading in headings if start <= block.start()][-1], prompt, command, output)
        for block in blocks
        for prompt, command, output in _session(block[1])
    ]


def _single_spaced(text: str) -> str:
    return " ".join(text.split())


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
            if not lines:
                raise ValueError(f"a console block ends with {line!r}")
            command = command.removesuffix("\\") + lines.pop(0).strip()
        output = []
        while lines and not lines[0].startswith(PROMPTS):
            output.append(lines.pop(0) + "\n")
        yield prompt, command, "".join(output)
