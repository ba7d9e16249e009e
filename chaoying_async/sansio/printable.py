"""Makes text from outside fit for one line of a log or an error."""

from __future__ import annotations

import re
import unicodedata

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

#: Unicode's categories of controls, marks of direction, line ends, blanks and half characters.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
#: Letters and a symbol that have a width and no shape: Hangul's fillers, Braille's blank.
_SHAPELESS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_SEEN_ALL_THE_SAME = frozenset(" \u3000\u200c\u200d")

#: Codes and states of the document have under 20 characters.
LONGEST_CODE = 64
#: Messages are a sentence.
LONGEST_MESSAGE = 300


def one_line(text: str, longest: int = LONGEST_CODE) -> str:
    """The text without line ends, controls and half characters, and no longer than ``longest``."""
    return _UNPRINTABLE.sub(" ", str(text))[:longest]


def unclean(text: str) -> str:
    """Which characters a copied setting has that nobody sees, as a rule that it breaks; or "".

    Files made on Windows leave a BOM at the start and a carriage return at the end. Both would be
    signed, and the gateway would know no such agent, merchant or key.
    """
    if "\ufeff" in text:
        return "begins with a byte order mark (BOM), as files of some editors do: remove it"
    if text.strip() != text:
        which = ", a carriage return" if text.endswith(("\r", "\r\n")) else ""
        return f"has blanks or a line end at an end{which}; they are not part of it"
    if not (text.isascii() and text.isprintable()) and any(map(_is_unseen, text)):
        return "holds a character that cannot be printed: type it again"
    return ""


def _is_unseen(character: str) -> bool:
    """Whether nobody sees it. Rare names may be written with characters that Python does not know.

    Joiners stand inside of what is seen, and a wide blank is one that Chinese people type.
    """
    if unicodedata.category(character) in _UNSEEN:
        return character not in _SEEN_ALL_THE_SAME
    return character in _SHAPELESS
