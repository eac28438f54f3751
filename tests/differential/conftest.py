"""The two sides, which the tests of a module share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.lab import Lab
from tests.differential.harness import Harness
from tests.differential.sides import Ours, Theirs


@pytest.fixture(scope="module")
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Our application and ovs-vtep, each in a lab of its own."""
    prefix = Path(request.path).stem.removeprefix("test_")
    with Lab(f"{prefix}-ours-") as one, Lab(f"{prefix}-theirs-") as other:
        ours, theirs = Ours(one), Theirs(other)
        try:
            yield Harness(ours, theirs)
        finally:
            ours.close()
            theirs.close()
