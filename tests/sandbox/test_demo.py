"""``make demo`` in small, and the command line around it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from chaoying_async import Fen, Pay, PayType
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.demo import command
from chaoying_async.sandbox.demo.hostile import Siege
from chaoying_async.sandbox.demo.report import as_record, compare
from chaoying_async.sandbox.demo.sale import Sale, refund_parts, take_payment
from chaoying_async.sandbox.demo.shop import Day
from chaoying_async.sandbox.demo.warehouse import Warehouse
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.testing import FakeClock
from tests.cli_calls import call, said
from tests.sandbox_calls import session_with
from tests.sizes import FULL

pytestmark = pytest.mark.outside

SALE = Sale(out_trade_no="A100011", status=CheckoutStatus.PAID, payable=Fen(1000), paid=Fen(1000))


def pay(total: int) -> Pay:
    return Pay(out_trade_no="A100011", body="b", total_fee=total, auth_code="130000000000001111")


@pytest.mark.timeout(120)
async def test_the_demo_adds_up_to_the_fen() -> None:
    """Another process, real HTTP, payments with mixed ends: exit code 0, all agrees.

    Ten of them; with ``FULL=1`` forty. A program is told what ended how, what was posted, and both
    sides' books; amounts in fen.
    """
    shown, records = io.StringIO(), list[dict[str, Any]]()
    console, payments = Console(file=shown, width=100), 40 if FULL else 10
    status = await command.run(payments, console=console, tell=records.append)
    assert (status, "│ NO" in shown.getvalue()) == (0, False), shown.getvalue()
    assert "Everything adds up, to the fen." in shown.getvalue()
    (told,) = records
    assert (told["ok"], told["exit"]) == (True, 0)
    assert sum(row["orders"] for row in told["sales"]) == payments
    assert told["notifications"]["hostile"] > 0
    kept = next(line for line in told["books"] if line["what"] == "kept")
    assert kept["shop"] == kept["gateway"] > 0
    assert (kept["money"], kept["agrees"]) == (True, True)


def test_a_program_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """`demo --json`: the record and nothing else, on stdout; its exit code. The day is made up."""

    async def run(
        payments: int,
        *,
        console: Console | None = None,
        tell: Callable[[Any], None] = print,
        **_: Any,
    ) -> int:
        (console or Console()).print("a table for a person")
        tell({"ok": False, "payments": payments})
        return 1

    monkeypatch.setattr(command, "run", run)
    result = call("demo", "--payments", "10", "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    assert said(result) == {"ok": False, "payments": 10}
    result = call("demo", "--payments", "10")
    assert (result.exit_code, "a table for a person" in result.stdout) == (1, True)


@pytest.mark.parametrize(
    ("total", "status"),
    [
        (1000, CheckoutStatus.PAID),
        (1413, CheckoutStatus.PAID),
        (1406, CheckoutStatus.FAILED),
        (1416, CheckoutStatus.FAILED),
        (1405, CheckoutStatus.CANCELLED),
        (1412, CheckoutStatus.UNKNOWN),
    ],
)
async def test_the_till_ends_every_payment_honestly(total: int, status: CheckoutStatus) -> None:
    """Only what was paid as asked counts as money, whatever the gateway says on the way."""
    clock = FakeClock()
    async with Sandbox(clock=clock) as sandbox, session_with(sandbox) as session:
        sale = await clock.run(take_payment(session, pay(total), clock))
        assert sale.status is status
        assert (sale.payable, sale.paid) == ((total, total) if status == "PAID" else (0, 0))
        assert sandbox.requests["pay"] == 1


@pytest.mark.parametrize(
    ("part", "status", "cash"),
    [
        (1000, "REFUNDED", 1000),
        (506, "REFUNDED", 506),
        (502, "REFUND_FAILED", 0),
        (504, "CHANGED", 504),
        (505, "EXPIRED", 0),
    ],
)
async def test_a_refund_is_followed_to_its_end(part: int, status: str, cash: int) -> None:
    """Sent once, queried under its own number until it is over; refused ones were not made."""
    clock = FakeClock()
    async with Sandbox(clock=clock) as sandbox, session_with(sandbox) as session:
        await session.send(pay(1000))
        ended = await clock.run(refund_parts(session, SALE, PayType.WECHAT, [Fen(part)], clock))
        assert [(each.status, each.cash) for each in ended] == [(status, cash)]
        assert sandbox.requests["refund"] == 1


async def test_the_shop_ships_once_and_only_what_was_paid_as_asked() -> None:
    """Forged, of another amount, not paid, put off once, paid, and paid again."""
    async with Sandbox() as sandbox:
        receiver = Warehouse(sandbox.credentials, sandbox.mch_id, FakeClock(), budget=2.0)
        receiver.expected |= {"Q1": Fen(100), "Q2": Fen(50), "Q10": Fen(7)}
        made = sandbox.sign_notification

        async def judge(body: bytes) -> bytes:
            return (await receiver.handler.handle(body)).body

        assert await judge(b"a=1") == b"fail"
        assert await judge(made("Q1", total_fee=100, pay_result="1")) == b"success"
        assert await judge(made("Q2", total_fee=51)) == b"fail"
        assert receiver.shipped == {}
        assert await judge(made("Q1", total_fee=100)) == b"success"
        assert await judge(made("Q1", total_fee=100)) == b"success"
        assert await judge(made("Q10", total_fee=7)) == b"fail"
        assert await judge(made("Q10", total_fee=7)) == b"success"
        assert (receiver.shipped, receiver.paid) == ({"Q1": 1, "Q10": 1}, {"Q1": 100, "Q10": 7})
        assert receiver.set_aside == {"CONFLICT": 1}


async def test_one_fen_of_difference_is_seen() -> None:
    """The report compares exactly: what the shop has beside what the gateway has."""
    totals = {"received": 1001, "reversed": 0, "refunded": 0, "kept": 1001}
    order = {"kind": "pay", "out_trade_no": "A100011", "status": "PAID", "was_paid": True}
    books = {
        "totals": totals,
        "orders": [order],
        "refunds": [],
        "requests": {"pay": 1},
        "deliveries": [],
    }
    async with Sandbox() as sandbox:
        receiver = Warehouse(sandbox.credentials, sandbox.mch_id, FakeClock(), budget=2.0)
    day = Day(sales=[SALE])
    lines = compare(day, receiver, Siege(), books)
    told = as_record(day, receiver, Siege(), lines)
    assert (told["ok"], told["exit"]) == (False, 1)
    assert told["sales"][0] == {
        "status": "PAID",
        "orders": 1,
        "answers": SALE.answers,
        "payable": 1000,
        "paid": 1000,
    }
    assert [line.what for line in lines if not line.agrees] == ["received, cash", "kept"]
