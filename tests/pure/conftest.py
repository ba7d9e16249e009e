from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.sizes import FULL

# The same examples in every run and no clock in the verdict;
# --hypothesis-profile=default looks further.
settings.register_profile(
    "repeatable",
    max_examples=100 if FULL else 20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--hypothesis-profile", default=None):
        settings.load_profile("repeatable")
