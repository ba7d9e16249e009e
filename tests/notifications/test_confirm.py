"""Asking the gateway first, several merchants, and whatever order things come in (M-13 to M-21)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import attrs
import pytest

from chaoying_async import (
    Credentials,
    GatewaySession,
    PaidSource,
    ParameterError,
    PayType,
    PreviousKey,
    TradeType,
    WechatPreOrder,
    suggested_refund,
)
from chaoying_async.sandbox import Sandbox
from chaoying_async.sansio.notifications.case import NO_AMOUNT_CHECK, ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import OrderKey, SeenState
from chaoying_async.sansio.signing import texts
from chaoying_async.testing import FakeClock, sign_notification
from tests.factories import CREDENTIALS, KEY, MCH_ID, ORDER
from tests.pollers import ABSENT, CLOSED, PENDING, UNNAMED, Scripted, always
from tests.shop import FAIL, PRICE, SUCCESS, Dead, Shop, message, queried, said, slow
from tests.sizes import sampled

D = Decision


@pytest.fixture
def shop() -> Shop:
    return Shop()


def gateway(shop: Shop, **says: Any) -> Scripted:
    """Answers every orderquery: paid as ordered, unless ``says`` changes it."""
    return gateway_saying(shop.clock, says)


def gateway_saying(clock: FakeClock, says: dict[str, Any]) -> Scripted:
    paid = {"base_fee": str(PRICE), "total_fee": str(PRICE), "time_end": "20260101080000"}
    return Scripted(clock, always(paid | says))


# ------------------------------------------------------------------------------------- confirm


async def test_what_the_gateway_says_is_what_is_delivered(shop: Shop) -> None:
    """M-13: base_fee is what counts, whatever the notification calls a total."""
    asked = gateway(shop, total_fee="90", coupon_fee="10")
    handler = shop.handler(confirm=asked)
    answer = await handler.handle(shop.body(total_fee=90, coupon_fee=10))
    assert said(answer) == (D.APPLY, SUCCESS)
    (order,) = shop.delivered
    assert (order.source, order.payable, order.paid) == (PaidSource.CONFIRM, PRICE, 90)
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    assert len(asked.asked) == 1


@pytest.mark.parametrize(
    ("says", "decision"),
    [
        (PENDING, D.UNCONFIRMED),
        (ABSENT, D.UNCONFIRMED),
        (UNNAMED, D.UNCONFIRMED),
        ({"state": "FAIL", "code": "20002", "trade_state": None}, D.UNCONFIRMED),
        (CLOSED, D.CONFLICT),
        ({"code": "10002", "trade_state": "REFUND"}, D.CONFLICT),
        ({"base_fee": "1"}, D.CONFLICT),
        ({"base_fee": str(PRICE), "fee_type": "USD"}, D.CONFLICT),
    ],
)
async def test_what_the_gateway_does_not_back_up_is_not_delivered(
    shop: Shop, says: dict[str, Any], decision: Decision
) -> None:
    """M-15: a right signature is not enough; unsure answers are none (M-06)."""
    handler = shop.handler(confirm=gateway(shop, **says))
    assert said(await handler.handle(shop.body())) == (decision, FAIL)
    assert not shop.delivered
    assert shop.reasons() == [decision]


@pytest.mark.parametrize(
    "fields",
    [{"pay_result": "1"}, {"out_trade_no": "B"}, {"time_end": "20200101000000"}, {"mch_id": "2"}],
)
async def test_the_gateway_is_not_asked_about_what_is_decided_anyway(
    shop: Shop, fields: dict[str, Any]
) -> None:
    """A flood of old messages is no flood of queries."""
    asked = gateway(shop)
    await shop.handler(confirm=asked).handle(shop.body(**fields))
    assert not asked.asked


async def test_what_nobody_confirmed_is_asked_about_again(shop: Shop) -> None:
    """M-15, M-17: by run_due, without another delivery."""
    asked = gateway(shop, **PENDING)
    async with shop.handler(confirm=asked) as handler:
        assert said(await handler.handle(shop.body())) == (D.UNCONFIRMED, FAIL)
        asked.script = gateway(shop).script
        await shop.clock.advance(31)
        assert len(shop.delivered) == 1


@pytest.mark.parametrize("opened", [False, True])
async def test_a_gateway_that_never_answers_costs_the_budget_and_no_more(
    shop: Shop, opened: bool
) -> None:
    """The answer is out in time, and the message is set aside all the same."""
    dead = Dead()
    handler = shop.handler(confirm=dead)
    if opened:
        await handler.__aenter__()
    task = asyncio.create_task(handler.handle(shop.body()))
    await shop.clock.advance(2)
    assert task.done()
    assert task.result().body == FAIL
    await shop.clock.advance(40)
    assert shop.reasons() == [D.UNCONFIRMED]
    if opened:
        await handler.__aexit__(None, None, None)


#: A payment whose message names no wallet: that of a third one, or without a trade type.
NAMELESS = [
    {"trade_type": trade_type, "sub_openid": None}
    for trade_type in ("pay.unionpay.native", "pay.ecny.native", None)
]


class Wallets:
    """A gateway that knows the order under some wallets, and says what it is told to of each."""

    mch_id = None

    def __init__(self, shop: Shop, **says: dict[str, Any]) -> None:
        self.says = says
        self.clock = shop.clock
        self.asked: list[str] = []

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        self.asked.append(request.paytype)
        said = self.says.get(request.paytype, ABSENT)
        return await gateway_saying(self.clock, said).send(request)


@pytest.mark.parametrize("fields", NAMELESS)
async def test_where_nothing_names_the_wallet_each_is_asked(
    shop: Shop, fields: dict[str, Any]
) -> None:
    """C 82, C 32: a query may try; what it finds is the wallet that the order is delivered with."""
    asked = Wallets(shop, WECHAT=CLOSED, UNIONPAY={"paytype": None})
    handler = shop.handler(confirm=asked)
    assert said(await handler.handle(shop.body(**fields))) == (D.APPLY, SUCCESS)
    (order,) = shop.delivered
    assert (order.paytype, order.source) == (PayType.UNIONPAY, PaidSource.CONFIRM)
    assert asked.asked == ["WECHAT", "ALIPAY", "JDPAY", "QQ", "UNIONPAY"]


@pytest.mark.parametrize("fields", NAMELESS)
async def test_no_wallet_that_was_tried_can_deny_a_payment(
    shop: Shop, fields: dict[str, Any]
) -> None:
    """M-11: another attempt under the same number may have failed; the message is asked again."""
    handler = shop.handler(confirm=Wallets(shop, WECHAT=CLOSED))
    assert said(await handler.handle(shop.body(**fields))) == (D.UNCONFIRMED, FAIL)
    assert not shop.delivered


@pytest.mark.parametrize("fields", NAMELESS)
async def test_an_order_of_no_known_wallet_suggests_no_refund(
    shop: Shop, fields: dict[str, Any]
) -> None:
    """C 32: never guess for a refund; under another wallet it is answered "not found"."""
    handler = shop.handler()
    assert said(await handler.handle(shop.body(**fields))) == (D.APPLY, SUCCESS)
    (order,) = shop.delivered
    assert order.paytype is None
    with pytest.raises(ParameterError, match="paytype: is not known of this order"):
        suggested_refund(order, op_user_id="cashier")


async def test_a_gateway_that_raises_anything_is_no_answer(shop: Shop) -> None:
    """M-15: whatever it raises."""
    handler = shop.handler(confirm=Dead(ZeroDivisionError("a bug")))
    assert said(await handler.handle(shop.body())) == (D.UNCONFIRMED, FAIL)


async def test_the_currency_is_the_messages_where_the_query_names_none(shop: Shop) -> None:
    """M-13: whoever compares the delivered order again compares what was compared here."""
    shop.orders[ORDER] = ExpectedOrder(PRICE, MCH_ID, fee_type="HKD")
    says = gateway(shop, total_fee="90", coupon_fee="10", fee_type=None)
    answer = await shop.handler(confirm=says).handle(
        shop.body(total_fee=90, coupon_fee=10, fee_type="HKD")
    )
    assert said(answer) == (D.APPLY, SUCCESS)
    assert [order.fee_type for order in shop.delivered] == ["HKD"]


async def test_an_unreadable_message_is_decided_by_the_query(shop: Shop) -> None:
    """M-15: with confirm= even a message that can be read in two ways does its work: it rings."""
    fields = texts(message(shop.clock.now(), time_end="20260101080000"))
    fields |= {"state": "SUCCESS", "result_code": "SUCCESS", "pay_result": "0"}
    fields |= {"attach": "uid=5&version=2"}
    canonical = "&".join(f"{name}={fields[name]}" for name in sorted(fields))
    digest = hashlib.md5(f"{canonical}&key={KEY}".encode()).hexdigest()
    body = urlencode(fields | {"sign": digest}).encode()
    for confirm, heard in ((gateway(shop), SUCCESS), (gateway(shop, **CLOSED), FAIL)):
        assert (await shop.handler(confirm=confirm).handle(body)).body == heard
    assert len(shop.delivered) == 1
    assert shop.reasons() == [D.UNREADABLE]


async def test_settle_asks_only_where_the_amount_is_unknown(shop: Shop) -> None:
    """What a query told is not asked a second time."""
    asked = gateway(shop)
    assert await shop.handler(confirm=asked).settle(queried()) is D.APPLY
    assert not asked.asked
    unpriced = queried(payable=None, paytype=PayType.WECHAT)
    assert await shop.handler(confirm=asked).settle(unpriced) is D.APPLY
    assert len(asked.asked) == 1


async def test_the_whole_way_in_the_sandbox() -> None:
    """A pre-order, a payment, the sandbox's notification, asked about, delivered once."""
    clock = FakeClock()
    async with Sandbox(clock=clock) as sandbox:
        shop = Shop(clock=clock, orders={"PRE00001": ExpectedOrder(1405, sandbox.mch_id)})
        async with GatewaySession(
            sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport, clock=clock
        ) as session:
            await session.send(
                WechatPreOrder(
                    out_trade_no="PRE00001",
                    body="tea",
                    total_fee=1405,
                    trade_type=TradeType.NATIVE,
                    product_id="1",
                    notify_url="https://shop.test/notify",
                )
            )
            handler = shop.handler(credentials=sandbox.credentials, confirm=session)
            early = sandbox.sign_notification("PRE00001")
            assert said(await handler.handle(early)) == (D.UNCONFIRMED, FAIL)
            sandbox.customer_pays("PRE00001")
            body = sandbox.sign_notification("PRE00001")
            assert said(await handler.handle(body)) == (D.APPLY, SUCCESS)
            assert said(await handler.handle(body)) == (D.DUPLICATE, SUCCESS)
    assert [order.payable for order in shop.delivered] == [1405]


