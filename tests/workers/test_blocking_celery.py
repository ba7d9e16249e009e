"""Celery's prefork, as people run it: children share nothing, and a soft time limit records.

Two children sell three times; ``FULL=1``: four, sixteen times.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from chaoying_async import SystemClock
from chaoying_async.sandbox import Sandbox
from chaoying_async.sansio.payments.intent import CHECKOUT, intent_in
from tests.examples.shops import environment, told
from tests.sizes import FULL

pytest.importorskip("celery")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHILDREN, SALES = (4, 16) if FULL else (2, 3)
WORKER = (
    *("-m", "celery", "-A", "tests.workers.blocking_tasks", "worker", "-P", "prefork"),
    *("--without-gossip", "--without-mingle"),
)


async def test_children_sell_and_a_soft_time_limit_leaves_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-24: the task fails with Celery's own error, and the payment is UNKNOWN in the store."""
    for folder in ("queue", "results", "control"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("CELERY_FOLDER", str(tmp_path))
    from celery.exceptions import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
        SoftTimeLimitExceeded,
    )

    from tests.workers.blocking_tasks import sold, sold_within_a_second

    def shop() -> list[tuple[str, int]]:
        waiting = [sold.delay(f"CELERY{number:03}") for number in range(SALES)]
        too_long = sold_within_a_second.delay("CELERYSOFT")
        with pytest.raises(SoftTimeLimitExceeded):
            too_long.get(timeout=100)
        return [result.get(timeout=100) for result in waiting]

    sandbox = Sandbox(clock=SystemClock())
    store = f"sqlite:///{tmp_path}/polls.db"
    async with sandbox, sandbox.serve() as url:
        settings = environment(tmp_path, **told(sandbox, url), POLL_STORE=store)
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, *WORKER, "-c", str(CHILDREN), "-l", "warning"),
            env=settings,
            cwd=tmp_path,
        )
        try:
            found = await asyncio.to_thread(shop)
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait() == 0
        finally:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
    assert [status for status, _ in found] == ["PAID"] * SALES
    assert sandbox.requests["pay"] == SALES + 1
    # Not through a store: the lease of a child that Celery ended is still to run out.
    with closing(sqlite3.connect(tmp_path / "polls.db")) as connection:
        rows = connection.execute("SELECT body FROM chaoying_polls WHERE kind = ?", (CHECKOUT,))
        intents = [intent_in(text) for (text,) in rows]
    assert {intent.out_trade_no: intent.interrupted for intent in intents} == {"CELERYSOFT": True}
