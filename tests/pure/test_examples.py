"""Every printed example is read, or refused for the reason that contradictions.md gives."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from chaoying_async import Pay, QrConfGet, Refund, WechatPreOrder
from chaoying_async.exceptions import (
    ChaoyingError,
    ChaoyingWarning,
    GatewayError,
    MalformedMessageError,
    MissingSignatureError,
    OutcomeUnknownError,
    ParameterError,
    SignatureVerificationError,
)
from chaoying_async.sansio.api.endpoint import Request, field_specs
from chaoying_async.sansio.api.field_rules import AmountRule, CodeRule, GoodsDetail, GoodsRule
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.exchange import build_request
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.notifications.facts import NotificationOutcome
from chaoying_async.sansio.notifications.message import SUCCESS, parse_notification
from chaoying_async.sansio.signing import verify
from chaoying_async.sansio.wire.forms import parse_form
from chaoying_async.sansio.wire.jsontext import parse_json
from tests.pure.factories import CREDENTIALS, KEY, QUERY, form, read, signed
from tests.pure.spec import CLASSES, INDEX, NOTIFICATIONS, example, full_request, wire_names
from tests.table import table

COMMON = ("method", "agent_id", "pid", "version", "sign")
Outcome = tuple[type[ChaoyingError], str]


def _typed(cls: type[Request[Any]], fields: Mapping[str, str]) -> dict[str, Any]:
    """A printed request's texts as arguments of our class; what is required and absent: None."""
    values: dict[str, Any] = {}
    for spec in field_specs(cls):
        text = fields.get(spec.name)
        if text is None:
            if spec.required:
                values[spec.name] = None
        elif isinstance(spec.rule, AmountRule):
            values[spec.name] = int(text)
        elif isinstance(spec.rule, CodeRule):
            values[spec.name] = spec.rule.table(text)
        elif isinstance(spec.rule, GoodsRule):
            values[spec.name] = _goods(text)
        else:
            values[spec.name] = text
    return values


def _goods(text: str) -> Any:
    try:
        parse_json(text)  # strict
    except MalformedMessageError:
        return text  # no list of items, and refused as that
    return [GoodsDetail(**item) for item in json.loads(text)]


