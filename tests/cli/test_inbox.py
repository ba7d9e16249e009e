"""``chaoying inbox``: a person sees what waits, decides, and a running handler acts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import ExpectedOrder, NotificationHandler, PaidOrder
from chaoying_async.cli import output
from chaoying_async.inbox.redis.inbox import redis_inbox_at
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.inbox.sql.inbox import sql_inbox_at
from chaoying_async.sandbox import Sandbox
from chaoying_async.sansio.notifications.decide import ToldAmount, amounts_in
from chaoying_async.sansio.notifications.inbox_values import BY_A_PERSON, Aside, OrderKey, Record
from chaoying_async.testing import FakeClock
from tests.cli.processes import on_a_terminal
from tests.cli_calls import NOTHING, call
from tests.servers import Servers
from tests.sizes import cases

Deed = Callable[[NotificationHandler, Sandbox], Coroutine[Any, Any, None]]


class ShopOnDisk:
    """A shop's handler on a SQLite file, opened for a moment at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.expected = {"A1": 100, "A2": 100}
        self.shipped: list[str] = []
        self.clock = FakeClock()
        self.broken = False
        self.knows_as = ""

    def __call__(self, *deeds: Deed) -> None:
        """Open the handler, do these, and close it."""

        async def run() -> None:
            engine = create_async_engine(f"sqlite+aiosqlite:///{self.path}")
            inbox = SqlInbox(engine, clock=self.clock)
            await inbox.create_tables()
            async with Sandbox(clock=self.clock) as sandbox:
                handler = NotificationHandler(
                    sandbox.credentials,
                    inbox,
                    self._on_paid,
                    expected=self._lookup,
                    on_conflict=lambda aside: None,
                    clock=self.clock,
                )
                for deed in deeds:
                    await deed(handler, sandbox)
            await engine.dispose()

        asyncio.run(run())

    async def _on_paid(self, order: PaidOrder) -> None:
        if self.broken:
            raise RuntimeError("the shop is on fire")
        self.shipped.append(order.out_trade_no)

    async def _lookup(self, mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        total = self.expected.get(out_trade_no)
        return None if total is None else ExpectedOrder(total, self.knows_as or mch_id)


def told(number: str, total: int, **more: Any) -> Deed:
    async def deed(handler: NotificationHandler, sandbox: Sandbox) -> None:
        await handler.handle(sandbox.sign_notification(number, total_fee=total, **more))

    return deed


async def due(handler: NotificationHandler, sandbox: Sandbox) -> None:
    await handler.run_due()


@pytest.fixture
def shop(tmp_path: Path) -> ShopOnDisk:
    return ShopOnDisk(tmp_path / "shop.db")


def listed(shop: ShopOnDisk) -> list[dict[str, Any]]:
    result = call("inbox", "list", "--store", str(shop.path), "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_what_waits_is_listed_with_its_reason_and_nothing_about_the_buyer(shop: ShopOnDisk) -> None:
    """M-27: order, amount, why, since when, and no signature; a table, or lines for programs."""
    shop(told("A1", 99), told("B1", 5), told("A2", 100))
    found = {(each["what"], each["out_trade_no"]) for each in listed(shop)}
    assert ("CONFLICT", "A1") in found
    assert ("UNKNOWN_ORDER", "B1") in found
    assert not any(number == "A2" for _, number in found)
    shown = call("inbox", "list", "--store", str(shop.path))
    assert shown.exit_code == 0
    assert "B1" in shown.output
    assert "openid" not in shown.output
    for each in listed(shop):
        assert each["kept"]["raw"]["sign"] == "***"
        assert each["kept"]["total_fee"] == each["paid"]


def test_an_empty_inbox_says_so(shop: ShopOnDisk) -> None:
    """Exit code 0, one sentence."""
    shop()
    result = call("inbox", "list", "--store", str(shop.path))
    assert (result.exit_code, result.output.strip()) == (0, "nothing waits")


def test_a_person_who_applies_a_conflict_ships_it_once(shop: ShopOnDisk) -> None:
    """M-17: the mark waits in the database, and the handler that runs acts on it."""
    shop(told("A1", 99))
    assert shop.shipped == []
    refused = call("inbox", "apply", "00000001", "A1", "--store", str(shop.path), input="n\n")
    assert refused.exit_code == 2
    shop(due)
    assert shop.shipped == []
    mch_id = listed(shop)[0]["mch_id"]
    result = call("inbox", "apply", mch_id, "A1", "--store", str(shop.path), "--yes")
    assert result.exit_code == 0, result.output
    shop(due, due, told("A1", 99))
    assert shop.shipped == ["A1"]


def test_a_person_who_dismisses_a_message_is_not_asked_again(shop: ShopOnDisk) -> None:
    """A redelivery of what was dismissed stays without effect and off the list."""
    shop(told("B1", 5))
    (one,) = listed(shop)
    arguments = ("--store", str(shop.path), "--message", one["message"])
    assert call("inbox", "dismiss", one["mch_id"], "B1", *arguments).exit_code == 0
    assert listed(shop) == []
    shop(told("B1", 5), due)
    assert listed(shop) == []
    assert shop.shipped == []


def test_a_retry_decides_with_what_the_shop_knows_today(shop: ShopOnDisk) -> None:
    """UNKNOWN_ORDER becomes a shipment once the order is there."""
    shop(told("B1", 5))
    (one,) = listed(shop)
    shop.expected["B1"] = 5
    result = call("inbox", "retry", one["mch_id"], "B1", "--store", str(shop.path), "--json")
    assert json.loads(result.output)["mark"] == "RETRY"
    shop(due)
    assert shop.shipped == ["B1"]
    assert listed(shop) == []


def test_what_is_not_there_cannot_be_marked(shop: ShopOnDisk) -> None:
    """A wrong number is exit code 1; a wrong file or a missing option exit code 2."""
    shop()
    missing = call("inbox", "retry", "1", "A9", "--store", str(shop.path))
    assert missing.exit_code == 1
    assert call("inbox", "list", "--store", str(shop.path) + "x").exit_code == 2
    other = call("inbox", "list", "--store", str(shop.path), "--prefix", "other_", "--json")
    assert (other.exit_code, "create_tables" in other.output) == (2, True)
    assert json.loads(other.stdout)["error"] == "UsageError"  # a class that a user finds
    assert call("inbox", "list").exit_code == 2


def test_both_amounts_of_a_conflict_are_shown_wherever_it_is_decided(
    shop: ShopOnDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """M-15: 12.30 expected, 4.13 paid: list, JSON, the question, the answer, the log of its end."""
    shop.expected["A1"] = 1230
    shop(told("A1", 413))
    where = ("--store", str(shop.path))
    (one,) = listed(shop)
    assert (one["expected"], one["paid"], one["fen"]) == (1230, 413, 413)
    assert "1230 fen: 413 fen" in one["why"]
    shown = call("inbox", "list", *where).output
    assert all(words in shown for words in ("12.30 yuan", "4.13 yuan", one["transaction_id"]))
    asked = call("inbox", "apply", one["mch_id"], "A1", *where, input="n\n")
    question = (
        f"run on_paid for A1 of merchant {one['mch_id']}, 4.13 yuan paid, 12.30 yuan expected?"
    )
    assert question in asked.stderr
    assert "first let your own row say what was paid (reprice it)" in asked.stderr
    marked = call("inbox", "apply", one["mch_id"], "A1", *where, "--yes")
    assert "A1 of merchant 00000001: APPLY, 4.13 yuan paid" in marked.output
    told_json = call("inbox", "apply", one["mch_id"], "A1", *where, "--yes", "--json")
    result = json.loads(told_json.output)
    assert (result["expected"], result["paid"]) == (1230, 413)
    assert result["message"].startswith(one["message"])
    caplog.clear()
    shop(due)
    assert shop.shipped == ["A1"]
    ours = [each for each in caplog.records if each.name.startswith("chaoying_async")]
    said = [line for each in ours if "a person said so" in (line := each.getMessage())]
    words = ("on_paid is run for order 'A1'", "'00000001'", "413 fen paid", "1230 fen expected")
    assert [all(word in line for word in words) for line in said] == [True], said
    assert recorded(shop, "A1").entry.decision == BY_A_PERSON


@pytest.mark.parametrize("expected", [123000, 5, None], ids=["same number", "other", "unknown"])
def test_another_currency_is_never_shown_as_yuan(
    shop: ShopOnDisk, caplog: pytest.LogCaptureFixture, expected: int | None
) -> None:
    """M-13: list, JSON, the question, the answer and the log name it; a person is warned of it."""
    number = "B1" if expected is None else "A1"
    if expected is not None:
        shop.expected[number] = expected
    shop(told(number, 123000, fee_type="JPY"))
    where = ("--store", str(shop.path))
    (one,) = listed(shop)
    assert (one["expected"], one["paid"], one["fee_type"]) == (expected, 123000, "JPY")
    assert one["expected_fee_type"] == (None if expected is None else "CNY")
    assert one["fen"] is None
    outputs = [
        call("inbox", "list", *where).output,
        call("inbox", "apply", one["mch_id"], number, *where, input="n\n").stderr,
        call("inbox", "apply", one["mch_id"], number, *where, "--yes").output,
    ]
    for printed in outputs:
        assert "123000 (fee_type JPY)" in printed
        assert "1230.00 yuan paid" not in printed
        assert "1230.00 yuan" not in printed or expected == 123000
    assert "It was paid in another currency" in outputs[1]
    assert "reprice" not in outputs[1]
    caplog.clear()
    shop(due)
    ours = [each for each in caplog.records if each.name.startswith("chaoying_async")]
    said = [line for each in ours if "a person said so" in (line := each.getMessage())]
    wanted = "no known order" if expected is None else f"{expected} fen expected"
    assert [f"123000 (fee_type JPY) paid, {wanted}" in line for line in said] == [True]


def test_the_question_names_the_merchant_whose_order_it_is(shop: ShopOnDisk) -> None:
    """M-18: a message about another merchant has its effect on the order that the shop knows."""
    shop.knows_as = "00000002"
    shop(told("A1", 100))
    where = ("--store", str(shop.path))
    (one,) = listed(shop)
    assert (one["mch_id"], one["expected_mch_id"]) == ("00000001", "00000002")
    assert "00000002" in call("inbox", "list", *where).output
    asked = call("inbox", "apply", "00000001", "A1", *where, input="y\n")
    assert "run on_paid for A1 of merchant 00000002, 1.00 yuan paid?" in asked.stderr
    assert "The message is about merchant 00000001" in asked.stderr
    shop(due)
    assert shop.shipped == ["A1"]


def test_an_unknown_order_is_applied_with_what_was_paid(shop: ShopOnDisk) -> None:
    """Nothing is expected of it: the question names what was paid, and no other amount."""
    shop(told("B1", 5))
    (one,) = listed(shop)
    asked = call("inbox", "apply", one["mch_id"], "B1", "--store", str(shop.path), input="n\n")
    assert "run on_paid for B1 of merchant 00000001, 0.05 yuan paid?" in asked.stderr
    assert "reprice" not in asked.stderr
    assert (one["expected"], one["paid"]) == (None, 5)


@pytest.mark.parametrize("columns", cases(["40"], more=["80", "120", "300"]))
def test_no_width_cuts_what_identifies_an_order(shop: ShopOnDisk, columns: str) -> None:
    """The longest number there may be, merchant, time, amounts and message, on every terminal."""
    number = "A" * 32
    shop.expected[number] = 1230
    shop(told(number, 413), told("B1", 5))
    seen = on_a_terminal(
        ("inbox", "list", "--store", str(shop.path)), NOTHING, more={"COLUMNS": columns}
    )
    for each in listed(shop):
        for name in ("what", "mch_id", "out_trade_no", "since", "transaction_id", "message"):
            assert each[name] in seen, name
    assert "12.30 yuan" in seen
    assert "…" not in seen


def test_amounts_are_read_out_of_the_reason_that_names_them() -> None:
    """What an older version wrote down has the expected one only; other reasons have none."""
    known = ToldAmount(1230), ToldAmount(413)
    assert amounts_in("another amount than the expected 1230 fen: 413 fen") == known
    assert amounts_in("another amount than the expected 1230 fen") == (ToldAmount(1230), None)
    other = ToldAmount(1230), ToldAmount(1230, "USD")
    told = "another currency than the expected 1230 fen: 1230 (fee_type USD)"
    assert amounts_in(told) == other
    assert amounts_in("another currency than the expected 1230 fen: USD") == (other[0], None)
    assert amounts_in("another currency than expected") == (None, None)
    assert amounts_in("the shop knows no such order") == (None, None)


def test_nobody_is_asked_about_what_cannot_be_applied(shop: ShopOnDisk) -> None:
    """`apply` looks before it asks: nothing there, done already; then no answer is needed."""
    shop(told("A2", 100), told("A1", 99))
    mch_id = next(each["mch_id"] for each in listed(shop) if each["out_trade_no"] == "A1")
    where = ("--store", str(shop.path))
    for number, message, words in (
        ("A9", (), "no such thing to decide about"),
        ("A1", ("--message", "ffff"), "no such thing to decide about"),
        ("A2", (), "took effect already"),
    ):
        result = call("inbox", "apply", mch_id, number, *message, *where, input="y\n")
        assert (result.exit_code, "on_paid for" in result.output) == (1, False), number
        assert words in result.output
    asked = call("inbox", "apply", mch_id, "A1", *where, input="n\n")
    assert (asked.exit_code, "run on_paid for A1" in asked.output) == (2, True)


def test_an_order_that_is_done_can_only_be_dismissed(shop: ShopOnDisk) -> None:
    """M-15: `retry` would decide the same again, and says so as `apply` does."""
    shop(told("A1", 100))
    mch_id, where = "00000001", ("--store", str(shop.path))

    async def another_payment() -> None:
        async with sql_inbox_at(f"sqlite+aiosqlite:///{shop.path}") as inbox:
            await inbox.set_aside(an_aside_of("A1"), retry_in=None)

    asyncio.run(another_payment())
    for name in ("retry", "apply"):
        result = call("inbox", name, mch_id, "A1", "--yes", *where)
        assert (result.exit_code, "can only be dismissed" in result.output) == (1, True)
    assert [each["mark"] for each in listed(shop)] == [None]
    assert call("inbox", "dismiss", mch_id, "A1", "--yes", *where).exit_code == 0
    assert listed(shop) == []


def test_only_the_command_that_asks_offers_not_to() -> None:
    """The others take ``--yes`` as they did, and promise nothing by it."""
    offers = {
        name: "--yes" in call("inbox", name, "--help").output
        for name in ("retry", "apply", "dismiss")
    }
    assert offers == {"retry": False, "apply": True, "dismiss": False}


def test_an_order_that_a_handler_works_on_is_not_for_a_person(shop: ShopOnDisk) -> None:
    """Listed, since it is not done; but it goes on by itself, and `retry` says so."""
    shop.broken = True
    shop(told("A2", 100))
    (one,) = listed(shop)
    result = call("inbox", "retry", one["mch_id"], "A2", "--store", str(shop.path))
    assert (result.exit_code, "by itself" in result.output) == (1, True)


def test_bodies_are_forgotten_and_the_orders_stay(shop: ShopOnDisk) -> None:
    """M-19: pruning by default deletes bodies only, so a redelivery is still a duplicate."""
    shop(told("A2", 100))
    result = call("inbox", "prune", "--older-than", "0", "--store", str(shop.path), "--json")
    assert json.loads(result.output)["ok"] is True
    shop(told("A2", 100))
    assert shop.shipped == ["A2"]


def test_an_inbox_in_redis_or_another_database_is_named_by_its_address(servers: Servers) -> None:
    """The same commands on ``redis://`` and on SQLAlchemy's URLs, with a prefix of one's own."""
    aside = an_aside_of("B1")

    async def in_redis(url: str) -> None:
        async with redis_inbox_at(url, prefix="mine:") as inbox:
            await inbox.set_aside(aside, retry_in=None)

    async def in_postgresql(url: str) -> None:
        engine = create_async_engine(url)
        await SqlInbox(engine, table_prefix="mine_").create_tables()
        await engine.dispose()
        async with sql_inbox_at(url, table_prefix="mine_") as inbox:
            await inbox.set_aside(aside, retry_in=None)

    for url, prefix, seed in (
        (servers.redis_url(), "mine:", in_redis),
        (servers.postgresql_url(), "mine_", in_postgresql),
    ):
        asyncio.run(seed(url))
        where = ("--store", url, "--prefix", prefix)
        found = call("inbox", "list", *where, "--json")
        assert json.loads(found.output)["out_trade_no"] == "B1"
        assert call("inbox", "dismiss", aside.key.mch_id, "B1", *where).exit_code == 0
        assert call("inbox", "list", *where).output.strip() == "nothing waits"


def recorded(shop: ShopOnDisk, number: str) -> Record:
    """The order as the inbox has it now."""

    async def look() -> Record | None:
        async with sql_inbox_at(f"sqlite+aiosqlite:///{shop.path}") as inbox:
            return await inbox.look(OrderKey("00000001", number))

    found = asyncio.run(look())
    assert found is not None
    return found


def an_aside_of(number: str) -> Aside:
    return Aside(
        key=OrderKey("00000001", number),
        fingerprint="ab" * 32,
        decision="UNKNOWN_ORDER",
        reason="the shop knows no such order",
        payload="{}",
        first_seen=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_what_changed_while_a_person_was_asked_is_not_applied(
    shop: ShopOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-17: the answer was about what was shown, and that is no longer so."""
    shop(told("A1", 99))
    mch_id = listed(shop)[0]["mch_id"]
    store = ("--store", str(shop.path))

    def meanwhile(question: str) -> None:
        assert "0.99 yuan paid, 1.00 yuan expected" in question
        shop.expected["A1"] = 98
        assert call("inbox", "retry", mch_id, "A1", *store).exit_code == 0
        shop(due)

    monkeypatch.setattr(output, "confirm", meanwhile)
    result = call("inbox", "apply", mch_id, "A1", *store)
    assert (result.exit_code, "has changed since it was shown" in result.stderr) == (1, True)
    assert [(each["expected"], each["mark"]) for each in listed(shop)] == [(98, None)]
    monkeypatch.setattr(output, "confirm", lambda question: None)
    assert call("inbox", "apply", mch_id, "A1", *store).exit_code == 0
    shop(due)
    assert shop.shipped == ["A1"]


def test_a_list_that_is_cut_says_so(shop: ShopOnDisk) -> None:
    """On stderr, so that a program's lines stay lines; a list that is whole says nothing."""
    shop(told("A1", 99), told("B1", 5), told("B2", 5))
    store = ("--store", str(shop.path), "--json")
    cut = call("inbox", "list", *store, "--limit", "2")
    assert (cut.exit_code, len(cut.stdout.splitlines())) == (0, 2)
    assert "more than 2 wait: the oldest are shown, --limit shows more" in cut.stderr
    whole = call("inbox", "list", *store, "--limit", "3")
    assert (len(whole.stdout.splitlines()), whole.stderr) == (3, "")


@pytest.mark.parametrize("digits", ["", " "])
def test_no_digits_name_no_message(shop: ShopOnDisk, digits: str) -> None:
    """`--message "$UNSET"` is a usage error, and marks nothing."""
    shop(told("A1", 99))
    mch_id = listed(shop)[0]["mch_id"]
    store = ("--store", str(shop.path))
    result = call("inbox", "dismiss", mch_id, "A1", "--message", digits, *store)
    assert (result.exit_code, "which message?" in result.stderr) == (2, True)
    assert [each["what"] for each in listed(shop)] == ["CONFLICT"]
