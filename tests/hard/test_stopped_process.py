"""A process that stands still in on_paid loses its order to the next one, and never comes back."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import pytest

from chaoying_async import NotificationHandler, PaidOrder
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.inbox_values import OrderKey
from tests.factories import CREDENTIALS, MCH_ID
from tests.hanging import KINDS
from tests.hard.inbox_workers import expected, notification
from tests.servers import Servers
from tests.sizes import cases
from tests.sql_shop import SqlShop, sql_shop, take_effect

NUMBER = "S1"
#: Seconds; an inbox that is not told waits for a minute.
IDLE, TAKEN_OVER = 1.0, 45.0


async def delivered_until_success(shop: SqlShop) -> float:
    """In this process; the seconds that it took."""

    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)

    inbox = SqlInbox(shop.engine, idle=IDLE)
    began = asyncio.get_running_loop().time()
    handler = NotificationHandler(CREDENTIALS, inbox, on_paid, expected=expected, budget=0.5)
    async with handler, asyncio.timeout(TAKEN_OVER + 10):
        while (await handler.handle(notification(NUMBER))).body != b"success":
            pass
    return asyncio.get_running_loop().time() - began


async def token(shop: SqlShop) -> tuple[str, int]:
    record = await shop.inbox.look(OrderKey(MCH_ID, NUMBER))
    assert record is not None
    return record.state, record.token


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", cases(["MORE"], more=["NO MORE"]))
async def test_a_stopped_process_is_taken_over_and_changes_nothing_when_it_wakes(
    servers: Servers, kind: str, more: str
) -> None:
    """M-16: its lock ends after ``idle`` seconds; it says `fail`, once, and writes over nothing."""
    async with sql_shop(kind, servers) as shop:
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.hard.stopped_worker", shop.url, NUMBER, str(IDLE), more),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert worker.stdin is not None
            assert worker.stdout is not None
            assert await worker.stdout.readline() == b"working\n"
            worker.send_signal(signal.SIGSTOP)
            assert await delivered_until_success(shop) < TAKEN_OVER
            assert await shop.effects(NUMBER) == 1
            before = await token(shop)
            worker.send_signal(signal.SIGCONT)
            worker.stdin.write(b"go on\n")
            said = json.loads(await worker.stdout.readline())
            assert await worker.wait() == 0
        finally:
            if worker.returncode is None:
                worker.kill()
        assert said["body"] == "fail"
        assert said["failed"] == 1
        assert len(said["errors"]) <= 1
        assert await token(shop) == before
        assert before[0] == "DONE"
        assert await shop.effects(NUMBER) == 1
