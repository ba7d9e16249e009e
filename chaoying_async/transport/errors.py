"""Foreign errors to ours: which of them prove that nothing was sent (M-01).

One table per engine, keyed by that engine's own classes. The table of aiohttp's is in
``aiohttp_wire``, which alone may import it. A class in a table is necessary, not sufficient: the
engines that we drive ourselves also know whether they had begun to write.
"""

from __future__ import annotations

import httpx

from chaoying_async.exceptions import (
    ChaoyingError,
    MalformedMessageError,
    RequestNotSentError,
    TransportError,
)
from chaoying_async.transport.base import MAX_FIELDS, MAX_HEAD

#: httpx's own engine, driven by us, where the flag "began to write" is known as well.
HTTPX_NOT_SENT = (
    httpx.ConnectError,  # refused, DNS, TLS handshake
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,  # the proxy refused CONNECT
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)

#: A transport from the user: nothing is known about what it does before it raises. httpx-aiohttp
#: 0.2.0, for one, reports a connection cut after the server read a POST as ``ConnectTimeout``.
FOREIGN_NOT_SENT = (httpx.ConnectError, httpx.PoolTimeout)


#: Libraries whose errors quote what they could not read.
_TALKATIVE = frozenset({"aiohttp", "httpx", "httpcore", "h11", "yarl", "zlib"})


def not_sent(why: str) -> RequestNotSentError:
    """The error for a request that failed before the first byte."""
    return RequestNotSentError(f"nothing was sent: {why}")


def too_large(max_bytes: int) -> MalformedMessageError:
    """The error for a reply that was cut off; says nothing of what it held."""
    return MalformedMessageError(f"the reply is longer than {max_bytes} bytes and was cut off")


def head_too_large() -> TransportError:
    """The error for a reply whose head is over the limits: no answer that can be used."""
    return TransportError(
        f"no usable answer came: its head has more than {MAX_HEAD} bytes or {MAX_FIELDS} fields"
    )


def translate(
    exc: Exception, proofs: tuple[type[BaseException], ...], *, began: bool
) -> ChaoyingError:
    """Our error for an engine's: not sent only if its class is a proof and writing had not begun.

    The text names the class alone. The caller raises it ``from exc``, after the texts of ``exc``
    were emptied where they can hold a piece of the URL or the reply (M-27).
    """
    what = type(exc).__name__
    error: TransportError
    if isinstance(exc, proofs) and not began:
        error = not_sent(what)
    else:
        error = TransportError(f"no usable answer came: {what}")
    _quieten(exc)
    return error


def _quieten(exc: BaseException | None) -> None:
    """Empty the texts of ``exc`` and what caused it: parsers quote the line they choked on.

    Errors of the operating system stay as they are (they name an address at most), and so do those
    of the user's own making.
    """
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        if isinstance(exc, ValueError) or type(exc).__module__.partition(".")[0] in _TALKATIVE:
            exc.args = ()
            if isinstance(getattr(exc, "message", None), str):
                exc.message = ""  # type: ignore[attr-defined]  # aiohttp's parser errors
        exc = exc.__cause__ or exc.__context__
