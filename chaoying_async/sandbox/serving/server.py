"""Serves an ASGI application on a port of this machine while a block runs."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoying_async.sandbox.serving.sandbox_app import App

LOOPBACK = "127.0.0.1"


@asynccontextmanager
async def listening(app: App, *, host: str = LOOPBACK, port: int = 0) -> AsyncGenerator[str]:
    """Serve ``app`` with uvicorn; gives its address. Port 0 is any free one.

    ``host`` is an IPv4 or IPv6 address (``::1``), or a name. A port that is taken, or an address
    that is not this machine's, is an :class:`OSError` here and now, which names it. No signal
    handler is installed. Headers, idle connections and answers that nobody reads are bounded, see
    ``connections``; the application bounds bodies itself, see ``bodies``. What a proxy says about
    its clients is ignored.
    """
    import uvicorn  # noqa: PLC0415 - behind the extra [sandbox]

    from chaoying_async.sandbox.serving.connections import (  # noqa: PLC0415 - stands on uvicorn
        HEADER_BYTES,
        HEADER_SECONDS,
        Connection,
        sparing_warnings,
    )

    class Server(uvicorn.Server):
        """uvicorn in an event loop whose owner keeps handling signals."""

        ready = asyncio.Event()

        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.ready.set()

    with _bound(host, port) as bound:
        # asyncio does so only for sockets whose protocol is named, and this one's is 0. What is
        # accepted inherits it; without it every answer on a kept connection waits 40 ms.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_keep_alive=round(HEADER_SECONDS),
            date_header=False,  # the application sends its own
            timeout_graceful_shutdown=2,
        )
        server = Server(config)
        with sparing_warnings():
            serving = asyncio.create_task(server.serve([bound]), name="chaoying: serve")
            await server.ready.wait()
            try:
                name = _unbracketed(host)
                shown = f"[{name}]" if ":" in name else name
                yield f"http://{shown}:{bound.getsockname()[1]}"
            finally:
                server.should_exit = True
                await serving


def _unbracketed(host: str) -> str:
    """An IPv6 address may be written as in a URL: ``[::1]``."""
    return host.removeprefix("[").removesuffix("]")


def _bound(host: str, port: int) -> socket.socket:
    name = _unbracketed(host)
    # A name with addresses of both kinds is served at the IPv4 one.
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    both = name == "::" and socket.has_dualstack_ipv6()
    try:
        name.encode("idna")  # as the socket does, which is left open where this fails
        return socket.create_server((name, port), family=family, backlog=2048, dualstack_ipv6=both)
    except UnicodeError as error:
        raise OSError(errno.EADDRNOTAVAIL, _NO_ADDRESS.format(host=host)) from error
    except OSError as error:
        if why := _WHY_NOT.get(error.errno or 0):
            raise OSError(error.errno, why.format(port=port, host=host)) from error
        raise


_NO_ADDRESS = "{host} is no address of this machine: take 127.0.0.1, ::1, or 0.0.0.0 for all"
_WHY_NOT: Mapping[int, str] = {
    errno.EADDRINUSE: (
        "port {port} of {host} is in use: end what listens there, or take another port "
        "(0 is any free one)"
    ),
    errno.EADDRNOTAVAIL: _NO_ADDRESS,
    socket.EAI_NONAME: _NO_ADDRESS,  # `create_server` gives the number of a look-up too
    errno.EAFNOSUPPORT: "this machine has no IPv6, so nothing can listen at {host}",
    errno.EACCES: "this user may not listen on port {port} of {host}: take one from 1024 on",
}
