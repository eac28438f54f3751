"""How long Hypothesis looks: the same examples in every run, many more of them in the long runs."""

import os

from hypothesis import settings

settings.register_profile("short", derandomize=True, deadline=None, max_examples=100, database=None)
settings.register_profile("long", settings.get_profile("short"), max_examples=3000)
settings.load_profile("long" if os.environ.get("VTEP_TEST_LONG") == "1" else "short")


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", "ignore:distutils Version classes are deprecated:DeprecationWarning")
