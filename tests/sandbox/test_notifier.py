"""Result notifications: when they come, what they carry, and when they stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from chaoying_async import (
    AlipayPreOrder,
    NotificationOutcome,
    Request,
    TradeType,
    Wallet,
    WechatPreOrder,
    parse_notification,
)
from chaoying_async.sandbox import Sandbox, Status
from chaoying_async.sandbox.bank.entities import Order
from chaoying_async.sandbox.serving.notifier import SCHEDULE, Notifier
from chaoying_async.testing import FakeClock
from tests.sandbox_calls import session_with


class AsgiReceiver:
    """An ASGI receiver that answers from a list, the last for ever; None never answers."""

    def __init__(self, clock: FakeClock, *answers: tuple[int, bytes] | None) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.moments: list[float] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        self.moments.append(self.clock.monotonic())
        assert (b"content-type", b"application/x-www-form-urlencoded") in scope["headers"]
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await asyncio.Event().wait()
            return
        status, body = answer
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


SUCCESS, FAIL = (200, b"success"), (200, b"fail")
PREORDER = WechatPreOrder(
    out_trade_no="Q100011",
    body="纸巾",
    total_fee=1409,
    trade_type=TradeType.NATIVE,
    product_id="1",
    notify_url="http://shop.example/notify",
)

Run = Callable[..., Awaitable[tuple[Sandbox, AsgiReceiver]]]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Make a pre-order, let time pass, and see what was delivered."""
    opened: list[Sandbox] = []

    async def journey(
        *answers: tuple[int, bytes] | None,
        order: WechatPreOrder | AlipayPreOrder = PREORDER,
        seconds: float = 12_000,
        **options: Any,
    ) -> tuple[Sandbox, AsgiReceiver]:
        clock = FakeClock()
        shop = AsgiReceiver(clock, *answers)
        sandbox = Sandbox(clock=clock, notify_transport=httpx.ASGITransport(shop), **options)
        opened.append(sandbox)
        async with session_with(sandbox) as session:
            await session.send(cast("Request[Any]", order))
        await sandbox.advance(seconds)
        return sandbox, shop

    yield journey
    for sandbox in opened:
        await sandbox.aclose()


def _again(order: WechatPreOrder, total: int) -> WechatPreOrder:
    return WechatPreOrder(
        out_trade_no=order.out_trade_no,
        body=order.body,
        total_fee=total,
        trade_type=order.trade_type,
        product_id="1",
        notify_url=order.notify_url,
    )


