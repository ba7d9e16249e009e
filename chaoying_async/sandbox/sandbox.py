"""The whole gateway in the process of a test, without sockets: :class:`Sandbox`."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

import attrs
import httpx

from chaoying_async.abc import Clock
from chaoying_async.exceptions import RequestNotSentError, TransportError
from chaoying_async.sandbox.bank.entities import Ledger, Order
from chaoying_async.sandbox.bank.ledger import MCH_ID, Books, Deed, books
from chaoying_async.sandbox.document.http_messages import Cut, HttpRequest, HttpResponse
from chaoying_async.sandbox.serving.events import imagined, true_fields
from chaoying_async.sandbox.serving.faults import Faults
from chaoying_async.sandbox.serving.gateway import World
from chaoying_async.sandbox.serving.notifier import Delivery
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.sandbox.serving.sandbox_app import SandboxApp
from chaoying_async.sandbox.serving.sandbox_file import SandboxFile
from chaoying_async.sandbox.serving.security import AccessGuard
from chaoying_async.sandbox.serving.server import LOOPBACK, listening
from chaoying_async.sansio.credentials import Credentials, SortOrder
from chaoying_async.transport.base import Headers, HttpReply, NativeTransport
from chaoying_async.transport.errors import too_large

if TYPE_CHECKING:
    from chaoying_async.sandbox.console.site import Console

AGENT_ID = "13000000000000000"


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
    can ask the real gateway: only successes signed, names sorted without regard to case. It is
    ``sort_order`` also for ``credentials`` of yours; without it, as they say.
    ``total_is_paid=True``: notifications name what was paid, not the order amount (C 45).
    ``notify_transport`` is where notifications go (``httpx.ASGITransport(your_app)``); without
    one they leave over real HTTP.

    ``data`` is a SQLite file that the books are kept in, with the seed and so the key: another
    sandbox on the same file goes on where this one ended, notifications included. What happened to
    orders and every delivery are there again too, the latest 20,000, without what is personal.

    What an order does is chosen by its amount or payment code: ``chaoying_async.sandbox`` has
    ``scenarios``, which lists it.
    Leaving the block, or :meth:`aclose`, ends notifications that are still under way.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        seed: int = 0,
        sign_failures: bool = True,
        sort_order: SortOrder | None = None,
        total_is_paid: bool = False,
        credentials: Credentials | None = None,
        notify_transport: Any = None,
        data: str | PathLike[str] | None = None,
    ) -> None:
        self.clock: Clock = clock or _fake_clock()
        store = SandboxFile(fspath(data)) if data is not None else None
        rng = random.Random(_kept_seed(store, seed))
        own = credentials or Credentials(
            agent_id=AGENT_ID, key=f"{rng.getrandbits(128):032x}", pid="sandbox"
        )
        #: What a caller signs with, and who it is.
        self.credentials = own if sort_order is None else attrs.evolve(own, sort_order=sort_order)
        self.mch_id = MCH_ID
        world = World(
            credentials=self.credentials,
            sign_failures=sign_failures,
            total_is_paid=total_is_paid,
            invented=credentials is None,
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
        """End all notifications and waits that are still under way."""
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
        """The totals of the books as of now, to the fen."""
        return books(self.ledger, self.clock.now())

    @property
    def requests(self) -> dict[str, int]:
        """How many requests arrived for each endpoint: a request that was sent once counts once."""
        return dict(self._runtime.gateway.requests)

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt to deliver a notification so far, oldest first."""
        return self._runtime.notifier.deliveries

    async def advance(self, seconds: float) -> None:
        """Let time pass, on a clock that is moved by hand, as the default one is."""
        move = getattr(self.clock, "advance", None)
        if move is None:
            raise TypeError(f"{type(self.clock).__name__} goes by itself and cannot be advanced")
        await move(seconds)

    def customer_pays(self, out_trade_no: str, mch_id: str | None = None) -> Order:
        """Let the customer pay an open order now; an order that is over stays as it is."""
        return self.act(out_trade_no, Deed.CUSTOMER_PAYS, mch_id)

    def act(self, out_trade_no: str, deed: Deed, mch_id: str | None = None) -> Order:
        """Let somebody do something to an open order; KeyError if there is no such order."""
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
        except KeyError:
            order = imagined(gateway, self.mch_id, out_trade_no, kind=kind)
        made = true_fields(gateway, order) | fields
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
        """Serve this sandbox over real HTTP while the block runs; gives its address.

        Needs the extra ``[sandbox]``. Pass the address to ``Hosts.single(url)``, and a real clock
        to the sandbox. ``console`` adds pages for a browser below ``/console/``.

        A ``host`` that other machines reach needs a ``token`` of at least 16 characters, which the
        console and the control endpoints then ask for; without one it is a :class:`ValueError`.
        """
        token = token or self.app.control.token
        self.app.guard, self.app.control.token = AccessGuard(host, token), token
        pages = _console(self._runtime, self.app.guard) if console else None
        async with listening(self.app, host=host, port=port) as url:
            self.app.console = pages
            try:
                yield url
            finally:
                if pages is not None:
                    pages.close()  # else the server would wait for the browsers that look on
                    self.app.console = None


