from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest

from chaoying_async import (
    AlipayPreOrder,
    MchReg,
    OrderQuery,
    Pay,
    PayBoxConfGet,
    QrConfGet,
    WechatPreOrder,
    WxAddSubDevConfig,
)
from chaoying_async.exceptions import ChaoyingWarning, ParameterError
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.enums import PayType, Undocumented
from chaoying_async.sansio.exchange import Defaults, Outgoing, build_request
from chaoying_async.sansio.signing import verify
from tests.pure.factories import CREDENTIALS, FULL_REQUESTS, KEY, naive_sign
from tests.pure.spec import changed, full_request
from tests.table import table

full = table("request_", FULL_REQUESTS, ids=lambda request: request.endpoint.name)


def _problems(cls: type[Request[Any]], **changes: Any) -> Mapping[str, str]:
    """What is wrong with an otherwise good request."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChaoyingWarning)
        try:
            full_request(cls, **changes)
        except ParameterError as error:
            return error.problems
    return {}


def _wire(outgoing: Outgoing[Any]) -> dict[str, str]:
    """The fields as another program reads them from the bytes that are sent."""
    text = outgoing.body.decode("ascii") or urlsplit(outgoing.url).query
    pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


# -------------------------------------------------------------------------------- extra, defaults


@full
def test_extra_parameters_are_signed_and_sent(request_: Request[Any]) -> None:
    """On every request; MchReg is all extra (C 57, design)."""
    request = changed(request_, extra={"shopType": "a b&c", "empty": ""})
    fields = _wire(build_request(request, CREDENTIALS))
    assert fields["shopType"] == "a b&c"
    assert "empty" not in fields
    assert fields["sign"] == naive_sign(fields)


@full
def test_what_is_signed_is_what_is_sent_whatever_a_value_holds(request_: Request[Any]) -> None:
    """In every text of every request, also where it alone needs to be escaped (M-03)."""
    texts = [name for name, value in request_.wire_fields().items() if isinstance(value, str)]
    tried = 0
    warnings.simplefilter("ignore", ChaoyingWarning)  # pytest puts it back
    for name in (*texts, "shopType"):
        for value in ("R&D", "x&total_fee", "x=y", "+", "%26", "~"):
            change = {"extra": {name: value}} if name == "shopType" else {name: value}
            with contextlib.suppress(ParameterError, TypeError):
                outgoing = build_request(changed(request_, **change), CREDENTIALS)
                fields = _wire(outgoing)
                assert fields[name] == value
                assert fields["sign"] == naive_sign(fields)
                assert fields == outgoing.fields
                tried += 1
    assert tried >= 6


@table(
    ("extra", "name"),
    [
        ({"sign": "x"}, "sign"),
        ({"key": "x"}, "key"),
        ({"total_fee": "1"}, "total_fee"),
        ({"version": "1"}, "version"),
        ({"method": "refund"}, "method"),
        ({"a b": "1"}, "a b"),
        ({"": "1"}, ""),
        ({"a": 1}, "a"),
        ({"a": "x&mch_id=1"}, "a"),
        ({"a": "x&b=1", "b": "2"}, "a"),
        ({"a": "\ud800"}, "a"),
    ],
)
def test_extra_may_not_be_or_hide_a_documented_field(extra: Any, name: str) -> None:
    """`sign`, `key`, documented names, other types, ambiguous values: refused (C 11, M-04)."""
    with pytest.raises(ParameterError) as caught:
        MchReg(extra=extra)
    assert set(caught.value.problems) == {name}


def test_a_registration_may_hold_what_describes_a_merchant_elsewhere() -> None:
    """Support hands out its parameters, and the document has no table of them (C 104)."""
    for name in ("FullName", "ShortName", "mch_full_name", "mobile", "username", "DealType"):
        request = MchReg(extra={name: "x"})
        assert build_request(request, CREDENTIALS).fields[name] == "x"
    with pytest.raises(ParameterError, match="FullName"):
        OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1", extra={"FullName": "x"})


def test_the_old_alipay_preorder_takes_what_came_after_its_version() -> None:
    """Later versions of the document list goods_detail."""
    extra = {"goods_detail": '[{"goods_id":"a"}]'}
    request = full_request(AlipayPreOrder, extra=extra)
    assert build_request(request, CREDENTIALS).fields["goods_detail"] == extra["goods_detail"]


def test_an_undocumented_value_is_sent_when_it_is_said_to_be_one() -> None:
    """Closed when sending unless wrapped (C 29)."""
    query = OrderQuery(paytype=Undocumented("ECNY"), mch_id="1", out_trade_no="A1")
    assert build_request(query, CREDENTIALS).fields["paytype"] == "ECNY"
    assert set(_problems(OrderQuery, paytype=Undocumented("a&sign=1"))) == {"paytype"}


DEFAULTS = Defaults(mch_id="from-session", op_user_id="op-session", device_info="dev-session")


@full
def test_a_request_wins_over_the_sessions_defaults(request_: Request[Any]) -> None:
    """What the request names stays; what it leaves open comes from the session (M-18)."""
    names = ("mch_id", "op_user_id", "device_info")
    own = build_request(request_, CREDENTIALS, defaults=DEFAULTS).fields
    open_ = changed(request_, **{name: None for name in names if name in request_.names})
    filled = build_request(open_, CREDENTIALS, defaults=DEFAULTS).fields
    link = {"op_user_id"} if isinstance(request_, QrConfGet) else set()
    for name in names:
        if name in request_.names:
            assert own[name] == getattr(request_, name)
            assert filled[name] == getattr(DEFAULTS, name)
        else:
            assert name not in {*own, *filled} - link


@table("cls", [cls for cls in REQUESTS if cls.needed])
def test_what_neither_names_is_refused_before_anything_is_signed(cls: type[Request[Any]]) -> None:
    """Every missing name in one error, which says what was being done (M-18, C 71)."""
    request = full_request(cls, **dict.fromkeys(cls.needed))
    with pytest.raises(ParameterError) as caught:
        build_request(request, CREDENTIALS)
    assert set(caught.value.problems) == set(cls.needed)
    assert caught.value.doing == cls.endpoint.name


def test_a_default_of_another_type_is_refused_by_name() -> None:
    """A number would be signed, sent, and then not match the paid answer's mch_id (M-06, C 55)."""
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1")
    with pytest.raises(ParameterError) as caught:
        build_request(query, CREDENTIALS, defaults=Defaults(mch_id=1))  # type: ignore[arg-type]
    assert set(caught.value.problems) == {"mch_id"}


