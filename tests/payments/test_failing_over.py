"""M-01: a gateway of the user's fails over; what left is not taken for what was stopped."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from chaoying_async import AttemptInProgressError, GatewaySession
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.refunds import refund_and_track
from chaoying_async.pollstore import MemoryPollStore
from tests.factories import MCH_ID
from tests.payments.test_refund_and_track import refund
from tests.tills import ORDER, TillOnSandbox, a_till, pay

MONEY = ("auth_code", "refund_fee")


class BreakerError(Exception):
    """An error of the user's."""


async def refuses(request: httpx.Request) -> None:
    """A hook as a circuit breaker has it."""
    if any(field.encode() in request.content for field in MONEY):
        raise BreakerError


class Line(httpx.AsyncBaseTransport):
    """Calls that move money are carried out and their answers lost, or they never leave."""

    def __init__(self, shop: TillOnSandbox, *, leaves: bool) -> None:
        self._behind, self._leaves = shop.sandbox.transport, leaves

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        moves_money = any(field.encode() in request.content for field in MONEY)
        if moves_money and not self._leaves:
            raise httpx.ConnectError("refused", request=request)
        reply = await self._behind.handle_async_request(request)
        if moves_money:
            await reply.aread()
            raise httpx.ReadTimeout("lost", request=request)
        return reply


def stopped(shop: TillOnSandbox) -> GatewaySession:
    return session(shop, shop.sandbox.transport, event_hooks={"request": [refuses]})


def lost(shop: TillOnSandbox) -> GatewaySession:
    return session(shop, Line(shop, leaves=True))


def unreached(shop: TillOnSandbox) -> GatewaySession:
    return session(shop, Line(shop, leaves=False))


def shut(shop: TillOnSandbox) -> GatewaySession:
    return session(shop, shop.sandbox.transport)


def session(shop: TillOnSandbox, transport: Any, **options: Any) -> GatewaySession:
    return GatewaySession(
        shop.sandbox.credentials,
        mch_id=shop.sandbox.mch_id,
        op_user_id="op",
        transport=transport,
        clock=shop.clock,
        **options,
    )


class FailOver:
    """The next line where one raises, but for an answer of the gateway."""

    mch_id = None

    def __init__(self, *lines: Any) -> None:
        self._lines = lines

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        for line in self._lines[:-1]:
            try:
                return await line.send(request)
            except Exception:  # noqa: BLE001, S112 - as a user would write it
                continue
        return await self._lines[-1].send(request)


@asynccontextmanager
async def failing_over(shop: TillOnSandbox, *lines: Any) -> AsyncGenerator[Any]:
    """A gateway over these lines, all of them open but the one that is shut."""
    async with AsyncExitStack() as opened:
        sessions = [line(shop) for line in lines]
        for line, one in zip(lines, sessions, strict=True):
            if line is not shut:
                await opened.enter_async_context(one)
        yield FailOver(*sessions)


LINES = [(stopped, lost), (lost, stopped), (lost, unreached), (lost, shut)]


@pytest.mark.parametrize("lines", LINES)
async def test_a_payment_that_left_by_one_line_is_not_charged_again(lines: Any) -> None:
    """It is asked about, whatever the other line raises."""
    async with a_till() as shop, MemoryPollStore() as store, failing_over(shop, *lines) as gateway:

        async def call() -> Any:
            sold = checkout(gateway, pay(100, mch_id=MCH_ID), store=store, clock=shop.clock)
            return await shop.clock.run(sold)

        assert (await call()).status == "PAID"
        with pytest.raises(AttemptInProgressError):
            await call()
        assert shop.status(ORDER) == "PAID"


@pytest.mark.parametrize("lines", LINES)
async def test_a_refund_that_left_by_one_line_is_sent_once(lines: Any) -> None:
    """It is asked about (M-25)."""
    async with a_till() as shop, MemoryPollStore() as store, failing_over(shop, *lines) as gateway:
        await shop.checkout(10_000)
        given_back = refund(100, mch_id=MCH_ID)
        tracked = refund_and_track(gateway, given_back, store=store, clock=shop.clock)
        assert (await shop.clock.run(tracked, within=10**6)).status == "REFUNDED"
        assert shop.sandbox.requests["refund"] == 1
