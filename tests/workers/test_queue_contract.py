"""What every queue promises, with its real broker and workers in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from procrastinate.exceptions import ConnectorException
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from chaoying_async import Fen, PayType
from chaoying_async.exceptions import UsageError
from tests.servers import Servers
from tests.workers.queues.kits import KITS, Joining, Kit, kill, opened, outcome, until
from tests.workers.queues.shop_task import NAME, NEWER, TROUBLES

pytestmark = pytest.mark.outside

log = logging.getLogger(__name__)

SECRET = "what-the-buyer-told-us"


@pytest.fixture(params=KITS)
async def kit(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path
) -> AsyncIterator[Kit]:
    # It writes the arguments of every task into its log, at INFO.
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    async with opened(KITS[request.param], servers, tmp_path) as kit:
        yield kit


@pytest.fixture
def joining(kit: Kit) -> Joining:
    if not isinstance(kit, Joining):
        pytest.skip("its broker is no part of the shop's transaction")
    return kit


def ids(told: list[dict[str, Any]]) -> set[str]:
    return {each["id"] for each in told}


# ---------------------------------------------------------------------------------------- delivery


async def test_every_outcome_reaches_the_task_whole(kit: Kit) -> None:
    """Also what was sent before a worker ran; in types of JSON alone, of any size and language."""
    sent = [
        outcome(1),
        outcome(2, attach="咖啡 ☕ 😀 \ud83d 'quoted' \"%s\" $1 :name \\ \x00", status="已支付"),
        outcome(3, reason="长" * 50_000),
        outcome(4, raw={"list": [1, [2, {"three": None}]], "yes": True, "big": 2**63}),
    ]
    await kit.send(*sent[:2], outcome(5, payable=Fen(1230), paytype=PayType.WECHAT))
    async with kit.worker():
        await until(lambda: len(ids(kit.effects)) == 3)
        await kit.send(*sent[2:])
        await until(lambda: len(ids(kit.effects)) == 5)
    came = {each.pop("id"): each for each in kit.effects}
    for each in sent:
        wanted = {name: value for name, value in each.items() if name != "id"}
        assert came[each["id"]] | wanted == came[each["id"]]
    assert came["shop:A00005:1"]["payable"] == 1230
    assert came["shop:A00005:1"]["paytype"] == PayType.WECHAT.value


async def test_the_same_outcome_twice_is_harmless(kit: Kit) -> None:
    """Nobody knows how the first call ended: the task gets it at least once, and others as well."""
    await kit.send(outcome(1))
    await kit.send(outcome(1))
    await kit.send(outcome(2))
    async with kit.worker():
        await until(lambda: ids(kit.effects) == {"shop:A00001:1", "shop:A00002:1"})
        await kit.finished()
        done = len(kit.effects)
        await kit.send(outcome(1))
        await until(lambda: len(kit.effects) > done)


@pytest.mark.parametrize("number", [1e400, {1, 2}, b"bytes"], ids=["infinity", "set", "bytes"])
async def test_what_json_cannot_hold_is_refused(kit: Kit, number: Any) -> None:
    """Before anything is written."""
    with pytest.raises((TypeError, ValueError)):
        await kit.send(outcome(1, payable=number))
    assert await kit.jobs() == 0


async def test_an_outcome_for_a_task_that_no_worker_knows_is_not_lost(kit: Kit) -> None:
    """Either the call is refused, or the job waits for a worker that knows the task."""
    async with kit.worker():
        try:
            await kit.send(outcome(1), then=NEWER)
        except UsageError as refused:
            assert NEWER in str(refused)
            assert await kit.jobs() == 0
            return
        await kit.send(outcome(2))
        await until(lambda: ids(kit.effects) == {"shop:A00002:1"})
    async with kit.worker(KNOWS_NEWER="yes"):
        await until(lambda: "shop:A00001:1" in ids(kit.effects))


# ----------------------------------------------------------------------------------------- workers


async def test_a_task_that_raises_runs_again_until_it_returns(kit: Kit) -> None:
    """The shop's own database may be away for a while; the outcome is not to blame."""
    (kit.folder / "broken").touch()
    await kit.send(outcome(1))
    async with kit.worker():
        await until(lambda: len(kit.began) >= 2)
        (kit.folder / "broken").unlink()
        await until(lambda: ids(kit.effects) == {"shop:A00001:1"})
    assert "the shop's own database is away" in kit.log.read_text()  # a person can see why


