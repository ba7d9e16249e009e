"""Functions that would never run, or did not: `success` is never said of them (M-14)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import OrderKey, SeenState
from tests.factories import MCH_ID, ORDER
from tests.shop import FAIL, SUCCESS, Shop, said

KEY = OrderKey(MCH_ID, ORDER)


@pytest.fixture
def shop() -> Shop:
    return Shop()


def generates(_order: PaidOrder) -> Iterator[None]:
    raise AssertionError
    yield


async def generates_later(_order: PaidOrder) -> AsyncIterator[None]:
    raise AssertionError
    yield


async def works(_order: PaidOrder) -> None:
    await asyncio.sleep(0)


class Callable:
    """An object that is called, with a stray yield in it."""

    def __call__(self, order: PaidOrder) -> Iterator[None]:
        raise AssertionError(order)
        yield

    async def method(self, order: PaidOrder) -> AsyncIterator[None]:
        raise AssertionError(order)
        yield


@pytest.mark.parametrize("name", ["on_paid", "on_paid_after_close"])
@pytest.mark.parametrize(
    "function",
    [
        generates,
        generates_later,
        functools.partial(generates),
        functools.partial(generates_later),
        Callable(),
        Callable().method,
    ],
)
def test_a_stray_yield_is_named_when_the_handler_is_made(
    shop: Shop, name: str, function: Any
) -> None:
    """A generator function is called without running; the mistake is told before any payment."""
    with pytest.raises(ParameterError, match="yield") as caught:
        shop.handler(**{name: function})
    assert list(caught.value.problems) == [name]


def _wrapped(function: Any) -> Any:
    """A decorator hides what kind of function it is."""

    def wrapper(order: PaidOrder) -> Any:
        return function(order)

    return wrapper


def _wrapped_async(function: Any) -> Any:
    async def wrapper(order: PaidOrder) -> Any:
        await asyncio.sleep(0)
        return function(order)

    return wrapper


@pytest.mark.parametrize(
    "on_paid",
    [
        _wrapped(generates),
        _wrapped(generates_later),
        _wrapped_async(generates),
        _wrapped_async(generates_later),
        _wrapped_async(works),  # somebody forgot to await it
        _wrapped(_wrapped_async(works)),
    ],
)
async def test_work_that_was_returned_and_not_done_is_a_failure(
    shop: Shop, on_paid: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """M-14: nothing of it has run: the answer is `fail`, and the log says why."""
    inbox = shop.inbox()
    answer = await shop.clock.run(shop.handler(inbox, on_paid=on_paid).handle(shop.body()))
    assert said(answer) == (Decision.APPLY, FAIL)
    record = await inbox.look(KEY)
    assert record is not None
    assert (record.state, record.failures) == (SeenState.HELD, 1)
    assert "nothing of that has run" in caplog.text


@pytest.mark.parametrize("result", [1, "done", [], object()])
async def test_any_other_result_is_nobodys_business(shop: Shop, result: object) -> None:
    """What on_paid returns is not looked at, but for work that has not begun."""

    async def on_paid(_order: PaidOrder) -> Any:
        return result

    answer = await shop.handler(on_paid=on_paid).handle(shop.body())
    assert said(answer) == (Decision.APPLY, SUCCESS)
