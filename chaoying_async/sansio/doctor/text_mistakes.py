"""Mistakes about the string to sign: which fields stand in it, in which order, joined how."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from urllib.parse import quote

from chaoying_async.sansio.credentials import SortOrder
from chaoying_async.sansio.doctor.field_mistakes import form_quoted, lowered, quote_all
from chaoying_async.sansio.doctor.findings import Mistake, Side
from chaoying_async.sansio.doctor.lenient_reader import Pairs, SignedText

#: Which fields take part.
SelectWay = Callable[[Pairs], Pairs]
#: In which order.
OrderWay = Callable[[Pairs], Iterable[tuple[str, str]]]
#: The string to sign; the message is there for those who sign what was sent.
TextWay = Callable[[SignedText, Iterable[tuple[str, str]]], str]

_SIGN_PIECE = re.compile(r"(?:^|&)sign=[^&]*")


def rule_select(pairs: Pairs) -> Pairs:
    """The rule: no empty value, no ``sign``."""
    return tuple(pair for pair in pairs if pair[1] and pair[0] != "sign")


def rule_text(_message: SignedText, pairs: Iterable[tuple[str, str]]) -> str:
    """The rule: ``a=1&b=2``."""
    return "&".join([f"{name}={value}" for name, value in pairs])


def rule_order(order: SortOrder) -> OrderWay:
    """The rule, in one of its two readings (C 1); names that come twice stay as they came."""
    if order is SortOrder.ASCII:
        return lambda pairs: sorted(pairs, key=lambda pair: pair[0])
    return lambda pairs: sorted(pairs, key=lambda pair: (pair[0].lower(), pair[0]))


def _by(*key: Callable[[str], object]) -> OrderWay:
    def way(pairs: Pairs) -> list[tuple[str, str]]:
        return sorted(pairs, key=lambda pair: [function(pair[0]) for function in key])

    return way


def _underscore_first(name: str) -> str:
    return name.lower().replace("_", "\x01")


def _underscore_ignored(name: str) -> str:
    return name.lower().replace("_", "")


def _sign_placeholder(pairs: Pairs) -> Pairs:
    return (*rule_select(pairs), ("sign", ""))


def _changed(*changes: Callable[[str], str]) -> tuple[TextWay, ...]:
    def way(change: Callable[[str], str]) -> TextWay:
        return lambda message, pairs: change(rule_text(message, pairs))

    return tuple(way(change) for change in changes)


def _pieces(form: str, between: str) -> TextWay:
    return lambda _, pairs: between.join([form.format(name, value) for name, value in pairs])


def _wire(message: SignedText, _pairs: Iterable[tuple[str, str]]) -> str:
    return _SIGN_PIECE.sub("", message.wire).removeprefix("&")


def _json(separators: tuple[str, str], *, ascii_only: bool) -> TextWay:
    return lambda _, pairs: json.dumps(dict(pairs), separators=separators, ensure_ascii=ascii_only)


_SIGNER = Side.SIGNER

SELECTS: tuple[Mistake[SelectWay], ...] = (
    Mistake(
        "empty-kept",
        _SIGNER,
        lambda pairs: tuple(pair for pair in pairs if pair[0] != "sign"),
        common=True,
    ),
    Mistake(
        "sign-included",
        _SIGNER,
        lambda pairs: tuple(pair for pair in pairs if pair[1]),
        lambda pairs: pairs,
        _sign_placeholder,
        common=True,
    ),
)

ORDERS: tuple[Mistake[OrderWay], ...] = (
    Mistake(
        "order-case-ignored", _SIGNER, rule_order(SortOrder.IGNORE_CASE), common=True, accepted=True
    ),
    Mistake("order-ascii", _SIGNER, rule_order(SortOrder.ASCII), common=True, accepted=True),
    Mistake("sorted-upper-folded", _SIGNER, _by(str.upper), common=True),
    Mistake("unsorted", _SIGNER, lambda pairs: pairs, common=True),
    Mistake("sorted-pairs", _SIGNER, lambda pairs: sorted(pairs, key="=".join), common=True),
    Mistake("sorted-locale", _SIGNER, _by(_underscore_first), _by(_underscore_ignored, str)),
    Mistake(
        "sorted-descending", _SIGNER, lambda pairs: sorted(pairs, key=lambda p: p[0], reverse=True)
    ),
    Mistake("sorted-by-value", _SIGNER, lambda pairs: sorted(pairs, key=lambda p: p[1])),
    Mistake("sorted-by-length", _SIGNER, _by(len, str)),
)

TEXTS: tuple[Mistake[TextWay], ...] = (
    Mistake("trailing-ampersand", _SIGNER, *_changed(lambda text: f"{text}&"), common=True),
    Mistake("wire-signed", _SIGNER, _wire, common=True),
    Mistake(
        "text-url-encoded",
        _SIGNER,
        *_changed(
            form_quoted,
            lowered(form_quoted),
            quote_all,
            partial(quote, safe="=&", errors="replace"),
        ),
        common=True,
    ),
    Mistake(
        "text-entity",
        _SIGNER,
        *_changed(lambda text: text.replace("&trade", "\u2122"), html.unescape),
        common=True,
    ),
    Mistake(
        "text-html-escaped",
        _SIGNER,
        *_changed(lambda text: text.replace("&", "&amp;"), html.escape),
    ),
    Mistake(
        "leading-mark",
        _SIGNER,
        *_changed(lambda text: f"&{text}", lambda text: f"?{text}", lambda text: f"\ufeff{text}"),
    ),
    Mistake("text-newline", _SIGNER, *_changed(lambda text: f"{text}\n")),
    Mistake("values-quoted", _SIGNER, _pieces('{}="{}"', "&"), _pieces("{}='{}'", "&")),
    Mistake(
        "other-separators",
        _SIGNER,
        *(
            _pieces(form, between)
            for form in ("{}={}", "{}{}", "{}:{}")
            for between in ("", ",", "|")
        ),
        _pieces("{}{}", "&"),
        _pieces("{}={}", "\n"),
        _pieces("{} = {}", "&"),
    ),
    Mistake("values-only", _SIGNER, *(_pieces("{1}", between) for between in ("", "&", ",", "|"))),
    Mistake(
        "text-json",
        _SIGNER,
        *(
            _json(separators, ascii_only=ascii_only)
            for separators in ((",", ":"), (", ", ": "))
            for ascii_only in (False, True)
        ),
    ),
    Mistake("text-recased", _SIGNER, *_changed(str.lower, str.upper)),
)
