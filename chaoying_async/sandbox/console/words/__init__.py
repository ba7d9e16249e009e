"""The words on the pages, in the visitor's language: ``english.toml`` and ``chinese.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Literal

from chaoying_async.sandbox.bank.scenarios import REFUND_SCENARIOS, SCENARIOS
from chaoying_async.sandbox.serving.events import EVENTS

Language = Literal["en", "zh"]


def _read(language: str) -> dict[str, str]:
    words = files("chaoying_async.sandbox.console.words").joinpath(f"{language}.toml")
    return tomllib.loads(words.read_text("utf-8"))


TEXTS: Mapping[Language, Mapping[str, str]] = {
    "en": _read("english")
    | {f"event.{name}": event.says for name, event in EVENTS.items()}
    | {f"scenario.{number}": scenario.says for number, scenario in SCENARIOS.items()}
    | {f"refund.{number}": scenario.says for number, scenario in REFUND_SCENARIOS.items()},
    "zh": _read("chinese"),
}
_BY_TAG: Mapping[str, Language] = {language: language for language in TEXTS}
#: The ``lang`` attribute of a page in each language.
TAGS: Mapping[Language, str] = {"en": "en", "zh": "zh-CN"}

#: How many languages, and how many letters of each, are looked at: browsers send a handful.
_MOST_TAGS, _LONGEST_TAG = 20, 50
_NUMBER = re.compile(r"[01](?:\.[0-9]{0,3})?").fullmatch
#: The notes of the ledger that hold numbers.
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
        """A note of the ledger in this language; the note itself if nobody translated it."""
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
    """The weight in ``q=0.8``; 0 if it cannot be read."""
    name, _, number = parameter.partition("=")
    if not parameter.strip():
        return 1.0
    return float(number) if name.strip() == "q" and _NUMBER(number.strip()) else 0.0
