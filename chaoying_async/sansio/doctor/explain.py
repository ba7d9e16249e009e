"""A verdict in words, English or Chinese."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from chaoying_async.sansio.doctor.chinese import CHINESE, CHINESE_FRAME
from chaoying_async.sansio.doctor.english import ENGLISH, ENGLISH_FRAME
from chaoying_async.sansio.doctor.findings import Finding, Verdict

Language = Literal["en", "zh"]

_WORDS: Mapping[Language, tuple[Mapping[str, tuple[str, str]], Mapping[str, str]]] = {
    "en": (ENGLISH, ENGLISH_FRAME),
    "zh": (CHINESE, CHINESE_FRAME),
}


def describe(mistake: str, lang: Language = "en") -> tuple[str, str]:
    """What happened and what to do, for one of ``KINDS``."""
    return _WORDS[lang][0][mistake]


def explain(verdict: Verdict, lang: Language = "en") -> str:
    """The verdict as lines of text: each finding, and the string to sign without the key."""
    return "\n".join(_lines(verdict, *_WORDS[lang]))


def _lines(
    verdict: Verdict, kinds: Mapping[str, tuple[str, str]], frame: Mapping[str, str]
) -> Iterator[str]:
    yield frame["right" if verdict.right else "unexplained" if verdict.unexplained else "wrong"]
    for finding in verdict.findings:
        yield from _finding(finding, kinds, frame)
    if verdict.unexplained:
        yield frame["key"].format(length=verdict.key_length, print=verdict.key_fingerprint)
    yield frame["rule"].format(algorithm=verdict.algorithm, order=verdict.order)
    yield frame["canonical"].format(text=verdict.canonical)
    if verdict.signed not in {None, verdict.canonical}:
        yield frame["signed"].format(text=verdict.signed)


def _finding(
    finding: Finding, kinds: Mapping[str, tuple[str, str]], frame: Mapping[str, str]
) -> Iterator[str]:
    happened, to_do = kinds[finding.mistake]
    kind = frame["warning" if finding.accepted else "mistake"]
    yield f"{kind} [{finding.mistake}] {happened}"
    if finding.fields:
        yield frame["fields"].format(names=", ".join(finding.fields))
    yield frame["side"].format(side=frame[finding.side.value])
    yield frame["to_do"].format(text=to_do)
    if finding.also:
        yield frame["also"].format(names=", ".join(finding.also))
