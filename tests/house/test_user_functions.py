"""Every function that a user hands in is looked at when its owner is made, not when money moved."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import httpx
import pytest

from chaoying_async import Exchange, GatewaySession, OutcomeUnknownError, ParameterError
from chaoying_async.web.asgi import notification_app
from chaoying_async.web.background import BackgroundHandler
from tests.factories import CREDENTIALS, every_request
from tests.fake_gateway import FakeGateway, session
from tests.ids import without_addresses
from tests.shop import Shop
from tests.table import table

PAY = every_request()["pay"]


async def coroutine(*_given: Any) -> None: ...
def plain(*_given: Any) -> None: ...
async def of_none() -> None: ...
async def of_two(_one: Any, _two: Any) -> None: ...
async def named(*, _message: Any) -> None: ...
def no_argument() -> None: ...


def generator(*_given: Any) -> Iterator[None]:
    yield


async def async_generator(*_given: Any) -> AsyncIterator[None]:
    yield


class Plain:
    def __call__(self, *given: Any) -> None: ...
    def method(self, *given: Any) -> None: ...


class Async:
    async def __call__(self, *given: Any) -> None: ...
    async def method(self, *given: Any) -> None: ...
    @staticmethod
    async def static(*given: Any) -> None: ...
    @classmethod
    async def of_class(cls, *given: Any) -> None: ...


class Yields:
    def __call__(self, *given: Any) -> Iterator[None]:
        yield


IS_ASYNC: dict[str, Any] = {
    "function": coroutine,
    "object": Async(),
    "bound method": Async().method,
    "static method": Async.static,
    "class method": Async.of_class,
    "partial": functools.partial(coroutine, 1),
    "partial of an object": functools.partial(Async(), 1),
    "partial of a partial": functools.partial(functools.partial(Async().method, 1), 2),
    "AsyncMock": AsyncMock(),
}
IS_PLAIN: dict[str, Any] = {
    "function": plain,
    "object": Plain(),
    "bound method": Plain().method,
    "builtin": [].append,
    "lambda": lambda _message: None,
    "lambda that returns a coroutine": lambda message: coroutine(message, 1),
    "partial": functools.partial(plain, 1),
    "partial of an object": functools.partial(Plain(), 1),
    "Mock": Mock(),
    "MagicMock": MagicMock(),
}
IS_NEITHER: dict[str, Any] = {
    "generator": generator,
    "async generator": async_generator,
    "object that yields": Yields(),
    "partial that yields": functools.partial(generator, 1),
    "text": "hook",
    "number": 5,
}


def _session(**options: Any) -> GatewaySession:
    return GatewaySession(CREDENTIALS, mch_id="1", transport=FakeGateway(), **options)


# ------------------------------------------------------------------------------------- event_hooks


@table("event", ["request", "response"])
@table("hook", IS_ASYNC)
async def test_an_async_hook_of_any_make_runs(event: str, hook: str) -> None:
    """M-02: what can be awaited is, and the payment's reply comes back."""
    gateway = FakeGateway()
    async with session(gateway, event_hooks={event: [IS_ASYNC[hook]]}) as till:
        assert (await till.send(PAY)).result is not None


@table("event", ["request", "response"])
@table(
    "hook",
    [*IS_PLAIN.values(), *IS_NEITHER.values(), of_none, of_two, named, None],
    ids=without_addresses,
)
def test_a_hook_that_could_not_be_awaited_is_refused_when_the_session_is_made(
    event: str, hook: Any
) -> None:
    """M-02: not after the first payment was made."""
    with pytest.raises(ParameterError) as caught:
        _session(event_hooks={event: [coroutine, hook]})
    assert list(caught.value.problems) == [f"event_hooks[{event}]"]


@table(
    "hooks", [[coroutine], coroutine, {"response": coroutine}, {"response": None}, {"reply": []}, 5]
)
def test_hooks_of_another_shape_are_refused_when_the_session_is_made(hooks: Any) -> None:
    """A list that is none, and an event that never comes, would silently run nothing."""
    with pytest.raises(ParameterError, match="event_hooks"):
        _session(event_hooks=hooks)


async def test_hooks_are_those_that_were_checked() -> None:
    """A list that changes later, or can be read once only, changes nothing."""
    seen: list[Any] = []

    async def look(message: Any) -> None:
        seen.append(message)

    listed: list[Any] = [look]
    till = session(FakeGateway(), event_hooks={"response": listed, "request": iter([look])})
    listed[:] = [plain]
    for _ in range(2):
        async with till:
            await till.send(PAY)
    assert len(seen) == 4


async def test_a_response_hook_that_raises_a_cancellation_of_its_own_cancels_nobody() -> None:
    """M-02: a payment that was made is not reported as a call that was cancelled."""

    async def broken(_response: httpx.Response) -> None:
        raise asyncio.CancelledError

    async with session(FakeGateway(), event_hooks={"response": [broken]}) as till:
        with pytest.raises(OutcomeUnknownError, match="CancelledError"):
            await till.send(PAY)


