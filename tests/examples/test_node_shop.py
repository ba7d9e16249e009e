"""The shop in Node against a sandbox: another language, nothing of ours but the gateway."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from chaoying_async.sandbox import Fault, RefundState, Sandbox, Status
from chaoying_async.sandbox.speed import FastClock
from chaoying_async.sansio.signing import sign
from tests.examples.shops import EXAMPLES, environment, told

SHOP = EXAMPLES / "node_shop.mjs"
OLDEST = 18


def node() -> str:
    """The program; a test without it is skipped, but fails where ``CI`` is set."""
    found = shutil.which("node")
    if found is None:
        assert not os.environ.get("CI"), "node is missing (Debian: apt-get install nodejs)"
        pytest.skip("node is not installed (Debian: apt-get install nodejs)")
    return found


def ran(*words: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [node(), *words],
        cwd=folder,
        env=environment(folder, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
        check=False,
    )


def test_it_is_as_short_as_it_says() -> None:
    """Under a hundred lines, and no package but Node's own."""
    text = SHOP.read_text("utf-8")
    assert len(text.splitlines()) < 100
    imported = [line.rpartition(" from ")[2] for line in text.splitlines() if ' from "' in line]
    assert imported
    assert all(name.startswith('"node:') for name in imported)


async def served(sandbox: Sandbox, folder: Path) -> subprocess.CompletedProcess[str]:
    async with sandbox, sandbox.serve() as url:
        settings = {**told(sandbox, url), "QUERY_EVERY": "0.05"}
        return await anyio.to_thread.run_sync(lambda: ran(str(SHOP), folder=folder, **settings))


async def test_it_pays_queries_refunds_and_ships_for_the_true_notification_alone(
    tmp_path: Path,
) -> None:
    """By the gateway's books; the forgery that came first was refused."""
    sandbox = Sandbox(clock=FastClock(20))
    sandbox.faults.add(Fault.NOTIFY_FORGED)
    done = await served(sandbox, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    paid, refunded, _code, refused, shipped = done.stdout.splitlines()
    orders = {order.out_trade_no: order for order in sandbox.ledger.orders.values()}
    assert [order.status for order in orders.values()] == [Status.PAID, Status.PAID]
    assert sandbox.books.received == 1230 + 990
    (refund,) = sandbox.ledger.refunds.values()
    assert (refund.base, refund.state_at(sandbox.clock.now())) == (230, RefundState.SUCCESS)
    bought, scanned = sorted(orders)
    assert paid == f"{bought} is paid"
    assert refunded == f"{refund.out_refund_no} is refunded"
    assert refused == "refused: forged"
    assert shipped == f"{scanned} is paid and shipped"
    assert [(each.forged, each.accepted) for each in sandbox.deliveries] == [
        (True, False),
        (False, True),
    ]


async def test_it_does_not_ship_for_another_amount(tmp_path: Path) -> None:
    """A signed notification is right about who sent it, and no more."""
    sandbox = Sandbox(clock=FastClock(20))
    sandbox._runtime.gateway.chosen = 412  # every message about an order names 1 fen more
    done = await served(sandbox, tmp_path)
    assert done.returncode == 1
    assert "another order or amount" in done.stderr
    assert "is paid" not in done.stdout


async def test_it_believes_no_reply_with_a_wrong_sign(tmp_path: Path) -> None:
    """It asks again, and pays once."""
    sandbox = Sandbox(clock=FastClock(20))
    sandbox.faults.add(Fault.WRONG_SIGN, endpoints=["pay", "refund"])
    done = await served(sandbox, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("no answer that can be believed") == 2
    assert sandbox.requests["pay"] == 1
    assert sandbox.requests["refund"] == 1
    assert sandbox.books.kept == 1230 - 230 + 990


def test_it_signs_as_we_do(tmp_path: Path) -> None:
    """Names with capitals, empty values, Chinese, and an emoji; a value that hides a field: no."""
    fields: dict[str, Any] = {
        "out_trade_no": "A1",
        "FullName": "超赢",
        "attach": "",
        "body": "咖啡 ☕ a=b",
        "total_fee": 1230,
    }
    script = (
        f"import {{ sign, isSigned }} from {json.dumps(SHOP.as_uri())};"
        f"const fields = {json.dumps(fields)};"
        "const made = sign(fields, 'k');"
        "let refused = false;"
        "try { sign({ body: 'x&total_fee=1' }, 'k') } catch { refused = true }"
        "console.log(JSON.stringify([made, refused, isSigned({ a: '1', sign: 'no' })]))"
    )
    done = ran("--input-type=module", "--eval", script, folder=tmp_path, CHAOYING_KEY="k")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [sign(fields, "k"), True, False]
    by_hand = "FullName=超赢&body=咖啡 ☕ a=b&out_trade_no=A1&total_fee=1230&key=k"
    assert sign(fields, "k") == hashlib.md5(by_hand.encode()).hexdigest().upper()