async def test_a_task_that_is_cancelled_or_ends_otherwise_runs_again(kit: Kit) -> None:
    """Also by what is no Exception: workers that catch only those drop the job, or keep it."""
    sent = [outcome(number, trouble=trouble) for number, trouble in enumerate(TROUBLES)]
    await kit.send(*sent)
    async with kit.worker():
        await until(lambda: ids(kit.effects) == ids(sent))


async def test_a_job_of_a_killed_worker_is_taken_up_by_another(kit: Kit) -> None:
    """Kill -9 with the job in hand: another worker has it in the time that was set."""
    (kit.folder / "held").touch()
    await kit.send(outcome(1))
    async with kit.worker() as first:
        await until(lambda: bool(kit.began))
        kill(first)
        await first.wait()
    (kit.folder / "held").unlink()
    assert kit.effects == []
    killed = time.monotonic()
    async with kit.worker():
        await until(lambda: ids(kit.effects) == {"shop:A00001:1"})
    took = time.monotonic() - killed
    log.info("%s: %.1f s after the kill (set: %s)", type(kit).__name__, took, kit.taken_up_after)
    # A worker has to start, on a machine that may be busy. What the queues wait for if nothing is
    # set is longer: pgqueuer half a minute, the others half an hour and more.
    assert took < kit.taken_up_after + 25


async def test_a_worker_that_is_told_to_end_finishes_what_it_has_in_hand(kit: Kit) -> None:
    """SIGTERM, as in a rolling deployment: one effect, and the others wait for the next worker."""
    (kit.folder / "held").touch()
    await kit.send(outcome(1))
    async with kit.worker() as first:
        await until(lambda: bool(kit.began))
        first.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        (kit.folder / "held").unlink()
        async with asyncio.timeout(30):
            await first.wait()
    await kit.send(outcome(2))
    async with kit.worker():
        await until(lambda: ids(kit.effects) == {"shop:A00001:1", "shop:A00002:1"})
    assert len(kit.effects) == 2


# ------------------------------------------------------------------------------------ transactions


@pytest.mark.parametrize("begun", ["explicitly", "by the first statement", "long ago"])
async def test_a_rolled_back_transaction_leaves_no_job(joining: Joining, begun: str) -> None:
    """SQLAlchemy's connection is in a transaction only after its first statement, which is ours."""
    async with joining.engine.connect() as connection:
        if begun == "explicitly":
            await connection.begin()
        elif begun == "long ago":
            await connection.execute(text("CREATE TABLE written (number integer)"))
        await joining.queue.send(NAME, outcome(1), connection)
        await connection.rollback()
    assert await joining.jobs() == 0


async def test_a_connection_that_is_closed_without_a_commit_leaves_no_job(joining: Joining) -> None:
    """As when the fleet's block is left by an error."""
    with contextlib.suppress(LookupError):
        async with joining.engine.begin() as connection:
            await joining.queue.send(NAME, outcome(1), connection)
            raise LookupError
    assert await joining.jobs() == 0


async def test_a_commit_of_sqlalchemys_commits_the_job(joining: Joining) -> None:
    """Where ours was the only statement too: SQLAlchemy has to know that there is something."""
    async with joining.engine.connect() as connection:
        await joining.queue.send(NAME, outcome(1), connection)
        await connection.commit()
    assert await joining.jobs() == 1


async def test_a_rolled_back_savepoint_takes_its_job_along(joining: Joining) -> None:
    """And no other."""
    async with joining.engine.begin() as connection:
        await joining.queue.send(NAME, outcome(1), connection)
        nested = await connection.begin_nested()
        await joining.queue.send(NAME, outcome(2), connection)
        await nested.rollback()
    assert await joining.jobs() == 1


