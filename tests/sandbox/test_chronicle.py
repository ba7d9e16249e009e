"""After a restart the console shows what it showed before: bounded, and with nobody's secrets."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import stat
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from chaoying_async import (
    Credentials,
    GatewaySession,
    OutcomeUnknownError,
    Pay,
    SignatureVerificationError,
    TradeType,
    WechatPreOrder,
)
from chaoying_async.sandbox import Delivery, Fault, Sandbox
from chaoying_async.sandbox.bank.entities import Noted
from chaoying_async.sandbox.console.journal import SOON, JournalEntry
from chaoying_async.sandbox.console.site import Console
from chaoying_async.sandbox.serving.sandbox_file import Chronicle
from chaoying_async.sandbox.serving.security import AccessGuard
from chaoying_async.testing import FakeClock
from tests.factories import AUTH_CODE, CANARIES, KEY, OPENID
from tests.sandbox.console_visitor import ORDER
from tests.sandbox_calls import session_with

CREDENTIALS = Credentials(agent_id="13000000000000000", key=KEY, pid="sandbox")


def _hesitant() -> Callable[[httpx.Request], httpx.Response]:
    """A merchant who takes the third notification only."""
    answers = iter([b"fail", b"fail"])
    return lambda _request: httpx.Response(200, content=next(answers, b"success"))


@asynccontextmanager
async def running(data: Path, clock: FakeClock) -> AsyncGenerator[tuple[Sandbox, Any]]:
    """A sandbox on that file with its console, and a browser at it."""
    merchant = httpx.MockTransport(_hesitant())
    sandbox = Sandbox(clock=clock, data=data, credentials=CREDENTIALS, notify_transport=merchant)
    async with sandbox:
        console = Console(sandbox._runtime, AccessGuard("127.0.0.1"))
        sandbox.app.console = console
        transport = httpx.ASGITransport(sandbox.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield sandbox, client
        console.close()


def pay(number: str) -> Pay:
    return Pay(out_trade_no=number, body="b", total_fee=100, auth_code=AUTH_CODE)


async def _a_life(sandbox: Sandbox, session: GatewaySession) -> None:
    """A pre-order that is paid and notified in vain, a payment, a wrong key, a fault."""
    await session.send(
        WechatPreOrder(
            out_trade_no="P100011",
            body="b",
            total_fee=100,
            trade_type=TradeType.JSPAY,
            sub_appid="wx1",
            buyer_id=OPENID,
            notify_url="http://shop.example/notify",
        )
    )
    await sandbox.advance(60)
    await session.send(pay("A100011"))
    wrong = attrs.evolve(CREDENTIALS, key="another-key")
    async with session_with(sandbox, credentials=wrong) as stranger:
        try:
            await stranger.send(pay("B200022"))
        except OutcomeUnknownError as error:
            assert isinstance(error.__cause__, SignatureVerificationError)
    sandbox.faults.add(Fault.RESET_AFTER, endpoints={"pay"})
    try:
        await session.send(pay("C300033"))
    except OutcomeUnknownError:
        sandbox.faults.clear()


PAGES = (f"{ORDER}P100011", f"{ORDER}A100011", "/console/messages", "/console/notifications")


async def test_the_console_shows_after_a_restart_what_it_showed_before(tmp_path: Path) -> None:
    """Timelines, messages with their verdicts, and delivery attempts, word for word."""
    data, clock = tmp_path / "books.sqlite", FakeClock()
    async with running(data, clock) as (first, browser), session_with(first) as session:
        await _a_life(first, session)
        before = [(await browser.get(page)).text for page in PAGES]
        message = (await browser.get("/console/message?id=2")).text
        attempts = len(first.deliveries)
    async with running(data, clock) as (second, browser):
        after = [(await browser.get(page)).text for page in PAGES]
        for one, other in zip(before, after, strict=True):
            assert _table(other) == _table(one)
        kept = (await browser.get("/console/message?id=2")).text
        assert _wire(kept) == _wire(message)
        assert len(second.deliveries) == attempts == 3
        async with session_with(second) as session:
            await session.send(pay("D400044"))
        listed = (await browser.get("/console/messages")).text
        assert 'id="message-5"' in listed
        assert 'id="message-4"' in listed


_LINK = re.compile(r' <a href="/console/doctor[^>]*>[^<]*</a>')


def _table(page: str) -> list[str]:
    """What the page says of the orders: its lines, but for the doctor's link and form tokens."""
    told = _LINK.sub("", page[page.index("<main") :])
    return [
        line.strip()
        for line in told.splitlines()
        if "form_token" not in line and 'role="status"' not in line
    ]


