"""Every test that records looks through all that was exported when it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.observing.recorder import Recorder, look_for_canaries


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """An SDK in memory; at the end nothing in it may be secret (M-27)."""
    made = Recorder.made()
    yield made
    look_for_canaries(made)
