"""Pipelines that are broken on purpose: the comparison with ovs-vtep sees each."""

import pytest

from tests.differential.harness import Harness, Report
from tests.differential.shorter import account
from tests.differential.steps import Case, generate

pytestmark = pytest.mark.timeout(300)

SEEDS = range(5)


def caught(harness: Harness, broken: str) -> tuple[Case, Report]:
    """The first of some seeds that shows what is broken, and what is seen of it."""
    harness.ours.restart(broken)
    for seed in SEEDS:
        case = generate(seed, checks=2)
        report = harness.run(case)
        if report.differences:
            return case, report
    pytest.fail("nothing is seen of it")


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        ("back_to_its_binding", "from p"),
        ("any_source", "from 10.2.2."),
        ("members_stay", "from p"),
    ],
)
def test_what_is_broken_is_caught(harness: Harness, broken: str, seen: str) -> None:
    case, report = caught(harness, broken)
    print(f"seed {case.seed}:", *report.differences, sep="\n")
    assert any(seen in each for each in report.differences)


def test_a_failure_says_how_to_see_it_again_and_a_shorter_way_there(harness: Harness) -> None:
    case, report = caught(harness, "tunnel_to_tunnel")
    text = account(harness, case, report, seconds=25)
    print(text)
    assert f"VTEP_DIFFERENTIAL={case.seed}." in text
    less = Case.read(text.partition("with it:\n\n")[2])
    assert len(less.steps) < len(case.steps)
    assert harness.run(less).differences
    harness.ours.restart()
    assert not harness.run(less).differences
