"""python -m bench.page RESULTS.JSON PAGE...: put a run into pages, between the lines that say so."""

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.figures import PERFORMANCE
from bench.report import HEADINGS, NOT_MEASURED, as_text, curves, points_of

BEGIN = ".. What follows is written by bench/page.py."
END = ".. End of what is written by bench/page.py."


def shown(document: Mapping[str, Any], plots: str, page: str = PERFORMANCE) -> Iterator[str]:
    """A run as the lines of a page of docs/; `plots` is where the plots are, seen from there."""
    run = document["run"]
    load = ", ".join(f"{each:.1f}" for each in run["load_average"])
    yield _wrapped(
        f"{run['date'][:10]}, commit {run['commit']}, sizes {run['scale']}: {run['cores']} cores"
        f" ({run['processor']}), load average {load} at"
        f" the start; Linux {run['kernel']}, Open vSwitch {run['open_vswitch']}, Python {run['python']}."
    )
    if page == PERFORMANCE:
        yield from ("", as_text([tuple(row[heading] for heading in HEADINGS) for row in document["table"]]), "")
    for name, figure in document["figures"].items():
        if figure.get("page", PERFORMANCE) != page:
            continue
        title = f"{name}: {figure['title']}"
        yield from ("", title, "-" * len(title), "", _wrapped(figure["how"]), "")
        if figure["points"] == NOT_MEASURED:
            yield from (f"In this run: {NOT_MEASURED}. {figure['failure']}".rstrip(), "")
        else:
            yield from (f".. image:: {plots}/{name}.svg", f"   :alt: {figure['title']}", "")
            if page != PERFORMANCE:
                points = [point for point in points_of(document) if point.figure == name]
                yield from (f"In {figure['unit']}:", "", curves(points), "")


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120)


def put(page: str, lines: Iterator[str]) -> str:
    """The page with these lines in the place of what was written there before."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return "\n".join([head + BEGIN, "", *lines, END]) + tail


if __name__ == "__main__":
    results, *targets = map(Path, sys.argv[1:])
    for target in targets:
        where = os.path.relpath(results.parent / "plots", target.parent)
        target.write_text(put(target.read_text(), shown(json.loads(results.read_text()), where, target.stem)))
