"""Finds the sentence that a text was made of: ``{}`` stands for each of its values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs

#: A longer text, or one of more parts, is no message of ours but what somebody sent.
_LONGEST, _MOST_PARTS = 4_000, 40
#: What joins the sentences of a message, and what stands between a sentence and what it is about.
_JOINT, _LABEL = "; ", ": "
#: A sentence with fewer characters of its own has values of one word only: more may be anything.
_SHORT = 7
_HOLE = re.compile(r"\{(\d*)\}")
_PRIVATE = range(0xE000, 0xF900)


@attrs.frozen
class _Sentence:
    """An English sentence with values in it, cut at them, and the Chinese one."""

    head: str
    middle: tuple[str, ...]
    tail: str
    chinese: str
    weight: int
    """How many of its characters are its own."""

    @classmethod
    def made(cls, english: str, chinese: str) -> _Sentence:
        head, *middle, tail = english.split("{}")
        return cls(head, tuple(middle), tail, chinese, len(english.replace("{}", "")))

    def values(self, text: str) -> list[str] | None:
        """What stands for the values, if the text was made of this sentence."""
        at, end = len(self.head), len(text) - len(self.tail)
        if at > end or not (text.startswith(self.head) and text.endswith(self.tail)):
            return None
        found = []
        for part in self.middle:
            here = text.find(part, at, end)
            if here < 0:
                return None
            found.append(text[at:here])
            at = here + len(part)
        found.append(text[at:end])
        return None if self.weight < _SHORT and any(" " in value for value in found) else found


class Sentences:
    """English sentences and their Chinese; ``{}`` in one is a value, ``{0}`` the first of them."""

    def __init__(self, chinese: Mapping[str, str]) -> None:
        self.table = chinese
        holed = (_Sentence.made(en, zh) for en, zh in chinese.items() if "{}" in en)
        #: The one that says most comes first: others may fit the same text with longer values.
        self._holed = sorted(holed, key=lambda each: -each.weight)
        #: So many joints has a sentence at most.
        self._most_joints = max(map(_joints, chinese), default=0)

    def told(self, text: str, quoted: str = "") -> str:
        """The text in Chinese; parts that nobody translated, and what is quoted, stay as they are.

        A quotation may read like a sentence of ours, or hold what joins ours. So one sign, which
        nobody else uses, stands for it meanwhile: a value of one word.
        """
        if " " not in quoted or (sign := _unused(text)) is None:  # one word stays by itself
            return self._told(text)
        return self._told(text.replace(quoted, sign)).replace(sign, quoted)

    def _told(self, text: str) -> str:
        if not text or len(text) > _LONGEST or _joints(text) + text.count(_LABEL) > _MOST_PARTS:
            return text
        if (exact := self.table.get(text.strip())) is not None:
            return exact
        return "；".join(self._sentences(text.split(_JOINT)))

    def _sentences(self, parts: list[str]) -> Iterator[str]:
        """The parts in Chinese, as few as they can be; what is unknown keeps the English joint."""
        unknown: list[str] = []
        while parts:
            for number in range(min(self._most_joints + 1, len(parts)), 0, -1):
                if known := self._sentence(_JOINT.join(parts[:number])):
                    if unknown:
                        yield _JOINT.join(unknown)
                    yield known
                    unknown, parts = [], parts[number:]
                    break
            else:
                unknown.append(parts[0])
                parts = parts[1:]
        if unknown:
            yield _JOINT.join(unknown)

    def _sentence(self, text: str) -> str | None:
        """One sentence, or one behind the name of what it is about; None where it is not known."""
        if " " not in text:  # one word may be somebody's order number
            return None
        if whole := self._whole(text):
            return whole
        for head, tail in _cuts(text):
            known = [self._whole(part) if " " in part else None for part in (head, tail)]
            if any(known):
                return _LABEL.join((known[0] or self._part(head), known[1] or self._part(tail)))
        return None

    def _whole(self, text: str) -> str | None:
        if (exact := self.table.get(text)) is not None:
            return exact
        for sentence in self._holed:
            if (values := sentence.values(text)) is not None:
                return filled(sentence.chinese, list(map(self._part, values)))
        return None

    def _part(self, text: str) -> str:
        """What was filled in, or stands before a label, maybe with blanks around it."""
        inner = text.strip()
        told = self._told(inner) if " " in inner else inner
        return text if told == inner else told


def _unused(text: str) -> str | None:
    """A character of those that Unicode leaves to programs, and that does not stand in the text."""
    return next((sign for sign in map(chr, _PRIVATE) if sign not in text), None)


def _joints(text: str) -> int:
    return text.count(_JOINT)


def _cuts(text: str) -> Iterator[tuple[str, str]]:
    at = text.find(_LABEL)
    while at >= 0:
        yield text[:at], text[at + len(_LABEL) :]
        at = text.find(_LABEL, at + 1)


def filled(chinese: str, values: list[str]) -> str:
    """A Chinese sentence with its values in it."""
    following = iter(range(len(values)))
    return _HOLE.sub(lambda hole: values[int(hole[1] or next(following))], chinese)
