"""Reads and writes amounts in fen and times in GMT+8, which are easy to get subtly wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, Self

#: Every time in the document (北京时间); a fixed offset, never the machine's own zone (C 68).
GMT8 = timezone(timedelta(hours=8), "GMT+8")

_LONGEST_AMOUNT = 15
_YUAN = re.compile(r"([0-9]{1,13})(?:\.([0-9]{1,2}))?").fullmatch
_LONGEST_TIME = len("2026-01-01 00:00:00")
_TIME = re.compile(
    r"([0-9]{14})|([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})"
).fullmatch


class Fen(int):
    """An amount in fen (分, 1/100 CNY). ``Fen(1230)`` is 12.30 yuan; an ``int`` in every other way.

    Takes an int only, so that yuan can never slip in: for those there is :func:`fen`. Adding and
    subtracting amounts gives an amount; ``Fen + float`` is refused (``float + Fen`` asks the
    float).
    """

    __slots__ = ()

    def __new__(cls, amount: int) -> Self:
        """Refuses everything but a whole number."""
        if not isinstance(amount, int) or isinstance(amount, bool):
            raise TypeError(
                f"Fen takes a whole number of fen, not {type(amount).__name__}: "
                'Fen(1230), or fen("12.30") for yuan'
            )
        return super().__new__(cls, amount)

    @property
    def yuan(self) -> Decimal:
        """The amount in yuan, with two decimals."""
        return Decimal(int(self)).scaleb(-2)

    def __add__(self, other: int) -> Fen:
        return Fen(int(self) + _whole(other))

    def __radd__(self, other: int) -> Fen:
        return Fen(_whole(other) + int(self))

    def __sub__(self, other: int) -> Fen:
        return Fen(int(self) - _whole(other))

    def __rsub__(self, other: int) -> Fen:
        return Fen(_whole(other) - int(self))

    def __neg__(self) -> Fen:
        return Fen(-int(self))

    def __repr__(self) -> str:
        return f"Fen({int(self)})"

    def __str__(self) -> str:
        return int.__repr__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return Fen, (int(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """As a field of a pydantic model: a whole number of fen, and an integer in JSON.

        Strict in every model: text may be yuan, and a float is never an amount (M-12).
        """
        from pydantic_core.core_schema import (  # noqa: PLC0415 - who asks for it has it
            int_schema,
            no_info_after_validator_function,
            no_info_before_validator_function,
        )

        whole = no_info_before_validator_function(_no_text, int_schema(strict=True))
        return no_info_after_validator_function(cls, whole)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """An integer, and its unit in words."""
        return {"description": "an amount in fen (1/100 CNY)", **handler(schema)}


def _no_text(given: object) -> object:
    """Pydantic's mode for text would read "12.0" as 12."""
    if isinstance(given, str):
        raise ValueError("is a whole number of fen: text may be yuan")  # noqa: TRY004 - pydantic's
    return given


def _whole(other: object) -> int:
    if not isinstance(other, int) or isinstance(other, bool):
        raise TypeError(f"an amount in fen and a {type(other).__name__} do not add up")
    return int(other)


def fen(yuan: str | Decimal) -> Fen:
    """The amount of ``"12.30"`` or ``Decimal("12.3")`` yuan, exactly.

    At most two decimals and no sign, or :class:`ValueError`. An int or a float is a
    :class:`TypeError`: nobody can tell whether ``fen(12)`` meant fen or yuan (M-12).
    """
    if not isinstance(yuan, (str, Decimal)):
        raise TypeError(
            f"fen() takes yuan as text or Decimal, not {type(yuan).__name__}: "
            'fen("12.30") for 12.30 yuan, Fen(1230) for 1230 fen'
        )
    text = yuan if isinstance(yuan, str) else format(yuan, "f")
    match = _YUAN(text)
    if match is None:
        raise ValueError("an amount in yuan has digits and at most two decimals, like 12.30")
    whole, decimals = match.groups("")
    return int.__new__(Fen, f"{whole}{decimals:0<2}")


def received_fen(text: str) -> Fen:
    """An amount as the gateway prints it; anything but 1 to 15 ASCII digits is a ValueError."""
    amount = fen_or_none(text)
    if amount is None:
        raise ValueError("not an amount in fen")
    return amount


def fen_or_none(text: str | None) -> Fen | None:
    """An amount as the gateway prints it; None for anything but 1 to 15 ASCII digits."""
    return _received(text) if text and len(text) <= _LONGEST_AMOUNT else None


@lru_cache(maxsize=1024)  # prices come again and again
def _received(text: str) -> Fen | None:
    return int.__new__(Fen, text) if text.isascii() and text.isdigit() else None


def parse_time(text: str) -> datetime | None:
    """A time of the document, aware in GMT+8; None for a format it does not show (C 99)."""
    return _moment(text) if len(text) <= _LONGEST_TIME else None


@lru_cache(maxsize=256)  # many orders are paid in the same second
def _moment(text: str) -> datetime | None:
    match = _TIME(text)
    if match is None:
        return None
    digits = "".join(match.groups(""))
    if digits[8:10] == "24":  # midnight to newer Pythons, an error to older ones
        return None
    try:
        return datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}").replace(tzinfo=GMT8)
    except ValueError:
        return None


_HTTP_DATE = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
).fullmatch
#: 1970 is what a clock without a battery shows.
_YEARS = frozenset(map(str, range(1970, 2100)))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def parse_http_date(text: str) -> datetime | None:
    """The moment of a ``Date`` header (IMF-fixdate), in UTC; None for every other form.

    None too for a year before 1970 or after 2099: servers write the year 1 where they mean "unset".
    """
    match = _HTTP_DATE(text)
    if match is None or match[2] not in _MONTHS or match[4] == "24" or match[3] not in _YEARS:
        return None
    day, _, year, hour, minute, second = match.groups()
    date = f"{year}-{_MONTHS.index(match[2]) + 1:02}-{day}"
    try:
        return datetime.fromisoformat(f"{date}T{hour}:{minute}:{second}").replace(tzinfo=UTC)
    except ValueError:
        return None


def format_time(moment: datetime) -> str:
    """``yyyyMMddHHmmss`` in GMT+8. A datetime without a time zone is a ValueError."""
    if moment.utcoffset() is None:
        raise ValueError("needs a time zone, for example datetime.now(UTC)")
    return moment.astimezone(GMT8).strftime("%Y%m%d%H%M%S")
