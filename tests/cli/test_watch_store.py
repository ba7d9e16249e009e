"""``watch --store``: in a database that is a shop's too, it keeps what is its own beside that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chaoying_async import Credentials, GatewaySession, Hosts, OrderQuery, PayType, PollSchedule
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.watch.progress import number_of
from chaoying_async.polling import Poller
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.polling.record import POLL, PendingOrder, record_key
from tests.cli_calls import Running, in_thread, said
from tests.servers import Servers

CODE = "130000000000001111"
ASKED = ("--paytype", "WECHAT", "--every", "0.05")
WHERE: dict[str, Callable[[Servers, Path], str]] = {
    "sqlite": lambda _servers, folder: str(folder / "polls.db"),
    "postgresql": lambda servers, _folder: servers.postgresql_url("psycopg"),
    "mariadb": lambda servers, _folder: servers.mariadb_url(),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """A gateway with one paid order; a query moves nothing."""
    with in_thread() as made:
        fields = ("out_trade_no=A1000", "body=tea", "total_fee=1000", f"auth_code={CODE}")
        made.call("send", "pay", *fields, "--yes")
        yield made


@pytest.fixture(params=WHERE)
def store(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> str:
    """The poll store of a shop, by its address."""
    return WHERE[request.param](servers, tmp_path)


def shops_session(running: Running) -> GatewaySession:
    told = running.told
    who = Credentials(agent_id=told["agent_id"], key=told["key"], pid=told["pid"])
    return GatewaySession(who, mch_id=told["mch_id"], hosts=Hosts.single(running.url))


def track(running: Running, store: str, prefix: str = "chaoying_") -> None:
    """Somebody waits for an order, and is killed; the next query is due."""
    who, began = running.told["mch_id"], datetime.now(UTC) - timedelta(minutes=1)
    query = OrderQuery(paytype=PayType.WECHAT, mch_id=who, out_trade_no="A1000")
    waits = PendingOrder(query=query, expected=1000, schedule=PollSchedule(), started=began)

    async def write() -> None:
        async with SqlPollStore(store, table_prefix=prefix) as kept:
            await kept.put(POLL, {record_key(("A1000",), 1): waits.text(who)})

    asyncio.run(write())


async def left(running: Running, store: str) -> list[tuple[str, str]]:
    """What a shop that is started again hears of what it had been waiting for."""
    async with (
        shops_session(running) as session,
        SqlPollStore(store) as kept,
        Poller(session, store=kept) as poller,
    ):
        return [(number_of(each.query), each.status) async for each in poller.drain()]


def test_a_watch_leaves_a_shops_orders_to_the_shop(running: Running, store: str) -> None:
    """Who watches a shop's order in the shop's database takes no outcome from the shop (M-23)."""
    track(running, store)
    watched = running.call("watch", "A1000", *ASKED, "--store", store)
    assert (watched.stdout.split()[0], watched.exit_code) == ("PAID", Exit.OK)
    assert asyncio.run(left(running, store)) == [("A1000", "PAID")]


def test_a_watch_runs_beside_the_shop(running: Running, store: str) -> None:
    """The shop owns its store meanwhile, and goes on owning it."""

    async def beside() -> int:
        async with SqlPollStore(store) as kept:
            watched = await asyncio.to_thread(
                running.call, "watch", "A1000", *ASKED, "--store", store
            )
            await kept.put("poll", {"key": "text"})
            return watched.exit_code

    assert asyncio.run(beside()) == Exit.OK


def test_a_shops_store_is_no_watch_to_go_on_with(running: Running, store: str) -> None:
    """Without numbers, exit code 0 would say that all is paid: it is refused."""
    track(running, store)
    result = running.call("watch", *ASKED, "--store", store, "--json")
    assert result.exit_code == Exit.USAGE
    assert "no watch was kept in" in said(result)["message"]
    assert asyncio.run(left(running, store)) == [("A1000", "PAID")]


def test_what_a_watch_waits_for_is_explained(running: Running, tmp_path: Path) -> None:
    """`explain --store` on a watch's own file; in a shop's database the shop's tables count."""
    store = str(tmp_path / "watched.db")
    track(running, store, prefix="chaoying_watch_")
    told = running.ask("explain", "A1000", "--store", store)
    assert "store-found" in {each["name"] for each in told["sources"]}
    asyncio.run(left(running, store))  # makes a shop's tables
    told = running.ask("explain", "A1000", "--store", store)
    assert "store-nothing" in {each["name"] for each in told["sources"]}


def test_a_watch_owes_an_outcome_to_nobody(running: Running, tmp_path: Path) -> None:
    """What only a person at a screen waits for is no reason to deliver nothing (M-23)."""
    store = str(tmp_path / "watched.db")
    track(running, store, prefix="chaoying_watch_")
    for prefix in ((), ("--store-prefix", "chaoying_watch_")):
        told = running.ask("explain", "A1000", "--store", store, *prefix)
        assert (told["exit"], [step["name"] for step in told["steps"]]) == (0, ["deliver"])
