"""The sandbox for tests: a whole gateway in the test's own process."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs

from chaoying_async.abc import Clock
from chaoying_async.sandbox.bank.entities import Ledger, Order, Status
from chaoying_async.sandbox.bank.ledger import Books, Deed, books
from chaoying_async.sandbox.bank.reply_fields import notification_fields
from chaoying_async.sandbox.inprocess import SandboxTransport
from chaoying_async.sandbox.serving.events import imagined
from chaoying_async.sandbox.serving.faults import Faults
from chaoying_async.sandbox.serving.gateway import World
from chaoying_async.sandbox.serving.notifier import Delivery
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.sandbox.serving.sandbox_app import SandboxApp
from chaoying_async.sandbox.serving.sandbox_file import Store
from chaoying_async.sandbox.serving.security import Guard
from chaoying_async.sandbox.serving.server import LOOPBACK, listening
from chaoying_async.sansio.credentials import Credentials, SortOrder

if TYPE_CHECKING:
    from chaoying_async.sandbox.console.site import Console

AGENT_ID = "13000000000000000"
MCH_ID = "00000001"


class Sandbox:
    """The gateway of the document, in this process: strict, deterministic, and without sockets.

    ::

        async with Sandbox(clock=FakeClock()) as sandbox:
            async with GatewaySession(
                sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
            ) as gateway:
                reply = await gateway.send(Pay(...))
            await sandbox.advance(15)

    ``clock`` is a ``FakeClock`` unless you give another; the same ``seed`` gives the same key,
    nonces and faults. ``sign_failures=False`` and ``sort_order`` choose the world, since nobody
    can ask the real gateway: only successes signed, names sorted without regard to case.
    ``total_is_paid=True``: notifications name what was paid, not the order amount (C 45).
    ``notify_transport`` is where notifications go (``httpx.ASGITransport(your_app)``); without
    one they leave over real HTTP.

    ``data`` is a SQLite file that the books are kept in, with the seed and so the key: another
    sandbox on the same file goes on where this one ended, notifications included. What happened to
    orders and every delivery are there again too, the latest 20,000, without what is personal.

    What an order does is chosen by its amount or payment code: see ``scenarios.py``. Leaving the
    block, or :meth:`aclose`, ends notifications that are still under way.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        seed: int = 0,
        sign_failures: bool = True,
        sort_order: SortOrder = SortOrder.ASCII,
        total_is_paid: bool = False,
        credentials: Credentials | None = None,
        notify_transport: Any = None,
        data: str | PathLike[str] | None = None,
    ) -> None:
        self.clock: Clock = clock or _fake_clock()
        store = Store(fspath(data)) if data is not None else None
        rng = random.Random(_kept_seed(store, seed))
        self.credentials = credentials or Credentials(
            agent_id=AGENT_ID,
            key=f"{rng.getrandbits(128):032x}",
            pid="sandbox",
            sort_order=sort_order,
        )
        self.mch_id = MCH_ID
        world = World(
            credentials=self.credentials, sign_failures=sign_failures, total_is_paid=total_is_paid
        )
        self._runtime = Runtime(
            world, self.clock, rng, notify_transport=notify_transport, store=store
        )
        #: An ``httpx.AsyncBaseTransport`` for ``GatewaySession(transport=...)``.
        self.transport = SandboxTransport(self._runtime)
        #: The same gateway as an ASGI application.
        self.app = SandboxApp(self._runtime)

    def __repr__(self) -> str:
        return f"<Sandbox {len(self.ledger.orders)} orders, {len(self.deliveries)} deliveries>"

    async def __aenter__(self) -> Self:
        self._runtime.resume()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End what is still waiting or being delivered."""
        await self._runtime.aclose()

    @property
    def ledger(self) -> Ledger:
        """The books as they stand: ``sandbox.ledger.order("A100011").status``."""
        return self._runtime.gateway.ledger

    @property
    def faults(self) -> Faults:
        """What goes wrong on purpose: ``sandbox.faults.add(Fault.SLOW, probability=0.1)``."""
        return self._runtime.faults

    @property
    def books(self) -> Books:
        """The totals as of now, to the fen."""
        return books(self.ledger, self.clock.now())

    @property
    def requests(self) -> dict[str, int]:
        """How many requests arrived, by endpoint: what was sent once is here once."""
        return dict(self._runtime.gateway.requests)

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt to deliver a notification so far, oldest first."""
        return self._runtime.notifier.deliveries

    async def advance(self, seconds: float) -> None:
        """Let time pass: on a clock that is moved by hand, which the default one is."""
        move = getattr(self.clock, "advance", None)
        if move is None:
            raise TypeError(f"{type(self.clock).__name__} goes by itself and cannot be advanced")
        await move(seconds)

    def customer_pays(self, out_trade_no: str, mch_id: str | None = None) -> Order:
        """The customer pays an open order now; one that is over stays as it is."""
        return self.act(out_trade_no, Deed.CUSTOMER_PAYS, mch_id)

    def act(self, out_trade_no: str, deed: Deed, mch_id: str | None = None) -> Order:
        """Somebody does something to an open order; KeyError if there is no such order."""
        return self._runtime.gateway.act(self.ledger.order(out_trade_no, mch_id).key, deed)

    def sign_notification(
        self, out_trade_no: str, *, kind: str = "WECHAT", **fields: str | int | None
    ) -> bytes:
        """The signed body of a notification about an order, whatever the order did.

        For an order that the sandbox knows, as it would notify now (an open one as if it were
        paid); else of a payment just made, ``kind`` choosing the page (WECHAT, ALIPAY). ``fields``
        are added or take the place of what is there; None takes one out.
        """
        gateway = self._runtime.gateway
        try:
            order = self.ledger.order(out_trade_no)
            if order.status is Status.OPEN:  # as if the customer paid now
                now = self.clock.now()
                order = attrs.evolve(order, status=Status.PAID, ended=now, paid_at=now)
        except KeyError:
            order = imagined(gateway, self.mch_id, out_trade_no, kind=kind)
        made: dict[str, Any] = {
            **notification_fields(
                order, gateway.nonce(), total_is_paid=gateway.world.total_is_paid
            ),
            **fields,
        }
        return gateway.signed_form(
            {name: str(value) for name, value in made.items() if value is not None}
        )

    @asynccontextmanager
    async def serve(
        self,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        console: bool = False,
        token: str | None = None,
    ) -> AsyncGenerator[str]:
        """The same sandbox over real HTTP while the block runs; gives its address.

        Needs the extra ``[sandbox]``. Pass the address to ``Hosts.single(url)``, and a real clock
        to the sandbox. ``console`` adds pages for a browser below ``/console/``.

        A ``host`` that other machines reach needs a ``token`` of at least 16 characters, which the
        console and the control endpoints then ask for; without one it is a :class:`ValueError`.
        """
        token = token or self.app.control.token
        self.app.guard, self.app.control.token = Guard(host, token), token
        pages = _console(self._runtime, self.app.guard) if console else None
        async with listening(self.app, host=host, port=port) as url:
            self.app.console = pages
            try:
                yield url
            finally:
                if pages is not None:
                    pages.close()  # or the server would wait for who is looking on
                    self.app.console = None


def _console(runtime: Runtime, guard: Guard) -> Console:
    from chaoying_async.sandbox.console.site import Console  # noqa: PLC0415 - behind the extra

    return Console(runtime, guard)


def _kept_seed(store: Store | None, seed: int) -> int:
    """The seed that the file was begun with; a new file keeps this one."""
    if store is None:
        return seed
    if (kept := store.setting("seed")) is not None:
        return int(kept)
    store.set("seed", str(seed))
    return seed


def _fake_clock() -> Clock:
    from chaoying_async.testing import FakeClock  # noqa: PLC0415 - only who moves time needs it

    return FakeClock()