# --------------------------------------------------------------------------- several merchants

SECOND = Credentials(agent_id="2", key="second-key", pid="yunpos")
KEYS = {MCH_ID: CREDENTIALS, "00000002": SECOND}


@attrs.define
class Resolver:
    asked: list[str] = attrs.field(factory=list)
    fails: Exception | None = None

    async def __call__(self, mch_id: str) -> Credentials | None:
        self.asked.append(mch_id)
        if self.fails is not None:
            raise self.fails
        return KEYS.get(mch_id)


async def test_each_merchants_messages_are_verified_by_its_own_key(shop: Shop) -> None:
    """M-20: never by another merchant's, however right that signature is."""
    handler = shop.handler(credentials=Resolver(), expected=NO_AMOUNT_CHECK)
    theirs = sign_notification(SECOND, **message(shop.clock.now(), mch_id="00000002"))
    forged = sign_notification(SECOND, **message(shop.clock.now(), mch_id=MCH_ID))
    assert (await handler.handle(shop.body())).body == SUCCESS
    assert (await handler.handle(theirs)).body == SUCCESS
    assert (await handler.handle(forged)).body == FAIL
    assert handler.stats().unverified == 1


async def test_an_unknown_merchant_is_remembered_briefly_and_in_bounds(shop: Shop) -> None:
    """M-20: a flood of made-up numbers is no flood of questions, nor of memory."""
    resolver = Resolver()
    handler = shop.handler(credentials=resolver)
    for _ in range(5):
        assert (await handler.handle(shop.body(mch_id="nobody"))).body == FAIL
    assert resolver.asked == ["nobody"]
    await shop.clock.advance(11)
    await handler.handle(shop.body(mch_id="nobody"))
    assert resolver.asked == ["nobody"] * 2
    for n in range(3000):
        await handler.handle(f"mch_id=m{n}&sign=1")
    assert len(handler._keys._unknown) == 1000
    assert handler.stats().unverified == 3006


