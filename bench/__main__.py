"""python -m bench: measure, print the table, write results.json."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from apps.lab import LabError
from bench import installed, learning, load, many, meanwhile, report, start, throughput
from bench.figures import FIGURES, Point
from bench.run import SCALES, Run

MEASUREMENTS = (load, installed, start, learning, meanwhile, throughput, many)


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for; 1 when something that was asked for could not be measured."""
    names = [figure.name for figure in FIGURES]
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__.partition(": ")[2],
        epilog="for example: make bench QUICK=1; make bench ONLY=change,load BIG=1; the figures: docs/performance.rst",
    )
    parser.add_argument("--only", default="", help=f"some figures, separated by commas: {','.join(names)}")
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="where results.json goes")
    chosen = parser.parse_args(arguments)
    wanted = frozenset(chosen.only.split(",") if chosen.only else names)
    if unknown := sorted(wanted.difference(names)):
        parser.error(f"no figure {', '.join(unknown)}; there are {', '.join(names)}")
    run = Run(SCALES[chosen.scale], wanted)
    facts = {**report.machine(), "scale": chosen.scale}
    points, failures = measure(run)
    document = report.results(facts, points, failures)
    report.write(chosen.output, document)
    print(report.as_text(report.table(points)))
    run.say(f"written: {chosen.output / 'results.json'}")
    return bool(failures)


def measure(run: Run) -> tuple[list[Point], dict[str, str]]:
    """All points, and why some figures have none or too few. Ctrl-C ends it with those that there are."""
    points: list[Point] = []
    failures: dict[str, str] = {}
    try:
        for measurement in MEASUREMENTS:
            for job in measurement.jobs(run) if run.wants(*measurement.FIGURES) else ():
                try:
                    _take(run, job, points)
                except (LabError, AssertionError, OSError) as error:
                    run.say(f"    failed: {error}")
                    failures |= dict.fromkeys(run.figures.intersection(measurement.FIGURES), str(error))
    except KeyboardInterrupt:
        run.say("interrupted: what is left is not measured")
    return points, failures


def _take(run: Run, job: Iterator[Point], points: list[Point]) -> None:
    """Do a job, and say and keep each point as soon as it is there."""
    for point in job:
        if run.wants(point.figure):
            run.say(f"    {point.figure}: {point.side}, {point.series} at {point.x:,}: {report.number(point.value)}")
            points.append(point)


if __name__ == "__main__":
    sys.exit(main())
