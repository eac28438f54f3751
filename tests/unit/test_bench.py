"""The table of the benchmark: what is said of which points, and what of those that are not there."""

import pytest

from bench import page, report
from bench.figures import FIGURES, FLOOR, OURS, THEIRS, Point
from bench.run import percentile


def row(figure: str, points: list[Point]) -> list[str]:
    """The first row of a figure, without its name."""
    return next(list(cells[1:]) for cells in report.table(points) if cells[0].startswith(f"{figure}: "))


def load(side: str, x: float, value: float) -> Point:
    return Point("load", side, "all forward", x, value)


def test_what_was_not_measured_says_so() -> None:
    assert all(set(cells[2:]) == {report.NOT_MEASURED} for cells in report.table([]))
    figures = report.results({}, [], {})["figures"]
    assert {figure["points"] for figure in figures.values()} == {report.NOT_MEASURED}


def test_a_goal_at_an_x_is_reached_there_and_nowhere_else() -> None:
    points = [Point("idle", OURS, "program", 1000, 0.4), Point("idle", THEIRS, "program", 3, 30)]
    assert row("idle", points)[1:] == [
        "0.4 % of a core",
        "30 % of a core at 3",
        report.NOT_MEASURED,
        "reached",
    ]
    assert row("idle", points[1:])[4] == report.NOT_MEASURED
    assert row("idle", [Point("idle", OURS, "program", 10, 0.1)])[4] == report.NOT_MEASURED


def test_a_goal_everywhere_is_reached_when_no_size_exceeds_it() -> None:
    points = [Point("change", OURS, "median", x, value) for x, value in ((1, 2), (1000, 9))]
    assert row("change", points)[1] == "2 ms at 1, 9 ms at 1,000"
    assert row("change", points)[4] == "not reached"
    assert row("change", points[:1])[4] == "reached"


@pytest.mark.parametrize(("took", "verdict"), [(1.5, "reached: 1.5 times"), (3, "not reached: 3 times")])
def test_a_ratio_is_that_to_the_floor_at_the_same_x(took: float, verdict: str) -> None:
    points = [load(OURS, 1_000, 9), load(OURS, 100_000, took), load(FLOOR, 100_000, 1)]
    assert row("load", points)[4] == verdict
    assert row("load", points[:2])[4] == report.NOT_MEASURED


def test_points_survive_being_written() -> None:
    points = [load(OURS, 1_000, 0.5), Point("first", OURS, "median", 1, 3.0, samples=200)]
    assert report.points_of(report.results({}, points, {})) == sorted(
        points, key=lambda point: [figure.name for figure in FIGURES].index(point.figure)
    )


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 99) == 99
    assert percentile(values[:3], 99) == 3
    assert percentile([7.0], 50) == 7


def test_a_run_replaces_the_one_before_on_its_page() -> None:
    facts = {**report.machine(), "scale": "full"}
    text = f"before\n\n{page.BEGIN}\n\nold\n{page.END}\n\nafter\n"
    points = [load(OURS, 100_000, 1.25)]
    lines = list(page.shown(report.results(facts, points, {}), "plots"))
    once = page.put(text, iter(lines))
    assert page.put(once, iter(lines)) == once
    assert once.startswith("before\n")
    assert once.endswith("\n\nafter\n")
    assert "old" not in once
    assert "1.25 s" in once
    assert ".. image:: plots/load.svg" in once
    assert ".. image:: plots/idle.svg" not in once
