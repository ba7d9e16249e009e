"""A request handler for aiohttp.web, to hand to ``app.router.add_post``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import ClientPayloadError, web
from aiohttp.web_protocol import RequestPayloadError

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.notifications.facts import Wallet
from chaoying_async.sansio.notifications.reading import MAX_BODY
from chaoying_async.web.adapter_log import AdapterLog
from chaoying_async.web.contract import (
    BODY_SECONDS,
    INCOMPLETE,
    Handles,
    HttpAnswer,
    Refusal,
    check_handler,
    headers_of,
    refused,
)
from chaoying_async.web.timely import TimelyHandler

_OPEN = "Open it in app.cleanup_ctx, as the docstring of notification_handler shows."

_FIX = (
    "A middleware must call `await request.read()` (aiohttp keeps those bytes), before anything"
    " calls `request.post()` or `request.multipart()`; it must not read `request.content`."
)

#: Encodings that aiohttp unpacks in small pieces. It knows brotli and zstd too, but their windows
#: take many megabytes for each sender, and no gateway packs what it sends.
_UNPACKED = frozenset({"", "identity", "gzip", "deflate"})

#: The errors of aiohttp for a body that ends too early or cannot be decoded.
_BROKEN = (ClientPayloadError, RequestPayloadError, ConnectionError)


def notification_handler(
    handler: Handles, *, kind: Wallet | None = None, clock: Clock | None = None
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A request handler, for a route of its own.

    ::

        app.router.add_post("/notify", notification_handler(handler))

    Open the handler in a cleanup context of the app::

        async def opened(app):
            async with handler:
                yield


        app.cleanup_ctx.append(opened)

    aiohttp undoes a Content-Encoding before anybody sees the body, so this verifies a notification
    packed with gzip or deflate like any other, and refuses any other packing. ``kind`` and
    ``clock`` as in :func:`~chaoying_async.web.asgi.notification_app`.
    """
    check_handler(handler)
    times = clock or SystemClock()
    log = AdapterLog(_FIX, times)
    in_time = TimelyHandler(handler, kind, times, log, _OPEN)

    async def notified(request: web.Request) -> web.Response:
        body = await _body(request, times, log)
        if isinstance(body, Refusal):
            return await _refused(request, body)
        return _response(await in_time.handle(body))

    return notified


async def _body(request: web.Request, clock: Clock, log: AdapterLog) -> bytearray | Refusal:
    if (refusal := refused(request.method, request.content_length)) is not None:
        return refusal
    packing = ",".join(request.headers.getall("Content-Encoding", ())).strip().lower()
    if packing not in _UNPACKED:
        return INCOMPLETE
    body = bytearray()
    try:
        async with clock.timeout(BODY_SECONDS):
            await _read(request, body)
    except (TimeoutError, *_BROKEN) as error:
        return log.incomplete(type(error).__name__)
    encoded = "Content-Encoding" in request.headers
    length = None if encoded else request.content_length
    came = max(request.content.total_bytes, length or 0)  # chunks are counted too, unpacked
    return log.judged(body, came, chunked=False, ours=True)


async def _refused(request: web.Request, refusal: Refusal) -> web.Response:
    """Answer, and hang up if the body is packed: aiohttp would unpack it for ten more seconds."""
    response = _response(refusal)
    if "Content-Encoding" in request.headers:
        response.force_close()
        await response.prepare(request)
        await response.write_eof()
        request.protocol.force_close()
    return response


def _response(answer: HttpAnswer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=headers_of(answer))


async def _read(request: web.Request, body: bytearray) -> None:
    if not request.can_read_body:  # it was read before: aiohttp kept it, or it is gone
        body += await request.read()
    while len(body) <= MAX_BODY and request.can_read_body:
        body += await request.content.readany()
