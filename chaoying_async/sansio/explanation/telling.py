"""An explanation in words, English or Chinese: the texts are in ``english.toml``, ``chinese.toml``.

The two files are part of the package, as its code is, and are read once, when the first words of a
language are asked for.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any, Literal

import attrs

from chaoying_async.sansio.explanation.contradictions import Phrase
from chaoying_async.sansio.explanation.from_gateway import RefundSays
from chaoying_async.sansio.explanation.judge import Explanation
from chaoying_async.sansio.explanation.next_steps import NextStep
from chaoying_async.sansio.explanation.told import ForeignAmount, Statement, Value, amount_of
from chaoying_async.sansio.values import GMT8, Fen

Language = Literal["en", "zh"]

_FILES: Mapping[Language, str] = {"en": "english.toml", "zh": "chinese.toml"}
_AMOUNTS = frozenset({"amount", "whole", "expected", "other"})
_WITNESSES = frozenset({"witness", "paid", "unpaid", "beside"})
#: Sentences of the library, which are English until somebody translates them.
_SENTENCES = frozenset({"reason", "trouble", "error"})


@functools.cache
def words(lang: Language) -> Mapping[str, Any]:
    """The texts of a language, in parts."""
    file = files("chaoying_async.sansio.explanation").joinpath(_FILES[lang])
    return tomllib.loads(file.read_text("utf-8"))


def as_is(text: str) -> str:
    """A sentence of the library as it is: in English."""
    return text


@attrs.frozen
class Teller:
    """Tells the parts of an explanation in one language.

    ``shown`` translates sentences of the library that are quoted; without it they stay English.
    """

    lang: Language = "en"
    shown: Callable[[str], str] = as_is

    def frame(self, name: str, **values: Value) -> str:
        """A heading, or words around others."""
        return self._filled(words(self.lang)["frame"][name], values)

    def standing(self, explanation: Explanation) -> str:
        """How the order stands, in a sentence."""
        text = words(self.lang)["standing"][explanation.standing.value]
        paid = amount_of(explanation.payable, explanation.fee_type)
        amounts: dict[str, Value] = {"amount": paid, "expected": explanation.expected}
        return self._filled(text, amounts)

    def phrase(self, part: str, phrase: Phrase) -> str:
        """A sentence of one of the parts ``proven``, ``unproven``, ``against`` and ``source``."""
        return self._filled(words(self.lang)[part][phrase.name], phrase.values)

    def step(self, step: NextStep) -> tuple[str, str]:
        """What to do, and why."""
        told = words(self.lang)["next"][step.name]
        return self._filled(told["do"], step.values), self._filled(told["why"], step.values)

    def what(self, told: Statement) -> str:
        """What was told."""
        return self._filled(words(self.lang)["told"][told.what], told.values)

    def told(self, told: Statement) -> str:
        """Who told it, and what."""
        who = words(self.lang)["witness"][told.witness.value]
        return self.frame("said", who=who, what=self.what(told))

    def moment(self, at: datetime | None) -> str:
        """A moment in GMT+8, as the gateway's own times are."""
        if at is None:
            return self.frame("no-moment")
        return at.astimezone(GMT8).strftime("%Y-%m-%d %H:%M:%S")

    def amount(self, amount: Value) -> str:
        """An amount in yuan or with its currency, or that it is not known."""
        frame: Mapping[str, str] = words(self.lang)["frame"]
        if isinstance(amount, ForeignAmount):
            return frame["foreign"].format(amount=amount.number, fee_type=amount.fee_type)
        if not isinstance(amount, int):
            return frame["no-amount"]
        return frame["yuan"].format(amount=Fen(amount).yuan)

    def _filled(self, text: str, values: Mapping[str, Value]) -> str:
        return text.format_map({name: self._value(name, each) for name, each in values.items()})

    def _value(self, name: str, value: Value) -> str:
        if name in _AMOUNTS:
            return self.amount(value)
        if name in _WITNESSES:
            return str(words(self.lang)["witness"].get(value, value))
        return self.shown(str(value)) if name in _SENTENCES else str(value)


def lines_of(
    explanation: Explanation, lang: Language = "en", shown: Callable[[str], str] = as_is
) -> Iterator[str]:
    """The explanation as lines of text; an empty one stands between its parts."""
    teller = Teller(lang, shown)
    number = explanation.out_trade_no
    yield teller.frame("title", number=number, mch_id=explanation.mch_id)
    yield teller.frame("said", who=explanation.standing.value, what=teller.standing(explanation))
    for part in ("against", "proven", "unproven"):
        found = [teller.phrase(part, each) for each in getattr(explanation, part)]
        yield from _part(teller, part, [f"- {each}" for each in found])
    yield from _part(teller, "next", [*_steps(explanation, teller)])
    yield from _part(teller, "timeline", [*_timeline(explanation, teller)])
    sources = [f"- {teller.phrase('source', each)}" for each in explanation.sources]
    yield from _part(teller, "source", sources)


def _part(teller: Teller, name: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield teller.frame(name)
        yield from lines


def _steps(explanation: Explanation, teller: Teller) -> Iterator[str]:
    for number, step in enumerate(explanation.next, 1):
        do, why = teller.step(step)
        yield f"{number}. {do}"
        yield f"   {teller.frame('why', why=why, rule=step.rule)}"


def _timeline(explanation: Explanation, teller: Teller) -> Iterator[str]:
    for each in explanation.timeline:
        yield f"{teller.moment(each.at)}  {teller.told(each)}"


def members_of_explanation(explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON has it: amounts in fen, moments in ISO 8601 at GMT+8, in English."""
    teller = Teller()
    return {
        "mch_id": explanation.mch_id,
        "out_trade_no": explanation.out_trade_no,
        "asked_at": _iso(explanation.now),
        "status": explanation.standing.value,
        "says": teller.standing(explanation),
        "settled": explanation.is_settled,
        "agrees": explanation.agrees,
        "expected": explanation.expected,
        "payable": explanation.payable,
        "fee_type": None if explanation.payable is None else explanation.fee_type or "CNY",
        "amount_compared": explanation.amount_compared,
        "returned": explanation.returned,
        "refunds": [_refund(each) for each in explanation.refunds],
        **{
            part: [
                {"name": each.name, "says": teller.phrase(part, each)}
                for each in getattr(explanation, part)
            ]
            for part in ("against", "proven", "unproven")
        },
        "next": teller.step(explanation.next[0])[0],
        "steps": [_step(each, teller) for each in explanation.next],
        "timeline": [_moment(each, teller) for each in explanation.timeline],
        "sources": [
            {"name": each.name, "says": teller.phrase("source", each)}
            for each in explanation.sources
        ],
    }


def _refund(refund: RefundSays) -> dict[str, Any]:
    return {
        "out_refund_no": refund.number,
        "status": None if refund.status is None else refund.status.value,
        "base_refund_fee": refund.applied,
        "refund_fee": refund.returned,
        "fee_type": None if refund.applied is None else refund.fee_type or "CNY",
        "refund_time": _iso(refund.at),
    }


def _step(step: NextStep, teller: Teller) -> dict[str, Any]:
    do, why = teller.step(step)
    return {"name": step.name, "rule": step.rule, "needs": step.need.value, "do": do, "why": why}


def _moment(told: Statement, teller: Teller) -> dict[str, Any]:
    return {
        "at": _iso(told.at),
        "witness": told.witness.value,
        "what": told.what,
        "status": told.status or None,
        "says": teller.what(told),
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(GMT8).isoformat(timespec="seconds")
