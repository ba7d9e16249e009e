"""A sandbox with its console on a port, in a thread of its own, and a shop that is notified.

A browser's driver blocks whoever calls it, so the sandbox runs beside it on a loop of its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs

from chaoying_async import (
    Fen,
    GatewaySession,
    Hosts,
    Pay,
    PayType,
    Refund,
    SystemClock,
    TradeType,
    WechatPreOrder,
)
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.serving.server import listening

T = TypeVar("T")


@attrs.define
class ServedSandbox:
    """What a test does to the sandbox; every method may be called from any thread."""

    sandbox: Sandbox
    url: str
    notify_url: str
    session: GatewaySession
    #: Bodies of notifications that came.
    notified: list[bytes]
    _loop: asyncio.AbstractEventLoop

    @property
    def console(self) -> str:
        return f"{self.url}/console/"

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def preorder(self, number: str, total: int = 1405, **more: Any) -> None:
        order = WechatPreOrder(
            out_trade_no=number,
            body="咖啡 coffee",
            total_fee=Fen(total),
            trade_type=TradeType.NATIVE,
            product_id="1",
            notify_url=self.notify_url,
            **more,
        )
        self.run(self.session.send(order))

    def refund(self, order: str, number: str, total: int, fee: int) -> None:
        refund = Refund(
            out_trade_no=order,
            paytype=PayType.WECHAT,
            out_refund_no=number,
            total_fee=Fen(total),
            refund_fee=Fen(fee),
        )
        self.run(self.session.send(refund))

    def pay(self, number: str, total: int, code: str = "130000000000001111", **more: Any) -> None:
        pay = Pay(out_trade_no=number, body="纸巾", total_fee=Fen(total), auth_code=code, **more)
        self.run(self.session.send(pay))


@contextmanager
def served_sandbox() -> Generator[ServedSandbox]:
    """Everything running."""
    ready: list[ServedSandbox | BaseException] = []
    started, stop = threading.Event(), threading.Event()

    async def main() -> None:
        notified: list[bytes] = []

        async def merchant(scope: Any, receive: Any, send: Any) -> None:
            notified.append((await receive()).get("body", b""))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"success"})

        sandbox = Sandbox(clock=SystemClock(), seed=7)
        async with (
            sandbox,
            sandbox.serve(console=True) as url,
            listening(merchant) as shop_url,
            GatewaySession(
                sandbox.credentials,
                mch_id=sandbox.mch_id,
                op_user_id="till1",
                hosts=Hosts.single(url),
            ) as session,
        ):
            loop = asyncio.get_running_loop()
            shop = ServedSandbox(sandbox, url, f"{shop_url}/notify", session, notified, loop)
            ready.append(shop)
            started.set()
            await asyncio.to_thread(stop.wait)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - the thread that waits is told
            ready.append(error)
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        started.wait(30)
        first = ready[0]
        if isinstance(first, BaseException):
            raise first
        yield first
    finally:
        stop.set()
        thread.join(30)
        for error in ready[1:]:
            assert not isinstance(error, BaseException), error
