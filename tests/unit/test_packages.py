"""What packages are made of."""

import re
import subprocess
from pathlib import Path

import pytest

from vtep_ryu import __version__

ROOT = Path(__file__).parents[2]
SCRIPTS = [*(ROOT / "etc").glob("*.sh"), *(ROOT / "etc/debian").glob("p*"), ROOT / "etc/debian/test.sh"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_one_that_a_shell_can_read_and_run(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    assert script.read_text().startswith("#!/bin/sh\n")
    done = subprocess.run(["sh", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_file_that_the_package_has_is_there() -> None:
    put = re.findall(r"^put ([\w./@-]+) ", (ROOT / "etc/make-deb.sh").read_text(), re.MULTILINE)
    assert len(put) > 8
    assert [name for name in put if not (ROOT / name).is_file()] == []


def test_there_is_one_version() -> None:
    assert f'version="{__version__}"' in (ROOT / "setup.py").read_text()
    assert re.search(rf"^{re.escape(__version__)} \(", (ROOT / "NEWS.rst").read_text(), re.MULTILINE)
