"""docs/operations.md has each line at ERROR and each metric, and none that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaoying_async.observing.metric_table import METRICS
from tests.house.error_lines import STORE_TROUBLES, error_lines, lines_of, unused
from tests.house.product import ROOT

PAGES = [ROOT / "docs" / name for name in ("operations.md", "operations.zh-CN.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_line_at_error_is_explained(page: Path) -> None:
    """Whoever is woken finds the line as the log has it; what is no line any more is gone."""
    lines = error_lines()
    known = lines.keys() | STORE_TROUBLES
    there = lines_of(page)
    assert {line: place for line, place in lines.items() if line not in there} == {}
    assert there >= STORE_TROUBLES
    assert there <= known


def test_lines_that_are_made_of_other_texts_are_still_made_so() -> None:
    """Else the table in error_lines.py hides a line that nobody explains."""
    assert unused() == set()
    assert len(error_lines()) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_metric_is_explained(page: Path) -> None:
    """With what it says, and with when to look."""
    text = page.read_text("utf-8")
    rows = re.findall(r"^\| `(chaoying_\w+)` \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert [name for name, says, when in rows if says and when] == [name for name, *_ in rows]
    assert sorted(name for name, *_ in rows) == sorted(METRICS)
