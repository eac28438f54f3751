"""Labs for the system tests; they run under apps/isolate."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.lab import Lab


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab that the tests of a module share; its names begin with the module's."""
    prefix = re.sub(r"^test_", "", Path(request.path).stem)
    with Lab(f"{prefix}-") as made:
        yield made
