"""poller: a fleet's process of its own, its numbers, and another cut of its orders."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sqlite3
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import click
import httpx
import pytest

from chaoying_async import (
    CheckoutStatus,
    Credentials,
    GatewaySession,
    Hosts,
    OrderQuery,
    Pay,
    PayType,
    PollSchedule,
)
from chaoying_async.cli.commands.poller import GRACE
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.payments.intent import CHECKOUT, ORDER, OrderRecord, key_of
from chaoying_async.workers import Fleet
from chaoying_async.workers.tables import KEPT
from tests.cli.processes import Process, begun, line_of
from tests.cli_calls import ROOT, Running, call, environment, in_thread, said
from tests.pure.stored_values import INTENTS

SOON = PollSchedule(first=0.1, every=0.2, until=30, jitter=0)
LEASE = ("--lease", "3")

#: A user's module: what it was given goes into a file; an order named slow takes a minute.
SHOP = """
import json, pathlib, time

def ended(outcome):
    with pathlib.Path("given").open("a") as file:
        file.write(json.dumps(outcome) + "\\n")
    if outcome["out_trade_no"].startswith("slow"):
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with in_thread() as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with a user's module, where the fleet's file is too."""
    (tmp_path / "shop_tasks.py").write_text(textwrap.dedent(SHOP))
    return tmp_path


@contextmanager
def poller(
    running: Running, shop: Path, *options: str, then: str = "shop_tasks:ended"
) -> Generator[Process]:
    """A process of the fleet; killed with the block, if it has not ended before."""
    command = ("poller", "--store", "fleet.db", "--then", then, "--json", *LEASE, *options)
    env = {**environment(running.env), "PYTHONPATH": str(ROOT)}
    with begun(*command, cwd=shop, env=env) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def handed_over(running: Running, shop: Path, *numbers: str) -> None:
    """Pay these orders, and hand them over as a web process does that serves nothing."""

    async def run() -> None:
        hosts = Hosts.single(running.url)
        told = running.told
        who = Credentials(agent_id=told["agent_id"], key=told["key"], pid=told["pid"])
        session = GatewaySession(who, mch_id=told["mch_id"], op_user_id="c", hosts=hosts)
        async with session as open_session:
            for number in numbers:
                await open_session.send(
                    Pay(
                        out_trade_no=number,
                        body="tea",
                        total_fee=1000,
                        auth_code="130000000000001111",
                    )
                )
        fleet = Fleet(SqlPollStore(shop / "fleet.db"), lambda: session)
        await fleet.watch_many(
            [OrderQuery(paytype=PayType.WECHAT, out_trade_no=number) for number in numbers],
            expected=1000,
            schedule=SOON,
        )
        await fleet._store.dispose(fleet._engine)

    asyncio.run(run())


def given(shop: Path) -> list[dict[str, Any]]:
    path = shop / "given"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def until(condition: Callable[[], object], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def asked(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url, trust_env=False)
    except httpx.TransportError:
        return None


@pytest.mark.timeout(180)
def test_a_process_of_its_own_serves_a_fleet_and_hands_it_back(
    running: Running, shop: Path
) -> None:
    """Ready when it sees the database; SIGTERM: exit code 0, and the next one starts at once."""
    with poller(running, shop, "--port", "0") as process:
        url = line_of(process)["url"]
        until(lambda: (found := asked(f"{url}/ready")) and found.status_code == 200)
        health = asked(f"{url}/health")
        assert health is not None
        assert health.json() == {"ok": True}
        served = "\nchaoying_fleet_shards_served 16.0\n"
        until(lambda: (found := asked(f"{url}/metrics")) and served in found.text)
        metrics = asked(f"{url}/metrics")
        assert metrics is not None
        assert metrics.headers["content-type"].startswith("text/plain")
        assert 'chaoying_poller_pending{poller="fleet"}' in metrics.text
        assert "\nprocess_start_time_seconds" in metrics.text
        handed_over(running, shop, "A0001", "A0002")
        until(lambda: len(given(shop)) == 2)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=80)
        assert (process.returncode, "ERROR" in errors) == (0, False), errors
    assert {(each["out_trade_no"], each["status"]) for each in given(shop)} == {
        ("A0001", "PAID"),
        ("A0002", "PAID"),
    }
    store = ("--store", str(shop / "fleet.db"))
    after = call("poller", "status", *store, "--json")
    told = said(after)
    assert (after.exit_code, told["workers"], len(told["unserved"])) == (1, [], 16)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["late", "a second signal"])
def test_a_task_that_never_ends_does_not_keep_the_process(
    running: Running, shop: Path, how: str
) -> None:
    """The process ends within --grace, or at once; the outcome goes to who serves next."""
    grace = "1" if how == "late" else "60"
    with poller(running, shop, "--grace", grace) as process:
        line_of(process)
        until((shop / "fleet.db").exists)
        until(lambda: call("poller", "status", "--store", str(shop / "fleet.db")).exit_code == 0)
        handed_over(running, shop, f"slow{grace}")
        until(lambda: given(shop))
        process.send_signal(signal.SIGTERM)
        if how == "a second signal":
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=80)
    assert process.returncode == 130
    assert ("within 1 s" if how == "late" else "a second signal") in errors
    status = said(call("poller", "status", "--store", str(shop / "fleet.db"), "--json"))
    assert status["undelivered"] == 1


@contextmanager
def hanging() -> Generator[tuple[str, list[socket.socket]]]:
    """A gateway that takes every query and never answers: its address, and its connections."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def take() -> None:
            with suppress(OSError):  # the server is closed in the end
                while True:
                    taken.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", taken
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for connection in taken:
                connection.close()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_gateway_that_hangs_keeps_no_process_and_costs_no_order(
    running: Running, shop: Path
) -> None:
    """SIGTERM: what is asked has 10 s; then all shards are handed back, with all their orders."""
    numbers = [f"H{number:04}" for number in range(6)]
    store = ("--store", str(shop / "fleet.db"))
    with hanging() as (url, taken):
        hung = attrs.evolve(running, told={**running.told, "url": url})
        with poller(hung, shop) as process:
            line_of(process)
            until(lambda: call("poller", "status", *store).exit_code == 0)
            handed_over(running, shop, *numbers)
            until(lambda: len(taken) >= len(numbers))
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            _, errors = process.communicate(timeout=40)
            assert (process.returncode, "ERROR" in errors) == (0, False), errors
            assert time.monotonic() - began < GRACE
    told = said(call("poller", "status", *store, "--json"))
    assert (told["pending"], told["workers"], len(told["unserved"])) == (6, [], 16)
    with closing(sqlite3.connect(shop / "fleet.db")) as connection:
        question = "SELECT max(held_until) FROM chaoying_fleet_shards"
        assert connection.execute(question).fetchone() == (0,)
    with poller(running, shop) as process:
        line_of(process)
        until(lambda: len(given(shop)) == len(numbers))
    assert {each["status"] for each in given(shop)} == {"PAID"}


