"""The measuring script still runs: it uses public names only, and prints what it says."""

from __future__ import annotations

import asyncio

import pytest

from tests.house import measure


@pytest.mark.parametrize("journey", measure.JOURNEYS)
def test_a_journey_leads_through_our_code(journey: str) -> None:
    """Each of them; the figures are for people to compare, not for a test."""
    figures = asyncio.run(measure.JOURNEYS[journey]()).figures()
    assert figures["all calls"] >= figures["calls"] > figures["files"] > 1


@pytest.mark.slow
def test_the_sizes_are_counted_without_docstrings() -> None:
    """Statements are fewer than lines, and functions are short; looked at in one room."""
    sizes = measure.sizes(
        [path.name for path in measure.PRODUCT.iterdir() if path.name != "polling"]
    )
    assert 0 < sizes["modules"] < sizes["statements"] < sizes["lines"]
    assert sizes["function length, median"] <= sizes["function length, 90th percentile"]


def test_folders_and_files_can_be_left_out() -> None:
    """Of all but one file, that one file is left."""
    others = [path.name for path in measure.PRODUCT.iterdir() if path.name != "clock.py"]
    assert measure.sizes(others)["modules"] == 1
