"""Turns foreign errors into ours, and decides which of them prove that nothing was sent (M-01).

One table per engine, keyed by that engine's own classes. The table of aiohttp's is in
``aiohttp_connections``, which alone may import it. That a class is in a table is not enough: the
engines that we drive ourselves also know whether they had begun to write.
"""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType, SimpleNamespace

import httpx

from chaoying_async.exceptions import (
    ChaoyingError,
    MalformedMessageError,
    RequestNotSentError,
    TransportError,
)
from chaoying_async.sansio.errorchain import error_chain
from chaoying_async.transport.base import MAX_FIELDS, MAX_HEAD
from chaoying_async.transport.causes import Trip, what_happened

#: httpx's own engine, driven by us, where the flag "began to write" is known as well.
HTTPX_NOT_SENT = (
    httpx.ConnectError,  # refused, DNS, TLS handshake
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,  # the proxy refused CONNECT
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)

#: For a transport of the user's, since nobody knows what it did before it raised. httpx-aiohttp
#: 0.2.0, for one, reports a connection cut after the server read a POST as ``ConnectTimeout``.
FOREIGN_NOT_SENT = (httpx.ConnectError, httpx.PoolTimeout)


#: Libraries whose errors quote the text that they could not read.
_TALKATIVE = frozenset(
    {"aiohttp", "httpx", "httpx2", "httpcore", "httpcore2", "h11", "yarl", "zlib"}
)
#: Attributes of errors that may hold the request with the payment code and the proxy's password,
#: the reply, or the bytes that could not be decoded; and the value that replaces them.
_CARRIED: dict[str, object] = {
    "_request": None,
    "response": None,
    "request_info": SimpleNamespace(url="", method="", headers={}, real_url=""),
    "headers": None,
    "history": (),
    "message": "",
    "object": b"",
    "doc": "",
}


def families() -> tuple[ModuleType, ...]:
    """httpx, and httpx2 if this program has loaded it: two packages, the same classes by name."""
    second = sys.modules.get("httpx2")
    return (httpx,) if second is None or second is httpx else (httpx, second)


def foreign_not_sent() -> tuple[type[BaseException], ...]:
    """``FOREIGN_NOT_SENT`` with the classes of httpx2 too, if that is loaded.

    The classes are looked up in the packages themselves: a class that merely has such a name proves
    nothing.
    """
    names = [cls.__name__ for cls in FOREIGN_NOT_SENT]
    return tuple(getattr(family, name) for family in families() for name in names)


def not_sent(why: str) -> RequestNotSentError:
    """The error for a request that failed before the first byte."""
    return RequestNotSentError(f"nothing was sent: {why}")


def too_large(max_bytes: int) -> MalformedMessageError:
    """The error for a reply that was cut off; it quotes nothing of the reply."""
    return MalformedMessageError(f"the reply is longer than {max_bytes} bytes and was cut off")


def head_too_large() -> TransportError:
    """The error for a reply whose head is over the limits: no answer that can be used."""
    return TransportError(
        f"no usable answer came: its head has more than {MAX_HEAD} bytes or {MAX_FIELDS} fields"
    )


def translate(exc: Exception, proofs: tuple[type[BaseException], ...], trip: Trip) -> ChaoyingError:
    """Our error for an engine's: not sent only if its class is a proof and writing had not begun.

    The text names host, port and cause. This also empties texts of ``exc`` that can hold a piece of
    the URL or the reply, and drops its frames, so that the caller may raise ``from exc`` (M-27).
    """
    sent = trip.began or not isinstance(exc, proofs)
    words = what_happened(exc, trip, sent=sent)
    _quieten(exc, trip.handled)
    return TransportError(words) if sent else RequestNotSentError(words)


def _quieten(exc: BaseException, handled: BaseException | None) -> None:
    """Empty ``exc`` and every error that led to it: parsers quote the line they could not read.

    Texts of the operating system's errors stay (they name an address at most), and so do texts of
    the user's own errors. The attributes in ``_CARRIED`` are emptied in any case. The error that
    the caller was handling is left alone: it is his.
    """
    for each in error_chain(exc, handled=handled):
        each.__traceback__ = None  # its frames hold the request, and the reply so far
        if isinstance(each, ValueError) or type(each).__module__.partition(".")[0] in _TALKATIVE:
            each.args = ()
        for name, nothing in _CARRIED.items():
            if name in vars(each) or (name == "object" and isinstance(each, UnicodeError)):
                with contextlib.suppress(AttributeError, TypeError):
                    setattr(each, name, nothing)
