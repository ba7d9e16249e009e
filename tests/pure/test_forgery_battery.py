"""Every way we could think of to change a real notification; none is ever believed.

``test_forgeries`` has the two ways to cut a message up again. Here are the plain ones: each starts
from what the gateway really sent, and must not take effect, neither by ``parse_notification`` nor
by a handler, whose shop is the attacker's dream: it sells anything, at any price (M-04, M-14).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chaoying_async.exceptions import ProtocolError
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.credentials import Credentials, PreviousKey, SignAlgorithm
from chaoying_async.sansio.notifications.case import NO_AMOUNT_CHECK
from chaoying_async.sansio.notifications.message import parse_notification
from chaoying_async.sansio.notifications.reading import MAX_BODY
from chaoying_async.testing import FakeClock
from tests.pure.factories import CREDENTIALS, KEY, form, naive_canonical, notification, signed
from tests.sizes import FULL, QUICK, thinned

#: The gateway's own, of a WeChat and of an Alipay payment.
REAL = {
    "wechat": signed(notification(attach="table 5", coupon_fee="0")),
    "alipay": signed(
        notification(
            trade_type="pay.alipay.jspay",
            buyer_user_id="2088000000000000",
            fund_bill_list='[{"amount":"0.01","fundChannel":"ALIPAYACCOUNT"}]',
        )
    ),
}
CLOCK_START = datetime(2018, 4, 17, 2, tzinfo=UTC)


def _changed(fields: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    for name, value in fields.items():
        yield f"{name} dropped", form({n: v for n, v in fields.items() if n != name})
        yield f"{name} emptied", form(fields | {name: ""})
        for label, other in _other_values(value):
            if other != value and not (name == "sign" and other.upper() == value.upper()):
                yield f"{name} {label}", form(fields | {name: other})
        yield f"{name} twice", form(fields) + f"&{name}={quote_plus(value)}".encode()
        yield f"{name} twice, first another", f"{name}=x&".encode() + form(fields)
        for odd in (
            name.upper(),
            f"{name} ",
            f" {name}",
            f"{name}\0",
            f"{name}[]",
            f"\ufeff{name}",
        ):
            if odd != name:
                renamed = {n: v for n, v in fields.items() if n != name} | {odd: value}
                yield f"{name} as {odd!r}", form(renamed)
                yield f"{odd!r} beside {name}", form(fields | {odd: "x"})


def _other_values(value: str) -> Iterator[tuple[str, str]]:
    yield "longer", f"{value}0"
    yield "with a blank before", f" {value}"
    yield "with a blank after", f"{value} "
    yield "with a line feed", f"{value}\n"
    yield "with NUL", f"{value}\0"
    yield "with NUL inside", f"{value[:1]}\0{value[1:]}"
    yield "with a zero-width joiner", f"{value}\u200d"
    yield "in other case", value.swapcase()
    yield "in full width", "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value)
    yield "in Cyrillic", value.translate(str.maketrans("ASECO", "АЅЕСО"))
    yield "in Arabic digits", value.translate({ord("0") + n: 0x0660 + n for n in range(10)})
    yield "percent-encoded twice", quote_plus(value) if quote_plus(value) != value else f"%3{value}"
    yield "with + for a blank", f"+{value}"
    yield "cut", value[:-1]
    yield "swallowing the next", f"{value}&out_trade_no=A2"
    yield "as HTML", f"{value}&amp;"
    if value.isdecimal():
        number = int(value)
        for odd in (
            f"0{value}", f"+{value}", f"-{value}", f"{value}.0", f"{value}e0", f"{number:_}0",
            hex(number), f"{value}L", str(number + 1), "9" * 4000, "1e9999", "NaN", "Infinity",
            f"{2**64 + number}",
        ):  # fmt: skip
            yield f"as {odd[:20]}", odd


def _added(fields: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    for name in ("coupon_fee", "attach", "unknown", "key", "trade_state", "mch_id2", "SIGN", "超"):
        if name not in fields:
            yield f"{name} added", form(fields | {name: "1"})
    canonical = naive_canonical(fields)
    yield "everything in one value", form({"a": canonical, "sign": fields["sign"]})
    first, _, rest = canonical.partition("&")
    name, _, value = first.partition("=")
    yield "all in the first value", form({name: f"{value}&{rest}", "sign": fields["sign"]})
    yield "all in a name", form({canonical.rpartition("=")[0]: "x", "sign": fields["sign"]})


def _signed_otherwise(fields: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    bare = {n: v for n, v in fields.items() if n != "sign"}
    canonical = naive_canonical(bare)
    texts = {
        "another merchant's key": f"{canonical}&key=0{KEY[1:]}",
        "the key in other case": f"{canonical}&key={KEY.upper()}",
        "no key": canonical,
        "an empty key": f"{canonical}&key=",
        "the key without its name": f"{canonical}{KEY}",
        "the key twice": f"{canonical}&key={KEY}&key={KEY}",
        "the key before": f"key={KEY}&{canonical}",
        "names reversed": "&".join(reversed(canonical.split("&"))) + f"&key={KEY}",
    }
    for how, text in texts.items():
        digest = hashlib.md5(text.encode()).hexdigest().upper()
        yield how, form(bare | {"sign": digest})
    sign = fields["sign"]
    for how, other in {
        "SHA-256": hashlib.sha256(f"{canonical}&key={KEY}".encode()).hexdigest(),
        "half": sign[:16],
        "a blank": f"{sign} ",
        "a list": f"{sign},{sign}",
        "full width": sign.translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789ABCDEF"}),
        "all zeros": "0" * 32,
        "true": "true",
        "null": "null",
    }.items():
        yield f"sign is {how}", form(bare | {"sign": other})


BATTERY = {
    f"{kind}: {how}": body
    for kind, fields in REAL.items()
    for source in (_changed, _added, _signed_otherwise)
    for how, body in source(fields)
    # An empty value and none at all are signed alike: that changes nothing (C 8).
    if not (fields.get(how.partition(" ")[0]) == "" and how.endswith((" dropped", " emptied")))
}


@pytest.mark.parametrize("fields", REAL.values(), ids=REAL)
def test_the_real_one_is_believed(fields: dict[str, str]) -> None:
    """Else the battery would prove nothing; another order of its fields and a small sign too."""
    for told in (fields, dict(reversed(fields.items())), fields | {"sign": fields["sign"].lower()}):
        read = parse_notification(form(told), CREDENTIALS)
        assert read.out_trade_no == fields["out_trade_no"]


def test_the_battery_is_large() -> None:
    """A generator that yields nothing would pass every test."""
    assert len(BATTERY) > 900
    assert len(set(BATTERY.values())) > 900


def test_no_forgery_is_read() -> None:
    """M-04: each is one of our errors, whoever looks at it."""
    accepted = []
    for how, body in BATTERY.items():
        try:
            parse_notification(body, CREDENTIALS)
        except ProtocolError:
            continue
        accepted.append(how)
    assert not accepted


def _greedy() -> tuple[NotificationHandler, list[Any], FakeClock]:
    clock = FakeClock(CLOCK_START)
    effects: list[Any] = []
    handler = NotificationHandler(
        CREDENTIALS,
        MemoryInbox(clock=clock),
        effects.append,
        expected=NO_AMOUNT_CHECK,
        clock=clock,
    )
    return handler, effects, clock


async def test_no_forgery_takes_effect() -> None:
    """M-14: through a handler that would take anything for anything; every answer is `fail`.

    One forgery in three; with ``FULL=1`` all of them, which are all refused above.
    """
    handler, effects, _ = _greedy()
    for how, body in thinned(BATTERY.items(), every=11, usual=3):
        answer = await handler.handle(body)
        assert answer.body == b"fail", how
    assert not effects
    assert (await handler.handle(form(REAL["wechat"]))).body == b"success"
    assert len(effects) == 1


async def test_another_merchants_and_another_algorithms_key_verify_nothing() -> None:
    """M-20: neither a neighbour's key, nor the right one under another algorithm."""
    body = form(REAL["wechat"])
    for other in (
        Credentials("1", "0" * 32, "yunpos"),
        Credentials("1", KEY, "yunpos", algorithm=SignAlgorithm.SHA256),
        Credentials("1", KEY, "yunpos", algorithm=SignAlgorithm.HMAC_SHA256),
    ):
        with pytest.raises(ProtocolError):
            parse_notification(body, other)


