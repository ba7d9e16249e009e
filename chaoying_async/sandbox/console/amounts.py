"""Amounts that people type: what they are in fen, and which scenario each of them sets off."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from chaoying_async.sandbox.bank.scenarios import (
    REFUND_SCENARIOS,
    SCENARIOS,
    RefundScenario,
    Scenario,
)
from chaoying_async.sandbox.console.display import yuan
from chaoying_async.sandbox.console.words import Words

_YUAN = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,2}))?", re.ASCII).fullmatch
_TABLES: Mapping[str, Mapping[int, Scenario | RefundScenario]] = {
    "scenario": SCENARIOS,
    "refund": REFUND_SCENARIOS,
}


def fen_of(typed: str) -> int:
    """An amount in yuan that a person typed, in fen; 0 if it is none."""
    match = _YUAN(typed.strip())
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else 0


@attrs.frozen
class Amounts:
    """What the field of an amount says about scenarios; ``console.js`` says the same later on."""

    words: Words
    kind: Literal["scenario", "refund"]
    """Payments or refunds: how the names of their texts begin."""
    chosen: int | None
    """The scenario that everything follows now, whatever its amount; None: amounts choose."""

    @property
    def options(self) -> Iterator[tuple[str, int, str]]:
        """An amount for each scenario, its number, and what happens."""
        for number in _TABLES[self.kind]:
            if number:
                yield yuan(number)[1:], number, self._course(number)

    @property
    def other(self) -> str:
        """What happens for any other amount; empty if something was chosen for everything."""
        return "" if self.chosen is not None else self._course(0)

    def says(self, typed: str) -> str:
        """The sentence below the field; empty if no amount stands in it."""
        if self.chosen is not None:
            return self.words("amounts.chosen", course=self._course(self.chosen))
        fen = fen_of(typed)
        number = fen % 1000
        course = self._course(number if number in _TABLES[self.kind] else 0)
        return f"{yuan(fen)} → {course}" if fen else ""

    def _course(self, number: int) -> str:
        what = self.words(f"{self.kind}.{number}")
        if not number:
            return self.words("amounts.other", what=what)
        return self.words("amounts.scenario", number=number, what=what)