def _wire(page: str) -> list[str]:
    return [part.partition("</pre>")[0] for part in page.split("<pre")[1:]]


async def test_nothing_personal_is_kept_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    """M-27: no key, sign, payment code or buyer in what is kept of messages and deliveries."""
    data, clock = tmp_path / "books.sqlite", FakeClock()
    async with running(data, clock) as (sandbox, _), session_with(sandbox) as session:
        await _a_life(sandbox, session)
        signs = [
            entry.fields["sign"]
            for entry in sandbox.app.console.journal  # type: ignore[union-attr]
        ]
    assert stat.S_IMODE(data.stat().st_mode) == 0o600
    connection = sqlite3.connect(data)
    kept = "\n".join(value for (value,) in connection.execute("SELECT value FROM happened"))
    connection.close()
    assert "A100011" in kept
    for secret in (*CANARIES, *signs):
        assert secret not in kept


async def test_a_kept_message_is_not_examined_again(tmp_path: Path) -> None:
    """Without its sign the doctor would talk nonsense: the page says why there is no verdict."""
    data, clock = tmp_path / "books.sqlite", FakeClock()
    async with running(data, clock) as (sandbox, browser), session_with(sandbox) as session:
        await _a_life(sandbox, session)
        assert "/console/doctor?message=3" in (await browser.get("/console/messages")).text
    async with running(data, clock) as (_, browser):
        english = {"accept-language": "en"}
        assert "/console/doctor?message" not in (await browser.get("/console/messages")).text
        for page in ("/console/message?id=3", "/console/doctor?message=3"):
            assert "From before a restart" in (await browser.get(page, headers=english)).text


async def test_messages_are_written_down_soon_and_not_while_a_client_waits(tmp_path: Path) -> None:
    """A crash may lose the last moment, a burst costs its latest messages only."""
    data, clock = tmp_path / "books.sqlite", FakeClock()
    async with running(data, clock) as (sandbox, _), session_with(sandbox) as session:
        for number in range(3):
            await session.send(pay(f"A10001{number}"))
        chronicle = sandbox.app.runtime.chronicle
        assert chronicle is not None
        assert not chronicle.load(JournalEntry, 10)
        await sandbox.advance(SOON)
        assert [entry.key[1] for entry in chronicle.load(JournalEntry, 10)] == [
            f"A10001{number}" for number in range(3)
        ]


async def test_large_messages_are_masked_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of a stranger's holds nobody up; at the end the latest of it are written down."""
    data, clock, masked = tmp_path / "books.sqlite", FakeClock(), JournalEntry.masked
    threads: list[bool] = []

    def watched(entry: JournalEntry, credentials: Credentials) -> JournalEntry:
        threads.append(threading.current_thread() is threading.main_thread())
        return masked(entry, credentials)

    monkeypatch.setattr(JournalEntry, "masked", watched)
    kind = {"content-type": "application/x-www-form-urlencoded"}
    async with running(data, clock) as (sandbox, browser):
        chronicle = sandbox.app.runtime.chronicle
        assert chronicle is not None
        for number in range(3):
            large = f"a{number}=" + "%" * 20_000
            await browser.post("/UnifiedPay/Gateway", content=large, headers=kind)
        await sandbox.advance(SOON)
        count = "SELECT count(*) FROM happened WHERE kind = 'Entry'"
        while chronicle._connection.execute(count).fetchone()[0] < 3:
            await asyncio.sleep(0)
        assert threads == [False] * 3
        for _ in range(60):
            await browser.post("/UnifiedPay/Gateway", content="a=1", headers=kind)
    assert threads[3:] == [True] * 50


def test_the_oldest_is_forgotten(tmp_path: Path) -> None:
    """However long a sandbox runs, its file stays small."""
    connection = sqlite3.connect(tmp_path / "c.sqlite", isolation_level=None)
    chronicle = Chronicle(connection)
    at = FakeClock().now()
    for number in range(400):
        chronicle.add(Noted(at, ("00000001", "A100011"), str(number)), 100)
    assert [each.what for each in chronicle.load(Noted, 100)] == [str(n) for n in range(300, 400)]
    (rows,) = connection.execute("SELECT count(*) FROM happened").fetchone()
    assert rows <= 150
    again = Chronicle(connection)
    again.add(Noted(at, ("00000001", "A100011"), "last"), 100)
    assert [each.what for each in again.load(Noted, 2)] == ["399", "last"]
    assert not again.load(Delivery, 10)
    assert not again.load(JournalEntry, 10)
    connection.close()
