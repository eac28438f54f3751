"""The soak's steps are a seed's, and what counts as growing."""

import pytest

from tests.soak.figures import DESCRIPTORS, ENOUGH, MEMORY, THREADS, Sample, Usage, grown
from tests.soak.site import PARTS, PROGRAM
from tests.soak.steps import PHASES, draw

LENGTH = 200


def samples(*lives: list[float]) -> list[Sample]:
    """Steps of a run in which a part has so much memory, in each of its lives."""
    flat = [(pid, memory) for pid, life in enumerate(lives) for memory in life]
    used = [{PROGRAM: Usage(pid, {MEMORY: memory, DESCRIPTORS: 9, THREADS: 5})} for pid, memory in flat]
    return [Sample(n, n, 1, "change", "", 0, 10, 0, usage, {}) for n, usage in enumerate(used)]


@pytest.mark.parametrize(
    ("lives", "grows"),
    [
        ([[70.0] * ENOUGH], False),
        ([[70.0] * (ENOUGH - 1) + [700.0]], False),
        ([[70.0 + n / 2 for n in range(ENOUGH)]], True),
        ([[70.0 + n / 2 for n in range(ENOUGH - 1)]], False),
        ([[70.0 + n / 2 for n in range(ENOUGH)], [70.0] * 2 * ENOUGH], False),
        ([[n * 2.0 for n in range(ENOUGH // 4)] + [70.0] * ENOUGH], False),
    ],
    ids=("even", "peak", "growing", "too short to tell", "not in the longest life", "only at first"),
)
def test_memory_grows_if_the_last_quarter_of_the_longest_life_has_more_than_the_second(
    lives: list[list[float]], grows: bool
) -> None:
    memory = next(each for each in grown(samples(*lives)) if each.unit == MEMORY)
    assert memory.too_much == grows


def test_the_same_seed_has_the_same_steps_and_another_one_others() -> None:
    one, again, other = ([draw(seed, n, LENGTH).text for n in range(1, LENGTH)] for seed in (1, 1, 2))
    assert one == again != other


def test_the_program_stays_in_the_first_phase_all_else_in_the_second_and_everything_ends_in_the_third() -> None:
    ended = [{draw(1, n + phase * LENGTH, LENGTH).kind for n in range(1, LENGTH + 1)} for phase in range(len(PHASES))]
    restarts = [{part for part in PARTS if f"restart: {part}" in kinds} for kinds in ended]
    assert restarts == [set(PARTS) - {PROGRAM}, {PROGRAM}, set(PARTS)]
    assert ["restart all" in kinds for kinds in ended] == [False, False, True]