class TestNotifications:
    async def test_the_schedule_is_the_documents(self, run: Run) -> None:
        """Twelve attempts at 0, 15, 30 ... 11235 s after the payment, and then never (C 84)."""
        _, shop = await run(FAIL, seconds=100_000)
        first = shop.moments[0]
        assert first == 2  # the customer of a pre-order takes two seconds
        assert [later - earlier for earlier, later in pairwise(shop.moments)] == list(SCHEDULE[1:])
        assert shop.moments[-1] - first == 11_235

    async def test_success_ends_it(self, run: Run) -> None:
        """Exactly ``success`` with status 200, and nothing more comes (C 85)."""
        sandbox, shop = await run(FAIL, SUCCESS)
        assert len(shop.bodies) == 2
        assert [delivery.accepted for delivery in sandbox.deliveries] == [False, True]

    @pytest.mark.parametrize(
        "answer",
        [
            (200, b"success\n"),
            (200, b'"success"'),
            (200, b"SUCCESS"),
            (200, b""),
            (201, b"success"),
            (302, b"success"),
            (500, b"success"),
            (200, b"success" * 1000),
        ],
        ids=str,
    )
    async def test_almost_success_is_not_success(self, run: Run, answer: tuple[int, bytes]) -> None:
        """Anything else is delivered again."""
        sandbox, shop = await run(answer, SUCCESS)
        assert len(shop.bodies) == 2
        assert not sandbox.deliveries[0].accepted

    async def test_three_seconds_are_all_the_time_there_is(self, run: Run) -> None:
        """A shop that does not answer in time is asked again, 15 s after it was asked first."""
        sandbox, shop = await run(None, SUCCESS)
        assert shop.moments == [2, 17]
        assert sandbox.deliveries[0].problem == "no answer within 3 s"

    async def test_what_arrives_verifies_and_types(self, run: Run) -> None:
        """The client's parser believes it: signed, lower-case escapes, amounts as documented."""
        sandbox, shop = await run(SUCCESS)
        notification = parse_notification(shop.bodies[0], sandbox.credentials)
        assert notification.outcome is NotificationOutcome.PAID
        assert notification.wallet is Wallet.WECHAT
        assert (notification.total_fee, notification.coupon_fee) == (1409, 352)
        assert b"%7b%22promotion" in shop.bodies[0]
        names = [pair.partition(b"=")[0] for pair in shop.bodies[0].split(b"&")]
        assert names == sorted(names)

    async def test_total_fee_may_be_what_was_paid(self, run: Run) -> None:
        """The document does not say which; the sandbox can take either side (C 45)."""
        sandbox, shop = await run(SUCCESS, total_is_paid=True)
        assert parse_notification(shop.bodies[0], sandbox.credentials).total_fee == 1057

    async def test_alipays_page_has_its_own_fields(self, run: Run) -> None:
        """fund_bill_list in yuan, and gmt_create that no table lists (C 46, C 57)."""
        order = AlipayPreOrder(
            out_trade_no="Q100011",
            body="纸巾",
            total_fee=1230,
            trade_type=TradeType.NATIVE,
            notify_url="http://shop.example/notify",
        )
        sandbox, shop = await run(SUCCESS, order=order)
        notification = parse_notification(shop.bodies[0], sandbox.credentials)
        assert notification.wallet is Wallet.ALIPAY
        assert notification.raw["fund_bill_list"].startswith('[{"amount":"12.30"')
        assert "gmt_create" in notification.raw

    @pytest.mark.parametrize(
        ("total", "moments"), [(430, [2, 17]), (431, []), (432, [62]), (408, [8]), (405, [])]
    )
    async def test_scenarios_deliver_otherwise(
        self, run: Run, total: int, moments: list[float]
    ) -> None:
        """Twice, never, late, of a failure; and of what expires nobody hears."""
        _, shop = await run(SUCCESS, order=_again(PREORDER, total))
        assert shop.moments == moments

    async def test_a_failure_is_notified_as_one(self, run: Run) -> None:
        """pay_result is not 0: not paid, which is not the same as unclear (M-15)."""
        sandbox, shop = await run(SUCCESS, order=_again(PREORDER, 408))
        notification = parse_notification(shop.bodies[0], sandbox.credentials)
        assert notification.outcome is NotificationOutcome.NOT_PAID

    async def test_a_shop_that_is_not_there_is_tried_again(self) -> None:
        """A transport that fails is an attempt that failed, and no more."""

        def unreachable(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("no route", request=request)

        async with (
            Sandbox(notify_transport=httpx.MockTransport(unreachable)) as sandbox,
            session_with(sandbox) as session,
        ):
            await session.send(PREORDER)
            await sandbox.advance(20)
            assert [each.problem for each in sandbox.deliveries] == ["ConnectError"] * 2

    async def test_the_button_pays_now(self) -> None:
        """customer_pays ends an open order at once, and the shop is told."""
        clock = FakeClock()
        shop = AsgiReceiver(clock, SUCCESS)
        transport = httpx.ASGITransport(shop)
        async with (
            Sandbox(clock=clock, notify_transport=transport) as sandbox,
            session_with(sandbox) as session,
        ):
            await session.send(_again(PREORDER, 405))
            await sandbox.advance(100)
            assert sandbox.customer_pays("Q100011").status is Status.PAID
            await sandbox.advance(0)
            assert shop.moments == [100]
            with pytest.raises(KeyError):
                sandbox.customer_pays("NOBODY")

    async def test_notifications_can_be_made_by_hand(self) -> None:
        """sign_notification: of a known order or an imagined one, with any field changed."""
        async with Sandbox() as sandbox, session_with(sandbox) as session:
            await session.send(PREORDER)
            known = parse_notification(sandbox.sign_notification("Q100011"), sandbox.credentials)
            assert (known.outcome, known.total_fee) == (NotificationOutcome.PAID, 1409)
            made = sandbox.sign_notification("X1", kind="ALIPAY", total_fee=5, device_info=None)
            imagined = parse_notification(made, sandbox.credentials)
            assert (imagined.wallet, imagined.total_fee) == (Wallet.ALIPAY, 5)
            failed = sandbox.sign_notification("X1", pay_result="1", result_code="FAIL")
            outcome = parse_notification(failed, sandbox.credentials).outcome
            assert outcome is NotificationOutcome.NOT_PAID


async def test_a_thousand_at_once_are_sent_a_hundred_at_a_time() -> None:
    """Each is given its three seconds; in a pool of connections most would wait for theirs."""
    clock = FakeClock()
    at_work, most = 0, 0

    async def shop(request: httpx.Request) -> httpx.Response:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await clock.sleep(2)
        at_work -= 1
        return httpx.Response(200, stream=httpx.ByteStream(b"success"))

    notifier = Notifier(clock, lambda _order: b"", httpx.MockTransport(shop))
    order = cast(
        "Order", SimpleNamespace(asked={"notify_url": "http://shop.example/"}, key=("", ""))
    )
    sent = await clock.run(asyncio.gather(*(notifier.attempt(order) for _ in range(1000))))
    assert most == 100
    assert all(each.accepted and each.took == 2 for each in sent)
    assert clock.monotonic() == 20
