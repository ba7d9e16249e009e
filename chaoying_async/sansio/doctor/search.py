"""The search for mistakes: one mistake, then two common ones, until the received sign comes out.

How a sign is made is a :class:`TextRecipe` (from fields to the string to sign) and a
:class:`SignRecipe` (from that string to the sign). A mistake varies one part of one recipe, so two
mistakes are two variations, and no pair of mistakes needs code of its own.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
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
from chaoying_async.sansio.doctor.lenient_reader import Pairs, SignedText
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
    """A mistake, and the part of a recipe that it varies."""

    mistake: Mistake[Any]
    part: str


@attrs.frozen
class Tried:
    """A recipe, the variations that led to it, and the string to sign if it is a text recipe."""

    steps: tuple[Variation, ...]
    plan: Any
    text: str = ""


@attrs.frozen
class Match:
    """What leads to the sign: at most two variations, and other mistakes that lead to it too."""

    steps: tuple[Variation, ...]
    also: tuple[str, ...]
    line: Tried


@attrs.frozen(kw_only=True, repr=False)
class Evidence:
    """Everything that is known about a message; ``received`` is the sign to be explained."""

    message: SignedText
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
        """The text recipe as the document has it."""
        line = TextRecipe(self.message.pairs, rule_order(self.order))
        return Tried((), line, render(self.message, line))


def explain_sign(case: Evidence) -> Match | None:
    """The shortest explanation; a sign that is right has one without variations."""
    line, seal = case.rule(), SignRecipe(case.key, DIGESTS[case.algorithm])
    if _fits(case, line.text, seal):
        return Match((), (), line)
    lines = [*_lines(case, line)]
    seals = [*_seals(case, seal)]
    alone = [Match(tried.steps, (), tried) for tried in lines if _fits(case, tried.text, seal)]
    alone += [Match(tried.steps, (), line) for tried in seals if _fits(case, line.text, tried.plan)]
    if alone:
        return _most_likely(alone)
    return _two(case, line, lines, seals, seal)


def _most_likely(matches: list[Match]) -> Match:
    best = next((match for match in matches if match.steps[0].mistake.accepted), matches[0])
    names = dict.fromkeys(match.steps[0].mistake.name for match in matches)
    names.pop(best.steps[0].mistake.name)
    return attrs.evolve(best, also=tuple(names))


def _two(
    case: Evidence, rule: Tried, lines: list[Tried], seals: list[Tried], seal: SignRecipe
) -> Match | None:
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
            for line in _varied(case, earlier, later.plan):
                text = render(case.message, line)
                if text not in seen:
                    seen.add(text)
                    yield Tried((earlier, *later.steps), line, text)


def _lines(case: Evidence, rule: Tried) -> Iterator[Tried]:
    fields = [mistake for mistake in case.fields if mistake.when_told in {None, case.told}]
    tables = (("pairs", fields), ("select", SELECTS), ("order", ORDERS), ("text", TEXTS))
    for step in _variations(*tables):
        seen = {rule.text}
        for line in _varied(case, step, rule.plan):
            text = render(case.message, line)
            if text not in seen:
                seen.add(text)
                yield Tried((step,), line, text)


def _seals(case: Evidence, rule: SignRecipe) -> Iterator[Tried]:
    digests = (("digest", ALGORITHMS), ("join", JOINS))
    tables = (("key", case.keys), *digests, ("encode", ENCODINGS), ("shape", SHAPES))
    for step in _variations(*tables):
        for seal in _varied(case, step, rule):
            yield Tried((step,), seal)


def _variations(*tables: tuple[str, Iterable[Mistake[Any]]]) -> Iterator[Variation]:
    return (Variation(mistake, part) for part, table in tables for mistake in table)


def _varied(case: Evidence, step: Variation, recipe: P) -> Iterator[P]:
    """The recipe with one part as each way of the mistake makes it."""
    ways: Iterable[Any] = step.mistake.ways
    if isinstance(recipe, TextRecipe) and step.part == "pairs":
        message = attrs.evolve(case.message, pairs=recipe.pairs)
        ways = (pairs for way in ways for pairs in way(message) if pairs != recipe.pairs)
    elif isinstance(recipe, SignRecipe) and step.part == "key":
        ways = (key for way in ways for key in way(recipe.key) if key and key != recipe.key)
    return (attrs.evolve(recipe, **{step.part: way}) for way in ways)


def render(message: SignedText, line: TextRecipe) -> str:
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
