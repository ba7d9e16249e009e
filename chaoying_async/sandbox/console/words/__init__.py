"""The words on the pages, in the visitor's language.

- ``english``: every text in English.
- ``chinese``: every text in Chinese.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from chaoying_async.sandbox.console.words.chinese import CHINESE
from chaoying_async.sandbox.console.words.english import ENGLISH

Language = Literal["en", "zh"]

TEXTS: Mapping[Language, Mapping[str, str]] = {"en": ENGLISH, "zh": CHINESE}
_BY_TAG: Mapping[str, Language] = {language: language for language in TEXTS}
#: What the ``lang`` attribute says of each.
TAGS: Mapping[Language, str] = {"en": "en", "zh": "zh-CN"}

#: So many languages, and so many letters of each, are looked at: browsers send a handful.
_MOST_TAGS, _LONGEST_TAG = 20, 50
_NUMBER = re.compile(r"[01](?:\.[0-9]{0,3})?").fullmatch
#: What the ledger notes of an order, as far as it holds numbers.
_NOTED = (
    ("noted.made", re.compile(r"(?P<call>\w+) (?P<fen>\d+) fen").fullmatch),
    ("noted.refund", re.compile(r"refund of (?P<fen>\d+) fen").fullmatch),
)


class Words:
    """The texts of one language, called by name: ``t("orders.title")``."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self.tag = TAGS[language]
        self._texts = TEXTS[language]

    def __call__(self, name: str, **values: object) -> str:
        """A text with its values filled in; KeyError for one that does not exist."""
        text = self._texts[name]
        return text.format(**values) if values else text

    def noted(self, what: str) -> str:
        """What the ledger noted of an order, in this language; as it is if nobody translated it."""
        if f"noted.{what}" in self._texts:
            return self(f"noted.{what}")
        for name, match in _NOTED:
            if found := match(what):
                values = found.groupdict()
                fen = int(values.pop("fen"))
                return self(name, amount=f"¥{fen // 100}.{fen % 100:02d}", **values)
        return what


def preferred(accept_language: str) -> Language:
    """The first of our languages that a browser asks for; English for anything else."""
    wanted: list[tuple[float, Language]] = []
    for piece in accept_language.split(",", _MOST_TAGS)[:_MOST_TAGS]:
        tag, _, parameter = piece[:_LONGEST_TAG].partition(";")
        language = _BY_TAG.get(tag.strip().partition("-")[0].lower())
        weight = _weight(parameter)
        if language is not None and weight > 0:
            wanted.append((weight, language))
    return max(wanted, key=lambda pair: pair[0])[1] if wanted else "en"


def _weight(parameter: str) -> float:
    """What ``q=0.8`` says; one that cannot be read wants nothing."""
    name, _, number = parameter.partition("=")
    if not parameter.strip():
        return 1.0
    return float(number) if name.strip() == "q" and _NUMBER(number.strip()) else 0.0
