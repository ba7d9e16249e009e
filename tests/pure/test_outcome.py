"""M-07 to M-11 through read_reply itself, every combination, against a second writing of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from chaoying_async.exceptions import (
    ChaoyingError,
    GatewayError,
    GatewayUnavailableError,
    MalformedMessageError,
    OutcomeUnknownError,
    SignatureVerificationError,
    TransportError,
)
from chaoying_async.sansio.exchange import Outgoing, build_request, read_reply
from chaoying_async.sansio.hosts import Hosts
from chaoying_async.sansio.meaning import Meaning, may_be_unsigned
from chaoying_async.sansio.signing import sign_for
from tests.factories import CREDENTIALS, MONEY, ORDER, answer_fields, body_of, every_request
from tests.pure import rulebook
from tests.sizes import cases, thinned
from tests.table import table

REQUESTS = every_request()
LOOPBACK = Hosts.single("http://127.0.0.1:8000")
PLAIN = Hosts.single("http://gateway.example", dangerous_allow_http=True)


def outgoing(name: str, *, trusted: bool = True) -> Outgoing[Any]:
    """The request as sent over verified https, or with ``verify`` off."""
    return build_request(REQUESTS[name], CREDENTIALS, verify=trusted)


def seen(sent: Outgoing[Any], body: bytes, *, require_signed: bool = False) -> tuple[str, ...]:
    """What read_reply did, in the words of ``rulebook.verdict``."""
    try:
        reply = read_reply(sent, 200, body, CREDENTIALS, now=None, require_signed=require_signed)
    except OutcomeUnknownError as error:
        refusal = error.refusal
        return "raises", "OutcomeUnknownError", type(refusal).__name__ if refusal else ""
    except ChaoyingError as error:
        assert error.doing == sent.endpoint.name
        return "raises", type(error).__name__, ""
    if reply.result is not None:
        assert reply.unwrap() is reply.result
        return ("result",)
    with pytest.raises(ChaoyingError) as caught:
        reply.unwrap()
    return (type(caught.value).__name__,)


@table(
    ("name", "trusted"),
    cases(
        [*((name, True) for name in rulebook.ENDPOINTS), ("pay", False), ("orderquery", False)],
        more=[(name, False) for name in rulebook.ENDPOINTS if name not in {"pay", "orderquery"}],
    ),
)
def test_every_answer_means_what_the_rules_say(name: str, trusted: bool) -> None:
    """M-07, M-08, M-09, M-11: state x code x trade_state x signed x require_signed.

    One in eleven of the first three; with ``FULL=1`` all of them.
    """
    sent = outgoing(name, trusted=trusted)
    wrong = []
    statuses = itertools.product(rulebook.STATES, rulebook.CODES, rulebook.TRADE_STATES)
    for state, code, trade_state in thinned(statuses, every=29, usual=11):
        fields = answer_fields(name, state=state, code=code, trade_state=trade_state)
        for signed in (True, False):
            body = body_of(fields, signed=signed)
            for require_signed in (True, False):
                expected = rulebook.verdict(
                    name,
                    state,
                    code,
                    trade_state,
                    signed=signed,
                    trusted=trusted,
                    require_signed=require_signed,
                )
                found = seen(sent, body, require_signed=require_signed)
                if found != expected:
                    row = f"{state} {code} {trade_state} signed={signed} must={require_signed}"
                    wrong.append(f"{row}: {found} instead of {expected}")
    assert wrong == []


@pytest.mark.parametrize("meaning", Meaning, ids=lambda meaning: meaning.name)
def test_what_ends_an_order_unsigned_needs_a_line_that_can_be_trusted(meaning: Meaning) -> None:
    """M-08, answer by answer: results by their endpoint, what ends an order by its connection."""
    for must_sign, trusted in itertools.product((True, False), repeat=2):
        match meaning:
            case Meaning.RESULT:
                taken = not must_sign
            case Meaning.REFUNDED:
                taken = False
            case Meaning.FAILED | Meaning.REFUSED | Meaning.UNCLEAR_REFUSAL:
                taken = trusted
            case _:
                taken = True
        told = may_be_unsigned(meaning, must_sign=must_sign, trusted=trusted, require_signed=False)
        assert told is taken
        assert not may_be_unsigned(
            meaning, must_sign=must_sign, trusted=trusted, require_signed=True
        )


def test_the_rulebook_covers_every_endpoint_and_code() -> None:
    """A new endpoint or code cannot slip past the sweep above."""
    from chaoying_async.sansio.api import REQUESTS as CLASSES
    from chaoying_async.sansio.enums import Code, State, TradeState

    assert {cls.endpoint.name for cls in CLASSES} == set(rulebook.ENDPOINTS) == set(REQUESTS)
    assert set(Code) <= set(rulebook.CODES)
    assert set(State) <= set(rulebook.STATES)
    assert set(TradeState) <= set(rulebook.TRADE_STATES)
    assert {cls.endpoint.name for cls in CLASSES if cls.endpoint.moves_money} == set(MONEY)
    assert set(MONEY) == set(rulebook.MONEY)


def test_what_repeats_is_neither_money_nor_a_side_effect() -> None:
    """M-02: no request that moves money, registers, or spends a code is marked as repeatable."""
    repeatable = {name for name, request in REQUESTS.items() if request.endpoint.repeatable}
    once = {*MONEY, "Mch_Reg", "GetMchSMSValid", "WXA_Code2Session", "wx_addsubdevconfig"}
    assert repeatable == set(REQUESTS) - once


@pytest.mark.parametrize("empty", ["", None], ids=["empty", "absent"])
@table("member", ["mch_id", "mch_trade_code"])
@table("name", rulebook.TERMINALS)
def test_a_terminal_without_a_merchant_is_not_configured_yet(
    name: str, member: str, empty: str | None
) -> None:
    """M-07, C 27: SUCCESS without both numbers means poll on, signed or not."""
    fields = answer_fields(name, **{member: empty})
    for signed in (True, False):
        assert seen(outgoing(name), body_of(fields, signed=signed)) == ("NotConfiguredYetError",)


@table(
    ("hosts", "verify", "trusted"),
    [
        (Hosts.document(), True, True),
        (Hosts.document(), False, False),
        (LOOPBACK, True, True),
        (LOOPBACK, False, True),
        (PLAIN, True, False),
        (PLAIN, False, False),
    ],
)
def test_an_unsigned_refusal_counts_only_where_nobody_can_have_written_it(
    hosts: Hosts, verify: bool, trusted: bool
) -> None:
    """M-09: https with verify on, or loopback; elsewhere money goes right, reads miss it."""
    body = body_of(answer_fields("pay", state="FAIL", code="20005"), signed=False)
    sent = build_request(REQUESTS["pay"], CREDENTIALS, hosts=hosts, verify=verify)
    unknown = ("raises", "OutcomeUnknownError", "MerchantError")
    assert seen(sent, body) == (("raises", "MerchantError", "") if trusted else unknown)
    query = build_request(REQUESTS["orderquery"], CREDENTIALS, hosts=hosts, verify=verify)
    missing = ("raises", "MissingSignatureError", "")
    assert seen(query, body) == (("raises", "MerchantError", "") if trusted else missing)


@table("name", rulebook.ENDPOINTS)
@table("state", ["SUCCESS", "FAIL", "VER", "WAT"])
def test_a_signature_that_is_there_is_verified_whatever_the_answer_says(
    name: str, state: str
) -> None:
    """M-08: a wrong sign is never overlooked, neither on a failure nor where none is needed."""
    fields = answer_fields(name, state=state)
    for sign in ("0" * 32, "short", sign_for(CREDENTIALS, fields)[::-1]):
        expected = "OutcomeUnknownError" if name in MONEY else "SignatureVerificationError"
        found = seen(outgoing(name), body_of(fields | {"sign": sign}, signed=False))
        assert found == ("raises", expected, "")


def test_an_empty_sign_is_no_sign() -> None:
    """M-08: ``"sign": ""`` is treated as a missing one, not as a wrong one."""
    body = body_of(answer_fields("orderquery") | {"sign": ""}, signed=False)
    assert seen(outgoing("orderquery"), body) == ("raises", "MissingSignatureError", "")
    pending = answer_fields("orderquery", trade_state="NEED_QUERY") | {"sign": ""}
    assert seen(outgoing("orderquery"), body_of(pending, signed=False)) == ("TradePendingError",)


# ------------------------------------------------------------------------------ M-10: HTTP and form


@table("status", [201, 204, 301, 302, 307, 400, 403, 404, 429, 500, 502, 503])
@table("name", rulebook.ENDPOINTS)
def test_any_status_but_200_is_no_answer(name: str, status: int) -> None:
    """M-10: for reads GatewayUnavailableError, for money unknown with that as its cause."""
    good = body_of(answer_fields(name))
    with pytest.raises(TransportError) as caught:
        read_reply(outgoing(name), status, good, CREDENTIALS, now=None)
    error: BaseException | None = caught.value
    if name in MONEY:
        assert isinstance(error, OutcomeUnknownError)
        assert error.refusal is None
        error = error.__cause__
    assert isinstance(error, GatewayUnavailableError)
    assert error.status == status


def unreadable() -> dict[str, bytes]:
    """Bodies that are no reply."""
    good = body_of(answer_fields("orderquery"))
    return {
        "empty": b"",
        "half": good[: len(good) // 2],
        "one byte short": good[:-1],
        "twice": good + good,
        "html": b"<html>Bad gateway</html>",
        "list": b"[]",
        "text": b'"SUCCESS"',
        "null": b"null",
        "not utf-8": good.replace(b"SUCCESS", b"\xff\xfe"),
        "duplicate member": b'{"state":"FAIL","state":"SUCCESS"}',
        "nan": b'{"state":"SUCCESS","base_fee":NaN}',
        "deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
        "many members": b"{" + b",".join(b'"n%d":1' % n for n in range(5000)) + b"}",
        "no state": b'{"code":"10000","trade_state":"SUCCESS"}',
        "state is a list": b'{"state":["SUCCESS"],"code":"10000"}',
    }


@table("kind", unreadable())
@table("name", ["orderquery", "GetMchInfo", "PayBoxConfGet", *MONEY])
def test_an_unreadable_answer_proves_nothing(name: str, kind: str) -> None:
    """M-10: half, broken and foreign bodies are the ProtocolError for reads, unknown for money."""
    with pytest.raises(ChaoyingError) as caught:
        read_reply(outgoing(name), 200, unreadable()[kind], CREDENTIALS, now=None)
    error: BaseException | None = caught.value
    if name in MONEY:
        assert isinstance(error, OutcomeUnknownError)
        assert error.refusal is None
        error = error.__cause__
    assert isinstance(error, MalformedMessageError)
    assert str(caught.value).startswith(f"{name} {outgoing(name).order}".strip() + ":")


@table("missing", ["base_fee", "total_fee"])
def test_a_paid_answer_without_its_amounts_is_not_taken(missing: str) -> None:
    """A signed "paid" that lacks a required amount is an error, never a result with a hole."""
    body = body_of(answer_fields("orderquery", **{missing: None}))
    with pytest.raises(MalformedMessageError, match=missing):
        read_reply(outgoing("orderquery"), 200, body, CREDENTIALS, now=None)


# --------------------------------------------------------------------------- what errors carry


@table("code", [code for code in rulebook.CODES if code])
def test_a_refusal_carries_what_the_gateway_said(code: str) -> None:
    """GatewayError has state, code, msg and every field, and its text says whose and which."""
    fields = answer_fields("orderquery", state="FAIL", code=code, msg="原因", trade_state=None)
    with pytest.raises(GatewayError) as caught:
        read_reply(outgoing("orderquery"), 200, body_of(fields), CREDENTIALS, now=None)
    error = caught.value
    assert (error.state, error.code, error.msg) == ("FAIL", code, "原因")
    assert error.raw["out_trade_no"] == ORDER
    assert (error.doing, error.order) == ("orderquery", ORDER)
    assert str(error).startswith(f"orderquery {ORDER}: state FAIL, code {code}: 原因")


@table("name", ["pay", "refund", "cancel"])
def test_an_unclear_refusal_says_to_query_the_same_number(name: str) -> None:
    """M-09, right column: 20004 may mean "number already used"; the error says what to do."""
    fields = answer_fields(name, state="FAIL", code="20004", trade_state=None)
    with pytest.raises(OutcomeUnknownError, match="same number") as caught:
        read_reply(outgoing(name), 200, body_of(fields), CREDENTIALS, now=None)
    assert isinstance(caught.value.refusal, GatewayError)
    assert caught.value.refusal.code == "20004"


def test_a_wrong_signature_on_money_keeps_its_cause() -> None:
    """M-10: wrongly signed means unknown, and the cause tells why."""
    body = body_of(answer_fields("pay") | {"sign": "0" * 32}, signed=False)
    with pytest.raises(OutcomeUnknownError) as caught:
        read_reply(outgoing("pay"), 200, body, CREDENTIALS, now=None)
    assert isinstance(caught.value.__cause__, SignatureVerificationError)
