from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from chaoying_async import OrderQuery, Pay, Refund
from chaoying_async.exceptions import (
    AmbiguousSignatureError,
    ChaoyingError,
    ChaoyingWarning,
    ParameterError,
    SignatureVerificationError,
)
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.credentials import Credentials, SignAlgorithm, SortOrder
from chaoying_async.sansio.enums import Code, PayType, State, TradeState
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.fieldnames import TOP_LEVEL
from chaoying_async.sansio.notifications.facts import NotificationOutcome, Wallet
from chaoying_async.sansio.notifications.message import Notification, parse_notification
from chaoying_async.sansio.notifications.reading import peek_mch_id
from chaoying_async.sansio.signing import sign, verify
from chaoying_async.sansio.wire.forms import parse_form
from chaoying_async.sansio.wire.jsontext import parse_json, parse_reply
from tests.pure.factories import (
    CREDENTIALS,
    FULL_REQUESTS,
    KEY,
    QUERY,
    form,
    naive_canonical,
    notification,
    paid,
    read,
    signed,
)
from tests.pure.spec import wire_names
from tests.sizes import FULL, QUICK

text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,15}", fullmatch=True)
known_names = st.sampled_from(sorted(TOP_LEVEL - {"sign"}))
unknown_names = names.filter(lambda name: name not in TOP_LEVEL)
#: Values that no other field could be cut out of (M-04 has its own tests).
whole = text.filter(lambda value: "&" not in value or "=" not in value)
unknown_fields = st.dictionaries(unknown_names, whole, max_size=20)
algorithms = st.sampled_from(SignAlgorithm)
orders = st.sampled_from(SortOrder)


# -------------------------------------------------------------------------------------- signatures


@given(unknown_fields, algorithms, orders)
def test_unknown_fields_never_break_verification(
    unknown: dict[str, str], algorithm: SignAlgorithm, order: SortOrder
) -> None:
    """0 to 20 of them, in any order of names, for every algorithm (C 7)."""
    fields = notification() | unknown
    verify(fields | {"sign": sign(fields, KEY, algorithm, order)}, KEY, algorithm)


@given(unknown_fields)
def test_a_notification_with_unknown_fields_is_read(unknown: dict[str, str]) -> None:
    """Over the fields as received; the typed ones are the same, the others are in raw."""
    fields = signed(notification() | unknown)
    read_by = parse_notification(form(fields), CREDENTIALS, kind=Wallet.WECHAT)
    assert dict(read_by.raw) == fields
    assert read_by.outcome is NotificationOutcome.PAID


@given(unknown_fields)
def test_a_reply_with_unknown_fields_is_read(unknown: dict[str, str]) -> None:
    """Interfaces may gain fields (C 7)."""
    members = signed(paid() | unknown)
    reply = read(QUERY, json.dumps(members).encode())
    assert reply.signed
    assert dict(reply.raw) == members


@given(unknown_fields, st.data())
def test_the_order_of_fields_does_not_matter(unknown: dict[str, str], data: st.DataObject) -> None:
    """Sorted before they are signed."""
    fields = signed(notification() | unknown)
    shuffled = dict(data.draw(st.permutations(list(fields.items()))))
    verify(shuffled, KEY)
    assert sign(shuffled, KEY) == fields["sign"]


FIELDS = signed(notification(attach="超 赢+1", shop=" "))
FILLED = sorted(set(FIELDS) - {"sign"})


@given(st.sampled_from(FILLED), text)
def test_any_change_of_a_value_breaks_the_signature(name: str, value: str) -> None:
    """The decoded value of any field that is not empty."""
    assume(value != FIELDS[name])
    with pytest.raises(SignatureVerificationError):
        parse_notification(form(FIELDS | {name: value}), CREDENTIALS)


