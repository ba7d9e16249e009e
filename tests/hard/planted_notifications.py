"""Bugs that are planted into the handler of notifications and its inbox."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from typing import Any

import aiosqlite
import attrs
import pytest

from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.notifications.handler import NotificationHandler
from chaoying_async.sandbox.bank.ledger import MCH_ID
from chaoying_async.sansio import signing
from chaoying_async.sansio.notifications import reading
from chaoying_async.sansio.notifications.decide import Decision, NotificationAnswer
from chaoying_async.session import GatewaySession
from tests.hard.planting import everywhere, planted, with_trigger, without_row


@planted("acknowledged before the commit", "M-14")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def early(self: NotificationHandler, body: bytes, **options: Any) -> NotificationAnswer:
        task = asyncio.create_task(handle(self, body, **options))
        await asyncio.wait([task], timeout=0.02)
        return task.result() if task.done() else NotificationAnswer(status=200, body=b"success")

    patch.setattr(NotificationHandler, "handle", early)


@planted("a timeout is acknowledged", "M-14")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def hopeful(self: NotificationHandler, body: bytes, **options: Any) -> NotificationAnswer:
        answer = await handle(self, body, **options)
        if answer.decision is None and answer.status == 200:
            return NotificationAnswer(status=200, body=b"success")
        return answer

    patch.setattr(NotificationHandler, "handle", hopeful)


@planted("a failed COMMIT is taken for one", "M-16")
def _(patch: pytest.MonkeyPatch) -> None:
    commit = aiosqlite.Connection.commit

    async def careless(self: aiosqlite.Connection) -> None:
        try:
            await commit(self)
        except sqlite3.Error:
            await self.rollback()

    patch.setattr(aiosqlite.Connection, "commit", careless)


@planted("run_due does nothing", "M-17")
def _(patch: pytest.MonkeyPatch) -> None:
    async def idle(_: NotificationHandler) -> int:
        return 0

    patch.setattr(NotificationHandler, "run_due", idle)


@planted("the inbox forgets what is done", "M-16")
def _(patch: pytest.MonkeyPatch) -> None:
    with_trigger(
        patch,
        "AFTER UPDATE ON chaoying_orders WHEN NEW.state = 'DONE' BEGIN"
        " DELETE FROM chaoying_orders WHERE out_trade_no = NEW.out_trade_no; END",
    )


@planted("the amount is not compared", "M-15")
def _(patch: pytest.MonkeyPatch) -> None:
    without_row(patch, "another_amount", "unconfirmed")


@planted("a failed payment takes effect", "M-15")
def _(patch: pytest.MonkeyPatch) -> None:
    without_row(patch, "not_paid", "unreadable")


@planted("an unknown order is acknowledged", "M-15")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def polite(self: NotificationHandler, body: bytes, **options: Any) -> NotificationAnswer:
        answer = await handle(self, body, **options)
        if answer.decision in (Decision.CONFLICT, Decision.UNCONFIRMED, Decision.UNKNOWN_ORDER):
            return NotificationAnswer(status=200, body=b"success", decision=answer.decision)
        return answer

    patch.setattr(NotificationHandler, "handle", polite)


@planted("signatures are not checked", "M-08")
def _(patch: pytest.MonkeyPatch) -> None:
    verify_form = signing.verify_form

    def trusting(*args: Any, **options: Any) -> Any:
        patch.setattr(signing, "_fits", lambda *_: True)
        return verify_form(*args, **options)

    everywhere(patch, verify_form, trusting)
    everywhere(patch, signing.verify_for, lambda *_, **__: None)
    patch.setattr(signing, "_fits", lambda *_: True)


@planted("a number alone is an order, whoever's", "M-18")
def _(patch: pytest.MonkeyPatch) -> None:
    read = reading.read_facts

    def ours(*args: Any, **options: Any) -> Any:
        return attrs.evolve(read(*args, **options), mch_id=MCH_ID)

    everywhere(patch, read, ours)


@planted("what is forged is acknowledged", "M-14")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def polite(self: NotificationHandler, body: bytes, **options: Any) -> NotificationAnswer:
        before = self.stats().unverified
        answer = await handle(self, body, **options)
        refused = self.stats().unverified > before
        return NotificationAnswer(status=200, body=b"success") if refused else answer

    patch.setattr(NotificationHandler, "handle", polite)


@planted("an order that failed once is given up", "M-17")
def _(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> Sequence[Any]:
        return ()

    patch.setattr(SqlInbox, "unfinished", nothing)


@planted("settle promises before it is durable", "M-16")
def _(patch: pytest.MonkeyPatch) -> None:
    settle = NotificationHandler.settle

    async def hasty(self: NotificationHandler, paid: Any) -> Decision:
        task = asyncio.create_task(settle(self, paid))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return Decision.APPLY

    patch.setattr(NotificationHandler, "settle", hasty)


@planted("a task is left behind", "M-17")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def littering(
        self: NotificationHandler, body: bytes, **options: Any
    ) -> NotificationAnswer:
        asyncio.get_running_loop().create_task(asyncio.Event().wait())
        return await handle(self, body, **options)

    patch.setattr(NotificationHandler, "handle", littering)


@planted("the key is logged", "M-27")
def _(patch: pytest.MonkeyPatch) -> None:
    import logging

    send = GatewaySession.send

    async def talkative(self: GatewaySession, request: Any, **options: Any) -> Any:
        logging.getLogger("chaoying_async").debug("%s", getattr(request, "auth_code", ""))
        return await send(self, request, **options)

    patch.setattr(GatewaySession, "send", talkative)
