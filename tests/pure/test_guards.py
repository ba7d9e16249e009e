"""Small promises around requests and credentials that a careless caller would trip over."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chaoying_async import (
    ChaoyingError,
    Credentials,
    MalformedMessageError,
    MchReg,
    OrderQuery,
    OutcomeUnknownError,
    ParameterError,
    Pay,
    PayType,
    PreviousKey,
    SignAlgorithm,
    SignatureVerificationError,
    parse_notification,
)
from chaoying_async.sansio.api.endpoint import order_of
from chaoying_async.sansio.audit import record
from chaoying_async.sansio.credentials import credentials_from
from chaoying_async.sansio.exchange import Defaults, build_request, read_reply
from chaoying_async.sansio.redact import masked_form
from tests.pure.factories import CREDENTIALS, FULL_REQUESTS, form, notification, signed

PAYMENT: dict[str, Any] = {
    "mch_id": "00000001",
    "out_trade_no": "A100011",
    "body": "x",
    "total_fee": 1,
    "auth_code": "130000000000000000",
}
ROTATED = Credentials(
    CREDENTIALS.agent_id,
    "another-key",
    CREDENTIALS.pid,
    previous_keys=(PreviousKey(CREDENTIALS.key, datetime(2026, 6, 1, tzinfo=UTC)),),
)


def test_extra_cannot_change_after_it_was_checked() -> None:
    """Neither through the request nor through the caller's own dict (M-03)."""
    given = {"shop_note": "a"}
    request = MchReg(extra=given)
    given["total_fee"] = "1"
    with pytest.raises(TypeError):
        request.extra["total_fee"] = "1"  # type: ignore[index]
    assert dict(build_request(request, CREDENTIALS).fields).keys() >= {"shop_note"}
    assert "total_fee" not in build_request(request, CREDENTIALS).fields
    assert pickle.loads(pickle.dumps(request)) == request  # noqa: S301 - our own bytes


def test_undocumented_values_are_shown_nowhere() -> None:
    """Nobody knows what support asks for: an identity card number, perhaps (M-27)."""
    request = MchReg(extra={"id_card": "440101199001011234"})
    outgoing = build_request(request, CREDENTIALS)
    assert repr(request) == "MchReg(extra={'id_card': ***})"
    assert b"440101199001011234" not in masked_form(outgoing.fields)
    assert b"id_card=***" in masked_form(outgoing.fields)


#: How a gateway, or what stands before it, may repeat an undocumented parameter.
REPEATED = {
    "refusal": (200, '{"state":"FAIL","code":"20004","msg":"440101199001011234 格式错误"}'),
    "page": (502, "<html>440101199001011234</html>"),
    "half": (200, '{"state":"FAIL","msg":"440101199001011234 格式'),
}


@pytest.mark.parametrize("how", REPEATED)
def test_undocumented_values_that_come_back_are_shown_nowhere(how: str) -> None:
    """What the request hides, the audit of the reply and the error hide too (M-27)."""
    status, text = REPEATED[how]
    outgoing = build_request(MchReg(extra={"id_card": "440101199001011234"}), CREDENTIALS)
    with pytest.raises(ChaoyingError) as caught:
        read_reply(outgoing, status, text.encode(), CREDENTIALS, now=None)
    said = record(outgoing, CREDENTIALS, elapsed=0.1, status=status, body=text.encode())
    assert (
        "44010119"
        not in f"{caught.value!r}{caught.value}{said.line(datetime(2026, 6, 1, tzinfo=UTC))}"
    )
    assert b"***" in (said.reply or b"")


def test_an_undocumented_value_hides_no_field_that_is_shown() -> None:
    """A shop that sends its order number twice still finds the order in its audit log."""
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011", extra={"shop_no": "A100011"})
    outgoing = build_request(query, CREDENTIALS, defaults=Defaults(mch_id="00000001"))
    body = b'{"out_trade_no":"A100011"}'
    assert record(outgoing, CREDENTIALS, elapsed=0.1, status=200, body=body).reply == body


@pytest.mark.parametrize(
    ("field", "value"), [("algorithm", "MD6"), ("sort_order", "ascii"), ("algorithm", None)]
)
def test_credentials_name_the_setting_that_is_wrong(field: str, value: Any) -> None:
    """An algorithm or an order that does not exist; the names of those that do are fine."""
    assert Credentials("1", "k", "p", algorithm="SHA1").algorithm is SignAlgorithm.SHA1
    with pytest.raises(ParameterError, match=field):
        Credentials("1", "k", "p", **{field: value})


def test_the_environment_names_an_algorithm() -> None:
    """By the name of its member; another one is refused by the variable's name."""
    environ = {"CHAOYING_AGENT_ID": "1", "CHAOYING_KEY": "k", "CHAOYING_PID": "p"}
    chosen = credentials_from(environ | {"CHAOYING_ALGORITHM": "HMAC_SHA256"})
    assert chosen.algorithm is SignAlgorithm.HMAC_SHA256
    assert credentials_from(environ).algorithm is SignAlgorithm.MD5
    with pytest.raises(ParameterError) as caught:
        credentials_from({"CHAOYING_ALGORITHM": "MD6"})
    assert set(caught.value.problems) == {
        "CHAOYING_AGENT_ID",
        "CHAOYING_KEY",
        "CHAOYING_PID",
        "CHAOYING_ALGORITHM",
    }


def test_a_now_without_a_zone_is_the_callers_mistake() -> None:
    """Not a TypeError on the day that the first key is rotated (M-21, M-26)."""
    body = form(signed(notification()))
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the mistake in question
    for credentials in (CREDENTIALS, ROTATED):
        with pytest.raises(ParameterError, match="now"):
            parse_notification(body, credentials, now=naive)


def test_a_forgotten_now_is_hinted_at() -> None:
    """Without a now no previous key counts, and the error says so (M-21)."""
    body = form(signed(notification()))
    with pytest.raises(SignatureVerificationError, match="now="):
        parse_notification(body, ROTATED)
    before = datetime(2026, 6, 1, tzinfo=UTC) - timedelta(seconds=1)
    assert parse_notification(body, ROTATED, now=before).out_trade_no


def test_only_a_plain_number_stands_in_logs_and_errors() -> None:
    """A line end in an order number is refused, and words in one are no number to show."""
    with pytest.raises(ParameterError, match="out_trade_no"):
        OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1\npay A2 RESULT")
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1 pay A2 RESULT")
    assert order_of(query) == ""
    assert order_of(OrderQuery(paytype=PayType.WECHAT, transaction_id="42-1")) == "42-1"


def test_a_reply_over_the_limit_is_refused_before_it_is_parsed() -> None:
    """For synchronous programs too, which have no session to cut it off (M-10)."""
    outgoing = build_request(FULL_REQUESTS[0], CREDENTIALS)
    with pytest.raises(MalformedMessageError, match="more than 10 bytes"):
        read_reply(outgoing, 200, b'{"state": "SUCCESS"}', CREDENTIALS, now=None, max_bytes=10)


def test_a_wrong_now_never_says_that_nothing_was_sent() -> None:
    """Money may have moved by then, whatever is wrong with the caller's clock (M-10)."""
    outgoing = build_request(Pay(**PAYMENT), CREDENTIALS)
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the mistake in question
    body = b'{"state": "SUCCESS", "sign": "00000000000000000000000000000000"}'
    with pytest.raises(OutcomeUnknownError):
        read_reply(outgoing, 200, body, CREDENTIALS, now=naive)
