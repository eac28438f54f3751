"""What came of a run: results.json, and a table."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.figures import FIGURES, FLOOR, OURS, SIDES, THEIRS, Figure, Goal, Point

NOT_MEASURED = "not measured"
HEADINGS = ("figure", "to reach", OURS, THEIRS, FLOOR, "verdict")


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _printed("git", "describe", "--always", "--dirty", "--abbrev=12") or "unknown",
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000,
        "load_average": list(os.getloadavg()),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "open_vswitch": _printed("ovs-vswitchd", "--version").partition("\n")[0].rpartition(" ")[2],
        **{name: version(name) for name in ("ryu", "eventlet", "ovs")},
    }


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def results(facts: Mapping[str, Any], points: Sequence[Point], failures: Mapping[str, str]) -> dict[str, Any]:
    """Everything of a run as results.json has it."""
    figures = {
        figure.name: {
            "title": figure.title,
            "x": figure.x,
            "unit": figure.unit,
            "how": figure.how,
            "page": figure.page,
            "failure": failures.get(figure.name, ""),
            "points": [_without_figure(point) for point in figure.of(points)] or NOT_MEASURED,
        }
        for figure in FIGURES
    }
    return {
        "run": dict(facts),
        "figures": figures,
        "table": [dict(zip(HEADINGS, row, strict=True)) for row in table(points)],
    }


def _without_figure(point: Point) -> dict[str, Any]:
    return {key: value for key, value in asdict(point).items() if key != "figure"}


def points_of(document: Mapping[str, Any]) -> list[Point]:
    """The points in what `results` made."""
    return [
        Point(name, **point)
        for name, figure in document["figures"].items()
        if figure["points"] != NOT_MEASURED
        for point in figure["points"]
    ]


def table(points: Sequence[Point]) -> list[tuple[str, ...]]:
    """A row for each goal."""
    return [_row(figure, goal, figure.of(points)) for figure in FIGURES for goal in figure.goals]


def _row(figure: Figure, goal: Goal, points: list[Point]) -> tuple[str, ...]:
    mine = {side: _curve(points, side, goal.series) for side in SIDES}
    cells = [_cell(curve, goal.x, figure) for curve in mine.values()]
    place = "" if goal.x is None else f", {goal.x:,} {figure.x}"
    return f"{figure.name}: {goal.series}{place}", _to_reach(figure, goal), *cells, _verdict(goal, mine)


def _curve(points: Iterable[Point], side: str, series: str) -> dict[float, float]:
    return {point.x: point.value for point in points if (point.side, point.series) == (side, series)}


def _cell(curve: Mapping[float, float], at: float | None, figure: Figure) -> str:
    """The value at an x, or else at the greatest that there is; all of them without one."""
    if not curve:
        return NOT_MEASURED
    if at is not None and at in curve:
        return _with_unit(curve[at], figure)
    shown = sorted(curve)[-1:] if at is not None else sorted(curve)
    return ", ".join(f"{_with_unit(curve[x], figure)} at {x:,}" for x in shown)


def _with_unit(value: float, figure: Figure) -> str:
    return f"{number(value)} {figure.unit}".rstrip()


def number(value: float) -> str:
    """A value with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _to_reach(figure: Figure, goal: Goal) -> str:
    return goal.text or f"{'at least ' if goal.at_least else ''}{_with_unit(goal.limit, figure)}"


def _verdict(goal: Goal, curves: Mapping[str, Mapping[float, float]]) -> str:
    ours = curves[OURS]
    if goal.over_floor:
        ours = {x: value / curves[FLOOR][x] for x, value in ours.items() if x in curves[FLOOR]}
    wanted = sorted(ours) if goal.x is None else [goal.x]
    if not wanted or not set(wanted) <= ours.keys():
        return NOT_MEASURED
    verdict = "reached" if all(goal.met(ours[x]) for x in wanted) else "not reached"
    return f"{verdict}: {number(ours[wanted[-1]])} times" if goal.over_floor else verdict


def curves(points: Sequence[Point]) -> str:
    """A table of the points of a figure: a row for each x, a column for each series."""
    values = {(point.x, point.series): number(point.value) for point in points}
    series = list(dict.fromkeys(point.series for point in points))
    xs = sorted({point.x for point in points})
    rows = [(f"{x:,}", *(values.get((x, name), "-") for name in series)) for x in xs]
    return as_text(rows, ("switches", *series))


def as_text(rows: Sequence[tuple[str, ...]], headings: tuple[str, ...] = HEADINGS) -> str:
    """A table as reStructuredText, which also reads well in a terminal."""
    grid = [headings, *rows]
    widths = [max(len(row[column]) for row in grid) for column in range(len(headings))]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in grid]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def write(directory: Path, document: Mapping[str, Any]) -> None:
    """Write results.json."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(json.dumps(document, indent=1) + "\n")
