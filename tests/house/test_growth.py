"""Strangers' texts cost no more than their length: patterns, and whatever else reads them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from chaoying_async import ChaoyingError, Credentials, parse_notification
from chaoying_async.sandbox.console.words import preferred
from chaoying_async.sandbox.serving import masked
from chaoying_async.sansio.doctor import diagnose
from chaoying_async.sansio.doctor.lenient_reader import read_message
from chaoying_async.sansio.notifications.reading import peek_mch_id
from chaoying_async.sansio.redact import masked_body, shown_urls
from chaoying_async.sansio.wire.jsontext import parse_reply
from tests.house.patterns import Used, all_of_the_package, grows, of_unknown_patterns
from tests.sizes import FULL, cases

CREDENTIALS = Credentials(agent_id="1", key="key-of-the-listener", pid="p")
SIGN = b"&sign=" + b"A" * 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: Bytes that are compared; what takes less than so many seconds is no matter.
SHORT, LONG, LITTLE = (15_000, 60_000, 0.15) if FULL else (3_000, 12_000, 0.04)
#: How many times as long the long one may take: four is linear, sixteen quadratic.
TIMES = 9


class TestPatterns:
    """Every regular expression of the package, and texts that would make a bad one slow."""

    @pytest.mark.outside
    @pytest.mark.timeout(300)
    def test_none_of_the_package_grows(self) -> None:
        """Four times the text takes about four times as long, whatever stands in it."""
        found = all_of_the_package()
        assert len(found) > 70
        assert [f"{used}: {text}" for used in found if (text := grows(used))] == []

    @pytest.mark.slow
    def test_every_pattern_is_known(self) -> None:
        """None comes from elsewhere at the moment of use, but for the rules' own."""
        assert of_unknown_patterns() == ["chaoying_async/sansio/api/field_rules.py: self.pattern"]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("pattern", "how"),
        cases(
            [(r"(a+)+$", "search"), (r"x*x*y", "fullmatch"), (r"[a-z]+@", "search")],
            more=[
                (r"\s*([A-Za-z*]+)[\w-]*\s*(?:;\s*q=([0-9.]+))?", "fullmatch"),
                (r"\s+$", "search"),
                (r"(a|a)*b", "match"),
                (r"(?:ab)*(?:ab)*c", "fullmatch"),
                (r'"(.*)\\"', "search"),
            ],
        ),
    )
    def test_a_bad_one_would_be_found(self, pattern: str, how: str) -> None:
        """Nested and neighbouring repetitions, and searches that begin again everywhere."""
        assert grows(Used("here", re.compile(pattern), how))


def _ignoring(function: Callable[..., Any], *more: Any, **named: Any) -> Callable[[bytes], None]:
    def call(text: bytes) -> None:
        with suppress(ChaoyingError):
            function(text, *more, **named)

    return call


READERS: dict[str, Callable[[bytes], None]] = {
    "parse_notification": _ignoring(parse_notification, CREDENTIALS, now=NOW),
    "peek_mch_id": _ignoring(peek_mch_id),
    "parse_reply": _ignoring(parse_reply),
    "read_message": _ignoring(read_message),
    "diagnose": _ignoring(diagnose, CREDENTIALS),
    "masked_body": _ignoring(masked_body, {}),
    "wire": _ignoring(masked.wire, CREDENTIALS),
    "shown_urls": lambda text: void(shown_urls(text.decode("latin-1"))),
    "preferred": lambda text: void(preferred(text.decode("latin-1"))),
}


def void(_value: object) -> None:
    """Nothing is done with it."""


