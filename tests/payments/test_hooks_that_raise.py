"""M-25: a request hook of the user's that raises lets nothing leave, and nothing is waited for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaoying_async import GatewaySession
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.refunds import refund_and_track
from chaoying_async.pollstore import MemoryPollStore
from tests.factories import MCH_ID
from tests.payments.test_refund_and_track import refund
from tests.tills import ORDER, TillOnSandbox, a_till, pay
from tests.workers import test_fleet_payments as fleets
from tests.workers.virtual import THEN, TOLD, VirtualFleet


class HookError(Exception):
    """An error of the user's."""


def raising(field: str) -> dict[str, list[Any]]:
    """Hooks that let every call leave but the first that has this field."""
    left = [field]

    async def hook(request: httpx.Request) -> None:
        if left and left[0].encode() in request.content:
            left.clear()
            try:
                left.remove(field)
            except ValueError as error:
                raise HookError from error

    return {"request": [hook]}


def hooked(shop: TillOnSandbox, field: str, hooks: Any = None) -> GatewaySession:
    """A session with the same sandbox, and such hooks."""
    return GatewaySession(
        shop.sandbox.credentials,
        mch_id=shop.sandbox.mch_id,
        op_user_id="op",
        transport=shop.sandbox.transport,
        event_hooks=hooks or raising(field),
        clock=shop.clock,
    )


async def again(call: Callable[[], Any]) -> Any:
    """What comes of the second call, where the first one is stopped by a hook.

    Both are made while the caller handles another error of its own.
    """
    try:
        int("no number")
    except ValueError:
        with pytest.raises(HookError):
            await call()
        return await call()


@pytest.mark.parametrize("kept", [True, False])
async def test_a_refund_that_a_hook_stopped_is_sent_the_next_time(*, kept: bool) -> None:
    """It certainly never left: so its error is raised, and nobody asks about it for days."""
    async with a_till() as shop, MemoryPollStore() as store:
        await shop.checkout(10_000)
        async with hooked(shop, "refund_fee") as gateway:

            async def call() -> Any:
                options: Any = {"store": store} if kept else {}
                tracked = refund_and_track(gateway, refund(100), clock=shop.clock, **options)
                return await shop.clock.run(tracked, within=10**6)

            assert (await again(call)).status == "REFUNDED"
        assert shop.sandbox.requests["refund"] == 1


@pytest.mark.parametrize("kept", [True, False])
async def test_a_payment_that_a_hook_stopped_is_sent_the_next_time(*, kept: bool) -> None:
    """Its error is raised, and its order may be charged."""
    async with a_till() as shop, MemoryPollStore() as store:
        async with hooked(shop, "auth_code") as gateway:
            shop.till.session = gateway

            async def call() -> Any:
                options: Any = {"store": store} if kept else {}
                return await shop.checkout(100, **options)

            assert (await again(call)).status == "PAID"
        assert shop.status(ORDER) == "PAID"


async def test_what_left_is_not_taken_for_stopped_by_an_error_that_a_hook_raised_before() -> None:
    """A gateway of the user's may raise the same object afterwards: the money is on its way."""
    shared, hooks = HookError(), raising("auth_code")
    [stopping] = hooks["request"]

    async def hook(request: httpx.Request) -> None:
        try:
            await stopping(request)
        except HookError:
            raise shared  # noqa: B904 - the very same object, as a breaker has it

    class Breaking:
        mch_id = None

        def __init__(self, session: GatewaySession) -> None:
            self._session = session

        async def send(self, request: Any, **options: Any) -> Any:
            reply = await self._session.send(request, **options)
            if request.endpoint.name == "pay":
                raise shared
            return reply

    async with a_till() as shop, MemoryPollStore() as store:
        hooks["request"] = [hook]
        async with hooked(shop, "auth_code", hooks) as session:
            gateway: Any = Breaking(session)

            async def call() -> Any:
                sold = checkout(gateway, pay(100, mch_id=MCH_ID), store=store, clock=shop.clock)
                return await shop.clock.run(sold)

            with pytest.raises(HookError):
                await call()
            assert (await call()).status == "PAID"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pay", "refund"])
def test_what_a_hook_stopped_in_a_fleet_is_sent_the_next_time(tmp_path: Path, name: str) -> None:
    """And is told to nobody."""
    world = VirtualFleet(tmp_path)
    process = world.process("a")
    hooks = raising({"pay": "auth_code", "refund": "refund_fee"}[name])

    def session() -> GatewaySession:
        return GatewaySession(
            world.sandbox.credentials,
            mch_id=world.sandbox.mch_id,
            transport=world.transport,
            event_hooks=hooks,
            clock=world.clock,
        )

    world.make_gateway = session

    async def work() -> None:
        async with world.fleet(process) as fleet:

            async def pays() -> None:
                await fleet.checkout(fleets.pay(), then=THEN)

            async def gives_back() -> None:
                await fleet.refund(fleets.refund(), then=THEN)

            await (again(pays) if name == "pay" else pays())
            await (again(gives_back) if name == "refund" else gives_back())
            while len(TOLD) < 2:
                await world.clock.sleep(1)

    world.run(process, work())
    assert sorted(told["status"] for told in TOLD) == ["PAID", "REFUNDED"]
    assert world.kept == 0
    world.close()
