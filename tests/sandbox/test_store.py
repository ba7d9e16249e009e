"""The books in a file: a restart loses nothing, and goes on where the last run ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaoying_async import (
    AuthCodeToOpenId,
    Credentials,
    GatewaySession,
    GetMchSmsValid,
    Hosts,
    MchReg,
    OrderQuery,
    Pay,
    PayBoxConfGet,
    PayType,
    Refund,
    RefundQuery,
    TradeType,
    WechatPreOrder,
    WxaCode2Session,
)
from chaoying_async.cli import main
from chaoying_async.sandbox import Sandbox, Status
from chaoying_async.sandbox.bank.entities import Ledger, Noted
from chaoying_async.sandbox.console.journal import JournalEntry
from chaoying_async.testing import FakeClock
from tests.sandbox_calls import session_with

CODE = "130000000000001111"
STORED = Path(__file__).parents[1] / "data" / "stored"


def as_dict(ledger: Ledger) -> Mapping[str, Any]:
    parts = ("orders", "refunds", "numbers", "merchants", "bound", "sms", "js_codes", "terminals")
    return {"serial": ledger.serial, **{part: dict(getattr(ledger, part)) for part in parts}}


def pay(number: str, total: int = 1000) -> Pay:
    return Pay(out_trade_no=number, body="纸巾 & more", total_fee=total, auth_code=CODE)


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    """Orders, refunds, merchants, codes, sessions, terminals, and the key to speak with."""
    data = tmp_path / "books.sqlite"
    clock = FakeClock()
    async with Sandbox(clock=clock, data=data, seed=5) as first, session_with(first) as session:
        for total in (1000, 1401, 1403, 1405, 1406, 1409):
            await session.send(pay(f"A{total}", total))
        refund = Refund(
            paytype=PayType.WECHAT,
            out_trade_no="A1000",
            out_refund_no="TK-1",
            total_fee=1000,
            refund_fee=300,
        )
        await session.send(refund)
        await session.send(AuthCodeToOpenId(auth_code=CODE))
        await session.send(GetMchSmsValid(mobile="13800000000"))
        await session.send(MchReg(extra={"DealType": "1"}))
        await session.send(WxaCode2Session(appid="wx1", js_code="once"))
        await session.send(PayBoxConfGet(device_info="box", op_device_id="1"))
        before = as_dict(first.ledger)
    async with Sandbox(clock=clock, data=data, seed=6) as second, session_with(second) as session:
        assert as_dict(second.ledger) == before
        assert second.credentials.key == first.credentials.key
        await second.advance(10)
        query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1401")
        assert (await session.send(query)).unwrap().total_fee == 1401
        entry = (
            await session.send(RefundQuery(paytype=PayType.WECHAT, out_refund_no="TK-1"))
        ).unwrap()
        assert entry.refund_list[0].refund_status == "SUCCESS"
        await session.send(pay("B1000"))
        assert len({order.transaction_id for order in second.ledger.orders.values()}) == 7


async def test_what_was_not_delivered_is_delivered_after_a_restart(tmp_path: Path) -> None:
    """A pre-order paid while nobody ran, one still undelivered, and one that was told already."""
    data, clock = tmp_path / "books.sqlite", FakeClock()
    answers, came = [b"success"], []

    def shop(request: httpx.Request) -> httpx.Response:
        number = dict(pair.split("=") for pair in request.content.decode().split("&"))
        came.append(number["out_trade_no"])
        return httpx.Response(200, content=answers[0])

    def again() -> Sandbox:
        return Sandbox(clock=clock, data=data, notify_transport=httpx.MockTransport(shop))

    async with again() as sandbox, session_with(sandbox) as session:
        for number, answer, seconds in (("Q10001", b"success", 5), ("Q10002", b"fail", 5)):
            answers[0] = answer
            await session.send(_preorder(number))
            await sandbox.advance(seconds)
        await session.send(_preorder("Q10003"))
    assert came == ["Q10001", "Q10002"]
    answers[0] = b"success"
    async with again() as sandbox:
        await sandbox.advance(5)
        assert sorted(came[2:]) == ["Q10002", "Q10003"]
        assert sandbox.ledger.order("Q10003").status is Status.PAID
    async with again() as sandbox:
        await sandbox.advance(20_000)
    assert len(came) == 4


def _preorder(number: str) -> WechatPreOrder:
    return WechatPreOrder(
        out_trade_no=number,
        body="b",
        total_fee=1000,
        trade_type=TradeType.NATIVE,
        product_id="1",
        notify_url="http://shop.example/notify",
    )


@pytest.mark.outside
async def test_what_was_answered_survives_a_killed_process(tmp_path: Path) -> None:
    """SIGKILL after the answers: every order that a client was told of is in the file."""
    data = tmp_path / "books.sqlite"
    told: list[str] = []
    async with _running(data) as (process, session):
        for number in range(30):
            await session.send(pay(f"A10{number:03d}"))
            told.append(f"A10{number:03d}")
        process.kill()
        await process.wait()
    async with Sandbox(data=data) as sandbox:
        assert sorted(number for _, number in sandbox.ledger.orders) == told


@contextlib.asynccontextmanager
async def _running(
    data: Path,
) -> AsyncGenerator[tuple[asyncio.subprocess.Process, GatewaySession]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "chaoying_async", "sandbox", "--json", "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    told = json.loads(await process.stdout.readline())
    made = Credentials(agent_id=told["agent_id"], key=told["key"], pid=told["pid"])
    async with GatewaySession(
        made, mch_id=told["mch_id"], hosts=Hosts.single(told["url"])
    ) as session:
        yield process, session


async def test_a_file_belongs_to_one_sandbox_at_a_time(tmp_path: Path) -> None:
    """A second one is an OSError, and after the first has ended it is welcome."""
    data = tmp_path / "books.sqlite"
    async with Sandbox(data=data):
        with pytest.raises(OSError, match="locked"):
            Sandbox(data=data)
    async with Sandbox(data=data):
        pass


def test_what_is_no_database_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another file is told apart, in one line, and not written to."""
    other = tmp_path / "letter.txt"
    other.write_text("Dear customer, " * 100)
    assert main(["sandbox", "--data", str(other)]) == 2
    assert "letter.txt" in capsys.readouterr().err
    assert other.read_text() == "Dear customer, " * 100


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entry SET value = '{nonsense' WHERE part = 'merchants'",
        "UPDATE entry SET value = 'x' WHERE key = 'serial'",
        "INSERT INTO happened VALUES ('Noted', 1, '[]')",
    ],
)
async def test_what_a_newer_version_wrote_is_an_error_in_words(tmp_path: Path, change: str) -> None:
    """Or what a hand has changed: an OSError, which the command line tells in one line."""
    data = tmp_path / "books.sqlite"
    async with Sandbox(data=data):
        pass
    with contextlib.closing(sqlite3.connect(data)) as database:
        database.execute(change)
        database.commit()
    with pytest.raises(OSError, match="this version cannot read"):
        Sandbox(data=data)


async def test_a_file_of_the_version_before_is_read(tmp_path: Path) -> None:
    """Orders, refunds, seed, deliveries and messages are there; the file was written by 0.1.0."""
    path = tmp_path / "books.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript((STORED / "sandbox_file.sql").read_text("utf-8"))
    async with Sandbox(clock=FakeClock(), data=path) as sandbox:
        orders = {number: sandbox.ledger.order(number) for number in ("A100011", "A100012")}
        assert [order.status for order in orders.values()] == [Status.PAID, Status.PAID]
        assert [each.cash for each in sandbox.ledger.refunds_of(orders["A100011"])] == [75]
        assert sandbox.credentials.key == Sandbox(seed=0).credentials.key
        assert [each.accepted for each in sandbox.deliveries] == [True]
        chronicle = sandbox.app.runtime.chronicle
        assert chronicle is not None
        messages = chronicle.load(JournalEntry, 10)
        assert [each.endpoint for each in messages] == ["pay", "refund", "WECHAT_PreOrder"]
        assert len(chronicle.load(Noted, 10)) > 0
