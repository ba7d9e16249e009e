"""``chaoying explain``: one order, from the gateway, a store, an inbox and an audit log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from chaoying_async import (
    CheckoutStatus,
    Credentials,
    ExpectedOrder,
    GatewaySession,
    Hosts,
    NotificationHandler,
    OrderQuery,
    PaidOrder,
    Pay,
    PayType,
    PollSchedule,
    Refund,
    checkout,
    resume,
)
from chaoying_async.abc import Inbox
from chaoying_async.cli import gateway_options
from chaoying_async.inbox.redis.inbox import redis_inbox_at
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.audit import Exchange
from chaoying_async.sansio.paid import paid_order
from chaoying_async.sansio.polling.record import POLL, PendingOrder, record_key
from chaoying_async.sql.engines import engine_at
from chaoying_async.workers import Fleet
from tests.cli_calls import Running, in_thread
from tests.factories import CANARIES, OPENID
from tests.servers import Servers

CODE = "130000000000001111"
CHINESE = {"LC_ALL": "zh_CN.UTF-8", "LANG": "zh_CN.UTF-8"}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One gateway for all tests of this file; each has order numbers of its own."""
    with in_thread() as made:
        yield made


class ShopOnDisk:
    """A shop that writes down all it may: store, inbox, audit log."""

    def __init__(self, running: Running, folder: Path) -> None:
        self.running = running
        self.store, self.inbox = folder / "polls.db", folder / "inbox.db"
        self.log = folder / "exchanges.jsonl"
        told = running.told
        self.who = Credentials(agent_id=told["agent_id"], key=told["key"], pid=told["pid"])

    @property
    def options(self) -> tuple[str, ...]:
        store, inbox, log = map(str, (self.store, self.inbox, self.log))
        return ("--store", store, "--inbox", inbox, "--audit-log", log)

    def session(self) -> GatewaySession:
        def audited(exchange: Exchange) -> None:
            with self.log.open("a") as file:
                file.write(exchange.line(datetime.now(UTC)) + "\n")

        return GatewaySession(
            self.who,
            mch_id=self.running.told["mch_id"],
            op_user_id="cashier",
            hosts=Hosts.single(self.running.url),
            on_exchange=audited,
        )

    async def sell(self, number: str, total: int, *, delivers: bool = True) -> None:
        """Charge it to the end; with a handler that hears of it, or without."""
        engine = engine_at(f"sqlite+aiosqlite:///{self.inbox}")
        inbox = SqlInbox(engine)
        await inbox.create_tables()
        async with self.session() as session, SqlPollStore(self.store) as store:
            request = Pay(out_trade_no=number, body="tea", total_fee=total, auth_code=CODE)
            outcome = await checkout(session, request, store=store, paytype=PayType.WECHAT)
            if delivers and outcome.paid is not None:
                await self.handler(inbox, total).settle(outcome.paid)
        await engine.dispose()

    def handler(self, inbox: Inbox, total: int) -> NotificationHandler:
        async def on_paid(_order: PaidOrder) -> None:
            """The shop's effect."""

        async def expected(mch_id: str, _number: str) -> ExpectedOrder:
            return ExpectedOrder(total, mch_id)

        return NotificationHandler(
            self.who, inbox, on_paid, expected=expected, on_conflict=lambda _aside: None
        )


@pytest.fixture
def shop(running: Running, tmp_path: Path) -> ShopOnDisk:
    return ShopOnDisk(running, tmp_path)