@pytest.mark.parametrize("mch_id", ["", "a b", "x" * 65, "超"])
async def test_a_number_that_is_none_is_never_looked_up(shop: Shop, mch_id: str) -> None:
    """M-20: pattern-checked before it reaches anybody's database."""
    resolver = Resolver()
    answer = await shop.handler(credentials=resolver).handle(shop.body(mch_id=mch_id))
    assert answer.body == FAIL
    assert not resolver.asked


async def test_a_resolver_that_fails_is_asked_again(shop: Shop) -> None:
    """M-20: that is no answer about the merchant, and nothing is remembered of it."""
    resolver = Resolver(fails=ConnectionError())
    handler = shop.handler(credentials=resolver)
    assert (await handler.handle(shop.body())).body == FAIL
    resolver.fails = None
    assert (await handler.handle(shop.body())).body == SUCCESS


async def test_a_resolver_that_hangs_or_returns_nonsense_is_answered_fail(shop: Shop) -> None:
    """Inside the budget, which covers it too."""

    async def hangs(_mch_id: str) -> Any:
        await shop.clock.sleep(1000)

    for resolver in (hangs, lambda _mch_id: "key"):
        task = asyncio.create_task(shop.handler(credentials=resolver).handle(shop.body()))
        await shop.clock.advance(2)
        assert task.result().body == FAIL