def test_a_previous_key_verifies_until_its_end_and_not_without_a_clock() -> None:
    """M-21."""
    end = datetime(2026, 1, 1, tzinfo=UTC)
    rotated = Credentials("1", "new", "yunpos", previous_keys=(PreviousKey(KEY, end),))
    body = form(REAL["wechat"])
    parse_notification(body, rotated, now=end.replace(year=2025))
    for now in (end, end.replace(year=2027), None):
        with pytest.raises(ProtocolError):
            parse_notification(body, rotated, now=now)


# ------------------------------------------------------------------------------------- any bytes

_CHUNKS = st.sampled_from(
    [
        b"&",
        b"=",
        b"%",
        b"%00",
        b"+",
        b"sign=",
        b"mch_id=1",
        b"\xff",
        "超".encode(),
        b"\0",
        b"{",
        b"<",
    ]
)
_BODIES = st.one_of(
    st.binary(max_size=2000),
    st.text(max_size=500),
    st.lists(st.one_of(_CHUNKS, st.binary(max_size=8)), max_size=60).map(b"".join),
)


@settings(max_examples=300 if FULL else 30 if QUICK else 60, deadline=None)
@given(body=_BODIES)
@example(body=b"=" * MAX_BODY)
@example(body=b"&" * MAX_BODY + b"=")
@example(body=b"a" * (MAX_BODY + 1))
@example(body=b"%" * MAX_BODY + b"=")
@example(body=b"sign=" + b"0" * 32)
@example(body="a=\udcff")
async def test_any_bytes_at_all_yield_an_answer(body: bytes | str) -> None:
    """M-14: `fail` with 200, 400 or 413; nothing runs, nothing is kept."""
    handler, effects, clock = _greedy()
    answer = await handler.handle(body)
    assert answer.body == b"fail"
    assert answer.status in (200, 400, 413)
    assert answer.decision is None
    assert not effects
    assert repr(handler).startswith("<NotificationHandler on <MemoryInbox 0 orders, 0 asides>")
    assert clock.waiting == 0