def test_a_paid_order_that_took_effect_is_settled(shop: ShopOnDisk) -> None:
    """Exit code 0: every source agrees, each line of the timeline says who told it."""
    asyncio.run(shop.sell("E1000101", 1230))
    told = shop.running.ask("explain", "E1000101", *shop.options)
    assert (told["ok"], told["exit"], told["status"]) == (True, 0, "PAID")
    assert {step["name"] for step in told["steps"]} == {"nothing-left", "untaken"}
    witnesses = {each["witness"] for each in told["timeline"]}
    assert witnesses == {"gateway", "store", "inbox", "audit-log"}
    assert told["payable"] == told["expected"] == 1230
    assert told["agrees"] is True
    shop.store.unlink()
    told = shop.running.ask("explain", "E1000101", *shop.options[2:])
    assert (told["ok"], told["exit"], told["settled"]) == (True, 0, True)
    assert told["steps"][0]["rule"] == "M-15"
    assert "store-not-given" in {each["name"] for each in told["sources"]}


@pytest.mark.parametrize("tables", ["a poller's", "a fleet's"])
def test_who_waits_for_a_paid_order_delivers_it(shop: ShopOnDisk, tables: str) -> None:
    """M-23: exit code 6, since `explain && deliver` beside the waiting one would deliver twice."""
    number = "E1001401" if tables == "a poller's" else "E1001402"
    assert shop.running.call(*_pay(number)).exit_code == 0
    who = shop.running.told["mch_id"]
    query = OrderQuery(paytype=PayType.WECHAT, mch_id=who, out_trade_no=number)
    waits = PendingOrder(
        query=query,
        expected=1000,
        schedule=PollSchedule(),
        started=datetime(2026, 1, 1, tzinfo=UTC),
    )

    async def write() -> None:
        if tables == "a fleet's":
            async with Fleet(SqlPollStore(shop.store), shop.session) as fleet:
                await fleet.watch(query, then="shop.ended", expected=1000)
            return
        async with SqlPollStore(shop.store) as store:
            await store.put(POLL, {record_key((number,), 1): waits.text(who)})

    asyncio.run(write())
    told = shop.running.ask("explain", number, "--store", str(shop.store))
    assert (told["exit"], told["status"], told["settled"]) == (6, "PAID", False)
    assert [step["name"] for step in told["steps"]] == ["waited-for"]


def test_an_outcome_that_nobody_took_is_not_delivered_by_hand(shop: ShopOnDisk) -> None:
    """M-23: the same where its process was killed before it called done()."""
    asyncio.run(shop.sell("E1001501", 1230, delivers=False))
    for more in ((), ("--inbox", str(shop.inbox))):
        told = shop.running.ask("explain", "E1001501", "--store", str(shop.store), *more)
        assert (told["exit"], told["status"]) == (6, "PAID")
        assert [step["name"] for step in told["steps"]] == ["untaken"]

    async def take_it() -> None:
        async with shop.session() as session, SqlPollStore(shop.store) as store:
            async for outcome in resume(session, store):
                await outcome.done()

    asyncio.run(take_it())
    told = shop.running.ask("explain", "E1001501", "--store", str(shop.store))
    assert (told["exit"], told["status"]) == (1, "PAID")
    assert [step["name"] for step in told["steps"]] == ["taken"]


def test_a_person_reads_it_in_either_language(shop: ShopOnDisk) -> None:
    """Title, standing, proofs, steps with their rule, the timeline, and who was asked."""
    asyncio.run(shop.sell("E1000201", 1230))
    english = shop.running.call("explain", "E1000201", *shop.options).stdout
    chinese = shop.running.call("explain", "E1000201", *shop.options, env=CHINESE).stdout
    for words in ("PAID: paid, 12.30 yuan.", "What is proven", "(M-15)", "inbox: a payment of"):
        assert words in english
    for words in ("PAID：已支付，12.30 元。", "已证实", "（M-15）", "收件箱：得知一笔支付"):
        assert words in chinese
    assert "***" not in english
    told = json.dumps(shop.running.ask("explain", "E1000201", *shop.options))
    for secret in (*CANARIES, shop.who.key, CODE, "oHmbktx", "sign"):
        assert secret not in english.replace("signed", "").replace("signatures", "")
        assert secret not in told.replace("signed", "").replace("signatures", "")


