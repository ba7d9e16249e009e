"""The ambiguity of the scheme (M-04), and the forgeries that a naive verifier believes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import pytest

from chaoying_async import Pay, WxaCode2Session
from chaoying_async.exceptions import (
    AmbiguousSignatureError,
    OutcomeUnknownError,
    ParameterError,
)
from chaoying_async.sansio.api.endpoint import field_specs
from chaoying_async.sansio.api.field_rules import CodeRule, TextRule
from chaoying_async.sansio.exchange import Defaults, build_request
from chaoying_async.sansio.fieldnames import DOCUMENTED, TOP_LEVEL
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.notifications.message import parse_notification
from chaoying_async.sansio.signing import sign, verify
from tests.pure.factories import (
    CREDENTIALS,
    FULL_REQUESTS,
    KEY,
    QUERY,
    form,
    naive_canonical,
    naive_sign,
    notification,
    paid,
    read,
    reply_body,
    signed,
)
from tests.pure.spec import full_request
from tests.table import table

#: What the attacker wants the shop to read: another order, a larger amount.
WANTED = {
    "attach": "x",
    "fee_type": "CNY",
    "mch_id": "00000001",
    "out_trade_no": "EXPENSIVE1",
    "pay_result": "0",
    "result_code": "SUCCESS",
    "state": "SUCCESS",
    "time_end": "20260601120000",
    "total_fee": "9990000",
    "transaction_id": "4200000233201812272744871942",
}


def _true_message(swallower: str) -> dict[str, str]:
    """What the gateway really signs: an order of 1 fen, whose `attach` the customer chose."""
    chosen = "&".join(f"{name}={WANTED[name]}" for name in sorted(WANTED)).removeprefix("attach=")
    return signed(notification(attach=f"{chosen}&{swallower}"))


def _cut_in_a_value() -> tuple[dict[str, str], dict[str, str]]:
    """The true fields end up inside the value of a last, made-up field."""
    true = _true_message("zz=1")
    rest = naive_canonical(true).partition("&zz=")[2]
    return true, WANTED | {"zz": rest, "sign": true["sign"]}


def _cut_in_a_name() -> tuple[dict[str, str], dict[str, str]]:
    """The true fields end up inside the *name* of a last, made-up field."""
    true = _true_message("zz=1")
    rest = "zz=" + naive_canonical(true).partition("&zz=")[2]
    name, _, value = rest.rpartition("=")
    return true, WANTED | {name: value, "sign": true["sign"]}


def _naive_verifier(body: bytes) -> Mapping[str, str]:
    """What a shop writes by hand: parse, drop sign, sort, join, digest, compare."""
    fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
    assert naive_sign(fields) == fields["sign"]
    return fields


Cut = Callable[[], tuple[dict[str, str], dict[str, str]]]
CUTS: Mapping[str, Cut] = {"inside a value": _cut_in_a_value, "inside a name": _cut_in_a_name}
cuts = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)


@cuts
def test_a_naive_verifier_believes_the_forgery(cut: Cut) -> None:
    """The danger is real: another order, 99,900 yuan, and the signature is right (M-04)."""
    true, forged = cut()
    believed = _naive_verifier(form(forged))

    assert believed["out_trade_no"] == "EXPENSIVE1"
    assert believed["total_fee"] == "9990000"
    assert forged["sign"] == true["sign"]
    assert naive_canonical(forged) == naive_canonical(true)
    assert true["out_trade_no"] == "A100011"
    assert true["total_fee"] == "1"


@cuts
def test_we_refuse_the_forgery(cut: Cut) -> None:
    """`verify` and `parse_notification` say that the message can be read in two ways (M-04)."""
    _, forged = cut()
    with pytest.raises(AmbiguousSignatureError):
        verify(forged, KEY)
    with pytest.raises(AmbiguousSignatureError):
        parse_notification(form(forged), CREDENTIALS)


@cuts
def test_we_refuse_the_true_message_too(cut: Cut) -> None:
    """Nobody can tell the two apart, so neither is believed (M-04)."""
    true, _ = cut()
    with pytest.raises(AmbiguousSignatureError, match="attach"):
        verify(true, KEY)
    with pytest.raises(AmbiguousSignatureError):
        parse_notification(form(true), CREDENTIALS)


@cuts
def test_we_sign_neither(cut: Cut) -> None:
    """A message that could be cut up again never gets a signature from us (M-04)."""
    for message in cut():
        with pytest.raises(AmbiguousSignatureError):
            sign(message, KEY)


def test_a_split_coupon_is_seen() -> None:
    """`coupon_fee` cut off a signed value: documented, so refused (M-04, M-13)."""
    true = signed(notification(bank_type="", attach="a&coupon_fee=99"))
    forged = notification(bank_type="", attach="a", coupon_fee="99") | {"sign": true["sign"]}
    assert naive_canonical(true) == naive_canonical(forged)
    with pytest.raises(AmbiguousSignatureError):
        parse_notification(form(true), CREDENTIALS)
    # The forged form of this one is a plain message: only `confirm=` can tell (M-13).
    assert parse_notification(form(forged), CREDENTIALS).coupon_fee == 99


@table("name", sorted(TOP_LEVEL))
def test_no_value_may_hold_the_beginning_of_a_documented_field(name: str) -> None:
    """Every top-level name, those only examples show, and `key` (M-04)."""
    for value in (f"a&{name}=1", f"&{name}=", f"a=b&c=d&{name}=x"):
        with pytest.raises(AmbiguousSignatureError, match="device_info"):
            sign({"device_info": value}, KEY)
        with pytest.raises(AmbiguousSignatureError):
            verify(signed({"device_info": value}), KEY)


def test_no_value_may_hold_the_beginning_of_an_unknown_field_of_the_same_message() -> None:
    """A name counts when the message has it, documented or not (M-04)."""
    alone = {"attach": "a&shop=1"}
    assert sign(alone, KEY)
    with pytest.raises(AmbiguousSignatureError):
        sign(alone | {"shop": "1"}, KEY)
    with pytest.raises(AmbiguousSignatureError):
        verify(signed(alone | {"shop": "1"}), KEY)


@table(
    "value", ["a&b", "a=b", "&amp;", "uid=5", "&total_fee", "total_fee=1", "&Total_Fee=1", "x&=y"]
)
def test_values_that_cannot_be_cut_are_fine(value: str) -> None:
    """`&` and `=` are ordinary characters where no field begins there (M-04)."""
    fields = signed(notification(attach=value))
    assert parse_notification(form(fields), CREDENTIALS).raw["attach"] == value


@table("name", ["", "a b", "a=b", "a&b", "1a", "á", "a-b", "a.b", "a\n", "超"])
def test_a_name_that_is_no_plain_identifier_is_refused(name: str) -> None:
    """Nothing can hide inside a name; an empty value does not help (M-04)."""
    for value in ("1", ""):
        with pytest.raises(AmbiguousSignatureError):
            sign({name: value, "b": "1"}, KEY)
        with pytest.raises(AmbiguousSignatureError):
            verify(signed({name: value, "b": "1"}), KEY)


def test_a_refused_name_is_not_repeated_in_the_error() -> None:
    """A name may hold the whole message, personal fields too (M-27)."""
    _, forged = _cut_in_a_name()
    with pytest.raises(AmbiguousSignatureError) as caught:
        verify(forged, KEY)
    assert "transaction_id" not in str(caught.value)


TEXT_FIELDS = [
    (request, spec.name)
    for request in FULL_REQUESTS
    for spec in field_specs(type(request))
    if isinstance(spec.rule, (TextRule, CodeRule))
]


@table(("request_", "name"), TEXT_FIELDS, ids=lambda value: getattr(value, "endpoint", value))
def test_a_request_with_such_a_value_is_refused_by_field(request_: object, name: str) -> None:
    """Before anything is signed, and the error names the field, not the value (M-04, M-27)."""
    cls = type(request_)
    with pytest.raises(ParameterError) as caught:
        full_request(cls, **{name: "uid=5&version=2"})  # type: ignore[arg-type]
    assert name in caught.value.problems
    assert "uid=5" not in str(caught.value.problems)


def test_a_request_whose_value_holds_one_of_its_own_extra_names_is_refused() -> None:
    """The same between a documented field and an extra one, when it is made (M-04)."""
    with pytest.raises(ParameterError) as caught:
        WxaCode2Session(appid="a&shop=1", js_code="c", extra={"shop": "2"})
    assert "appid" in caught.value.problems


def test_a_session_default_with_such_a_value_is_refused_by_field() -> None:
    """What comes from the session fails in the same way, before a byte leaves (M-04)."""
    pay = Pay(out_trade_no="A100011", body="b", total_fee=1, auth_code="130000000000000000")
    with pytest.raises(ParameterError) as caught:
        build_request(pay, CREDENTIALS, defaults=Defaults(mch_id="1&total_fee=9"))
    assert set(caught.value.problems) == {"mch_id"}


def test_an_ambiguous_reply_is_not_believed_where_money_moves() -> None:
    """Another program's attach comes back in a signed answer: unknown, never paid (M-04)."""
    body = reply_body(paid(attach="uid=5&version=2"))
    with pytest.raises(AmbiguousSignatureError):
        read(QUERY, body)
    pay = full_request(Pay, out_trade_no="1497769914931", total_fee=4)
    with pytest.raises(OutcomeUnknownError) as caught:
        read(pay, body)
    assert isinstance(caught.value.__cause__, AmbiguousSignatureError)


def test_an_unsigned_pre_order_may_hold_such_an_address() -> None:
    """The rule stands where a signature is made or checked, nowhere else (M-04)."""
    from chaoying_async import AlipayPreOrder

    request = full_request(AlipayPreOrder)
    url = "https://pay.example/qrcode?uuid=1&sign=2&version=3"
    members = paid(code_img_url=url, out_trade_no="1497769914931", mch_id="mch_id-1")
    reply = read(request, form_free_json(members))
    assert reply.meaning is Meaning.RESULT
    assert not reply.signed
    assert reply.unwrap().code_img_url == url


def form_free_json(members: Mapping[str, object]) -> bytes:
    import json

    return json.dumps(dict(members), ensure_ascii=False).encode()


def test_the_list_covers_what_the_document_signs() -> None:
    """Names of the parameters that every request carries are on it (M-04)."""
    assert {"method", "agent_id", "pid", "version", "sign", "mch_id"} <= DOCUMENTED
