"""The benchmark runs, at its smallest, and has all figures. No figure is compared with anything."""

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.figures import FIGURES

pytestmark = pytest.mark.timeout(600)


def test_a_run_has_points_of_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--scale", "smallest", "--output", str(tmp_path)]) == 0, capsys.readouterr().err
    document = json.loads((tmp_path / "results.json").read_text())
    assert [name for name, figure in document["figures"].items() if isinstance(figure["points"], list)] == [
        figure.name for figure in FIGURES
    ]
    assert "not measured" in capsys.readouterr().out, "what ovs-vtep takes long for"


def test_a_figure_that_there_is_not_is_an_error_that_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "load,speed"])
    assert "no figure speed; there are change, load, " in capsys.readouterr().err