def test_an_inbox_in_redis_tells_what_one_on_disk_tells(shop: ShopOnDisk, servers: Servers) -> None:
    """Its record, what was set aside, a prefix of one's own; a server that is gone is a state."""
    url = servers.redis_url()
    asyncio.run(shop.sell("E1001301", 1230, delivers=False))

    async def notified() -> None:
        async with shop.session() as session, redis_inbox_at(url, prefix="mine:") as inbox:
            query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="E1001301")
            reply = await session.send(query)
            order: Any = paid_order(
                reply.unwrap(), mch_id=shop.running.told["mch_id"], raw=reply.raw
            )
            async with shop.handler(inbox, 1230) as handler:
                assert await handler.settle(order) == "APPLY"
                other = {"transaction_id": "T-2", "out_transaction_id": "W-2"}
                assert await handler.settle(attrs.evolve(order, **other)) == "CONFLICT"

    asyncio.run(notified())
    options = ("--inbox", url, "--inbox-prefix", "mine:")
    told = shop.running.ask("explain", "E1001301", *options)
    assert (told["status"], told["payable"], told["amount_compared"]) == ("PAID", 1230, True)
    assert [each["name"] for each in told["steps"]] == ["second-payment"]
    assert "T-2" in told["next"]
    of_inbox = [each["what"] for each in told["timeline"] if each["witness"] == "inbox"]
    assert sorted(of_inbox) == ["inbox-aside", "inbox-done"]
    assert "effect" in {each["name"] for each in told["proven"]}
    elsewhere = shop.running.ask("explain", "E1001301", "--inbox", url)
    assert "inbox-nothing" in {each["name"] for each in elsewhere["sources"]}
    gone = f"redis://:secret-of-redis@127.0.0.1:9/{url.rsplit('/', 1)[-1]}"
    result = shop.running.call("explain", "E1001301", "--inbox", gone, "--json")
    told = json.loads(result.stdout)
    assert (told["exit"], [each["name"] for each in told["steps"]]) == (1, ["unread"])
    assert "secret-of-redis" not in result.output


def test_another_amount_is_known_from_the_message_that_says_so(shop: ShopOnDisk) -> None:
    """M-13: exit code 5, as with --expected; nobody hands such an order to a handler."""
    number = "E1001601"
    assert shop.running.call(*_pay(number, "1412")).exit_code != 2

    async def hears_of_it() -> None:
        engine = engine_at(f"sqlite+aiosqlite:///{shop.inbox}")
        inbox = SqlInbox(engine)
        await inbox.create_tables()
        async with shop.session() as session, shop.handler(inbox, 1412) as handler:
            query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=number)
            reply = await session.send(query)
            who = shop.running.told["mch_id"]
            order: Any = paid_order(reply.unwrap(), mch_id=who, raw=reply.raw)
            assert await handler.settle(order) == "CONFLICT"
        await engine.dispose()

    asyncio.run(hears_of_it())
    told = shop.running.ask("explain", number, "--inbox", str(shop.inbox))
    assert (told["exit"], told["status"], told["expected"]) == (5, "OTHER_AMOUNT", 1412)
    assert [each["name"] for each in told["steps"]] == ["other-amount", "asides"]


def test_the_gateway_alone_says_that_it_is_paid(running: Running) -> None:
    """Exit code 0 where the amount is told, else 7; that nothing else was asked is said."""
    assert running.call(*_pay("E1000301")).exit_code == 0
    told = running.ask("explain", "E1000301", "--expected", "1000")
    assert (told["exit"], told["status"], told["steps"][0]["name"]) == (0, "PAID", "deliver")
    assert told["amount_compared"] is True
    told = running.ask("explain", "E1000301")
    assert (told["exit"], told["status"], told["ok"]) == (7, "PAID", False)
    assert (told["steps"][0]["name"], told["amount_compared"]) == ("compare-amount", False)
    names = {each["name"] for each in told["sources"]}
    assert {"store-not-given", "inbox-not-given", "audit-log-not-given"} <= names
    assert {each["name"] for each in told["unproven"]} == {"right-amount", "delivered"}
    other = running.ask("explain", "E1000301", "--expected", "999")
    assert (other["exit"], other["status"]) == (5, "OTHER_AMOUNT")