def _console(runtime: Runtime, guard: AccessGuard) -> Console:
    from chaoying_async.sandbox.console.site import Console  # noqa: PLC0415 - behind the extra

    return Console(runtime, guard)


def _kept_seed(store: SandboxFile | None, seed: int) -> int:
    """The seed that the file was begun with; a new file keeps ``seed``."""
    if store is None:
        return seed
    if (kept := store.setting("seed")) is not None:
        return int(kept)
    store.set("seed", str(seed))
    return seed


def _fake_clock() -> Clock:
    from chaoying_async.testing import FakeClock  # noqa: PLC0415 - only who moves time needs it

    return FakeClock()


class SandboxTransport(NativeTransport):
    """For ``GatewaySession(transport=...)``: opens no socket, and serves every address.

    A session uses :meth:`round_trip`; :meth:`handle_async_request` is for every other httpx client.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def round_trip(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        timeout: httpx.Timeout,  # noqa: ARG002 - nothing here takes time but the clock's own
        max_bytes: int,
    ) -> HttpReply:
        """See :class:`~chaoying_async.transport.base.Engine`."""
        parts = urlsplit(url)
        given = {name.lower(): value for name, value in headers}
        reply = await self._runtime.exchange(
            HttpRequest.of(method, parts.path, parts.query, given, body)
        )
        if reply.cut is Cut.REFUSED:
            raise RequestNotSentError("nothing was sent: a fault of the sandbox")
        if reply.cut is not None:
            raise TransportError("no usable answer came: a fault of the sandbox")
        if len(reply.body) > max_bytes:
            raise too_large(max_bytes)
        return HttpReply(reply.status, self._headers(reply), reply.body)

    def _headers(self, reply: HttpResponse) -> Headers:
        return (("date", self._runtime.date), ("content-type", reply.content_type))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx; the reply is complete when this returns."""
        path, _, query = request.url.raw_path.decode("ascii").partition("?")
        body = await request.aread()
        reply = await self._runtime.exchange(
            HttpRequest.of(request.method, unquote(path), query, request.headers, body)
        )
        if reply.cut in (Cut.REFUSED, Cut.RESET):
            error = httpx.ConnectError if reply.cut is Cut.REFUSED else httpx.ReadError
            raise error("a fault of the sandbox", request=request)
        whole = httpx.ByteStream(reply.body)
        # A stream and no length: httpx takes ten times as long to prepare a body given as content.
        return httpx.Response(
            reply.status,
            headers=list(self._headers(reply)),
            stream=whole if reply.cut is None else _Half(reply.body),
        )


class _Half(httpx.AsyncByteStream):
    """A body that breaks off in the middle."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body[: len(self._body) // 2]
        raise httpx.ReadError("a fault of the sandbox")
