"""A process that polls on a store, to be killed.

``python -m tests.hard.poll_process STORE TRACK DONE`` tracks so many orders, waits for a line, and
then takes outcomes, writing a line for each event: ``kept`` when all that it tracked is durable,
``took NUMBER STATUS`` for each outcome, and after the first DONE of them ``done NUMBER`` when it is
durable that they took effect. ``end`` when all have ended.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from chaoying_async import Poller, PollSchedule
from chaoying_async.clock import SystemClock
from chaoying_async.pollstore.sql import SqlPollStore
from tests.pollers import CLOSED, PAID, PENDING, number_of, orders, reply_to

QUICK = PollSchedule(first=0.02, every=0.05, until=30, jitter=0)
LEASE = 1.5


class Slow:
    """A gateway that takes a moment, and says how an order ended when asked for the second time."""

    mch_id = None

    def __init__(self) -> None:
        self.seen: set[str] = set()

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        await SystemClock().sleep(0.005)
        number = number_of(request)
        if number not in self.seen:
            self.seen.add(number)
            return reply_to(request, PENDING)
        return reply_to(request, end_of(number))


def end_of(number: str) -> dict[str, Any]:
    return CLOSED if int(number[1:]) % 3 == 0 else PAID


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(where: str, track: int, done: int) -> None:
    async with (
        SqlPollStore(where, lease=LEASE) as store,
        Poller(Slow(), QUICK, concurrency=5, store=store) as poller,
    ):
        for query in orders(track):
            poller.track(query, 100)
        await poller.kept()
        say("kept", track)
        await asyncio.to_thread(sys.stdin.readline)
        async for outcome in poller.drain():
            say("took", number_of(outcome.query), outcome.status)
            if done > 0:
                done -= 1
                outcome.done()
                await poller.kept()
                say("done", number_of(outcome.query))
        await poller.kept()
        say("end", poller.stats().unreadable)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