def _pay(number: str, total: str = "1000") -> tuple[str, ...]:
    fields = (f"out_trade_no={number}", "body=tea", f"total_fee={total}", f"auth_code={CODE}")
    return ("send", "pay", *fields, "--yes")


@pytest.mark.parametrize(
    ("total", "code", "status", "rule"),
    [
        ("1405", 6, "OPEN", "M-11"),
        ("1406", 1, "UNPAID", "M-07"),
        ("1418", 5, "UNBELIEVED", "M-08"),
        ("1414", 1, "NOT_FOUND", "M-11"),
        ("1423", 7, "PAID", "M-13"),
    ],
)
def test_each_standing_has_its_exit_code_and_rule(
    running: Running, total: str, code: int, status: str, rule: str
) -> None:
    """Undecided, over, not to be trusted, not found, and paid behind a refused query."""
    number = f"E20{total}"
    running.call(*_pay(number, total))
    told = running.ask("explain", number, "--paytype", "WECHAT")
    assert (told["exit"], told["status"], told["steps"][0]["rule"]) == (code, status, rule)


def test_an_unreachable_gateway_is_a_state(
    shop: ShopOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3: a payment was sent, and nobody can be asked what became of it."""
    # Else each query that fails is repeated after a pause.
    at_once = partial(gateway_options.session, read_retries=0)
    monkeypatch.setattr("chaoying_async.cli.commands.explain.session", at_once)
    asyncio.run(shop.sell("E1000401", 1230))
    env = {"CHAOYING_URL": "http://127.0.0.1:9"}
    told = shop.running.ask("explain", "E1000401", *shop.options, env=env)
    assert (told["exit"], told["status"], told["error"]) == (4, "WAS_PAID", "RequestNotSentError")
    log = ("--audit-log", str(shop.log))
    told = shop.running.ask("explain", "E1000401", *log, env=env)
    assert (told["exit"], told["status"]) == (3, "NO_ANSWER")
    assert "charged" in {step["name"] for step in told["steps"]}
    told = shop.running.ask("explain", "E1000401", env=env)
    assert (told["exit"], told["status"]) == (4, "NO_ANSWER")


def test_a_wrong_key_is_said_beside_what_was_proven(shop: ShopOnDisk) -> None:
    """M-08: asking again does not mend it; `query` ends so too."""
    asyncio.run(shop.sell("E1001701", 1230))
    env = {"CHAOYING_KEY": "0" * 32}
    asked = shop.running.call("query", "E1001701", "--json", env=env)
    told = shop.running.ask("explain", "E1001701", "--store", str(shop.store), env=env)
    assert (told["exit"], told["status"]) == (asked.exit_code, "WAS_PAID")
    assert [step["name"] for step in told["steps"]][1] == "was-paid"
    assert "chaoying check" in told["next"]


def test_refunds_are_found_by_what_was_written_down(shop: ShopOnDisk) -> None:
    """Partial, several, failed, for a person: each with its own step; the sum is told."""
    asyncio.run(shop.sell("E1000501", 5000))

    async def give_back() -> None:
        async with shop.session() as session:
            for number, amount in (("TK-1", 300), ("TK-2", 1502), ("TK-3", 1505)):
                await session.send(
                    Refund(
                        paytype=PayType.WECHAT,
                        out_trade_no="E1000501",
                        out_refund_no=number,
                        total_fee=5000,
                        refund_fee=amount,
                    )
                )
            await asyncio.sleep(0)

    asyncio.run(give_back())
    told = shop.running.ask("explain", "E1000501", "--audit-log", str(shop.log))
    assert (told["exit"], told["status"]) == (1, "IN_REFUND")
    assert {each["out_refund_no"] for each in told["refunds"]} == {"TK-1", "TK-2", "TK-3"}
    assert "refund-pending" in {step["name"] for step in told["steps"]}
    blind = shop.running.ask("explain", "E1000501")
    assert blind["refunds"] == []
    assert "how-much-came-back" in {each["name"] for each in blind["unproven"]}
    named = shop.running.ask("explain", "E1000501", "--refund-no", "TK-2")
    assert len(named["refunds"]) == 3


def test_a_refund_of_another_order_is_told_apart(running: Running) -> None:
    """Its amounts count for nothing here."""
    for number in ("E1000601", "E1000602"):
        assert running.call(*_pay(number)).exit_code == 0
    sent = running.call(
        *("send", "refund", "paytype=WECHAT", "out_trade_no=E1000602", "out_refund_no=TK-9"),
        *("total_fee=1000", "refund_fee=1000", "--yes"),
    )
    assert sent.exit_code == 0, sent.output
    told = running.ask("explain", "E1000601", "--refund-no", "TK-9")
    assert (told["exit"], told["status"], told["refunds"]) == (3, "PAID", [])
    assert [each["name"] for each in told["against"]] == ["refund-of-another"]


def test_the_usual_full_refund_is_found_without_its_number(running: Running) -> None:
    """``suggested_refund`` gives an order's refund a number that belongs to it."""
    assert running.call(*_pay("E1000701")).exit_code == 0
    sent = running.call(
        *("send", "refund", "paytype=WECHAT", "out_trade_no=E1000701", "out_refund_no=R-E1000701"),
        *("total_fee=1000", "refund_fee=1000", "--yes"),
    )
    assert sent.exit_code == 0, sent.output
    told = running.ask("explain", "E1000701")
    assert [each["out_refund_no"] for each in told["refunds"]] == ["R-E1000701"]


def test_another_merchants_number_is_not_found(running: Running) -> None:
    """M-18: the key is the merchant and the number; not found is not unpaid."""
    assert running.call(*_pay("E1000801")).exit_code == 0
    told = running.ask("explain", "E1000801", "--mch-id", "00000002")
    assert (told["exit"], told["status"]) == (1, "NOT_FOUND")
    assert "unpaid" in told["unproven"][0]["says"]


@pytest.mark.parametrize("number", ["", "A\x1b[31m1", "A\n1"])
def test_a_number_that_is_none_is_refused_before_anybody_is_asked(
    running: Running, number: str
) -> None:
    """Exit code 2, and no control character reaches the terminal."""
    result = running.call("explain", number)
    assert result.exit_code == 2
    assert "\x1b" not in result.output


class TestSourcesThatCannotBeRead:
    """One that fails is said to have failed; a mistake of the user's ends the command."""

    def test_a_file_that_is_not_there_is_a_mistake(self, running: Running) -> None:
        """Exit code 2, as of the other commands."""
        for option in ("--store", "--inbox", "--audit-log"):
            assert running.call("explain", "E1", option, "/nowhere/x").exit_code == 2

    @pytest.mark.parametrize(("option", "number"), [("store", "E1000901"), ("inbox", "E1000902")])
    def test_a_database_without_tables_hides_nothing_else(
        self, running: Running, tmp_path: Path, option: str, number: str
    ) -> None:
        """The gateway's answer is told all the same."""
        empty = tmp_path / "empty.db"
        empty.touch()
        assert running.call(*_pay(number)).exit_code == 0
        told = running.ask("explain", number, f"--{option}", str(empty))
        assert (told["exit"], told["status"], told["settled"]) == (1, "PAID", False)
        assert [step["name"] for step in told["steps"]] == ["unread"]
        (failed,) = [each for each in told["sources"] if each["name"] == f"{option}-failed"]
        assert "table" in failed["says"]

    def test_a_hostile_log_is_told_as_unreadable(self, running: Running, tmp_path: Path) -> None:
        """Huge lines, no JSON, another order's lines: counted, never shown."""
        log = tmp_path / "log.jsonl"
        secret = f"openid={OPENID}"
        lines = [f"E1001001 {secret}", "x" * 300_000, json.dumps({"E1001001": [secret]})]
        log.write_text("\n".join(lines) + "\n\x00\n")
        assert running.call(*_pay("E1001001")).exit_code == 0
        result = running.call("explain", "E1001001", "--audit-log", str(log))
        assert result.exit_code == 1
        assert "cannot be read: 3" in result.stdout
        assert OPENID not in result.output


def test_a_fleets_tables_are_read_beside_it(running: Running, tmp_path: Path) -> None:
    """What was handed over, and no process has taken up; of a business order its last attempt."""
    url = tmp_path / "fleet.db"

    async def hand_over() -> None:
        told = running.told
        who = Credentials(agent_id=told["agent_id"], key=told["key"], pid=told["pid"])
        made = Fleet(SqlPollStore(url), lambda: GatewaySession(who, mch_id=told["mch_id"]))
        query = OrderQuery(paytype=PayType.WECHAT, mch_id=told["mch_id"], out_trade_no="E1001101")
        async with made:  # which makes the tables
            await made.watch(query, then="shop.ended", expected=1405)

    asyncio.run(hand_over())
    assert running.call(*_pay("E1001101", "1405")).exit_code == 6
    told: dict[str, Any] = running.ask("explain", "E1001101", "--store", str(url))
    assert (told["status"], told["expected"]) == ("OPEN", 1405)
    assert "fleet" in {each["witness"] for each in told["timeline"]}
    assert "waited-for" in {step["name"] for step in told["steps"]}


def test_a_number_of_any_characters_is_found_in_a_store(running: Running, tmp_path: Path) -> None:
    """Though it is spelt another way in the store's texts; the gateway knows no such order."""
    path, number = tmp_path / "polls.db", '订单"7"'
    who = running.told["mch_id"]
    query = OrderQuery(paytype=PayType.WECHAT, mch_id=who, out_trade_no=number)
    waits = PendingOrder(
        query=query, expected=7, schedule=PollSchedule(), started=datetime(2026, 1, 1, tzinfo=UTC)
    )

    async def write() -> None:
        async with SqlPollStore(path) as store:
            await store.put(POLL, {record_key((number,), 1): waits.text(who)})

    asyncio.run(write())
    told: dict[str, Any] = running.ask("explain", number, "--store", str(path))
    assert "waited-for" in {step["name"] for step in told["steps"]}


def test_an_old_attempt_does_not_hide_that_its_order_is_paid(shop: ShopOnDisk) -> None:
    """M-24: the order's record is looked up by the number that the attempt's own record names."""

    async def attempts() -> None:
        async with shop.session() as session, SqlPollStore(shop.store) as store:
            for number, total, status in (
                ("E1001202", 1406, CheckoutStatus.FAILED),
                ("E1001203", 1230, CheckoutStatus.PAID),
            ):
                request = Pay(out_trade_no=number, body="tea", total_fee=total, auth_code=CODE)
                outcome = await checkout(
                    session, request, store=store, paytype=PayType.WECHAT, order_no="E1001201"
                )
                assert outcome.status is status

    asyncio.run(attempts())
    told = shop.running.ask("explain", "E1001202", "--store", str(shop.store))
    assert (told["exit"], told["status"]) == (1, "UNPAID")
    names = [step["name"] for step in told["steps"]]
    assert names[0] == "unpaid-attempt"
    assert "unpaid" not in names
    assert "E1001203" in told["next"]
    told = shop.running.ask("explain", "E1001203", "--store", str(shop.store), "--expected", "1230")
    assert (told["status"], told["agrees"]) == ("PAID", True)
    assert not {"unpaid-attempt", "attempt"} & {step["name"] for step in told["steps"]}
