"""The search for mistakes: one mistake, then two common ones, until the received sign comes out.

How a sign is made is a :class:`TextRecipe` (from fields to the string to sign) and a
:class:`SignRecipe` (from that string to the sign). A mistake varies one part of one recipe, so two
mistakes are two variations, and no pair of mistakes needs code of its own.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Any, TypeVar

import attrs

from chaoying_async.sansio.credentials import SignAlgorithm, SortOrder
from chaoying_async.sansio.doctor.field_mistakes import FieldsWay
from chaoying_async.sansio.doctor.findings import Mistake
from chaoying_async.sansio.doctor.key_mistakes import (
    ALGORITHMS,
    DIGESTS,
    ENCODINGS,
    JOINS,
    SHAPES,
    DigestWay,
    EncodeWay,
    JoinWay,
    KeyWay,
    ShapeWay,
    rule_join,
    rule_shape,
)
from chaoying_async.sansio.doctor.lenient_reader import Message, Pairs
from chaoying_async.sansio.doctor.text_mistakes import (
    ORDERS,
    SELECTS,
    TEXTS,
    OrderWay,
    SelectWay,
    TextWay,
    rule_order,
    rule_select,
    rule_text,
)

P = TypeVar("P", "TextRecipe", "SignRecipe")

#: Characters that the search for two mistakes may hash: 5 to 30 ms for a usual message.
BUDGET = 2_000_000


@attrs.frozen
class TextRecipe:
    """From fields to the string to sign."""

    pairs: Pairs
    order: OrderWay
    select: SelectWay = rule_select
    text: TextWay = rule_text


@attrs.frozen(repr=False)
class SignRecipe:
    """From the string to the sign."""

    key: bytes
    digest: DigestWay
    join: JoinWay = rule_join
    encode: EncodeWay = str.encode
    shape: ShapeWay = rule_shape

    def __repr__(self) -> str:
        return "SignRecipe(key=***)"


@attrs.frozen
class Variation:
    """A mistake, the part that it varies, and how it does so."""

    mistake: Mistake[Any]
    part: str
    vary: Callable[[Any], Iterable[Any]]


@attrs.frozen
class Tried:
    """A line or a seal with the steps that led to it, and the line's text."""

    steps: tuple[Variation, ...]
    plan: Any
    text: str = ""


@attrs.frozen
class Match:
    """What leads to the sign: at most two steps, and who else would have got there."""

    steps: tuple[Variation, ...]
    also: tuple[str, ...]
    line: Tried


@attrs.frozen(kw_only=True, repr=False)
class Evidence:
    """Everything that is known; ``received`` is the sign to be explained."""

    message: Message
    key: bytes
    algorithm: SignAlgorithm
    order: SortOrder
    received: str
    told: bool
    fields: tuple[Mistake[FieldsWay], ...]
    keys: tuple[Mistake[KeyWay], ...]

    def __repr__(self) -> str:
        return "Evidence(key=***)"

    def rule(self) -> Tried:
        """The line as the document has it."""
        line = TextRecipe(self.message.pairs, rule_order(self.order))
        return Tried((), line, render(self.message, line))


def explain_sign(case: Evidence) -> Match | None:
    """The shortest explanation; none needed is one without steps."""
    line, seal = case.rule(), SignRecipe(case.key, DIGESTS[case.algorithm])
    if _fits(case, line.text, seal):
        return Match((), (), line)
    lines = [*_lines(case, line)]
    seals = [*_seals(case, seal)]
    alone = [Match(tried.steps, (), tried) for tried in lines if _fits(case, tried.text, seal)]
    alone += [Match(tried.steps, (), line) for tried in seals if _fits(case, line.text, tried.plan)]
    if alone:
        return _most_likely(alone)
    return _two(case, line, lines, seals)


def _most_likely(matches: list[Match]) -> Match:
    best = next((match for match in matches if match.steps[0].mistake.accepted), matches[0])
    names = dict.fromkeys(match.steps[0].mistake.name for match in matches)
    names.pop(best.steps[0].mistake.name)
    return attrs.evolve(best, also=tuple(names))


def _two(case: Evidence, rule: Tried, lines: list[Tried], seals: list[Tried]) -> Match | None:
    seal = SignRecipe(case.key, DIGESTS[case.algorithm])
    left = BUDGET
    for line, sealed in _pairs(case, rule, lines, seals, seal):
        left -= len(line.text) + 100
        if left < 0:
            return None
        if _fits(case, line.text, sealed.plan):
            return Match((*line.steps, *sealed.steps), (), line)
    return None


