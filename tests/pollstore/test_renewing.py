"""A lease that cannot be renewed: tried again less and less often, and told of now and then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoying_async.pollstore.sql.owned_texts import OwnedTexts
from chaoying_async.testing import FakeClock


class Owned:
    """An owner whose database is down at first."""

    lease = 9.0

    def __init__(self, clock: FakeClock, down_for: float) -> None:
        self._clock = clock
        self._down_for = down_for
        self.tried: list[float] = []

    async def renew(self) -> None:
        self.tried.append(round(self._clock.monotonic(), 1))
        if self._clock.monotonic() < self._down_for:
            raise ConnectionRefusedError(111)


async def _tries(seconds: float, *, down_for: float) -> list[float]:
    clock = FakeClock()
    owned: Any = Owned(clock, down_for)
    nothing: Any = None
    renewing = asyncio.create_task(OwnedTexts(nothing, owned, nothing, nothing)._renew(clock))
    await clock.advance(seconds)
    renewing.cancel()
    return list(owned.tried)


async def test_a_database_that_is_down_is_asked_less_and_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once soon, for the next connection may be well; and a line for each usual pause."""
    tried = await _tries(16, down_for=100)
    assert tried == [3.0, 3.1, 3.3, 3.7, 4.5, 6.1, 9.1, 12.1, 15.1]
    assert caplog.text.count("could not be renewed (ConnectionRefusedError)") == 5


async def test_once_it_is_there_again_all_is_as_before(caplog: pytest.LogCaptureFixture) -> None:
    """The usual pause between two renewals, and nothing more is said."""
    assert await _tries(9, down_for=3.2) == [3.0, 3.1, 3.3, 6.3]
    assert caplog.text.count("could not be renewed") == 1