def _rebuilt(name: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The fields of a printed request, and what our class makes of them."""
    cls = CLASSES[INDEX[name]["endpoint"]]
    printed = parse_form(example(name))
    agent = Credentials(printed["agent_id"], KEY, printed["pid"], printed["version"])
    values = _typed(cls, printed)
    if cls.endpoint.name == "Mch_Reg":
        values["extra"] = {field: printed[field] for field in ("key1", "key2")}
    if cls is QrConfGet:
        values["url"] = example("QrConfGet.scanned_url.txt")
    return printed, build_request(cls(**values), agent).fields


#: Printed requests that no correct client may send, and why. What is refused names the fields.
REFUSED_REQUESTS: Mapping[str, tuple[str, set[str]]] = {
    "facepay.request.txt": ("C 60: lacks openid", {"openid"}),
    "refund.request.txt": ("C 59: lacks three required fields", {"total_fee", "refund_fee"}),
    "wx_addsubdevconfig.request.txt": ("C 61: lacks mch_id", {"mch_id"}),
    "WECHAT_PreOrder.request.txt": (
        "C 21: &trade turned into a trade-mark sign; table I: goods_detail closed with ]]",
        {"trade_type", "goods_detail"},
    ),
    "pay.request.txt": ("table I: goods_detail closed with ]]", {"goods_detail"}),
}
#: Printed messages that cannot be read or verified as printed, and why.
REFUSED_TEXTS: Mapping[str, tuple[str, type[ChaoyingError], Callable[[str], Any]]] = {
    "refundquery.request.txt": (
        "C 12: a sign of 33 digits",
        SignatureVerificationError,
        lambda text: verify(parse_form(text), KEY),
    ),
    "ALIPAY_PreOrder.request.txt": (
        "C 12: a sign of 30 digits",
        SignatureVerificationError,
        lambda text: verify(parse_form(text), KEY),
    ),
    "QrConfGet.signed_url.txt": (
        "C 12: a sign of 2 digits",
        SignatureVerificationError,
        lambda text: verify(parse_form(urlsplit(text).query), KEY),
    ),
    "rules.request.javascript.txt": (
        "C 20: a sketch in JavaScript, no message",
        MissingSignatureError,
        lambda text: verify(parse_form(text), KEY),
    ),
    "rules.request.python.txt": (
        "C 20: a sketch in Python, no message",
        SignatureVerificationError,
        lambda text: verify(parse_form(text), KEY),
    ),
    "rules.request.txt": (
        "C 20: lacks agent_id, pid, version and every field of pay",
        ParameterError,
        lambda text: Pay(**_typed(Pay, parse_form(text))),
    ),
    "facepay.response.txt": (
        "C 100: quotes inside promotion_detail are not escaped",
        OutcomeUnknownError,
        lambda text: read(full_request(CLASSES["facepay"]), text.encode()),
    ),
    "pay.response.txt": (
        "C 100: the quote that closes promotion_detail is escaped",
        OutcomeUnknownError,
        lambda text: read(full_request(CLASSES["pay"]), text.encode()),
    ),
    "refundquery.response.txt": (
        "C 100: quotes inside refund_list are not escaped",
        MalformedMessageError,
        lambda text: read(full_request(CLASSES["refundquery"]), text.encode()),
    ),
    "GetPartnerId.response.txt": (
        "C 100: quotes inside partner_list are escaped twice",
        MalformedMessageError,
        lambda text: read(full_request(CLASSES["GetPartnerId"]), text.encode()),
    ),
    "wx_addsubdevconfig.response.txt": (
        "C 77: a comma before the closing brace",
        MalformedMessageError,
        lambda text: read(full_request(CLASSES["wx_addsubdevconfig"]), text.encode()),
    ),
    "rules.failure.response.json": (
        "C 19: a failed call, printed with code 10002",
        GatewayError,
        lambda text: read(QUERY, _resigned(text)),
    ),
}


def _resigned(text: str) -> bytes:
    """The same JSON with a right signature where the print has zeros."""
    members = json.loads(text)
    if "sign" in members:
        members = signed(members)
    return json.dumps(members, ensure_ascii=False).encode()


REQUEST_FILES = sorted(
    name
    for name, row in INDEX.items()
    if row["kind"] in ("request", "request-fixed")
    and row["endpoint"] in CLASSES
    and name not in REFUSED_REQUESTS
    and name not in REFUSED_TEXTS
)
REPLY_FILES = sorted(
    name
    for name, row in INDEX.items()
    if row["kind"] in ("response", "response-fixed") and name not in REFUSED_TEXTS
)
NOTIFICATION_FILES = sorted(name for name, row in INDEX.items() if row["endpoint"] in NOTIFICATIONS)
OTHER_FILES = {
    "QrConfGet.scanned_url.txt",
    "QrConfGet.signed_url.fixed.txt",
    "notify.reply.success.txt",
}


def test_no_example_is_forgotten() -> None:
    """Every file of the index is read by a test here or stands in a table of refusals."""
    seen = {*REQUEST_FILES, *REPLY_FILES, *NOTIFICATION_FILES, *OTHER_FILES}
    refused = {*REFUSED_REQUESTS, *REFUSED_TEXTS}
    assert seen | refused == set(INDEX)
    assert not seen & refused


@table("name", REQUEST_FILES)
def test_a_printed_request_is_what_our_class_sends(name: str) -> None:
    """The same fields with the same texts, whatever order and escaping the print has (C 3)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChaoyingWarning)  # NATIVE without product_id (C 63)
        printed, ours = _rebuilt(name)
    link = {"op_shop_id", "op_user_id"} if name.startswith("QrConfGet") else set()
    bare = {field: text for field, text in ours.items() if field not in link}

    assert bare | {"sign": ""} == dict(printed) | {"sign": ""}


@table("name", REFUSED_REQUESTS)
def test_a_printed_request_that_breaks_a_table_is_refused(name: str) -> None:
    """Where example and table disagree about what is required, the table wins (C 59 to C 61)."""
    reason, fields = REFUSED_REQUESTS[name]
    with pytest.raises(ParameterError) as caught:
        _rebuilt(name)
    assert fields <= set(caught.value.problems), reason


def test_the_refund_example_also_lacks_its_operator() -> None:
    """op_user_id is required on refund, by the request or the session (C 59, C 71)."""
    fields = parse_form(example("refund.request.txt"))
    values: dict[str, Any] = _typed(Refund, fields) | {"total_fee": 4, "refund_fee": 2}
    request = Refund(**values)
    with pytest.raises(ParameterError) as caught:
        build_request(request, CREDENTIALS)
    assert set(caught.value.problems) == {"op_user_id"}


@table("name", REFUSED_TEXTS)
def test_an_unreadable_example_is_refused_for_its_reason(name: str) -> None:
    """Broken in print: an error of ours, never a guess; money is unknown, not failed (C 77)."""
    reason, error, act = REFUSED_TEXTS[name]
    with pytest.raises(error) as caught:
        act(example(name))
    assert type(caught.value) is error, reason
    if error is OutcomeUnknownError:
        assert isinstance(caught.value.__cause__, MalformedMessageError)


