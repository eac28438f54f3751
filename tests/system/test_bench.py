"""The benchmark runs, at its smallest. No figure is compared with anything."""

import json
import os
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.figures import FIGURES
from bench.report import NOT_MEASURED

pytestmark = pytest.mark.timeout(600)

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
NAMES = [figure.name for figure in FIGURES]
QUICK = ["change", "load", "memory", "idle", "learning", "unlearned"]


def test_a_run_has_points_of_every_figure_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = NAMES if LONG else QUICK
    arguments = ["--scale", "smallest", "--only", ",".join(wanted), "--output", str(tmp_path)]
    assert main(arguments) == 0, capsys.readouterr().err
    figures = json.loads((tmp_path / "results.json").read_text())["figures"]
    assert list(figures) == NAMES
    assert {name for name, figure in figures.items() if figure["points"] != NOT_MEASURED} == set(wanted)
    assert NOT_MEASURED in capsys.readouterr().out, "ovs-vtep takes too long"


def test_a_figure_that_there_is_not_is_an_error_that_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "load,speed"])
    assert "no figure speed; there are change, load, " in capsys.readouterr().err
