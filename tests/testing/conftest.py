"""What the tests of simulated worlds need before they begin."""

from __future__ import annotations

import gc
import warnings

import pytest


@pytest.fixture(autouse=True)
def _nothing_left_by_others() -> None:
    """A campaign begins with ``gc.collect()``: it would be blamed for what others have left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