@pytest.mark.parametrize("takes", [0.5, 1.9])
async def test_a_slow_resolver_leaves_its_order_the_rest_of_the_one_budget(
    shop: Shop, takes: float
) -> None:
    """M-14: the answer is out 2 s after the body came, for the gateway waits no more than 3 s."""
    shop.before = slow(shop, 1.8)

    async def resolver(_mch_id: str) -> Credentials:
        await shop.clock.sleep(takes)
        return CREDENTIALS

    async with shop.handler(credentials=resolver, grace=0.0) as handler:
        task = asyncio.create_task(handler.handle(shop.body()))
        await shop.clock.advance(takes)
        assert not task.done()
        await shop.clock.advance(2 - takes)
        assert said(task.result()) == (Decision.IN_PROGRESS, FAIL)
        await shop.clock.advance(takes)
        assert len(shop.delivered) == 1  # it went on


async def test_a_previous_key_ends_on_the_handlers_clock(shop: Shop) -> None:
    """M-21, M-26: on the injected wall clock, to the moment."""
    until = shop.clock.now() + timedelta(seconds=60)
    rotated = attrs.evolve(
        CREDENTIALS, key="new-key", previous_keys=(PreviousKey(CREDENTIALS.key, until),)
    )
    handler = shop.handler(credentials=rotated)
    assert (await handler.handle(shop.body())).body == SUCCESS
    body = shop.body()
    await shop.clock.advance(60)
    assert (await handler.handle(body)).body == FAIL
    assert handler.stats().unverified == 1


# --------------------------------------------------------------------------------- in any order


async def test_whatever_comes_in_whatever_order_ends_in_one_state(shop: Shop) -> None:
    """M-15: six messages, old and new, in 103 orders: delivered once, DONE for good.

    ``FULL=1``: in all 720.
    """
    now = shop.clock.now()
    bodies: list[Any] = [
        shop.body(),
        shop.body(pay_result="1"),
        shop.body(total_fee=1, transaction_id="T8", out_transaction_id="W8"),
        shop.body(result_code="WAT"),
        shop.body(time_end=now - timedelta(days=40)),
        queried(),
    ]
    for arrivals in sampled(itertools.permutations(bodies), every=7):
        shop.delivered.clear()
        inbox = shop.inbox()
        handler = shop.handler(inbox)
        for body in arrivals:
            if isinstance(body, bytes):
                await handler.handle(body)
            else:
                await handler.settle(body)
        record = await inbox.look(OrderKey(MCH_ID, ORDER))
        assert record is not None
        assert record.state is SeenState.DONE
        assert len(shop.delivered) == 1
        assert handler.stats().decisions[D.APPLY] == 1
