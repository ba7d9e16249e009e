"""Programs without an event loop: they fork, are interrupted, and end without closing anything."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chaoying_async import SystemClock
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox import Sandbox
from chaoying_async.sansio.payments.intent import CHECKOUT, intent_in
from tests.examples.shops import environment, running, told
from tests.factories import CANARIES
from tests.sizes import cases
from tests.workers.blocking_program import CHILDREN, SALES
from tests.workers.fleets import until

#: Each process imports everything anew.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Program:
    """The program in its process, and the gateway that it speaks to."""

    def __init__(self, process: asyncio.subprocess.Process, sandbox: Sandbox, store: str) -> None:
        self.process = process
        self.sandbox = sandbox
        self.store = store

    async def said(self, given: bytes = b"") -> str:
        """What it printed; it ended with status 0, and complained of nothing but what it must."""
        out, err = await self.process.communicate(given)
        assert not [secret for secret in CANARIES if secret.encode() in out + err]
        assert self.process.returncode == 0, err.decode()
        lines = err.decode().splitlines()
        # The second is the session's, where the answer to `pay` was still on its way.
        expected = "was ended from outside", "CancelledError"
        assert not [line for line in lines if not any(words in line for words in expected)]
        return out.decode()

    async def ordered(self) -> None:
        await until(lambda: self.sandbox.ledger.orders)

    async def kept(self) -> dict[str, bool]:
        """The attempts in the store, which is free, and whether each is on record as UNKNOWN."""
        async with asyncio.timeout(10), SqlPollStore(self.store) as store:  # less than a lease
            intents = [intent_in(text) async for _, text in store.load(CHECKOUT)]
        return {intent.out_trade_no: intent.interrupted for intent in intents}


@asynccontextmanager
async def program(how: str, folder: Path) -> AsyncGenerator[Program]:
    sandbox = Sandbox(clock=SystemClock())
    store = f"sqlite:///{folder}/polls.db"
    async with sandbox, sandbox.serve() as url:
        settings = environment(folder, **told(sandbox, url), POLL_STORE=store)
        pipe = asyncio.subprocess.PIPE
        command = ("-m", "tests.workers.blocking_program", how)
        pipes = {"stdin": pipe, "stdout": pipe, "stderr": pipe}
        async with running(*command, folder=folder, settings=settings, **pipes) as process:
            yield Program(process, sandbox, store)


@pytest.mark.parametrize(
    ("how", "unpaid"),
    cases([("forked_while_a_call_is_under_way", 1)], more=[("forked_after_use", 0)]),
)
async def test_a_child_never_uses_the_loop_of_its_parent(
    how: str, unpaid: int, tmp_path: Path
) -> None:
    """Each has a session of its own, in any number of threads; the parent's goes on.

    Without a call under way when it forks: ``FULL=1``.
    """
    async with program(how, tmp_path) as shop:
        sold = json.loads(await shop.said())["statuses"]
        assert sold == ["PAID"] * (2 + CHILDREN * SALES)
        assert shop.sandbox.requests["pay"] == len(sold) + unpaid


async def test_processes_that_were_forked_before_the_first_call_sell_and_end(
    tmp_path: Path,
) -> None:
    """gunicorn with ``preload_app``, and Celery's prefork: nobody closes anything."""
    async with program("preforked", tmp_path) as shop:
        assert json.loads(await shop.said()) == {"statuses": [0] * CHILDREN}
        assert shop.sandbox.requests["pay"] == CHILDREN * SALES


async def test_a_child_never_uses_the_loop_of_a_dead_process_whose_number_it_got(
    tmp_path: Path,
) -> None:
    """Numbers of processes are given out again, to grandchildren of the dead one too."""
    async with program("forked_into_the_number_of_its_parent", tmp_path) as shop:
        assert json.loads(await shop.said()) == {"statuses": [0] * CHILDREN}
        assert shop.sandbox.requests["pay"] == 1 + CHILDREN * SALES


async def test_a_child_of_multiprocessing_that_closes_leaves_its_store_free(tmp_path: Path) -> None:
    """Nothing else would: its end runs no ``atexit``. Who finds the store held says so."""
    async with program("children_of_multiprocessing", tmp_path) as shop:
        assert json.loads(await shop.said()) == {"statuses": [0] * CHILDREN}
        assert shop.sandbox.requests["pay"] == CHILDREN


async def test_ctrl_c_leaves_no_payment_unrecorded(tmp_path: Path) -> None:
    """M-24: the interrupt arrives when the store says UNKNOWN, and the store is free again."""
    async with program("interrupted", tmp_path) as shop:
        await shop.ordered()
        shop.process.send_signal(signal.SIGINT)
        assert json.loads(await shop.said()) == {"interrupted": True}
        assert await shop.kept() == {"CTRLC1": True}


async def test_a_program_that_ends_records_what_its_daemons_have_under_way(tmp_path: Path) -> None:
    """M-24: at its end Python waits for no daemon, but this does."""
    async with program("ended_with_a_payment_under_way", tmp_path) as shop:
        await shop.ordered()
        assert await shop.said(b"\n") == ""
        assert await shop.kept() == {"DAEMON1": True}


async def test_a_program_that_ends_waits_for_its_threads_first(tmp_path: Path) -> None:
    """A thread that still sells is not cut short by the end of the main thread."""
    async with program("ended_before_its_threads", tmp_path) as shop:
        assert json.loads(await shop.said()) == {"statuses": ["PAID"] * SALES}