@pytest.mark.parametrize(
    ("then", "words"),
    [("shop_tasks:nothing", "nothing"), ("no_such_module:f", "no_such_module"), ("json", "json")],
)
def test_a_function_that_is_none_is_said_at_once(
    running: Running, shop: Path, then: str, words: str
) -> None:
    """Not when the first order ends."""
    options = ("--store", str(shop / "fleet.db"), "--app-dir", str(shop))
    result = running.call("poller", *options, "--then", then)
    assert result.exit_code == 2
    assert words in result.stderr


def test_status_and_reshard_name_what_is_missing(shop: Path) -> None:
    """No file and no table is made by looking."""
    missing = ("--store", str(shop / "none.db"))
    assert call("poller", "status", *missing).exit_code == 2
    assert call("poller", "reshard", "4", *missing).exit_code == 2
    assert not (shop / "none.db").exists()
    assert call("poller").exit_code == 2


def test_an_undecided_order_is_released_by_a_person(shop: Path) -> None:
    """It asks first; a wrong number, and an order under way, are said to be so."""
    store = ("--store", str(shop / "fleet.db"))
    merchant, number = "7551000001", "A10001"
    record = OrderRecord(
        out_trade_no="A1000101",
        attempt=1,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        status=CheckoutStatus.UNKNOWN,
    )

    async def made() -> None:
        fleet = Fleet(SqlPollStore(shop / "fleet.db"), GatewaySession.from_env)
        async with fleet.handing_over():
            database = fleet._database
            await database.open(fleet._sharding)
            for order, kept in ((number, record), ("A10002", attrs.evolve(record, status=None))):
                row = {"item": key_of(merchant, order), "slot": 1, "body": kept.text(), "then": ""}
                await database.write_rows(database.handing_over(ORDER, row, shard=KEPT))
            attempt = {"item": key_of(merchant, "A1000101"), "slot": 1, "then": ""}
            attempt["body"] = intent.text()
            await database.write_rows(database.handing_over(CHECKOUT, attempt))

    intent = attrs.evolve(INTENTS["just begun"], mch_id=merchant, out_trade_no="A1000101")
    asyncio.run(made())
    release = ("poller", "release", merchant)
    assert said(call(*release, "a10001", *store, "--json", "--yes"))["error"] == "NoSuchOrder"
    under_way = call(*release, "A10002", *store, "--yes")
    assert (under_way.exit_code, "is under way" in under_way.stderr) == (6, True)
    with closing(sqlite3.connect(shop / "fleet.db")) as connection, connection:
        connection.execute("DELETE FROM chaoying_fleet WHERE kind = ?", (CHECKOUT,))
    asked = call(*release, number, *store, input="n\n")
    assert "its last attempt A1000101 ended UNKNOWN" in asked.stderr
    assert asked.exit_code != 0
    assert said(call(*release, number, *store, "--json", "--yes")) == {
        "ok": True,
        "released": True,
        "mch_id": merchant,
        "order_no": number,
        "out_trade_no": "A1000101",
        "status": "UNKNOWN",
    }
    again = said(call(*release, number, *store, "--json"))
    assert (again["ok"], again["released"]) == (True, False)


