"""What users' tests stand on besides the clock: signed messages, and the pytest fixtures."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest
import respx

from chaoying_async import (
    Credentials,
    GatewaySession,
    OrderQuery,
    Pay,
    PayType,
    PollStatus,
    Refund,
    RefundQuery,
    TradePendingError,
    TransportError,
    WechatNotification,
    parse_notification,
    refund_and_track,
)
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.testing import FakeClock, sign_notification, signed_reply
from tests.users_pytest import run_pytest

CREDENTIALS = Credentials(agent_id="17", key="testing-key", pid="pid")

_LOAD_ONCE = """
from chaoying_async.testing import pytest_plugin

def pytest_configure(config):
    if pytest_plugin not in config.pluginmanager.get_plugins():
        config.pluginmanager.register(pytest_plugin)
"""

# ---------------------------------------------------------------------------------- the messages


async def test_a_signed_reply_is_what_a_session_believes(
    gateway_router: respx.MockRouter, gateway_transport: httpx.AsyncBaseTransport
) -> None:
    """signed_reply repeats the request's numbers, so that M-06 holds, and takes any field."""
    pay = Pay(out_trade_no="A100011", body="tea", total_fee=120, auth_code="130000000000000000")
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011")
    route = gateway_router.post("https://pay.storepos.cn/UnifiedPay/Gateway")
    async with GatewaySession(CREDENTIALS, mch_id="1", transport=gateway_transport) as gateway:
        route.respond(content=signed_reply(pay, CREDENTIALS))
        assert (await gateway.send(pay)).unwrap().base_fee == 120
        route.respond(content=signed_reply(query, CREDENTIALS, trade_state="NEED_QUERY", code=None))
        with pytest.raises(TradePendingError):
            (await gateway.send(query)).unwrap()
        unsigned = signed_reply(query, CREDENTIALS, trade_state="NEED_QUERY", sign=None)
        route.respond(content=unsigned)
        assert (await gateway.send(query)).signed is False


def test_a_signed_reply_packs_lists_as_the_document_does() -> None:
    """Lists and dicts become JSON text inside the JSON, moments GMT+8, and None takes out."""
    refund = Refund(
        paytype=PayType.WECHAT, out_trade_no="A1", out_refund_no="R1", total_fee=9, refund_fee=3
    )
    reply = signed_reply(
        refund,
        CREDENTIALS,
        msg=None,
        refund_list=[{"refund_fee": "3"}],
        time_end=datetime(2026, 1, 1, tzinfo=UTC),
        sign="0" * 32,
    ).decode()
    assert '"refund_list": "[{\\"refund_fee\\":\\"3\\"}]"' in reply
    assert '"time_end": "20260101080000"' in reply
    assert '"msg"' not in reply
    assert '"base_refund_fee": "3"' in reply
    assert '"sign": "00000000000000000000000000000000"' in reply


def test_a_signed_notification_looks_like_the_documents() -> None:
    """Sorted names, escapes in lower case, and it verifies as paid."""
    body = sign_notification(
        CREDENTIALS,
        mch_id="1",
        out_trade_no="A1",
        total_fee=1,
        time_end=datetime(2026, 1, 1, tzinfo=UTC),
        attach="a b/[!]",
        trade_type="pay.weixin.native",
    )
    names = [pair.partition(b"=")[0] for pair in body.split(b"&")]
    assert names == sorted(names)
    assert b"attach=a+b%2f%5b!%5d" in body
    notification = parse_notification(body, CREDENTIALS)
    assert isinstance(notification, WechatNotification)
    assert notification.outcome.name == "PAID"


# ---------------------------------------------------------------------------------- the fixtures


async def test_an_unexpected_request_is_told_apart(
    gateway_transport: httpx.AsyncBaseTransport,
) -> None:
    """A router without a matching route gives a TransportError that names respx's own error."""
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011", mch_id="1")
    async with GatewaySession(CREDENTIALS, transport=gateway_transport, read_retries=0) as gateway:
        with pytest.raises(TransportError, match="AllMockedAssertionError"):
            await gateway.send(query)


async def test_fake_clock_is_a_fixture(fake_clock: FakeClock) -> None:
    """The fixture gives a clock that stands at its start."""
    await fake_clock.advance(1)
    assert fake_clock.monotonic() == 1


