"""What CeleryQueue promises beyond the contract: brokers that fail, and what a message says."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery  # type: ignore[import-untyped]
from celery.exceptions import Reject, Retry  # type: ignore[import-untyped]
from kombu.exceptions import OperationalError

from chaoying_async.exceptions import UsageError
from chaoying_async.workers.queues import celery as our_celery
from chaoying_async.workers.queues.celery import CeleryQueue, outcome_task
from tests.servers import Servers, free_port
from tests.workers.queues.celery_app import shop_app
from tests.workers.queues.kits import CeleryOverRedis, opened, outcome, until
from tests.workers.queues.shop_task import NAME

pytestmark = pytest.mark.outside

#: Seconds: another process may have the machine for a while.
GRACE = 15.0


def messages(broker: str) -> list[dict[str, Any]]:
    with redis.from_url(broker) as client:
        return [json.loads(each) for each in client.lrange("celery", 0, -1)]


def sending_threads() -> int:
    return sum(each.name.startswith("chaoying-celery") for each in threading.enumerate())


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a broker that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as bound:
        yield f"redis://127.0.0.1:{bound.getsockname()[1]}/0"


# ------------------------------------------------------------------------------- brokers that fail


async def test_a_broker_that_is_down_raises_in_time() -> None:
    """The outbox keeps the outcome and tries again later."""
    queue = CeleryQueue(shop_app(f"redis://127.0.0.1:{free_port()}/0"), timeout=1.0)
    began = time.monotonic()
    with pytest.raises((OperationalError, TimeoutError)):
        await queue.send(NAME, outcome(1), None)
    assert time.monotonic() - began < 1.0 + GRACE
    queue.close()


async def test_a_broker_that_hangs_raises_in_time_and_blocks_nobody(mute: str) -> None:
    """Twenty calls wait for their time-out beside each other; the event loop goes on."""
    queue = CeleryQueue(shop_app(mute), timeout=1.0, threads=3)
    before, ticks, began = sending_threads(), 0, time.monotonic()
    calls = [asyncio.ensure_future(queue.send(NAME, outcome(n), None)) for n in range(20)]
    while not all(call.done() for call in calls):
        await asyncio.sleep(0.05)
        ticks += 1
    assert {type(call.exception()) for call in calls} <= {TimeoutError, OperationalError}
    assert time.monotonic() - began < 1.0 + GRACE
    assert ticks >= 2  # calls that block the loop leave it one turn, or take 20 s one by one
    assert sending_threads() - before <= 3
    queue.close()


class Connection:
    """To no broker at all."""

    def __init__(self) -> None:
        self.transport = SimpleNamespace(driver_type="none")
        self.transport_options: dict[str, Any] = {}

    def release(self) -> None:
        pass


class SlowApp:
    """An app whose broker takes its time with each message, and takes all of them."""

    def __init__(self) -> None:
        self.tasks = {NAME: None}
        self.sent = 0

    def connection_for_write(self, **_: object) -> Connection:
        return Connection()

    def send_task(self, _name: str, **_: object) -> None:
        time.sleep(0.45)
        self.sent += 1


async def test_waiting_for_a_thread_is_no_fault_of_the_brokers() -> None:
    """Ten messages through one thread take longer than the time that each of them has."""
    app = SlowApp()
    queue = CeleryQueue(app, timeout=4.0, threads=1)
    await asyncio.gather(*(queue.send(NAME, outcome(n), None) for n in range(10)))
    assert app.sent == 10
    queue.close()


async def test_a_hanging_broker_has_no_more_threads_an_hour_later(mute: str) -> None:
    """Callers that gave up leave no thread behind, however often they come."""
    queue = CeleryQueue(shop_app(mute), timeout=0.1, threads=2)
    before = sending_threads()
    for number in range(15):
        with pytest.raises((TimeoutError, OperationalError)):
            await queue.send(NAME, outcome(number), None)
    assert sending_threads() - before <= 2
    queue.close()


async def test_a_connection_that_was_cut_is_made_again(servers: Servers) -> None:
    """The broker was restarted since the last outcome."""
    broker = servers.redis_url()
    queue = CeleryQueue(shop_app(broker), threads=1)
    await queue.send(NAME, outcome(1), None)
    with redis.from_url(broker) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    await queue.send(NAME, outcome(2), None)
    assert len(messages(broker)) == 2
    queue.close()


async def test_a_closed_queue_opens_again(servers: Servers) -> None:
    """`close` ends connections, not the queue."""
    broker = servers.redis_url()
    queue = CeleryQueue(shop_app(broker))
    await queue.send(NAME, outcome(1), None)
    queue.close()
    await queue.send(NAME, outcome(2), None)
    queue.close()
    queue.close()
    assert len(messages(broker)) == 2


@pytest.mark.parametrize("same_number", [False, True])
async def test_a_queue_works_after_a_fork(*, same_number: bool, servers: Servers) -> None:
    """A child process has no threads of its parent, and must not share its connection.

    Nor has a grandchild that got the number of the process that made them, which is gone.
    """
    mine = os.getpid()
    broker = servers.redis_url()
    queue = CeleryQueue(shop_app(broker))
    await queue.send(NAME, outcome(1), None)

    def in_child() -> None:
        status = 1
        if same_number:
            os.getpid = lambda: mine
        try:
            asyncio.run(queue.send(NAME, outcome(2), None))
            status = 0
        finally:
            os._exit(status)

    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            in_child()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    # In a thread: a child of this thread would have its running event loop.
    assert await asyncio.to_thread(fork) == 0
    await queue.send(NAME, outcome(3), None)
    assert len(messages(broker)) == 3
    queue.close()


# --------------------------------------------------------------------------------- what is written


async def test_a_message_never_waits_and_never_expires(servers: Servers) -> None:
    """Whatever the task's own options say: Redis runs what waits twice, and drops what expires."""
    broker = servers.redis_url()
    app = shop_app(broker)
    outcome_task(app, "shop.hasty", expires=1)(print)
    queue = CeleryQueue(app)
    await queue.send("shop.hasty", outcome(1), None)
    (message,) = messages(broker)
    headers = message["headers"]
    assert (headers["eta"], headers["expires"], headers["ignore_result"]) == (None, None, True)
    assert message["properties"]["delivery_mode"] == 2
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("()", "{'outcome': 'shop:A00001:1'}")
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (args, kwargs) == ([], {"outcome": outcome(1)})
    queue.close()


