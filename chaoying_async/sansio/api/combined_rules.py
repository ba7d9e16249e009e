"""What the fields of a request must look like together.

A rule is called with a request and answers with field names and what is wrong with each; no rule
repeats a value. The rules are values, so that the description of a call can show them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from chaoying_async.sansio.api.field_rules import is_absent

#: A rule over several fields of a request: answers with field names, and what is wrong with each.
Problems = Callable[[Any], Mapping[str, str]]


@attrs.frozen
class AtLeastOne:
    """At least one of these numbers is needed (C 54)."""

    names: tuple[str, ...]

    def __call__(self, request: Any) -> Mapping[str, str]:
        if any(getattr(request, name) for name in self.names):
            return {}
        return dict.fromkeys(self.names, f"one of {' and '.join(self.names)} is required")


@attrs.frozen
class AtMostOne:
    """These fields are alternatives: only one of them may be given (C 74)."""

    names: tuple[str, ...]

    def __call__(self, request: Any) -> Mapping[str, str]:
        given = [name for name in self.names if getattr(request, name)]
        if len(given) <= 1:
            return {}
        return dict.fromkeys(given, f"only one of {' and '.join(self.names)} may be given")


@attrs.frozen
class CompletePair:
    """At least one of these pairs is needed, and no pair may be given by half (C 79)."""

    pairs: tuple[tuple[str, str], ...]

    def __call__(self, request: Any) -> Mapping[str, str]:
        problems: dict[str, str] = {}
        complete = 0
        for pair in self.pairs:
            missing = [name for name in pair if not getattr(request, name)]
            complete += not missing
            if len(missing) == 1:
                problems[missing[0]] = f"is required: {' and '.join(pair)} belong together"
        if not problems and not complete:
            either = " or ".join(" and ".join(pair) for pair in self.pairs)
            names = (name for pair in self.pairs for name in pair)
            problems = dict.fromkeys(names, f"give {either}")
        return problems


@attrs.frozen
class BothOrNone:
    """These two fields only take effect together (C 68)."""

    first: str
    second: str

    def __call__(self, request: Any) -> Mapping[str, str]:
        missing = [name for name in (self.first, self.second) if not getattr(request, name)]
        if len(missing) != 1:
            return {}
        return {missing[0]: f"{self.first} and {self.second} only take effect together"}


@attrs.frozen
class InOrder:
    """``later`` must be after ``earlier``, where both are given and can be compared."""

    earlier: str
    later: str

    def __call__(self, request: Any) -> Mapping[str, str]:
        low, high = getattr(request, self.earlier), getattr(request, self.later)
        try:
            wrong = not is_absent(low) and not is_absent(high) and low >= high
        except TypeError:  # another rule already refused one of them
            return {}
        return {self.later: f"must be after {self.earlier}"} if wrong else {}


@attrs.frozen
class NotAbove:
    """An amount that is part of another one must not be more than that (C 44)."""

    part: str
    whole: str

    def __call__(self, request: Any) -> Mapping[str, str]:
        try:
            wrong = getattr(request, self.part) > getattr(request, self.whole)
        except TypeError:
            return {}
        return {self.part: f"must not be more than {self.whole}"} if wrong else {}


@attrs.frozen
class NeededWhen:
    """At least one of ``names`` is needed when ``field`` has one of ``values``."""

    field: str
    values: tuple[str, ...]
    names: tuple[str, ...]

    def __call__(self, request: Any) -> Mapping[str, str]:
        condition = getattr(request, self.field)
        if condition not in self.values or any(getattr(request, name) for name in self.names):
            return {}
        rule = f"is required when {self.field} is {condition}"
        if len(self.names) > 1:
            either = " and ".join(self.names)
            rule = f"one of {either} is required when {self.field} is {condition}"
        return dict.fromkeys(self.names, rule)


@attrs.frozen
class ShouldListAtMost:
    """Advice: so many texts, separated by semicolons, are all that can take effect (C 76)."""

    name: str
    most: int
    why: str

    def __call__(self, request: Any) -> Mapping[str, str]:
        value = getattr(request, self.name)
        listed = {*value.split(";")} if isinstance(value, str) else set()
        return {self.name: self.why} if len(listed) > self.most else {}


@attrs.frozen
class ShouldBeShort:
    """Advice: this text should be no longer than that, which matters only sometimes (C 70)."""

    name: str
    length: int
    why: str

    def __call__(self, request: Any) -> Mapping[str, str]:
        value = getattr(request, self.name)
        return {self.name: self.why} if isinstance(value, str) and len(value) > self.length else {}
