"""Rules over several fields of a request, as small functions that ``api/`` composes.

Each takes a request and answers with what is wrong, by field name; none repeats a value.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from chaoying_async.sansio.api.field_rules import Problems


def at_least_one(*names: str) -> Problems:
    """One of several numbers is needed (C 54)."""

    def check(request: Any) -> dict[str, str]:
        if any(getattr(request, name) for name in names):
            return {}
        return dict.fromkeys(names, f"one of {' and '.join(names)} is required")

    return check


def at_most_one(*names: str) -> Problems:
    """Alternatives that exclude each other (C 74)."""

    def check(request: Any) -> dict[str, str]:
        given = [name for name in names if getattr(request, name)]
        if len(given) <= 1:
            return {}
        return dict.fromkeys(given, f"only one of {' and '.join(names)} may be given")

    return check


def complete_pair(*pairs: tuple[str, str]) -> Problems:
    """At least one of several pairs, and none by half (C 79)."""

    def check(request: Any) -> dict[str, str]:
        problems: dict[str, str] = {}
        complete = 0
        for pair in pairs:
            missing = [name for name in pair if not getattr(request, name)]
            complete += not missing
            if len(missing) == 1:
                problems[missing[0]] = f"is required: {' and '.join(pair)} belong together"
        if not problems and not complete:
            either = " or ".join(" and ".join(pair) for pair in pairs)
            problems = dict.fromkeys((name for pair in pairs for name in pair), f"give {either}")
        return problems

    return check


def both_or_none(first: str, second: str) -> Problems:
    """Two fields that only take effect together (C 68)."""

    def check(request: Any) -> dict[str, str]:
        missing = [name for name in (first, second) if not getattr(request, name)]
        if len(missing) != 1:
            return {}
        return {missing[0]: f"{first} and {second} only take effect together"}

    return check


def in_order(earlier: str, later: str) -> Problems:
    """``later`` is greater than ``earlier`` where both are given and comparable."""

    def check(request: Any) -> dict[str, str]:
        low, high = getattr(request, earlier), getattr(request, later)
        try:
            wrong = low is not None and high is not None and low >= high
        except TypeError:  # another rule already refused one of them
            return {}
        return {later: f"must be after {earlier}"} if wrong else {}

    return check


def not_above(part: str, whole: str) -> Problems:
    """An amount that is part of another one (C 44)."""

    def check(request: Any) -> dict[str, str]:
        try:
            wrong = getattr(request, part) > getattr(request, whole)
        except TypeError:
            return {}
        return {part: f"must not be more than {whole}"} if wrong else {}

    return check


def needed_when(field: str, values: Collection[str], *names: str) -> Problems:
    """At least one of ``names`` is needed when ``field`` has one of ``values``."""

    def check(request: Any) -> dict[str, str]:
        condition = getattr(request, field)
        if condition not in values or any(getattr(request, name) for name in names):
            return {}
        which = f"one of {' and '.join(names)} is" if len(names) > 1 else "is"
        return dict.fromkeys(names, f"{which} required when {field} is {condition}")

    return check


def should_be_short(name: str, length: int, why: str) -> Problems:
    """Advice about a length that only sometimes applies (C 70)."""

    def check(request: Any) -> dict[str, str]:
        value = getattr(request, name)
        return {name: why} if isinstance(value, str) and len(value) > length else {}

    return check