_USERS_TEST = """
import httpx, pytest
from chaoying_async import *
from chaoying_async.testing import signed_reply

CREDENTIALS = Credentials(agent_id="1", key="k", pid="p")
QUERY = OrderQuery(paytype="WECHAT", out_trade_no="A100011", mch_id="1")


@pytest.mark.asyncio
@pytest.mark.parametrize("transport", [None, httpx.AsyncHTTPTransport()])
async def test_forgot_the_transport(transport):
    async with GatewaySession(CREDENTIALS, transport=transport) as gateway:
        await gateway.send(QUERY)


@pytest.mark.asyncio
async def test_swallowed_it():
    async with GatewaySession(CREDENTIALS) as gateway:
        try:
            await gateway.send(QUERY)
        except BaseException:
            pass


@pytest.mark.asyncio
async def test_mocked(gateway_router, gateway_transport):
    gateway_router.post().respond(content=signed_reply(QUERY, CREDENTIALS, trade_state="FAIL"))
    async with GatewaySession(CREDENTIALS, transport=gateway_transport) as gateway:
        await gateway.send(QUERY)


@pytest.mark.asyncio
async def test_sandbox(unused_tcp_port):
    hosts = Hosts.single(f"http://127.0.0.1:{unused_tcp_port}")
    async with GatewaySession(CREDENTIALS, hosts=hosts, read_retries=0) as gateway:
        with pytest.raises(RequestNotSentError):
            await gateway.send(QUERY)
"""


_USERS_WORLD = """
async def on_paid(order, connection):
    pass


def test_it(simulate):
    done = simulate(on_paid=on_paid, seeds=500)
    assert (done.first, done.seeds) == (7, 1)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of a user's tests."""
    folder = tmp_path_factory.mktemp("users")
    (folder / "test_shop.py").write_text(_USERS_TEST)
    (folder / "test_world.py").write_text(_USERS_WORLD)
    (folder / "pytest.ini").write_text("[pytest]\nusefixtures = no_real_gateway\n")
    (folder / "conftest.py").write_text(_LOAD_ONCE)
    return run_pytest(folder, "-q", "-rA", "--simulate-first=7", "--simulate-seeds=1")


@pytest.mark.slow
def test_the_fixture_simulate_takes_its_seeds_from_the_command_line(said: str) -> None:
    """One story again, without a change to the test."""
    assert "PASSED test_world.py::test_it" in said, said


@pytest.mark.slow
def test_with_no_real_gateway_a_users_test_reaches_no_gateway(said: str) -> None:
    """A forgotten transport= fails the test, loudly even where the failure was swallowed."""
    assert said.count("would have called a real gateway at pay.storepos.cn") >= 3, said
    for test in ("forgot_the_transport[None]", "forgot_the_transport[transport1]"):
        assert f"FAILED test_shop.py::test_{test}" in said
    assert "ERROR test_shop.py::test_swallowed_it" in said
    assert "2 failed, 4 passed, 3 errors" in said, said


def test_a_signed_reply_to_a_refund_query_lists_its_refund() -> None:
    """Without a word more it is a success: the refund that was asked about, done (M-06)."""
    query = RefundQuery(paytype=PayType.WECHAT, mch_id="00000001", out_refund_no="R-1")
    outgoing = build_request(query, CREDENTIALS)
    reply = read_reply(outgoing, 200, signed_reply(query, CREDENTIALS), CREDENTIALS, now=None)
    (refund,) = reply.unwrap().refund_list
    assert (refund.out_refund_no, refund.refund_status) == ("R-1", "SUCCESS")


async def test_a_tracked_refund_is_refunded_by_signed_replies(
    gateway_router: respx.MockRouter,
    gateway_transport: httpx.AsyncBaseTransport,
    fake_clock: FakeClock,
) -> None:
    """The amounts of a refund query's reply are its refund's, and refund_and_track reads them."""
    refund = Refund(
        paytype=PayType.WECHAT, out_trade_no="A1", out_refund_no="R1", total_fee=9, refund_fee=3
    )
    query = RefundQuery(paytype=PayType.WECHAT, out_refund_no="R1")
    amounts = {"base_refund_fee": 3, "refund_fee": 2, "coupon_refund_fee": None}
    route = gateway_router.post("https://pay.storepos.cn/UnifiedPay/Gateway")
    route.side_effect = [
        httpx.Response(200, content=signed_reply(refund, CREDENTIALS)),
        httpx.Response(200, content=signed_reply(query, CREDENTIALS, refund_status="PROCESSING")),
        httpx.Response(200, content=signed_reply(query, CREDENTIALS, **amounts)),
    ]
    async with GatewaySession(
        CREDENTIALS, mch_id="1", op_user_id="9", transport=gateway_transport, clock=fake_clock
    ) as gateway:
        outcome = await fake_clock.run(
            refund_and_track(gateway, refund, clock=fake_clock), within=10**6
        )
    assert outcome.status is PollStatus.REFUNDED
    assert route.call_count == 3
    assert outcome.refund is not None
    assert (outcome.refund.base_refund_fee, outcome.refund.refund_fee) == (3, 2)


def test_a_refund_list_of_your_own_is_the_whole_list() -> None:
    """It takes the place of the one refund, and nothing is put into it."""
    query = RefundQuery(paytype=PayType.WECHAT, mch_id="1", out_refund_no="R1")
    entries = [{"out_refund_no": "R1", "base_refund_fee": "5"}, {"out_refund_no": "R2"}]
    reply = json.loads(signed_reply(query, CREDENTIALS, refund_list=entries))
    assert json.loads(reply["refund_list"]) == entries