async def test_no_worker_sees_a_job_before_the_commit(joining: Joining) -> None:
    """A task never starts before what it is about is there."""
    async with joining.worker(), joining.engine.connect() as connection:
        await joining.queue.send(NAME, outcome(1), connection)
        await joining.send(outcome(2))
        await until(lambda: ids(joining.effects) == {"shop:A00002:1"})
        assert ids(joining.began) == {"shop:A00002:1"}
        await connection.commit()
        await until(lambda: len(ids(joining.effects)) == 2)


async def test_a_connection_without_transactions_is_refused(joining: Joining) -> None:
    """AUTOCOMMIT, for the engine or for one connection: a rollback would take nothing back."""
    for engine in (
        joining.engine.execution_options(isolation_level="AUTOCOMMIT"),
        create_async_engine(joining.url, isolation_level="AUTOCOMMIT", poolclass=NullPool),
    ):
        async with engine.connect() as connection:
            with pytest.raises(UsageError, match="AUTOCOMMIT"):
                await joining.queue.send(NAME, outcome(1), connection)
    with pytest.raises(UsageError, match="postgresql"):
        await joining.queue.send(NAME, outcome(1), None)
    assert await joining.jobs() == 0


async def test_a_database_that_cuts_the_connection_leaves_nothing(joining: Joining) -> None:
    """The call raises, and the next transaction works."""
    async with joining.engine.connect() as connection:
        pid = await connection.scalar(text("SELECT pg_backend_pid()"))
        async with joining.engine.connect() as other:
            await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises((DBAPIError, ConnectorException)):
            await joining.queue.send(NAME, outcome(1), connection)
        await connection.invalidate()
    assert await joining.jobs() == 0
    await joining.send(outcome(1))
    assert await joining.jobs() == 1


# ----------------------------------------------------------------------------------- loops, secrets


async def test_a_queue_works_in_any_event_loop(kit: Kit) -> None:
    """`asyncio.run` in a thread, as a synchronous face does it, while this loop sends too."""

    async def elsewhere() -> None:
        if not isinstance(kit, Joining):
            await kit.send(outcome(1))
            await kit.send(outcome(2))
            return
        engine = create_async_engine(kit.url, poolclass=NullPool)
        async with engine.begin() as connection:
            await kit.queue.send(NAME, outcome(1), connection)
            await kit.queue.send(NAME, outcome(2), connection)

    other = asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    await asyncio.gather(other, kit.send(outcome(3)), kit.send(outcome(4)))
    assert await kit.jobs() == 4
    await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    assert await kit.jobs() >= 4


async def test_a_call_that_is_cancelled_may_have_sent_and_breaks_nothing(kit: Kit) -> None:
    """The fleet stops in the middle of one; the next calls work."""
    for number in range(3):
        sending = asyncio.create_task(kit.send(outcome(number)))
        for _ in range(number * 3):
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
    await kit.send(outcome(9))
    assert 1 <= await kit.jobs() <= 4


async def test_nothing_of_an_outcome_is_shown_but_its_id(
    kit: Kit, caplog: pytest.LogCaptureFixture
) -> None:
    """M-27: in no log of ours or of the worker's, no error, no repr; failing tasks included."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    (kit.folder / "broken").touch()
    await kit.send(outcome(1, attach=SECRET))
    shown = [repr(kit.queue), str(kit.queue)]
    async with kit.worker():
        await until(lambda: len(kit.began) >= 2)
        (kit.folder / "broken").unlink()
        await until(lambda: bool(kit.effects))
    shown.append(kit.log.read_text())
    if isinstance(kit, Joining):
        async with kit.engine.begin() as connection:
            await kit.break_tables(connection)
        with pytest.raises((DBAPIError, ConnectorException)) as refused:
            await kit.send(outcome(1, attach=SECRET))
        shown.append("".join(traceback.format_exception(refused.value)))
    assert kit.effects[0]["attach"] == SECRET
    assert not [each for each in [*shown, caplog.text] if SECRET in each]
