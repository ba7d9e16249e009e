"""Makes text from outside fit for one line of a log or an error."""

from __future__ import annotations

import re

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

#: Codes and states of the document have under 20 characters.
LONGEST_CODE = 64
#: Messages are a sentence.
LONGEST_MESSAGE = 300


def one_line(text: str, longest: int = LONGEST_CODE) -> str:
    """The text without line ends, controls and half characters, and no longer than ``longest``."""
    return _UNPRINTABLE.sub(" ", str(text))[:longest]
