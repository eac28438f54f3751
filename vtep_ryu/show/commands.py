"""The commands that the control socket answers, and how they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FORMAT = "--format"
FORMATS = ("text", "json")
FORMAT_USAGE = f"[{FORMAT} {'|'.join(FORMATS)}]"


class Unanswerable(Exception):
    """What was asked cannot be answered; the text is one line that says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """One of them: its name, and the names of its arguments, of which those in brackets can be left out."""

    name: str
    arguments: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """What comes after the name, for people."""
        return " ".join((*self.arguments, FORMAT_USAGE))

    @property
    def needed(self) -> int:
        """How many arguments there are at least."""
        return sum(not argument.startswith("[") for argument in self.arguments)


COMMANDS = (
    Command("vtep/show", ("[PS-NAME]",)),
    Command("coverage/show"),
    Command("event/show", ("[PS-NAME]",)),
    Command("fdb/show", ("LS",)),
    Command("mac/explain", ("LS", "MAC")),
    Command("mdb/show", ("LS",)),
    Command("trace", ("[PS-NAME]", "PORT", "VLAN", "SRC", "DST")),
)
"""What is answered from the state of the program; LS is the name or the UUID of a logical switch."""


@dataclass(frozen=True, slots=True)
class Question:
    """A command with its arguments, as_json where the answer is for a program."""

    command: str
    arguments: tuple[str, ...]
    as_json: bool


def without_format(words: Sequence[str], as_json: bool = False) -> tuple[list[str], bool]:
    """What is left of the words without --format, and whether that says JSON; as_json where it is not there.

    Raises Unanswerable.
    """
    arguments, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name != FORMAT:
            arguments.append(word)
            continue
        value = value if equals else (rest.pop(0) if rest else "")
        if value.lower() not in FORMATS:
            raise Unanswerable(f"{FORMAT} is '{value}', must be one of {', '.join(FORMATS)}")
        as_json = value.lower() == "json"
    return arguments, as_json


def question(command: Command, words: Sequence[str], as_json: bool = False) -> Question:
    """What is asked by a command with these words after it; as_json where nothing else is said there.

    Raises Unanswerable.
    """
    arguments, as_json = without_format(words, as_json)
    if not command.needed <= len(arguments) <= len(command.arguments):
        raise Unanswerable(f"usage: {command.name} {command.usage}")
    return Question(command.name, tuple(arguments), as_json)
