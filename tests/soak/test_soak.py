"""A short soak, so that it does not rot, and that it sees what is wrong. What grows only shows in long ones."""

import csv
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.lab import Lab, LabError
from tests.soak import checks
from tests.soak import run as runs
from tests.soak.__main__ import arguments, perform
from tests.soak.site import PROGRAM, Site
from tests.soak.steps import Step

pytestmark = pytest.mark.timeout(200)

SEED, STEPS = 9, 5
FOREIGN = "table=5,priority=9"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Lab("soaked-") as lab:
        made = Site(lab)
        with made.running():
            yield made


def test_a_short_soak_passes_and_writes_its_figures(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--seed", str(SEED), "--steps", str(STEPS), "--minutes", "0", "--output", str(tmp_path)]
    status = perform(site, arguments(argv))
    told = capsys.readouterr().out
    assert status == 0, told
    assert told.endswith(f"passed: {STEPS} steps\n")
    assert "does not grow" not in told, "it is not judged"
    with (tmp_path / "figures.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["step"]) for line in lines] == list(range(1, STEPS + 1))
    assert all(float(line[f"{PROGRAM} MB"]) > 20 for line in lines)


def add_flow(site: Site) -> None:
    site.node.ofctl("add-flow", "br0", f"{FOREIGN},actions=drop")


def del_flow(site: Site) -> None:
    site.node.ofctl("--strict", "del-flows", "br0", FOREIGN)


def change(site: Site) -> None:
    site.node.vtep_ctl("set", "Logical_Switch", "ls0", "replication_mode=source_node")


def log_error(site: Site) -> None:
    site.logs.insert(0, site.node.directory / "earlier.log")
    site.logs[0].write_text("2026-01-01T00:00:00.000Z INFO all is well\n2026-01-01T00:00:01.000Z ERROR it is not\n")


def forget_log(site: Site) -> None:
    del site.logs[0]


@pytest.mark.parametrize(
    ("breaks", "mends", "says"),
    [
        (add_flow, del_flow, "table=5"),
        (change, lambda site: site.nvc.note(), "rows of the NVC's"),
        (log_error, forget_log, "ERROR it is not"),
        (lambda site: site.end(PROGRAM, signal.SIGKILL), lambda site: site.start(PROGRAM), "program has ended"),
    ],
)
def test_what_is_wrong_is_seen(
    site: Site, breaks: Callable[[Site], None], mends: Callable[[Site], None], says: str
) -> None:
    breaks(site)
    with pytest.raises((AssertionError, LabError), match=says):
        checks.check(site, patience=3)
    mends(site)
    checks.check(site)


def test_packets_that_a_step_should_not_cost_end_the_run_with_the_step_and_how_to_see_it_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unplug(there: Site) -> None:
        there.p1.unplug()
        time.sleep(0.2)
        there.p1.plug()

    monkeypatch.setattr(runs, "draw", lambda seed, number, length: Step("p1 is unplugged", unplug))
    argv = ["--seed", str(SEED), "--first", "20", "--steps", "1", "--output", str(tmp_path)]
    assert perform(site, arguments(argv)) == 1
    told = capsys.readouterr().out
    assert "WRONG: step 20 (p1 is unplugged): AssertionError: [[], [Outage(" in told
    assert "FIRST=10" in told
    assert told.endswith(f"FAILED: make soak SEED={SEED} MINUTES=30\n")
    assert (tmp_path / site.node.app.logfile.name).exists()


def test_more_rows_than_there_can_be_are_seen() -> None:
    with pytest.raises(AssertionError, match="'Tunnel': 1000"):
        checks.bounds({"Tunnel": 1000, "Global": 1})
    with pytest.raises(AssertionError, match="'Arp_Sources_Local': 1"):
        checks.bounds({"Arp_Sources_Local": 1})