def test_a_queue_is_found_by_its_name(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``celery:module:app`` or ``pgqueuer``; what is none is said at once."""
    pytest.importorskip("celery")
    pytest.importorskip("pgqueuer")
    from chaoying_async.cli.poller.user_tasks import queue_named
    from chaoying_async.workers.queues.celery import CeleryQueue
    from chaoying_async.workers.queues.pgqueuer import PgQueuerQueue

    (shop / "shop_celery_app.py").write_text("import celery\napp = celery.Celery('shop')\n")
    monkeypatch.syspath_prepend(str(shop))
    assert isinstance(queue_named("celery:shop_celery_app:app"), CeleryQueue)
    assert isinstance(queue_named("pgqueuer"), PgQueuerQueue)
    for wrong in ("celery", "rabbit:x", "celery:no_such_module_here:app"):
        with pytest.raises(click.BadParameter):
            queue_named(wrong)


async def test_without_the_extra_the_port_has_no_metrics_and_says_what_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A poller without prometheus_client starts all the same."""
    from chaoying_async.cli.poller.health import HealthApp

    monkeypatch.delitem(sys.modules, "chaoying_async.observing.prometheus", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    app = HealthApp(Fleet(SqlPollStore(tmp_path / "fleet.db"), GatewaySession.from_env))
    assert app.paths == ("/health", "/ready")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://poller") as client:
        answer = await client.get("/metrics")
    assert (answer.status_code, answer.json()["paths"]) == (404, ["/health", "/ready"])
