"""What a merchant pastes to receive notifications, from README or tutorial: served, paid for."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async import GatewaySession, Hosts, SystemClock, TradeType, WechatPreOrder
from chaoying_async.sandbox import Sandbox
from tests.examples.shops import PATIENCE, ROOT, environment, running, told, until
from tests.sizes import cases

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pasted(page: str) -> str:
    """The block that makes a handler for an inbox in a database."""
    (block,) = [
        code
        for code in _BLOCK.findall((ROOT / page).read_text("utf-8"))
        if "SqlInbox(" in code and "NotificationHandler(" in code
    ]
    return str(block)


def watching(page: str) -> str:
    """The block that a tutorial adds to it for Prometheus; a README has none."""
    found = _BLOCK.findall((ROOT / page).read_text("utf-8"))
    return "".join(code for code in found if "ChaoyingCollector(handler=handler)" in code)


@pytest.mark.parametrize(
    "page",
    cases(
        ["README.md"],  # `make readme` runs the code of all pages
        more=["README.zh-CN.md", "docs/tutorial-qr-shop.md", "docs/tutorial-qr-shop.zh-CN.md"],
    ),
)
async def test_the_block_of_the_page_marks_an_order_paid_once(page: str, tmp_path: Path) -> None:
    """As it stands there, with the environment of `chaoying sandbox` and a table of orders."""
    watch = watching(page)
    (tmp_path / "shop.py").write_text(pasted(page) + watch, "utf-8")
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}")
    sandbox = Sandbox(clock=SystemClock())
    async with engine.begin() as connection:
        await connection.execute(
            text("CREATE TABLE orders (out_trade_no, mch_id, total_fee, paid, shipped, changes)")
        )
        await connection.execute(
            text("INSERT INTO orders VALUES ('A1000101', :mch_id, 1230, false, 0, 0)"),
            {"mch_id": sandbox.mch_id},
        )
        await connection.execute(
            text(
                "CREATE TRIGGER counting AFTER UPDATE OF paid ON orders BEGIN"
                " UPDATE orders SET changes = changes + 1; END"
            )
        )

    with socket.create_server(("127.0.0.1", 0)) as bound:
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        command = ("-m", "uvicorn", "shop:app", "--fd", str(bound.fileno()))
        async with (
            sandbox,
            sandbox.serve() as url,
            GatewaySession(
                sandbox.credentials, mch_id=sandbox.mch_id, hosts=Hosts.single(url)
            ) as gateway,
            running(
                *(*command, "--log-level", "warning"),
                folder=tmp_path,
                settings=environment(tmp_path, **told(sandbox)),
                pass_fds=[bound.fileno()],
            ),
            httpx.AsyncClient(base_url=address, timeout=PATIENCE, trust_env=False) as stranger,
        ):
            # Only a shop that is up answers within the gateway's 3 seconds.
            assert (await stranger.post("/notify", content=b"a=1&sign=2")).text == "fail"
            order = WechatPreOrder(
                out_trade_no="A1000101",
                body="coffee",
                total_fee=1230,
                trade_type=TradeType.NATIVE,
                product_id="coffee",
                notify_url=f"{address}/notify",
            )
            await gateway.send(order)
            sandbox.customer_pays("A1000101")

            async def accepted() -> bool:
                return any(each.accepted for each in sandbox.deliveries)

            await until(accepted)
            body = sandbox.deliveries[0].body
            again = [stranger.post("/notify", content=body) for _ in range(5)]
            assert [answer.text for answer in await asyncio.gather(*again)] == ["success"] * 5
            forged = body.replace(b"total_fee=1", b"total_fee=2")
            assert (await stranger.post("/notify", content=forged)).text == "fail"
            numbers = (await stranger.get("/metrics")).text
    assert bool(watch) == page.startswith("docs/")
    assert ('chaoying_paid_orders_total{source="notification"} 1.0' in numbers) == bool(watch)
    async with engine.connect() as connection:
        row = (await connection.execute(text("SELECT paid, changes, shipped FROM orders"))).one()
    await engine.dispose()
    assert tuple(row) == (1, 1, 1 if watch else 0)
