"""python -m bench.plots RESULTS.JSON DIRECTORY: the curves of a run, as PNG and SVG."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter

from bench.figures import FIGURES, FLOOR, OURS, THEIRS, Figure, Goal, Point
from bench.report import number, points_of

COLOURS = {OURS: "#1565c0", THEIRS: "#c62828", FLOOR: "#616161"}
MARKERS = "osD^vP"
LINES = ("-", "--", ":", "-.", (0, (1, 3)), (0, (6, 3)))
# The same points give the same file.
mpl.rcParams["svg.hashsalt"] = "vtep_ryu"
_METADATA: dict[str, dict[str, None]] = {"svg": {"Date": None}, "png": {}}


def draw(document: Mapping[str, Any], directory: Path) -> list[Path]:
    """Draw every figure that was measured; the files."""
    directory.mkdir(parents=True, exist_ok=True)
    points = points_of(document)
    return [path for figure in FIGURES if figure.of(points) for path in _draw(figure, figure.of(points), directory)]


def _draw(figure: Figure, points: list[Point], directory: Path) -> list[Path]:
    canvas = Canvas(figsize=(7, 4.2), layout="constrained")
    axes = canvas.add_subplot()
    series = list(dict.fromkeys(point.series for point in points))
    for side, colour in COLOURS.items():
        for n, name in enumerate(series):
            curve = sorted((point.x, point.value) for point in points if (point.side, point.series) == (side, name))
            if curve:
                label = side if len(series) == 1 else f"{side}: {name}"
                axes.plot(*zip(*curve, strict=True), color=colour, ls=LINES[n], marker=MARKERS[n], label=label)
    _scale(axes, points)
    for goal in figure.goals:
        _mark(axes, goal, points)
    axes.set(title=figure.title, xlabel=figure.x, ylabel=figure.unit)
    axes.grid(visible=True, alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(once.values(), once.keys(), fontsize="small")
    paths = [directory / f"{figure.name}.{kind}" for kind in _METADATA]
    for path in paths:
        canvas.savefig(path, metadata=_METADATA[path.suffix[1:]], dpi=110)
    return paths


def _scale(axes: Axes, points: list[Point]) -> None:
    """Logarithmic, but near 0 where there is a 0; a value that does not vary much is seen better from 0 on."""
    values = [point.value for point in points]
    if len({point.x for point in points}) > 1:
        axes.set_xscale("log")
    if max(values) > 5 * min(values):
        axes.set_yscale("log") if min(values) > 0 else axes.set_yscale("symlog", linthresh=1)
    if min(values) == 0 or max(values) <= 5 * min(values):
        axes.set_ylim(bottom=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def _mark(axes: Axes, goal: Goal, points: list[Point]) -> None:
    """What is to be reached, and where."""
    if goal.over_floor:
        floor = {point.x: point.value for point in points if (point.side, point.series) == (FLOOR, goal.series)}
        marked = {x: value * goal.limit for x, value in floor.items() if goal.x in (None, x)}
    else:
        marked = {x: goal.limit for x in {point.x for point in points} if goal.x in (None, x)}
    if not marked:
        return
    sense = "at least" if goal.at_least else "at most"
    axes.plot(
        list(marked),
        list(marked.values()),
        marker="_",
        ms=18,
        mew=2,
        color="#2e7d32",
        ls="",
        label=f"to reach: {sense}",
    )


if __name__ == "__main__":
    results, place = map(Path, sys.argv[1:])
    for drawn in draw(json.loads(results.read_text()), place):
        print(drawn)