async def test_a_response_hook_is_cancelled_with_its_call() -> None:
    """A cancellation from outside stays one."""
    begun = asyncio.Event()

    async def wait(_response: httpx.Response) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with session(FakeGateway(), event_hooks={"response": [wait]}) as till:
        call = asyncio.create_task(till.send(PAY))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


# ------------------------------------------------------------------------------------- on_exchange


@pytest.mark.parametrize("name", sorted(set(IS_PLAIN) - {"lambda that returns a coroutine"}))
async def test_a_plain_on_exchange_of_any_make_runs(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The payment's reply comes back, and nothing is said to have failed."""
    async with session(FakeGateway(), on_exchange=IS_PLAIN[name]) as till:
        assert (await till.send(PAY)).result is not None
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


@table(
    "function",
    [*IS_ASYNC.values(), *IS_NEITHER.values(), no_argument, named, of_two],
    ids=without_addresses,
)
def test_an_on_exchange_that_would_never_run_is_refused_when_the_session_is_made(
    function: Any,
) -> None:
    """An audit that runs nothing would be missed only when it is needed."""
    with pytest.raises(ParameterError) as caught:
        _session(on_exchange=function)
    assert list(caught.value.problems) == ["on_exchange"]


def _cancels(_exchange: Exchange) -> None:
    raise asyncio.CancelledError


def _returns_a_coroutine(exchange: Exchange) -> Any:
    return coroutine(exchange)


def _returns_a_generator(exchange: Exchange) -> Any:
    return generator(exchange)


@pytest.mark.parametrize("function", [_cancels, _returns_a_coroutine, _returns_a_generator])
async def test_an_on_exchange_whose_work_did_not_run_is_told_of_and_hides_nothing(
    function: Callable[[Exchange], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """M-02: the reply comes back as if there were no audit; the log says what went wrong."""
    async with session(FakeGateway(), on_exchange=function) as till:
        assert (await till.send(PAY)).result is not None
    assert [each.levelname for each in caplog.records if "on_exchange" in each.message] == ["ERROR"]


async def test_an_on_exchange_may_start_a_task() -> None:
    """A task runs by itself, so handing one back is no mistake."""
    done: list[str] = []

    async def work(exchange: Exchange) -> None:
        done.append(exchange.order)

    tasks: list[asyncio.Task[None]] = []

    def start(exchange: Exchange) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(work(exchange)))
        return tasks[-1]

    async with session(FakeGateway(), on_exchange=start) as till:
        await till.send(PAY)
        await asyncio.gather(*tasks)
    assert len(done) == 1


# --------------------------------------------------------------------------------------- transport


@table(
    "transport",
    [
        httpx.HTTPTransport(),
        httpx.MockTransport,
        httpx.AsyncClient(),
        httpx.WSGITransport(app=lambda _environ, _start: [b""]),
        "http://127.0.0.1",
        plain,
    ],
    ids=lambda each: getattr(each, "__name__", type(each).__name__),
)
def test_a_transport_that_sends_nothing_is_refused_when_the_session_is_made(transport: Any) -> None:
    """M-01: every call would end "outcome unknown", though nothing can leave."""
    with pytest.raises(ParameterError, match="transport"):
        GatewaySession(CREDENTIALS, transport=transport)


# ----------------------------------------------------------------------------------- notifications

HANDLERS = [
    *("credentials", "expected", "on_not_paid", "on_conflict", "on_callbacks_dark", "on_paid")
]


@table("name", HANDLERS)
@table("function", [*IS_ASYNC.values(), plain, Plain(), Mock()], ids=without_addresses)
def test_a_handler_takes_functions_of_either_kind(name: str, function: Any) -> None:
    """Everything that the handler calls may be async or not."""
    Shop().handler(**{name: function})


@table("name", HANDLERS)
@table("function", [*IS_NEITHER.values(), of_none, named, no_argument], ids=without_addresses)
def test_a_function_that_would_never_run_is_refused_when_the_handler_is_made(
    name: str, function: Any
) -> None:
    """Not at the first notification, whose answer would be `fail` for ever."""
    with pytest.raises(ParameterError) as caught:
        Shop().handler(**{name: function})
    assert list(caught.value.problems) == [name]


@table("confirm", [coroutine, GatewaySession, "gateway", 5])
def test_what_cannot_be_asked_is_refused_as_confirm(confirm: Any) -> None:
    """It would confirm nothing, for ever, without a word."""
    with pytest.raises(ParameterError, match="confirm"):
        Shop().handler(confirm=confirm)


@table("make", [coroutine, async_generator, generator, of_two, None, Shop()])
def test_a_background_handlers_maker_is_looked_at(make: Any) -> None:
    """Not when the first notification comes."""
    with pytest.raises(ParameterError, match="make"):
        BackgroundHandler(make)


@table("handler", [None, Shop, coroutine, type(Shop().handler())])
def test_what_can_answer_no_notification_is_refused_when_its_route_is_made(handler: Any) -> None:
    """Not as an error 500 for each delivery."""
    with pytest.raises(ParameterError, match="handler"):
        notification_app(handler)
