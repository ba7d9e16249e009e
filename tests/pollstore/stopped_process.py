"""A process that charges on a store, to be stopped.

``python -m tests.pollstore.stopped_process STORE`` says ``asking`` at its second query, and answers
PAID after a line on its standard input; then it says how ``checkout`` ended: the status, or the
error and its ``sent``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from chaoying_async import ChaoyingError, PollSchedule
from chaoying_async.payments.checkout import checkout
from chaoying_async.pollstore.sql import SqlPollStore
from tests.factories import MCH_ID
from tests.pollers import PAID, PENDING, reply_to
from tests.tills import pay


class Asked:
    """Undecided, until somebody says that it is paid."""

    mch_id = None

    queries = 0

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        if request.endpoint.name == "pay":
            return reply_to(request, PENDING)
        self.queries += 1
        if self.queries < 2:
            return reply_to(request, PENDING)
        sys.stdout.write("asking\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        return reply_to(request, PAID)


async def main(where: str) -> None:
    async with SqlPollStore(where, lease=1.0) as store:
        try:
            quick = PollSchedule(first=0.05, every=0.05, jitter=0)
            outcome = await checkout(Asked(), pay(100, mch_id=MCH_ID), schedule=quick, store=store)
            said: tuple[object, ...] = (outcome.status, outcome.reason)
        except ChaoyingError as error:
            said = (type(error).__name__, error.sent)
    sys.stdout.write(" ".join(map(str, said)) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
