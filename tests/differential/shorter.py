"""What a failed comparison says: the differences, and how to see them again."""

import time

from tests.differential.harness import Harness, Report
from tests.differential.shrink import shrink
from tests.differential.steps import CHECK, Case


def shorter(harness: Harness, case: Case, seconds: float) -> Case:
    """A case in which the two differ as well, with fewer steps; looked for so many seconds."""
    end = time.monotonic() + seconds
    steps = shrink(
        case.steps,
        lambda steps: bool(harness.run(Case(case.seed, (*steps, CHECK))).differences),
        lambda: time.monotonic() < end,
    )
    return Case(case.seed, (*steps, CHECK))


def account(harness: Harness, case: Case, report: Report, seconds: float) -> str:
    """The differences, and how to see them again."""
    differences = "\n".join(report.differences)
    return (
        f"{differences}\n\nTo see it again: VTEP_DIFFERENTIAL={case.seed}. A shorter way, which is replayed when "
        f"VTEP_DIFFERENTIAL is the name of a file with it:\n\n{shorter(harness, case, seconds)}"
    )