def pumped(start: bytes, again: bytes, end: bytes = b"") -> Callable[[int], bytes]:
    return lambda size: start + again * ((size - len(start) - len(end)) // len(again)) + end


def counted(start: bytes, again: bytes, end: bytes = b"") -> Callable[[int], bytes]:
    def make(size: int) -> bytes:
        count = (size - len(start) - len(end)) // (len(again) + 4)
        return start + b"".join(again % number for number in range(count)) + end

    return make


def _texts() -> Iterator[tuple[str, Callable[[int], bytes]]]:
    yield from {
        "letters": pumped(b"a=", b"x", SIGN),
        "bare letters": pumped(b"", b"a", b"!"),
        "fields": counted(b"a=1", b"&f%06d=1", SIGN),
        "few large fields": lambda size: (
            b"&".join(b"f%d=" % n + b"y" * (size // 190) for n in range(180)) + SIGN
        ),
        "empty pieces": pumped(b"a=1", b"&", SIGN),
        "escapes": pumped(b"a=", b"%26", SIGN),
        "double escapes": pumped(b"a=", b"%2526", SIGN),
        "half escapes": pumped(b"a=", b"%", SIGN),
        "pluses": pumped(b"a=", b"+", SIGN),
        "equals": pumped(b"a", b"=", SIGN),
        "questions": pumped(b"", b"?", b"a=1"),
        "names in values": pumped(b"a=", b"%26total_fee%3D", SIGN),
        "hidden names": pumped(b"a=", b"sign%253d", SIGN),
        "hidden members": counted(b"a=", b"%%22sign%%22:%%22x%06d%%22,", SIGN),
        "raw hidden members": counted(b"a=", b'"openid":"x%06d",', SIGN),
        "secret fields": lambda size: b"&".join(
            b"openid%%20%d=%d" % (n, n) + b"z" * (size // 190) for n in range(180)
        ),
        "open brackets": pumped(b"a=", b"[", SIGN),
        "open brackets in fields": pumped(b"a=1", b"&b={", SIGN),
        "objects": pumped(b"a=[", b'{"a":1},', b"1]" + SIGN),
        "a reply": counted(b'{"a":[', b'{"openid":"x%06d"},', b'1],"sign":"A"}'),
        "a packed reply": pumped(b'{"a":"', b'[\\"', b'"}'),
        "a reply of brackets": pumped(b"", b"[", b""),
        "a reply of names": counted(b"{", b'"f%06d":1,', b'"a":1}'),
        "a long number": pumped(b'{"a":', b"9", b"}"),
        "backslashes": pumped(b"a=", b"\\", SIGN),
        "quotes": pumped(b"a=", b'"', SIGN),
        "entities": pumped(b"a=", b"%26amp;", SIGN),
        "raw entities": pumped(b"a=&", b"amp;", SIGN),
        "blanks": pumped(b"a=", b" ", SIGN),
        "blank lines": pumped(b"a=", b"\r\n", SIGN),
        "a name and blanks": pumped(b"openid", b" ", b"!"),
        "addresses": pumped(b"a=", b"http://", SIGN),
        "escaped addresses": pumped(b"a=", b"https%3A%2F%2F", SIGN),
        "at signs": pumped(b"a=http://", b"@", b"/" + SIGN),
        "languages": pumped(b"", b"zh;q=1,", b""),
        "weights": pumped(b"zh;q=", b"1", b""),
        "chinese": pumped(b"a=", "中".encode(), SIGN),
        "emoji": pumped(b"a=", "😀".encode(), SIGN),
        "combining": pumped(b"a=e", "\u0301".encode(), SIGN),
        "not utf-8": pumped(b"a=", b"\xd6\xd0", SIGN),
        "digits": pumped(b"a=", b"9", SIGN),
        "a long sign": pumped(b"a=1&sign=", b"9"),
        "a blank sign": pumped(b"a=1&sign=", b" ", b"9"),
    }.items()


TEXTS = dict(_texts())


def _seconds(read: Callable[[bytes], None], text: bytes) -> float:
    """Of this process: how busy the machine is makes little difference."""
    began = time.process_time()
    read(text)
    return time.process_time() - began


def _grows(read: Callable[[bytes], None], long: bytes, short: bytes) -> bool:
    """Whether it does whenever one looks: a slow moment is none."""
    return all(
        (took := _seconds(read, long)) > LITTLE and took > TIMES * _seconds(read, short)
        for _ in range(3)
    )


@pytest.mark.outside
@pytest.mark.timeout(300)
@pytest.mark.parametrize("reader", READERS)
def test_nothing_grows(reader: str) -> None:
    """Four times the text takes about four times as long, or next to nothing."""
    read = READERS[reader]
    assert [name for name, make in TEXTS.items() if _grows(read, make(LONG), make(SHORT))] == []


@pytest.mark.slow
def test_growth_would_be_seen() -> None:
    """The same measure on what is quadratic."""
    bad = re.compile(rb"\s+$").search
    assert _grows(lambda text: void(bad(text)), b" " * 8000 + b"!", b" " * 2000 + b"!")


@pytest.mark.parametrize("letters", [4000, 8000, 16_000, 30_000])
def test_a_long_language_costs_nothing(letters: int) -> None:
    """The header that stopped the whole sandbox for 15 seconds."""
    began = time.process_time()
    for header in ("a" * letters + "!", "-" * letters, ("a" * 99 + ",") * (letters // 100)):
        assert preferred(header) == "en"
    assert time.process_time() - began < LITTLE
