"""A verdict in words, English or Chinese: the texts are in ``english.toml`` and ``chinese.toml``.

These two are the only files that anything in ``sansio`` reads. They are part of the package, as its
code is, and are read once, when the first words of a language are asked for.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, Literal

from chaoying_async.sansio.doctor.findings import Finding, Verdict

Language = Literal["en", "zh"]

_FILES: Mapping[Language, str] = {"en": "english.toml", "zh": "chinese.toml"}


@functools.cache
def words(lang: Language) -> Mapping[str, Any]:
    """The texts of a language: ``frame`` by name, and ``mistakes`` by the names of ``KINDS``."""
    file = files("chaoying_async.sansio.doctor").joinpath(_FILES[lang])
    return tomllib.loads(file.read_text("utf-8"))


def describe(mistake: str, lang: Language = "en") -> tuple[str, str]:
    """What happened and what to do, for one of ``KINDS``."""
    told = words(lang)["mistakes"][mistake]
    return told["happened"], told["to_do"]


def explain(verdict: Verdict, lang: Language = "en") -> str:
    """The verdict as lines of text: each finding, and the string to sign without the key."""
    return "\n".join(_lines(verdict, lang))


def _lines(verdict: Verdict, lang: Language) -> Iterator[str]:
    frame = words(lang)["frame"]
    yield frame["right" if verdict.right else "unexplained" if verdict.unexplained else "wrong"]
    for finding in verdict.findings:
        yield from _finding(finding, lang)
    if verdict.unexplained:
        yield frame["key"].format(length=verdict.key_length, print=verdict.key_fingerprint)
    yield frame["rule"].format(algorithm=verdict.algorithm, order=verdict.order)
    yield frame["canonical"].format(text=verdict.canonical)
    if verdict.signed not in {None, verdict.canonical}:
        yield frame["signed"].format(text=verdict.signed)


def _finding(finding: Finding, lang: Language) -> Iterator[str]:
    frame = words(lang)["frame"]
    happened, to_do = describe(finding.mistake, lang)
    kind = frame["warning" if finding.accepted else "mistake"]
    yield f"{kind} [{finding.mistake}] {happened}"
    if finding.fields:
        yield frame["fields"].format(names=", ".join(finding.fields))
    yield frame["side"].format(side=frame[finding.side.value])
    yield frame["to_do"].format(text=to_do)
    if finding.also:
        yield frame["also"].format(names=", ".join(finding.also))
