"""The soak: random changes, restarts and traffic for as long as one likes, with a check of everything after each step.

    apps/isolate .venv/bin/python -m tests.soak --minutes 30

The exit status is 0 if nothing was wrong and nothing grew, 1 if something was or did, 130 after Ctrl-C. What is printed
says how to see it again.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom

from apps.lab import Lab
from tests.soak import figures
from tests.soak.run import Soak, Wrong, keep_logs
from tests.soak.site import Site
from tests.soak.steps import PHASES

STEPS_A_MINUTE = 12
"""How many there are at least, however slow the machine is: by it the phases have lengths that a seed can repeat."""


def main() -> int:
    """Run the soak in a lab of its own; the exit status."""
    options = arguments(sys.argv[1:])
    with Lab("soak-") as lab:
        site = Site(lab)
        with site.running():
            return perform(site, options)


def arguments(argv: list[str]) -> argparse.Namespace:
    """The options; a seed is chosen if none is given."""
    parser = argparse.ArgumentParser(
        prog="tests.soak",
        description="random changes, restarts and traffic",
        epilog="for example: make soak MINUTES=5; make soak SEED=7 FIRST=20, to see a step of an earlier run again",
    )
    parser.add_argument("--minutes", type=float, default=30, help="for how long at least")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000), help="which steps")
    parser.add_argument("--first", type=int, default=1, help="begin with this step, to see one again")
    parser.add_argument("--steps", type=int, default=0, help="so many steps instead of the minutes")
    parser.add_argument("--output", type=Path, default=Path("build/soak"), help="directory for figures and logs")
    return parser.parse_args(argv)


def perform(site: Site, options: argparse.Namespace) -> int:
    """Do the steps, and say and write down what came of it; the exit status."""
    length = max(1, int(options.minutes * STEPS_A_MINUTE / len(PHASES)))
    again = f"make soak SEED={options.seed} MINUTES={options.minutes:g}"
    print(f"{again}: {len(PHASES)} phases of {length} steps", flush=True)
    soak = Soak(site, options.seed, length)
    status = run(soak, options.first, until(options, length))
    options.output.mkdir(parents=True, exist_ok=True)
    figures.write(options.output / "figures.csv", soak.samples)
    table = "\n".join(figures.summary(soak.samples))
    (options.output / "summary.txt").write_text(f"{again}\n\n{table}\n")
    print(f"\n{table}\n\nfigures: {options.output}", flush=True)
    if status:
        print(f"logs: {keep_logs(site, options.output)}; to see it again: {again}")
    grown = [each for each in figures.grown(soak.samples) if each.too_much]
    print(f"FAILED: {again}" if status or grown else f"passed: {len(soak.samples)} steps", flush=True)
    return status or int(bool(grown))


def until(options: argparse.Namespace, length: int) -> Callable[[int], bool]:
    """Whether it goes on with a step: for its minutes, and until each phase was there."""
    end = time.monotonic() + 60 * options.minutes
    if options.steps:
        return lambda number: number < options.first + options.steps
    return lambda number: time.monotonic() < end or number <= len(PHASES) * length


def run(soak: Soak, first: int, goes_on: Callable[[int], bool]) -> int:
    """Do the steps; the exit status. Whatever ends them is told."""
    try:
        soak.begin()
        soak.steps(first, goes_on)
        soak.end()
    except Wrong as wrong:
        traceback.print_exception(wrong.__cause__, file=sys.stdout)
        print(f"WRONG: {wrong}", f"FIRST={max(1, wrong.number - 10)} begins shortly before", sep="\n", flush=True)
        return 1
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
