"""NotificationHandler: how it is made, and what it refuses from the start."""

from __future__ import annotations

from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import (
    OrderKey,
)
from tests.factories import CREDENTIALS, MCH_ID, ORDER
from tests.notifications.crashes import DurableInbox
from tests.shop import FAIL, SUCCESS, Shop

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)


@pytest.fixture
def shop() -> Shop:
    return Shop()


# ---------------------------------------------------------------------------------- how it is made


async def one(order: PaidOrder) -> None: ...
async def two(order: PaidOrder, connection: Any) -> None: ...
async def optional(order: PaidOrder, log: Any = None) -> None: ...
async def none() -> None: ...
async def three(order: PaidOrder, connection: Any, more: Any) -> None: ...
async def keyword(order: PaidOrder, *, connection: Any) -> None: ...


@pytest.mark.parametrize("function", [none, three, keyword, None, "on_paid"])
def test_an_on_paid_that_cannot_be_called_is_refused_when_the_handler_is_made(
    shop: Shop, function: Any
) -> None:
    """Not at the first payment."""
    with pytest.raises(ParameterError) as caught:
        shop.handler(on_paid=function)
    assert "on_paid" in caught.value.problems


def test_a_connection_that_the_inbox_does_not_have_is_refused_too(shop: Shop) -> None:
    """on_paid(order, connection) needs an inbox that lends one."""
    with pytest.raises(ParameterError, match="SqlInbox"):
        shop.handler(on_paid=two)
    shop.handler(DurableInbox(shop.clock), on_paid=two)
    for function in (one, optional, lambda order: None, lambda *args: None):
        shop.handler(on_paid=function)


@pytest.mark.parametrize("credentials", [None, "key", 5, ""])
def test_there_is_no_handler_without_a_key(shop: Shop, credentials: Any) -> None:
    """Fail closed, when it is made."""
    with pytest.raises(ParameterError):
        shop.handler(credentials=credentials)


@pytest.mark.parametrize("expected", [None, 100, "NO_AMOUNT_CHECK"])
def test_there_is_no_handler_without_expected(shop: Shop, expected: Any) -> None:
    """Doing without it takes the very name of what is left out."""
    with pytest.raises(ParameterError, match="NO_AMOUNT_CHECK"):
        shop.handler(expected=expected)


async def test_plain_functions_serve_as_well(shop: Shop) -> None:
    """Everything that the handler calls may be async or not."""
    got: list[PaidOrder] = []
    handler = shop.handler(
        credentials=lambda _mch_id: CREDENTIALS,
        on_paid=got.append,
        expected=lambda _mch_id, number: shop.orders.get(number),
        on_conflict=shop.told.append,
    )
    assert (await handler.handle(shop.body())).body == SUCCESS
    assert (await handler.handle(shop.body(out_trade_no="B"))).body == FAIL
    assert (len(got), shop.reasons()) == (1, [D.UNKNOWN_ORDER])


async def test_a_repr_says_how_it_stands(shop: Shop) -> None:
    """M-27: and neither key nor order."""
    handler = shop.handler()
    await handler.handle(shop.body())
    assert repr(handler) == (
        "<NotificationHandler on <MemoryInbox 1 orders, 0 asides>, 0 at work, closed>"
    )
