"""The simulated world finds bugs: a few here, all of them by ``make simulate-planted``."""

from __future__ import annotations

import pytest

from tests.hard.planted_bugs import find
from tests.hard.planting import PLANTED, Planted


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_every_planted_bug_still_has_its_place(bug: Planted) -> None:
    """A seam that is gone is named here, and not after two thousand seeds without a find."""
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", ["acknowledged before the commit", "a failed payment takes effect"]
)
def test_a_planted_bug_is_found(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the world has become too mild."""
    assert find(name, 1, 100) == 0
    assert f"| {name} |" in capsys.readouterr().out


@pytest.mark.slow
def test_a_bug_that_is_not_found_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """By the table and by the exit code."""
    assert find("20007 is a failure", 1, 1) == 1
    assert "NOT FOUND in 1" in capsys.readouterr().out