@given(st.sampled_from(FILLED), st.one_of(names, text.filter(bool)))
def test_any_change_of_a_name_breaks_the_signature(name: str, other: str) -> None:
    """A field that is renamed, into a known name, an unknown one or none at all."""
    assume(other != name and other not in FIELDS)
    changed = {other if each == name else each: value for each, value in FIELDS.items()}
    with pytest.raises(SignatureVerificationError):
        parse_notification(form(changed), CREDENTIALS)


@given(st.sampled_from(FILLED))
def test_leaving_a_field_out_breaks_the_signature(name: str) -> None:
    """So does emptying it."""
    for changed in (FIELDS | {name: ""}, {each: FIELDS[each] for each in FIELDS if each != name}):
        with pytest.raises(SignatureVerificationError):
            verify(changed, KEY)


@given(unknown_names, whole.filter(bool))
def test_adding_a_field_breaks_the_signature(name: str, value: str) -> None:
    """A signature covers all that is there."""
    assume(name not in FIELDS)
    with pytest.raises(SignatureVerificationError):
        verify(FIELDS | {name: value}, KEY)


@given(unknown_names)
def test_adding_an_empty_field_changes_nothing(name: str) -> None:
    """Empty values take no part (C 8)."""
    assume(name not in FIELDS)
    verify(FIELDS | {name: ""}, KEY)


@given(st.one_of(st.from_regex(r"[0-9A-Fa-f]{32}", fullmatch=True), text))
def test_any_change_of_the_digests_value_breaks_the_signature(other: str) -> None:
    """Its case is no part of its value."""
    assume(other.upper() != FIELDS["sign"])
    with pytest.raises(SignatureVerificationError):
        verify(FIELDS | {"sign": other}, KEY)


@given(st.integers(0, 31), st.sampled_from("0123456789ABCDEFabcdef"))
def test_any_changed_digit_of_the_digest_breaks_the_signature(at: int, digit: str) -> None:
    """One digit is enough."""
    right = FIELDS["sign"]
    assume(digit.upper() != right[at])
    with pytest.raises(SignatureVerificationError):
        verify(FIELDS | {"sign": right[:at] + digit + right[at + 1 :]}, KEY)


@given(text.filter(bool))
def test_another_key_verifies_nothing(key: str) -> None:
    """Whatever it is."""
    assume(key != KEY)
    with pytest.raises(SignatureVerificationError):
        verify(FIELDS, key)


ambiguous = st.sampled_from(["&total_fee=", "&key=", "&code_number=", "&a="])


@given(st.dictionaries(st.one_of(known_names, names, text), st.one_of(text, ambiguous), max_size=8))
@example({"a": "1&b=2"})
@example({"a": "1&b=2", "b": "3"})
def test_what_we_sign_can_be_read_in_one_way_only(fields: dict[str, str]) -> None:
    """Cut at `&`, every piece that begins like a field of ours is one (M-04)."""
    bare = {name: value for name, value in fields.items() if name != "sign"}
    try:
        signature = sign(bare, KEY)
    except AmbiguousSignatureError:
        return
    verify(bare | {"sign": signature}, KEY)
    known = TOP_LEVEL | set(bare)
    pieces = naive_canonical(bare).split("&")
    begins = [piece.partition("=")[0] for piece in pieces if "=" in piece]
    assert sorted(name for name in begins if name in known) == sorted(n for n in bare if bare[n])


# ----------------------------------------------------------------------- whatever bytes may arrive

