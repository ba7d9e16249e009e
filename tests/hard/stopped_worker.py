"""A process of a shop that is stopped in the middle of on_paid, and told when to go on.

python -m tests.hard.stopped_worker URL NUMBER IDLE MORE

It says "working" as soon as on_paid has written, and goes on at the next line of its input; with
``MORE`` on_paid writes once more then. In the end it says what it answered and what it logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import NotificationHandler, PaidOrder
from chaoying_async.inbox.sql import SqlInbox
from tests.factories import CREDENTIALS
from tests.hard.inbox_workers import expected, notification
from tests.sql_shop import take_effect


class Heard(logging.Handler):
    """The errors of the handler."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def work(url: str, number: str, idle: float, *, more: bool) -> dict[str, Any]:
    heard = Heard()
    logging.getLogger("chaoying_async").addHandler(heard)
    engine = create_async_engine(url)

    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)
        sys.stdout.write("working\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        if more:
            await connection.execute(text("SELECT 1"))

    inbox = SqlInbox(engine, idle=idle)
    handler = NotificationHandler(CREDENTIALS, inbox, on_paid, expected=expected)
    answer = await handler.handle(notification(number))
    await engine.dispose()
    return {
        "body": answer.body.decode(),
        "failed": handler.stats().failed,
        "errors": heard.lines,
    }


def main() -> None:
    url, number, idle, more = sys.argv[1:]
    result = asyncio.run(work(url, number, float(idle), more=more == "MORE"))
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
