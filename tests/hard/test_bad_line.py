"""Tills behind a line that resets, trickles, stalls and half-closes; the gateway's books judge.

CI takes a few seconds, ``FULL=1`` ten minutes. Time is real here: sockets know no other.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from chaoying_async import GatewaySession, Hosts, OrderQuery, Pay, PayType, Poller, SystemClock
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sandbox.demo.remote_sandbox import separate_sandbox
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import PollStatus
from tests.hard.bad_line import Fate, bad_line
from tests.sizes import FULL

SECONDS = 600 if FULL else 4
TILLS = 20
#: Seconds without a byte after which a call is given up, and so long the line stalls.
PATIENCE, STALL = 0.6, 1.0
SCHEDULE = PollSchedule(first=0.1, every=0.3, until=6.0)
#: Fen that the sandbox lets a customer pay at once, and those that it fails.
PAID, FAILED = 1000, 1406
CODE = "130000000000001111"


class Flat:
    """A figure that must not grow once the run is warm."""

    def __init__(self, most: float) -> None:
        self.first: float | None = None
        self.last, self.most = 0.0, most

    def take(self, value: float) -> None:
        self.first = value if self.first is None else self.first
        self.last = value

    @property
    def grew(self) -> float:
        return self.last - (self.first or 0.0)


def resident() -> float:
    """MiB of this process."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 / 2**20


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 180)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures memory by /proc")
async def test_every_order_ends_as_the_books_have_it_and_nothing_grows() -> None:
    """M-01, M-02, M-06: each pay is sent once, no false end, memory and descriptors are flat."""
    clock, rng = SystemClock(), random.Random(20261128)
    ends: dict[str, PollStatus] = {}
    before = descriptors()
    memory, files = Flat(24.0), Flat(100.0)
    async with separate_sandbox() as remote, bad_line(remote.url, rng, stall=STALL) as (url, line):
        session = GatewaySession(
            remote.credentials,
            mch_id=remote.mch_id,
            hosts=Hosts.single(url),
            timeout=httpx.Timeout(PATIENCE),
            deadline=3.0,
            rng=rng,
        )
        async with session as gateway, Poller(gateway, rng=rng) as poller:
            until = clock.monotonic() + SECONDS

            async def till(number: int) -> None:
                sales = 0
                while clock.monotonic() < until:
                    sales += 1
                    fen = FAILED if sales % 5 == 0 else PAID
                    order = f"B{number:02d}X{sales:06d}"
                    pay = Pay(out_trade_no=order, body="tea", total_fee=fen, auth_code=CODE)
                    with suppress(ChaoyingError):  # the query knows
                        await gateway.send(pay)
                    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=order)
                    outcome = await poller.wait(query, expected=fen, schedule=SCHEDULE)
                    ends[order] = outcome.status

            async def watch() -> None:
                warm = clock.monotonic() + SECONDS / 3
                while True:
                    await asyncio.sleep(0.5)
                    if clock.monotonic() >= warm:
                        gc.collect()
                        memory.take(resident())
                        files.take(descriptors())

            watcher = asyncio.create_task(watch())
            async with asyncio.TaskGroup() as tills:
                for number in range(TILLS):
                    tills.create_task(till(number))
            watcher.cancel()
        books = {order["out_trade_no"]: order for order in (await remote.books())["orders"]}
        requests = (await remote.books())["requests"]
    after = descriptors()
    counted = Counter(map(str, ends.values()))
    fates = {str(fate): count for fate, count in line.fates.items()}
    sys.stdout.write(
        f"""
* {len(ends):,} orders: {dict(counted)}
* connections, and what became of them: {fates}
* memory {memory.first:.1f} -> {memory.last:.1f} MiB
* descriptors {files.first:.0f} -> {files.last:.0f}; {before} before, {after} after
"""
    )
    assert not [
        (order, status, books.get(order))
        for order, status in ends.items()
        if _is_wrong(status, books.get(order))
    ]
    assert requests["pay"] <= len(ends)
    assert set(books) <= set(ends)
    assert counted[str(PollStatus.PAID)] > len(ends) * 0.5
    assert counted[str(PollStatus.EXPIRED)] < len(ends) * 0.02
    assert set(line.fates) == set(Fate)
    assert memory.grew <= memory.most
    assert files.grew <= files.most
    assert after <= before + 4


def _is_wrong(status: PollStatus, order: dict[str, object] | None) -> bool:
    paid = order is not None and order["status"] == "PAID"
    if status is PollStatus.PAID:
        return not paid
    if status is PollStatus.EXPIRED:  # it claims nothing: every answer was lost
        return False
    return paid or status not in (PollStatus.FAILED, PollStatus.NOT_FOUND)
