"""What the tests of simulated worlds need before they begin."""

from __future__ import annotations

import gc
import warnings

import pytest

from chaoying_async.testing.simulation import world


@pytest.fixture(autouse=True)
def _nothing_left_by_others() -> None:
    """A campaign begins with ``gc.collect()``: it would be blamed for what others have left.

    What is left then lives on, and need not be looked at in each world: that takes half a second
    where thousands of tests were read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    gc.freeze()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world in which something stays wrong is left sooner: it looks a quarter as often."""
    monkeypatch.setattr(world, "_CALM", 1000.0)
