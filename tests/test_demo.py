"""``make demo`` in small, and the command line around it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from chaoying_async import (
    Credentials,
    Fen,
    OutcomeUnknownError,
    Pay,
    PayType,
    RequestNotSentError,
)
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.demo import command
from chaoying_async.sandbox.demo.receiver import Receiver
from chaoying_async.sandbox.demo.refunding import refund_parts
from chaoying_async.sandbox.demo.report import compare
from chaoying_async.sandbox.demo.shop import Day
from chaoying_async.sandbox.demo.till import End, Sale, take_payment
from chaoying_async.testing import FakeClock
from tests.sandbox_calls import session_with

SALE = Sale(out_trade_no="A100011", end=End.PAID, payable=Fen(1000), paid=Fen(1000))


def pay(total: int) -> Pay:
    return Pay(out_trade_no="A100011", body="b", total_fee=total, auth_code="130000000000001111")


async def test_the_demo_adds_up_to_the_fen() -> None:
    """Another process, real HTTP, forty payments with mixed ends: exit code 0, all agrees."""
    shown = io.StringIO()
    status = await command.run(40, console=Console(file=shown, width=100))
    assert (status, "NO" in shown.getvalue()) == (0, False), shown.getvalue()
    assert "Everything adds up, to the fen." in shown.getvalue()


@pytest.mark.parametrize(
    ("total", "end"),
    [
        (1000, End.PAID),
        (1403, End.PAID),
        (1401, End.PAID),
        (1413, End.PAID),
        (1415, End.PAID),
        (1406, End.FAILED),
        (1408, End.FAILED),
        (1416, End.FAILED),
        (1405, End.CANCELLED),
        (1420, End.UNKNOWN),
        (1421, End.FAILED),
        (1412, End.UNKNOWN),
    ],
)
async def test_the_till_ends_every_payment_honestly(total: int, end: End) -> None:
    """Money is asked to move once; what is unclear is queried, and what stays open is cancelled."""
    clock = FakeClock()
    async with Sandbox(clock=clock) as sandbox, session_with(sandbox) as session:
        sale = await clock.run(take_payment(session, pay(total), clock))
        assert sale.end is end
        assert sandbox.requests["pay"] == 1
        assert sandbox.requests.get("cancel", 0) <= 1


async def test_what_never_left_has_failed() -> None:
    """A gateway that cannot be reached took no money."""

    class Unreachable:
        async def send(self, request: Any, *, timeout: Any = None) -> Any:
            raise RequestNotSentError("refused")

    sale = await take_payment(Unreachable(), pay(1000), FakeClock())
    assert sale.end is End.FAILED


async def test_a_till_that_gets_no_answer_does_not_guess() -> None:
    """Every answer lost, the cancel's too: the end is unknown, and pay was sent once."""
    sent: list[str] = []

    class Silent:
        async def send(self, request: Any, *, timeout: Any = None) -> Any:
            sent.append(request.endpoint.name)
            raise OutcomeUnknownError("no answer")

    clock = FakeClock()
    sale = await clock.run(take_payment(Silent(), pay(1000), clock))
    assert sale.end is End.UNKNOWN
    assert sent.count("pay") == sent.count("cancel") == 1


@pytest.mark.parametrize(
    ("part", "status", "cash"),
    [
        (1000, "SUCCESS", 1000),
        (506, "SUCCESS", 506),
        (502, "FAIL", 0),
        (504, "CHANGE", 504),
        (507, "PROCESSING", 0),
        (505, "PROCESSING", 0),
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


class TestReceiver:
    async def test_nothing_counts_twice_and_nothing_unverified(self) -> None:
        """Forged, of another amount, not paid, put off once, paid, and paid again."""
        async with Sandbox() as sandbox:
            receiver = Receiver(sandbox.credentials, {"Q1": Fen(100), "Q10": Fen(7)})
            judge, made = receiver.judge, sandbox.sign_notification
            assert judge(b"a=1") == b"fail"
            assert judge(made("Q1", total_fee=99)) == b"fail"
            assert judge(made("Q1", total_fee=100, pay_result="1")) == b"success"
            assert receiver.paid == {}
            assert judge(made("Q1", total_fee=100)) == b"success"
            assert judge(made("Q1", total_fee=100)) == b"success"
            assert judge(made("Q10", total_fee=7)) == b"fail"
            assert judge(made("Q10", total_fee=7)) == b"success"
            assert receiver.paid == {"Q1": 100, "Q10": 7}
            assert receiver.counts["duplicates"] == 1
            await receiver.all_paid({"Q1", "Q10"})


def test_one_fen_of_difference_is_seen() -> None:
    """The report compares exactly: what the shop has beside what the gateway has."""
    credentials = Credentials(agent_id="1", key="k", pid="p")
    totals = {"received": 1001, "reversed": 0, "refunded": 0, "kept": 1001}
    order = {"kind": "pay", "status": "PAID", "was_paid": True}
    books = {"totals": totals, "orders": [order], "requests": {"pay": 1}, "deliveries": []}
    wrong = [
        line.what
        for line in compare(Day(sales=[SALE]), Receiver(credentials, {}), books)
        if not line.agrees
    ]
    assert wrong == ["received", "kept"]
