"""What forks the processes of this room ends with the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.processes import end_forking


@pytest.fixture(scope="session", autouse=True)
def forking() -> Iterator[None]:
    yield
    end_forking()
