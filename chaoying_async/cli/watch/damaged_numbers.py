"""Recognises numbers that a spreadsheet or a program has damaged, and says what to do.

An order number is a text. A program that reads it as a number drops digits, and the rest is the
number of no order, or of another one. Lost leading zeros leave no trace: only "not found" shows
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_EXPORT = (
    "format the column as text (文本) before the numbers come in, and save as CSV UTF-8 (逗号分隔)"
)
_UNSEEN = (
    "it holds a character that cannot be seen (a file in UTF-16 is full of them): save it as UTF-8"
)
_DATE = f"a spreadsheet has made a date of it: {_EXPORT}"

#: What a damaged number looks like, and what happened to it; the first row that fits wins.
_DAMAGES: tuple[tuple[Callable[[str], object], str], ...] = (
    (
        re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028\u2029\u2060\ufeff]").search,
        _UNSEEN,
    ),
    (
        re.compile(
            r"[+-]?[0-9]+([.,][0-9]*)?[eE][+-][0-9]+|[+-]?[0-9]+[.,][0-9]*[eE][0-9]+"
        ).fullmatch,
        f"a spreadsheet has made a number of it, and its other digits are lost: {_EXPORT}",
    ),
    (
        re.compile(r"#+").fullmatch,
        f"its column was too narrow when a spreadsheet showed it: {_EXPORT}",
    ),
    (
        re.compile(r"#[A-Za-z0-9/_]+[?!]?").fullmatch,
        "it is a spreadsheet's error in the place of a number: mend the formula",
    ),
    (
        re.compile(
            r"[0-9]{1,4}[/年][0-9]{1,2}.*|[0-9]{1,2}月[0-9]{1,2}日.*"
            r"|[0-9]{1,4}\.[0-9]{1,2}\.[0-9]{1,4}( .*)?"
            r"|[0-9]{1,4}-[0-9]{1,2}-[0-9]{1,4}[ T][0-9]+:.*"
            r"|[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?( ?[AaPp][Mm])?"
        ).fullmatch,
        _DATE,
    ),
    (
        re.compile(r"[A-Za-z0-9_-]+[=:].*").fullmatch,
        "something stands behind it: in a file the amount is a column of its own (NUMBER,12.30)",
    ),
    (
        re.compile(r"[+-]?[0-9]+\.[0-9]*").fullmatch,
        f"it was read as a number, and written with a decimal point: {_EXPORT}",
    ),
    (
        re.compile(r"['‘’=].*").fullmatch,
        "a spreadsheet's mark for a text is left in it: write the number alone",
    ),
    (
        re.compile(r"[0-9]{1,3}([,，. \u00a0\u202f'’][0-9]{3})+").fullmatch,
        f"it has separators of thousands: {_EXPORT}",
    ),
    (
        re.compile(r".*[０-９Ａ-Ｚａ-ｚ].*").fullmatch,
        "it has full-width characters: an order number has plain ones (0-9, A-Z)",
    ),
    (
        re.compile(r".*[^\x00-\x7f].*").fullmatch,
        "an order number has plain letters and digits",
    ),
)

#: How many digits of a number a spreadsheet keeps; it writes zeros for the rest.
_KEPT = 15
_ROUNDED = re.compile(rf"[1-9][0-9]{{{_KEPT - 1}}}0+").fullmatch


def damage(number: str) -> str | None:
    """What happened to a damaged number, and what to do; None: it looks whole."""
    return next((words for fits, words in _DAMAGES if fits(number)), None)


#: Dates with hyphens; a refund's own number may look like one.
_HYPHENED_DATE = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|[0-9]{1,2}-[0-9]{1,2}-[0-9]{4}"
    r"|[0-9]{1,2}-(MONTH)(-[0-9]{2,4})?|(MONTH)-[0-9]{2,4}".replace(
        "MONTH", "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
    ),
    re.IGNORECASE,
).fullmatch
#: The characters that the document allows in our own numbers; of the gateway's it says nothing.
_PLAIN = re.compile(r"[A-Za-z0-9_]+").fullmatch
_HYPHENED = re.compile(r"[A-Za-z0-9_-]+").fullmatch


def impossible(name: str, number: str) -> str | None:
    """Why a number of this name cannot look like this, where :func:`damage` sees nothing."""
    if name != "out_refund_no" and _HYPHENED_DATE(number):
        return _DATE
    if name in ("out_trade_no", "mch_id"):
        return None if _PLAIN(number) else "it has letters, digits and underscores only"
    return None if _HYPHENED(number) else "it has letters, digits, underscores and hyphens only"


def looks_rounded(number: str) -> bool:
    """Whether all digits after the 15th are zero: the number may be whole, but rarely is."""
    return _ROUNDED(number) is not None
