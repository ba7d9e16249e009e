"""M-27: what holds a secret shows it in no repr, no text, no pickle and no crash dump."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from chaoying_async import (
    ChaoyingError,
    Exchange,
    GatewayError,
    GatewaySession,
    ParameterError,
    Pay,
    PreviousKey,
    parse_notification,
)
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.paid import paid_order
from chaoying_async.sansio.printable import LONGEST_MESSAGE
from chaoying_async.testing import sign_notification
from tests.conftest import PACKAGE, SIGNING
from tests.factories import (
    AUTH_CODE,
    CANARIES,
    CREDENTIALS,
    KEY,
    MCH_ID,
    OPENID,
    ORDER,
    answer_fields,
    body_of,
    every_request,
)
from tests.fake_gateway import FakeGateway, Step, session
from tests.table import table

REQUESTS = every_request()


def objects() -> Iterator[tuple[str, Any]]:
    """One of everything of ours that may hold a secret, holding one."""
    yield "credentials", CREDENTIALS
    yield "previous key", PreviousKey(KEY, datetime(2027, 1, 1, tzinfo=UTC))
    yield "session", GatewaySession(CREDENTIALS)
    for name, request in REQUESTS.items():
        yield f"{name} request", request
        sent = build_request(request, CREDENTIALS)
        yield f"{name} outgoing", sent
        fields = answer_fields(name, openid=OPENID, sub_openid=OPENID, unknown=OPENID)
        reply = read_reply(sent, 200, body_of(fields), CREDENTIALS, now=None)
        yield f"{name} reply", reply
        yield f"{name} result", reply.result
        if name in ("pay", "facepay", "orderquery"):
            yield f"{name} paid order", paid_order(reply.result, mch_id=MCH_ID, raw=reply.raw)
    for wallet in ({"openid": OPENID}, {"buyer_user_id": OPENID, "buyer_logon_id": OPENID}):
        body = sign_notification(
            CREDENTIALS,
            mch_id=MCH_ID,
            out_trade_no=ORDER,
            total_fee=1,
            time_end=datetime(2026, 1, 1, tzinfo=UTC),
            unknown=OPENID,
            **wallet,
        )
        yield f"{len(wallet)} notification", parse_notification(body, CREDENTIALS)
    for name, error in errors():
        yield name, error


def errors() -> Iterator[tuple[str, ChaoyingError]]:
    """Errors about answers and calls that hold secrets."""
    said = f"code {AUTH_CODE} of {OPENID} refused"
    personal = {"msg": said, "openid": OPENID, "auth_code": AUTH_CODE}
    pending: dict[str, Any] = {"trade_state": "NEED_QUERY", **personal}
    for name in ("pay", "facepay", "authcodetoopenid", "WECHAT_PreOrder"):
        for what, changes in (
            ("refusal", {"state": "FAIL", "code": "20005", **personal}),
            ("unclear", {"state": "FAIL", "code": "20006", **personal}),
            ("mismatch", {"out_trade_no": "B1", "auth_code": OPENID}),
            ("pending", pending),
        ):
            sent = build_request(REQUESTS[name], CREDENTIALS)
            try:
                fields = answer_fields(name, **changes)
                read_reply(sent, 200, body_of(fields), CREDENTIALS, now=None).unwrap()
            except ChaoyingError as error:
                yield f"{name} {what}", error
    try:
        Pay(out_trade_no="A1", body="", total_fee=0, auth_code=OPENID + "&sign=1")
    except ParameterError as error:
        yield "parameter error", error


THINGS = dict(objects())


def shown(thing: Any) -> Iterator[str]:
    """Every way in which Python itself would show it."""
    yield repr(thing)
    yield str(thing)
    yield f"{thing}"
    yield repr([thing])
    if isinstance(thing, BaseException):
        yield "".join(traceback.format_exception_only(thing))
        yield str(getattr(thing, "problems", ""))


@table("what", THINGS)
def test_no_secret_is_shown(what: str) -> None:
    """M-27: repr, str and format of every object of ours."""
    for text in shown(THINGS[what]):
        for canary in CANARIES:
            assert canary not in text


@table("what", THINGS)
def test_no_secret_is_pickled(what: str) -> None:
    """M-27: what holds one either refuses to be pickled or leaves it out."""
    try:
        pickled = pickle.dumps(THINGS[what])
    except (TypeError, AttributeError):
        return
    for canary in CANARIES:
        assert canary.encode() not in pickled


@table("what", [what for what in THINGS if "session" not in what])
def test_copies_show_as_little(what: str) -> None:
    """copy.copy of anything of ours is as silent, or refused as pickling is."""
    try:
        copied = copy.copy(THINGS[what])
    except TypeError:
        return
    for canary in CANARIES:
        assert canary not in repr(copied)


def test_an_error_survives_the_way_to_another_process() -> None:
    """Errors are pickled without what the gateway said, and with what they were about."""
    for what, error in errors():
        back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert type(back) is type(error)
        assert str(back) == str(error), what
        assert (back.doing, back.order) == (error.doing, error.order)


def test_a_gateways_message_loses_the_code_it_repeats() -> None:
    """M-27: msg may quote the payment code; error text, .msg and log show *** instead."""
    found = 0
    for what, error in errors():
        if isinstance(error, GatewayError) and what.startswith("pay"):
            found += 1
            assert "***" in str(error)
            assert error.msg is not None
            assert AUTH_CODE not in error.msg
    assert found


@pytest.mark.parametrize("before", range(LONGEST_MESSAGE - len(AUTH_CODE), LONGEST_MESSAGE + 1))
def test_a_long_message_is_masked_before_it_is_cut(before: int) -> None:
    """M-27: a code that stands where the text is cut off does not show its first half."""
    fields = answer_fields("pay", state="FAIL", code="20005", msg="x" * before + AUTH_CODE)
    with pytest.raises(GatewayError) as caught:
        read_reply(
            build_request(REQUESTS["pay"], CREDENTIALS), 200, body_of(fields), CREDENTIALS, now=None
        )
    assert AUTH_CODE[:5] not in str(caught.value)


def crash_dump(error: BaseException) -> Iterator[tuple[str, str]]:
    """What a crash reporter takes of our frames: file, and each local's repr; causes included."""
    dump: traceback.TracebackException | None
    dump = traceback.TracebackException.from_exception(error, capture_locals=True)
    while dump is not None:
        yield "", "".join(dump.format_exception_only())
        for frame in dump.stack:
            if frame.filename.startswith(PACKAGE):
                for name, text in (frame.locals or {}).items():
                    yield frame.filename, f"{name}={text}"
        dump = dump.__cause__ or dump.__context__