def test_terminals_say_their_own_pid() -> None:
    """CySoftPayBox unless told otherwise; everybody else the credentials' (C 94)."""
    box = PayBoxConfGet(device_info="d", op_device_id="o")
    assert build_request(box, CREDENTIALS).fields["pid"] == "CySoftPayBox"
    other = changed(box, pid="mine")
    assert build_request(other, CREDENTIALS).fields["pid"] == "mine"
    assert build_request(full_request(Pay), CREDENTIALS).fields["pid"] == CREDENTIALS.pid


# --------------------------------------------------------------------------------------- wire form


@full
def test_what_is_sent_is_what_was_signed(request_: Request[Any]) -> None:
    """The signature holds over the wire's bytes, by our verify and by an outsider (M-03)."""
    outgoing = build_request(request_, CREDENTIALS)
    fields = _wire(outgoing)

    assert fields == dict(outgoing.fields)
    assert fields["sign"] == naive_sign(fields)
    verify(fields, KEY)
    assert (outgoing.body or outgoing.url.encode()).isascii()
    assert all(fields.values())


@full
def test_nothing_that_shows_holds_the_key_or_the_personal_fields(request_: Request[Any]) -> None:
    """The repr of what is sent, and the key in neither URL nor body (M-27)."""
    outgoing = build_request(request_, CREDENTIALS)
    assert KEY not in f"{outgoing!r} {outgoing.url} {outgoing.body!r} {outgoing.headers}"
    assert repr(outgoing).startswith("Outgoing(")


def test_trade_type_is_no_trade_mark() -> None:
    """Bodies are built from pairs by an encoder: `&trade_type=` is in the bytes (C 21)."""
    body = build_request(full_request(WechatPreOrder), CREDENTIALS).body
    assert b"&trade_type=JSPAY" in body
    assert b"\xe2\x84\xa2" not in body


def test_every_value_is_percent_encoded_once() -> None:
    """`;`, `+`, `&`, `=` and `%` in goods and paths too (C 3, C 76)."""
    text = "a;b+c&d=e%f g超"
    outgoing = build_request(full_request(Pay, attach=text), CREDENTIALS)
    assert b"attach=a%3Bb%2Bc%26d%3De%25f+g%E8%B6%85&" in outgoing.body
    assert outgoing.fields["attach"] == text
    paths = build_request(full_request(WxAddSubDevConfig), CREDENTIALS).body
    assert b"jsapi_path=http%3A%2F%2Fa.com%2Fpay%2F%3Bhttp" in paths


def test_a_request_can_be_sent_again_and_cannot_be_changed() -> None:
    """Frozen, hashable by identity of its fields, the same bytes every time."""
    pay = full_request(Pay)
    assert build_request(pay, CREDENTIALS).body == build_request(pay, CREDENTIALS).body
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        pay.total_fee = 5  # type: ignore[attr-defined]


def test_numbers_that_look_like_ids_keep_their_zeros() -> None:
    """mch_id 00000001 is text everywhere (C 55)."""
    assert build_request(full_request(Pay, mch_id="00000001"), CREDENTIALS).fields["mch_id"] == (
        "00000001"
    )