def _asked(name: str, members: Mapping[str, Any]) -> Request[Any]:
    """The request that a printed reply answers."""
    endpoint = INDEX[name]["endpoint"]
    cls = CLASSES.get(endpoint, CLASSES["cancel"])
    same = ("out_trade_no", "out_refund_no", "auth_code", "mch_id", "transaction_id", "refund_id")
    own = {spec.name for spec in field_specs(cls)}
    known = {field: members[field] for field in same if field in members and field in own}
    if "refund_list" in members:
        (entry,) = json.loads(members["refund_list"])
        known |= {field: entry[field] for field in ("out_refund_no", "refund_id")}
    if endpoint in ("pay", "facepay"):
        known["total_fee"] = int(members["base_fee"])
    return full_request(cls, **known)


@table("name", REPLY_FILES)
def test_a_printed_reply_is_read_whole(name: str) -> None:
    """Signed with a key of the test: verified, a result, no documented field lost (C 57, C 58)."""
    members = json.loads(example(name))
    reply = read(_asked(name, members), _resigned(example(name)))

    assert reply.meaning is Meaning.RESULT
    assert reply.signed == ("sign" in members)
    assert {field: str(value) for field, value in members.items() if field != "sign"} == {
        field: value for field, value in reply.raw.items() if field != "sign"
    }
    for wire, field in wire_names(type(reply.result)).items():
        value = getattr(reply.result, field.name)
        assert (value is not None) == (wire in members), wire
        if value is not None and isinstance(value, (str, int)):
            assert str(value) == str(members[wire]), wire
        if isinstance(value, datetime):
            assert value.strftime("%Y%m%d%H%M%S") == members[wire]


@table("name", [name for name in REPLY_FILES if '"sign"' in example(name)])
def test_printed_zeros_are_no_signature(name: str) -> None:
    """Every printed sign is zeros: believed by nobody (C 12, C 22)."""
    with pytest.raises(ChaoyingError) as caught:
        read(_asked(name, json.loads(example(name))), example(name).encode())
    assert isinstance(caught.value.__cause__ or caught.value, SignatureVerificationError)


@table("name", NOTIFICATION_FILES)
def test_a_printed_notification_is_read_whole(name: str) -> None:
    """Both kinds, lower-case escapes and all: verified and *paid* (C 15, C 57, C 80)."""
    fields = signed(parse_form(example(name)))
    read_by = parse_notification(form(fields), CREDENTIALS)

    assert type(read_by) is NOTIFICATIONS[INDEX[name]["endpoint"]]
    assert read_by.outcome is NotificationOutcome.PAID
    assert dict(read_by.raw) == fields
    for wire, field in wire_names(type(read_by)).items():
        value = getattr(read_by, field.name)
        assert (value is not None) == (wire in fields), wire
        if isinstance(value, (str, int)):
            assert str(value) == fields[wire]


@table("name", NOTIFICATION_FILES)
def test_printed_zeros_are_no_signature_of_a_notification(name: str) -> None:
    """The example as printed, byte for byte, is refused: its sign is zeros (C 22, C 88)."""
    with pytest.raises(SignatureVerificationError):
        parse_notification(example(name), CREDENTIALS)


def test_the_scanned_link_becomes_the_printed_signed_link() -> None:
    """The link's own bytes first, then the terminal's parameters and the signature (C 96)."""
    scanned = example("QrConfGet.scanned_url.txt")
    printed = example("QrConfGet.signed_url.fixed.txt")
    fields = parse_form(urlsplit(printed).query)
    request = QrConfGet(
        url=scanned, device_info=fields["device_info"], op_device_id=fields["op_device_id"]
    )
    outgoing = build_request(request, Credentials(fields["agent_id"], KEY, "yunpos"))

    assert outgoing.url.startswith(f"{scanned}&")
    assert parse_form(urlsplit(outgoing.url).query) | {"sign": ""} == fields | {"sign": ""}
    assert dict(outgoing.fields) | {"sign": ""} == fields | {"sign": ""}


def test_the_answer_to_a_notification_is_the_printed_one() -> None:
    """Exactly 7 bytes, without the line feed that the file adds (C 85)."""
    assert example("notify.reply.success.txt").encode() == SUCCESS


def test_the_native_example_warns_of_its_missing_product_id() -> None:
    """Marked required for NATIVE, absent from the document's own NATIVE example (C 63)."""
    values = _typed(WechatPreOrder, parse_form(example("WECHAT_PreOrder.request.fixed.txt")))
    with pytest.warns(ChaoyingWarning, match="product_id"):
        WechatPreOrder(**values)