FAILURES: dict[str, Step] = {
    "not sent": httpx.ConnectError("refused"),
    "cut": httpx.ReadError("reset"),
    "unavailable": 500,
    "forged": body_of(answer_fields("pay") | {"sign": "0" * 32}, signed=False),
    "unreadable": b'{"openid": "' + OPENID.encode() + b'\xff"}',
    "refused": body_of(answer_fields("pay", state="FAIL", code="20005")),
    "mismatch": body_of(answer_fields("pay", out_trade_no="B200022")),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ["pay", "facepay", "orderquery", "PayBoxConfGet"])
async def test_a_crash_dump_of_our_frames_has_no_key(name: str, failure: str) -> None:
    """M-27: only the frames of signing may hold the key, whatever a reporter collects."""
    async with session(FakeGateway(FAILURES[failure]), read_retries=0, device_info="d") as till:
        with pytest.raises(ChaoyingError) as caught:
            (await till.send(REQUESTS[name])).unwrap()
    for file, text in crash_dump(caught.value):
        if file != SIGNING:
            assert KEY not in text


@pytest.mark.parametrize("failure", FAILURES)
async def test_the_debug_log_of_a_failing_call_is_clean(
    failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-27: everything that anybody logs during a call, at DEBUG, engines included."""
    caplog.set_level(logging.DEBUG)
    seen: list[Exchange] = []
    for name in REQUESTS:
        options: dict[str, Any] = {
            "device_info": "d",
            "read_retries": 0,
            "on_exchange": seen.append,
        }
        async with session(FakeGateway(FAILURES[failure]), **options) as till:
            try:
                await till.send(REQUESTS[name])
            except ChaoyingError:
                continue
    assert caplog.records
    assert len(seen) == len(REQUESTS)
    for record in caplog.records:
        text = f"{record.getMessage()} {vars(record)!r}"
        assert not any(canary in text for canary in CANARIES)
    for exchange in seen:
        both = exchange.request + (exchange.reply or b"")
        assert not any(canary.encode() in both for canary in CANARIES)
        assert not any(canary in f"{exchange!r} {exchange.error!r}" for canary in CANARIES)
