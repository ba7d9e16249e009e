"""The numbers that options take. Each has two ends: what is past them would break somewhere later.

A calendar, a database and a timer each have a largest number of their own, and an error of theirs
names no option.
"""

from __future__ import annotations

import math
from typing import Any

import click


class FiniteRange(click.FloatRange):
    """A range of numbers; click itself takes ``nan`` for one that is in every range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number, or a usage error."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a valid float range.", param, ctx)
        return number


#: Seconds (thirty years of them at most), or how many times a second.
ABOVE_ZERO = FiniteRange(0, 1e9, min_open=True)
ZERO_OR_MORE = FiniteRange(0, 1e9)
#: How many of something.
COUNT = click.IntRange(1, 1_000_000_000)
#: An amount in fen; the document's have 15 digits at most.
FEN = click.IntRange(1, 10**15 - 1)
#: How many days ago.
DAYS_AGO = click.IntRange(0, 36_500)
