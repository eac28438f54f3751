"""The same random sequences for this application and for ovs-vtep, the same frames, and who receives what.

VTEP_DIFFERENTIAL chooses the sequences: seeds ("7,8"), or a file with a sequence as a failed test prints it.
"""

import os
from pathlib import Path

import pytest

from tests.differential.harness import Harness
from tests.differential.shorter import account
from tests.differential.steps import Case, generate

LONG = os.environ.get("VTEP_TEST_LONG") == "1"
SEEDS = range(50 if LONG else 3)
CHECKS = 3 if LONG else 2
SHRINKING = 900 if LONG else 120
"""For how many seconds at most a sequence is made shorter."""

pytestmark = pytest.mark.timeout(SHRINKING + 300)


def cases() -> list[Case]:
    """What VTEP_DIFFERENTIAL says, or else some seeds."""
    chosen = os.environ.get("VTEP_DIFFERENTIAL", "")
    if chosen and not chosen.replace(",", "").isdecimal():
        return [Case.read(Path(chosen).read_text())]
    return [generate(seed, CHECKS) for seed in (map(int, chosen.split(",")) if chosen else SEEDS)]


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"seed {case.seed}")
def test_frames_go_where_ovs_vtep_has_them_go_but_for_its_known_faults(harness: Harness, case: Case) -> None:
    report = harness.run(case)
    found = ", ".join(f"{fault.name} {count}" for fault, count in report.faults.items())
    print(f"seed {case.seed}: {report.compared} frames; {found}")
    if report.differences:
        pytest.fail(account(harness, case, report, SHRINKING), pytrace=False)