async def test_a_task_that_nobody_imports_is_refused_unless_it_is_named(servers: Servers) -> None:
    """A worker would drop the message, so a slip of the pen has to be heard at once."""
    broker = servers.redis_url()
    queue = CeleryQueue(shop_app(broker), tasks=["warehouse.order_ended"])
    await queue.send("warehouse.order_ended", outcome(1), None)
    with pytest.raises(UsageError, match=r"include="):
        await queue.send("warehouse.order_endet", outcome(2), None)
    assert [each["headers"]["task"] for each in messages(broker)] == ["warehouse.order_ended"]
    queue.close()


async def test_a_task_of_a_module_that_the_app_includes_is_found(servers: Servers) -> None:
    """The fleet's process may not have imported the tasks yet; the app says where they are."""
    broker = servers.redis_url()
    app = Celery(
        "front", broker=broker, include=["tests.workers.queues.included_tasks"], set_as_current=True
    )
    queue = CeleryQueue(app)
    await queue.send("shop.included", outcome(1), None)
    assert len(messages(broker)) == 1
    queue.close()


# ----------------------------------------------------------------------------------------- workers


def test_a_retry_that_cannot_be_sent_gives_the_message_back() -> None:
    """Celery itself would drop it: its own `Reject` says requeue=False."""

    def retry(**_: Any) -> None:
        raise Reject(ConnectionError("no broker"), requeue=False)

    task = SimpleNamespace(name=NAME, request=SimpleNamespace(retries=0), retry=retry)
    with pytest.raises(Reject) as given_back:
        our_celery._again(task, outcome(1), ValueError("why it failed"))
    assert given_back.value.requeue


@pytest.mark.parametrize("how", ["raised", "by a helper", "by the task itself"])
def test_a_retry_that_sent_no_message_is_a_failure(how: str) -> None:
    """Another task, called as a function, raises one: Celery would acknowledge the message."""
    app = Celery("shop", set_as_current=False)
    calls = 0

    @app.task(name="shop.helper", bind=True, shared=False)
    def helper(self: Any) -> None:
        self.retry()

    def order_ended(_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raises[how]()

    def raised() -> None:
        raise Retry

    task = outcome_task(app, NAME)(order_ended)
    raises = {"raised": raised, "by a helper": helper, "by the task itself": task.retry}
    assert task.apply(kwargs={"outcome": outcome(1)}).successful()
    assert calls == 2


@pytest.mark.parametrize(("retries", "seconds"), [(0, 1), (1, 2), (5, 32), (6, 60), (10_000, 60)])
def test_a_retry_waits_far_less_than_redis_does(retries: int, seconds: int) -> None:
    """A countdown beyond the visibility time-out would run twice."""
    told: list[dict[str, Any]] = []

    def retry(**how: Any) -> Exception:
        told.append(how)
        return how["exc"]  # type: ignore[no-any-return]

    task = SimpleNamespace(name=NAME, request=SimpleNamespace(retries=retries), retry=retry)
    with pytest.raises(ValueError, match="why"):
        our_celery._again(task, outcome(1), ValueError("why it failed"))
    assert told[0]["countdown"] == seconds


async def test_a_child_that_is_killed_gives_its_message_back_at_once(
    servers: Servers, tmp_path: Path
) -> None:
    """The kernel kills the process that needs most memory; the worker itself lives on."""
    async with opened(CeleryOverRedis, servers, tmp_path) as kit:
        (tmp_path / "held").touch()
        await kit.send(outcome(1))
        async with kit.worker():
            await until(lambda: bool(kit.began))
            (tmp_path / "held").unlink()
            (tmp_path / "held").touch()
            os.kill(kit.began[0]["pid"], 9)
            await until(lambda: len(kit.began) == 2)
            (tmp_path / "held").unlink()
            await until(lambda: len(kit.effects) >= 1)


async def test_a_task_that_outlasts_the_visibility_time_out_is_handed_out_again(
    servers: Servers, tmp_path: Path
) -> None:
    """Which is why the time-out is an hour, and why a task is idempotent by the outcome's id."""
    async with opened(CeleryOverRedis, servers, tmp_path) as kit:
        (tmp_path / "held").touch()
        await kit.send(outcome(1))
        async with kit.worker():
            await until(lambda: kit.log.read_text().count("] received") == 2)
            assert len(kit.began) >= 1
            (tmp_path / "held").unlink()
            await until(lambda: bool(kit.effects))
        assert {each["id"] for each in kit.effects} == {"shop:A00001:1"}
