"""What ``ofproto/trace`` of ovs-vswitchd prints, taken apart: which flows a frame meets, and what they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_FLOW = re.compile(r"(\d+)\. (?:(\S*), )?priority (\d+)(?:, cookie 0x[0-9a-f]+)?")
_BUCKET = re.compile(r"bucket (\d+)")
_BRIDGE = re.compile(r'bridge\("(.*)"\)')
_GROUP = re.compile(r"group:(\d+)")
DATAPATH = "Datapath actions: "


@dataclass(slots=True)
class Step:
    """A flow that the frame meets in a table, or, without a table, a bucket of a group that gets a copy.

    depth is how many others this one is within, match that of the flow, actions are those lines below it that are not
    a step's of their own: what begins with -> is a remark of ovs-vswitchd's.
    """

    depth: int
    table: int | None
    bucket: int | None = None
    group: int | None = None
    match: str = ""
    priority: int = 0
    actions: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trace:
    """The steps in one bridge, and what comes of them in the datapath."""

    steps: tuple[Step, ...]
    datapath_actions: str


def parse(text: str, bridge: str) -> Trace:
    """The trace of a bridge. What the tunnelled frame meets on another one is left out."""
    steps: list[tuple[int, Step]] = []
    for indent, line in _lines_of(text, bridge):
        within = [(place, step) for place, step in steps if place < indent]
        owner = next((step for place, step in reversed(within)), None)
        if match := _FLOW.fullmatch(line):
            table, conditions, priority = match.groups(default="")
            steps.append((indent, Step(_depth(steps, indent), int(table), None, None, conditions, int(priority))))
        elif match := _BUCKET.fullmatch(line):
            steps.append((indent, Step(_depth(steps, indent), None, int(match[1]), _group_of(owner))))
        elif owner is not None:
            owner.actions.append(line)
    datapath = (line.removeprefix(DATAPATH) for line in text.splitlines() if line.startswith(DATAPATH))
    return Trace(tuple(step for _, step in steps), next(datapath, ""))


def _lines_of(text: str, bridge: str) -> Iterator[tuple[int, str]]:
    """The lines that are about one bridge, each with its indentation."""
    inside, elsewhere = False, 0
    for each in text.splitlines():
        line = each.lstrip(" ")
        indent = len(each) - len(line)
        if match := _BRIDGE.fullmatch(line):
            was_inside, inside = inside, match[1] == bridge
            elsewhere = indent if was_inside and not inside else elsewhere
        elif line.startswith(("Flow:", "Final flow:")):
            inside = False
        elif not inside and line and 0 < indent < elsewhere:
            inside = True
        if inside and line and not _BRIDGE.fullmatch(line) and line.strip("-"):
            yield indent, line


def _depth(steps: list[tuple[int, Step]], indent: int) -> int:
    return next((step.depth + 1 for place, step in reversed(steps) if place < indent), 0)


def _group_of(step: Step | None) -> int | None:
    """The group that was named last before its bucket."""
    found = [match for action in (step.actions if step else ()) if (match := _GROUP.fullmatch(action))]
    return int(found[-1][1]) if found else None
