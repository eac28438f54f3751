"""Steps one after the other, each under traffic that is counted and with a check of everything after it."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.soak import checks
from tests.soak.figures import Sample, Usage
from tests.soak.site import PARTS, Site
from tests.soak.steps import Step, draw
from tests.system.traffic import VNI, traffic


class Wrong(Exception):
    """After a step something was not as it has to be."""

    def __init__(self, number: int, step: Step, error: Exception) -> None:
        super().__init__(f"step {number} ({step.text}): {type(error).__name__}: {error}")
        self.number = number


class Soak:
    """A run: the steps of a seed from one number on, where a phase has so many."""

    def __init__(self, site: Site, seed: int, length: int) -> None:
        self.samples: list[Sample] = []
        self._site = site
        self._rows: dict[str, int] = {}
        self._seed = seed
        self._length = length

    def steps(self, number: int, goes_on: Callable[[int], bool]) -> None:
        """Do steps from this number on, while it goes on; raises Wrong."""
        began = time.monotonic()
        while goes_on(number):
            step = draw(self._seed, number, self._length)
            try:
                self._do(number, step, began)
            except Exception as error:
                raise Wrong(number, step, error) from error
            number += 1

    def begin(self) -> None:
        """See what there is at first."""
        with traffic(*self._site.pairs):
            self._site.nvc.follow()
            self._rows = self._at_rest()

    def _at_rest(self) -> dict[str, int]:
        """The rows and flows that there are once nothing is known but the two stations with traffic."""
        local, pairs = "Ucast_Macs_Local", len(self._site.pairs)
        self._site.node.wait_until(lambda: checks.rows(self._site)[local] == pairs, 60, "two stations and no more")
        checks.as_rendered(self._site)  # The last flow of a station goes after its row.
        return checks.rows(self._site) | checks.more_rows(self._site)

    def end(self) -> None:
        """When all has gone that has come since, there are as many rows and flows as at first; raises Wrong."""
        step = Step("all that came goes", lambda site: site.nvc.only_steady(VNI, [site.far.mac]))
        try:
            with traffic(*self._site.pairs):
                step.act(self._site)
                self._site.nvc.note()
                checks.check(self._site)
                rested = self._at_rest()
            left = {what: (was, rested[what]) for what, was in self._rows.items() if rested[what] != was}
            assert not left, f"as many at first, and in the end: {left}"
        except Exception as error:
            raise Wrong(len(self.samples) + 1, step, error) from error

    def _do(self, number: int, step: Step, began: float) -> None:
        site, before = self._site, time.monotonic()
        site.learn_neighbours()
        with traffic(*site.pairs) as streams:
            step.act(site)
            checks.check(site)
        after = time.monotonic()
        sample = Sample(
            number=number,
            at=after - began,
            seconds=after - before,
            kind=step.kind,
            text=step.text,
            lost=sum(stream.lost for stream in streams),
            sent=sum(stream.sent for stream in streams),
            load=round(os.getloadavg()[0], 1),
            usage={part: Usage.of(site.pid(part)) for part in PARTS},
            rows=checks.rows(site) | checks.more_rows(site),
        )
        self.samples.append(sample)
        print(line(sample), flush=True)
        assert sample.lost <= step.may_lose, [stream.outages for stream in streams]


def line(sample: Sample) -> str:
    """A step in a line."""
    minutes, seconds = divmod(int(sample.at), 60)
    lost = f"{sample.lost} lost" if sample.lost else ""
    return f"{sample.number:5} {minutes:4}:{seconds:02} {sample.seconds:5.1f} s {lost:>10}  {sample.text[:200]}"


def keep_logs(site: Site, to: Path) -> Path:
    """Copy the logs of the machine's programs, which go with it; returns where to."""
    for path in site.node.directory.glob("*.log"):
        shutil.copy(path, to)
    return to