anything = st.one_of(
    st.binary(max_size=300),
    text.map(str.encode),
    st.lists(st.sampled_from([b"a=1", b"&", b"=", b"%", b"sign=", b"\xff", b"+", b"mch_id=1"])).map(
        b"".join
    ),
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from([*State, *Code, *TradeState]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
documented = st.dictionaries(
    st.one_of(known_names, st.sampled_from(["state", "code", "trade_state", "sign"]), st.text()),
    json_values,
    max_size=10,
)
bodies = st.one_of(
    anything,
    st.binary(max_size=40).map(lambda tail: b'{"state":' + tail),
    documented.map(json.dumps).map(str.encode),
)


def _ours_or_a_value(act: Callable[[], Any]) -> Any:
    """The value, or None where an error of ours was raised; anything else fails the test."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ChaoyingWarning)
            return act()
    except ChaoyingError as error:
        assert KEY not in str(error)
        return None


@given(anything)
@example(b"a=%ED%A0%80")
@example(b"=&=&sign=" + b"0" * 32)
@example(b"\x80\x04K\x01=")
def test_any_bytes_are_a_form_or_an_error_of_ours(body: bytes) -> None:
    """parse_form, peek_mch_id and parse_notification raise nothing foreign."""
    fields = _ours_or_a_value(lambda: parse_form(body))
    assert fields is None or all(isinstance(value, str) for value in fields.values())
    peeked = _ours_or_a_value(lambda: peek_mch_id(body))
    assert peeked is None or peeked.isascii()
    assert _ours_or_a_value(lambda: parse_notification(body, CREDENTIALS)) is None


@given(st.text(max_size=200))
@example("a=\ud800")
def test_any_text_is_a_notification_or_an_error_of_ours(body: str) -> None:
    """A framework may hand over a str, surrogates included."""
    _ours_or_a_value(lambda: peek_mch_id(body))
    assert _ours_or_a_value(lambda: parse_notification(body, CREDENTIALS)) is None


@given(bodies)
@example(b'{"a":' + b"[" * 900 + b"]" * 900 + b"}")
@example(b'{"sign":' + b"9" * 10_000 + b"}")
@example(b'{"state":"\\ud800","sign":"' + b"0" * 32 + b'"}')
@example(b'{"state":"SUCCESS","code":"10000","sign":"' + b"0" * 32 + b'","x":"\\ud800"}')
def test_any_bytes_are_a_reply_or_an_error_of_ours(body: bytes) -> None:
    """parse_reply and parse_json raise nothing foreign (C 107)."""
    parsed = _ours_or_a_value(lambda: parse_reply(body))
    if parsed is not None:
        members, texts = parsed
        assert list(members) == list(texts)
        assert all(type(value) is str for value in texts.values())
    _ours_or_a_value(lambda: parse_json(body.decode("utf-8", "surrogateescape")))


OUTGOING = [build_request(request, CREDENTIALS) for request in FULL_REQUESTS]
endpoints = pytest.mark.parametrize("outgoing", OUTGOING, ids=lambda each: each.endpoint.name)


@endpoints
@settings(max_examples=40 if FULL else 5 if QUICK else 10)
@given(body=bodies, status=st.sampled_from([200, 200, 200, 302, 404, 500]))
@example(body=b"[" * 100_000, status=200)
def test_any_bytes_answer_any_request_with_a_reply_or_an_error_of_ours(
    outgoing: Any, body: bytes, status: int
) -> None:
    """read_reply, for every endpoint."""
    reply = _ours_or_a_value(
        lambda: read_reply(outgoing, status, body, CREDENTIALS, now=None, require_signed=False)
    )
    assert reply is None or isinstance(reply, Reply)


@endpoints
@settings(max_examples=80 if FULL else 5 if QUICK else 10)
@given(data=st.data())
def test_signed_garbage_is_a_reply_or_an_error_of_ours(outgoing: Any, data: st.DataObject) -> None:
    """Any values in the documented fields, right signature included.

    So typing, not verification, is what meets them.
    """
    result = outgoing.request.result_type
    own = st.sampled_from(sorted({*wire_names(result), "state", "code", "trade_state", "msg"}))
    values = st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["0", "4", "-1", "20190524111133", "[]", "[{}]", "[1]", "{}", '{"a":[{}]}', "null"]
        ),
        json_values.map(json.dumps),
    )
    success = {"state": "SUCCESS", "code": "10000", "trade_state": "SUCCESS"}
    same = {name: value for name, value in outgoing.fields.items() if name in wire_names(result)}
    fields = success | same | data.draw(st.dictionaries(own, values, max_size=8))
    assume("&" not in "".join(fields.values()))
    try:
        body = json.dumps(signed(fields)).encode()
    except UnicodeEncodeError:
        body = json.dumps(fields | {"sign": "0" * 32}).encode()
    reply = _ours_or_a_value(lambda: read_reply(outgoing, 200, body, CREDENTIALS, now=None))
    if reply is not None:
        assert reply.signed
        repr(reply)
        _ours_or_a_value(reply.unwrap)
        if reply.result is not None:
            for name in ("promotion_detail", "refund_list", "partner_list"):
                repr(getattr(reply.result, name, None))
            getattr(reply.result, "pay_info_json", lambda: None)()


@settings(max_examples=200 if FULL else 15 if QUICK else 30)
@given(
    st.dictionaries(
        st.one_of(known_names, unknown_names),
        st.one_of(whole, json_values.map(json.dumps).filter(lambda value: "&" not in value)),
        max_size=10,
    ),
    st.sampled_from([None, *Wallet]),
)
def test_a_signed_notification_of_garbage_is_read_or_an_error_of_ours(
    changes: dict[str, str], kind: Wallet | None
) -> None:
    """Every property of it too, lists inside included (C 100)."""
    fields = {name: value for name, value in (notification() | changes).items() if value}
    read_by = _ours_or_a_value(
        lambda: parse_notification(form(signed(fields)), CREDENTIALS, kind=kind)
    )
    if read_by is not None:
        assert isinstance(read_by, Notification)
        assert isinstance(read_by.outcome, NotificationOutcome)
        for name in ("promotion_detail", "fund_bill_list", "wallet"):
            repr(getattr(read_by, name, None))
        repr(read_by)


# -------------------------------------------------------------------------------------- requests

free_text = st.text(max_size=30)


@given(free_text, free_text, st.integers(), free_text, st.dictionaries(text, free_text, max_size=3))
def test_any_request_is_refused_or_sent_as_it_was_signed(
    number: str, body: str, fee: int, attach: str, extra: dict[str, str]
) -> None:
    """A ParameterError, or bytes that verify; nothing in between (M-03, M-04)."""
    try:
        request = Pay(
            mch_id="1",
            out_trade_no=number,
            body=body,
            total_fee=fee,
            auth_code="130000000000000000",
            attach=attach,
            extra=extra,
        )
        _check_sent(request)
    except ParameterError as error:
        assert error.problems


def _check_sent(request: Request[Any], credentials: Credentials = CREDENTIALS) -> None:
    outgoing = build_request(request, credentials)
    fields = parse_form(outgoing.body)
    assert fields == dict(outgoing.fields)
    verify(fields, KEY, credentials.algorithm)


@given(text, free_text, st.one_of(st.none(), free_text), algorithms, orders)
def test_queries_of_any_text_are_refused_or_sent_as_they_were_signed(
    mch_id: str,
    number: str,
    transaction_id: str | None,
    algorithm: SignAlgorithm,
    order: SortOrder,
) -> None:
    """For every algorithm and order; orderquery has no rule for its numbers (C 49)."""
    credentials = Credentials("1", KEY, "p", algorithm=algorithm, sort_order=order)
    try:
        request = OrderQuery(
            paytype=PayType.WECHAT,
            mch_id=mch_id,
            out_trade_no=number,
            transaction_id=transaction_id,
        )
        _check_sent(request, credentials)
    except ParameterError as error:
        assert error.problems


@given(st.integers(-5, 20), st.integers(-5, 20))
def test_a_refund_is_made_exactly_when_its_amounts_allow_it(refund: int, total: int) -> None:
    """Both at least 1 fen, the part not above the whole (M-12, C 44)."""
    good = 1 <= refund <= total
    try:
        Refund(
            paytype=PayType.WECHAT,
            out_trade_no="A0001",
            out_refund_no="T1",
            total_fee=total,
            refund_fee=refund,
        )
    except ParameterError:
        assert not good
    else:
        assert good