def _pairs(
    case: Evidence, rule: Tried, lines: list[Tried], seals: list[Tried], seal: SignRecipe
) -> Iterator[tuple[Tried, Tried]]:
    common_lines, common_seals = _common(lines), _common(seals)
    for line in common_lines:
        for sealed in common_seals:
            yield line, sealed
    for line in _line_pairs(case, common_lines, {rule.text, *(tried.text for tried in lines)}):
        yield line, Tried((), seal)
    for one, two in combinations(common_seals, 2):
        if one.steps[0].part != two.steps[0].part:
            yield rule, Tried((*one.steps, *two.steps), _both(one, two))


def _common(tried: list[Tried]) -> list[Tried]:
    found = [one for one in tried if one.steps[0].mistake.common]
    return sorted(found, key=lambda one: not one.steps[0].mistake.accepted)


def _both(one: Tried, two: Tried) -> SignRecipe:
    part = one.steps[0].part
    both: SignRecipe = attrs.evolve(two.plan, **{part: getattr(one.plan, part)})
    return both


def _line_pairs(case: Evidence, common: list[Tried], seen: set[str]) -> Iterator[Tried]:
    # The later row is made first: values are quoted last, whatever else happens to them.
    steps = dict.fromkeys(tried.steps[0] for tried in common)
    for later in common:
        for earlier in steps:
            if earlier is later.steps[0]:
                break
            if earlier.part == later.steps[0].part != "pairs":
                continue
            for line in earlier.vary(later.plan):
                text = render(case.message, line)
                if text not in seen:
                    seen.add(text)
                    yield Tried((earlier, *later.steps), line, text)


def _lines(case: Evidence, rule: Tried) -> Iterator[Tried]:
    for step in _line_steps(case):
        seen = {rule.text}
        for line in step.vary(rule.plan):
            text = render(case.message, line)
            if text not in seen:
                seen.add(text)
                yield Tried((step,), line, text)


def _seals(case: Evidence, rule: SignRecipe) -> Iterator[Tried]:
    for step in _seal_steps(case):
        for seal in step.vary(rule):
            yield Tried((step,), seal)


def _line_steps(case: Evidence) -> Iterator[Variation]:
    for mistake in case.fields:
        if mistake.when_told in {None, case.told}:
            yield Variation(mistake, "pairs", _fields_varied(case.message, mistake))
    for part, table in (("select", SELECTS), ("order", ORDERS), ("text", TEXTS)):
        yield from _replacing(part, table)


def _seal_steps(case: Evidence) -> Iterator[Variation]:
    for mistake in case.keys:
        yield Variation(mistake, "key", _key_varied(mistake))
    for part, table in (
        ("digest", ALGORITHMS),
        ("join", JOINS),
        ("encode", ENCODINGS),
        ("shape", SHAPES),
    ):
        yield from _replacing(part, table)


def _replacing(part: str, table: Iterable[Mistake[Any]]) -> Iterator[Variation]:
    def varied(mistake: Mistake[Any]) -> Callable[[P], Iterator[P]]:
        return lambda plan: (attrs.evolve(plan, **{part: way}) for way in mistake.ways)

    return (Variation(mistake, part, varied(mistake)) for mistake in table)


def _fields_varied(
    message: Message, mistake: Mistake[FieldsWay]
) -> Callable[[TextRecipe], Iterator[TextRecipe]]:
    def vary(line: TextRecipe) -> Iterator[TextRecipe]:
        as_changed = attrs.evolve(message, pairs=line.pairs)
        for way in mistake.ways:
            for pairs in way(as_changed):
                if pairs != line.pairs:
                    yield attrs.evolve(line, pairs=pairs)

    return vary


def _key_varied(mistake: Mistake[KeyWay]) -> Callable[[SignRecipe], Iterator[SignRecipe]]:
    def vary(seal: SignRecipe) -> Iterator[SignRecipe]:
        for way in mistake.ways:
            for key in way(seal.key):
                if key and key != seal.key:
                    yield attrs.evolve(seal, key=key)

    return vary


def render(message: Message, line: TextRecipe) -> str:
    """The string to sign, without the key."""
    return line.text(message, line.order(line.select(line.pairs)))


def _fits(case: Evidence, text: str, seal: SignRecipe) -> bool:
    try:
        data = seal.encode(text)
    except UnicodeError:  # half a surrogate pair: nobody signed that
        return False
    joined, key = seal.join(data, seal.key), seal.key
    digest = seal.digest(joined, data, key)
    signs = seal.shape(digest, lambda again: seal.digest(again, again, key), case.received)
    return any(_same(case.received, sign) for sign in signs)


def _same(received: str, sign: str) -> bool:
    data = sign.encode()
    return hmac.compare_digest(received.encode(errors="replace"), data) or hmac.compare_digest(
        received.upper().encode(errors="replace"), data
    )
