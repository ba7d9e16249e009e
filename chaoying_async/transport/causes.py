"""Says in plain words what happened to a connection: to which address, and why.

Every engine wraps the same few errors of the operating system, of name look-up and of TLS. So this
looks at the whole chain of an engine's error, and the first row that fits decides. The words name
host and port at most: no path, no query, no user or password of a proxy (M-27).
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from chaoying_async.sansio.errorchain import error_chain


@attrs.frozen
class Trip:
    """Where a request goes, through which proxy (host and port each), and its time-outs."""

    to: str
    via: str = ""
    timeout: Mapping[str, float | None] = attrs.field(factory=dict)
    """Seconds for ``connect``, ``read``, ``write`` and ``pool``, as ``httpx.Timeout.as_dict()``."""
    began: bool = attrs.field(default=False, kw_only=True)
    """Whether the request was being written, or its reply read."""
    handled: BaseException | None = attrs.field(default=None, kw_only=True)
    """The error in whose ``except`` the call was made: see ``error_chain``."""


#: Classes of engines for what fails while a connection is opened.
_OPENING = ("ConnectError", "ConnectTimeout", "ProxyError", "ClientConnectorError", "PoolTimeout")
_PROXY_SAID = ("ProxyError", "ClientHttpProxyError")


def what_happened(exc: BaseException, trip: Trip, *, sent: bool) -> str:
    """The words for an error of an engine: what did not work, with which address, and why.

    ``sent``: it is not proven that nothing left.
    """
    chain = list(error_chain(exc, handled=trip.handled))
    # A transport of the user's does not say how far it came, but its error's class may.
    if sent and not any(_is(each, *_OPENING) for each in chain):
        trip = attrs.evolve(trip, began=True)
    why = _why(chain, trip) or f"the connection failed ({type(exc).__name__})"
    where = _where(chain, trip)
    if sent:
        return f"no usable answer came from {where}: {why}"
    if _is(exc, "PoolTimeout"):
        return f"nothing was sent: {why}"
    return f"nothing was sent: {where} cannot be reached: {why}"


def reason(exc: BaseException, trip: Trip | None = None) -> str:
    """The reason alone, or the name of an error that says nothing about a connection.

    Without a ``trip`` the error's class says whether the connection was being opened.
    """
    if trip is None:
        trip = Trip("", began=not any(_is(each, *_OPENING) for each in error_chain(exc)))
    return _why(list(error_chain(exc, handled=trip.handled)), trip) or type(exc).__name__


def _why(chain: list[BaseException], trip: Trip) -> str:
    # By the nearest error that says something.
    found = (row(each, trip) for each in chain for row in _ROWS)
    return next((words for words in found if words), "")


def _where(chain: list[BaseException], trip: Trip) -> str:
    if not trip.via:
        return trip.to
    # TLS is with the gateway, and so is what a proxy's answer tells of.
    past = any(isinstance(each, ssl.SSLError) or _is(each, *_PROXY_SAID) for each in chain)
    if trip.began or past:
        return f"{trip.to} (through the proxy {trip.via})"
    return f"the proxy {trip.via} (on the way to {trip.to})"


def _is(error: BaseException, *names: str) -> bool:
    """Whether its class, or one above it, has one of these names, in whichever package."""
    return any(cls.__name__ in names for cls in type(error).__mro__)


def _said(error: BaseException) -> str:
    """Its first argument if that is text: `str` of a foreign error may itself fail."""
    first = error.args[0] if error.args else ""
    return first if isinstance(first, str) else ""


def _is_wrapper(error: BaseException) -> bool:
    """Whether it is one of aiohttp's: some derive from the system's errors, and say less."""
    return type(error).__module__.startswith("aiohttp.")


# --------------------------------------------------------------------------- certificates and TLS

#: OpenSSL's numbers (x509_vfy.h) in words.
_CERTIFICATES: Mapping[int, str] = {
    9: "its certificate is not valid yet: is this machine's clock right?",
    10: "its certificate has expired, or this machine's clock is wrong",
    18: "its certificate is self-signed, so nobody vouches for it",
    19: "its certificate is signed by an authority that this machine does not know"
    " (self-signed, or a proxy that opens TLS): verify= takes that authority's file",
    20: "its certificate is signed by an authority that this machine does not know,"
    " or an intermediate one is missing: verify= takes that authority's file",
    21: "its certificate is signed by an authority that this machine does not know,"
    " or an intermediate one is missing: verify= takes that authority's file",
    23: "its certificate was revoked",
    62: "its certificate is for another name: is the host right?",
    64: "its certificate is not for this IP address: use the name that it is for",
}
_NO_TLS = "it does not speak TLS on this port: is it http:// rather than https://?"
_CUT = "it closed the connection during the TLS handshake"
_NO_VERSION = "it has no TLS version or cipher in common with this machine"
_OUR_CERTIFICATE = "it wants another client certificate than ours: see cert="

#: The beginning of OpenSSL's reason, in words.
_TLS_REASONS: Mapping[str, str] = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "UNEXPECTED_EOF": _CUT,
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "TLSV1_ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "NO_PROTOCOLS_AVAILABLE": _NO_VERSION,
    "NO_SHARED_CIPHER": _NO_VERSION,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": f"{_NO_VERSION}, or wants a client certificate (cert=)",
    "SSL/TLS_ALERT_HANDSHAKE_FAILURE": f"{_NO_VERSION}, or wants a client certificate (cert=)",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants a client certificate: see cert=",
    "SSLV3_ALERT_BAD_CERTIFICATE": _OUR_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE": _OUR_CERTIFICATE,
    "SSL/TLS_ALERT_BAD_CERTIFICATE": _OUR_CERTIFICATE,
    "TLSV1_ALERT_UNKNOWN_CA": _OUR_CERTIFICATE,
    "TLSV1_ALERT_ACCESS_DENIED": _OUR_CERTIFICATE,
    "TLSV1_UNRECOGNIZED_NAME": "it does not know this host name",
}


def _certificate(each: BaseException, _trip: Trip) -> str:
    if not isinstance(each, ssl.SSLCertVerificationError) or _is_wrapper(each):
        return ""
    why = getattr(each, "verify_message", None) or "no reason given"
    found = _CERTIFICATES.get(getattr(each, "verify_code", 0))
    return found or f"its certificate was refused ({why})"


def _tls(each: BaseException, trip: Trip) -> str:
    waits = (ssl.SSLWantReadError, ssl.SSLWantWriteError)  # of a time-out
    if not isinstance(each, ssl.SSLError) or isinstance(each, waits) or _is_wrapper(each):
        return ""
    if isinstance(each, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return _BROKEN_OFF if trip.began else _CUT
    said = (getattr(each, "reason", None) or "").upper().replace(" ", "_")
    found = (words for name, words in _TLS_REASONS.items() if said.startswith(name))
    return next(found, f"TLS failed ({said or 'no reason given'})")


# --------------------------------------------------------------------------- names and addresses

_NO_NAME = "its name is not found: is it spelled right, and does this machine's DNS know it?"
_NAMES: Mapping[int | None, str] = {
    getattr(socket, "EAI_NONAME", -2): _NO_NAME,
    getattr(socket, "EAI_NODATA", -5): _NO_NAME,
    11001: _NO_NAME,  # Windows: host not found
    11004: _NO_NAME,  # Windows: no data
    getattr(socket, "EAI_AGAIN", -3): "no DNS server answered, so its name could not be looked up",
    11002: "no DNS server answered, so its name could not be looked up",
}


def _name(each: BaseException, _trip: Trip) -> str:
    if not isinstance(each, socket.gaierror):
        return ""
    return _NAMES.get(each.errno, f"its name could not be looked up ({each.errno})")


_BROKEN_OFF = "the connection was closed before the whole answer was there"
_RESET = {False: "the connection was reset while it was being opened", True: _BROKEN_OFF}
_NO_ROUTE = "there is no route to it: is this machine connected to that network?"
_FORBIDDEN = "this machine does not permit the connection (a firewall or a container's rules)"
_NO_FILES = "this process has too many files and connections open"

_ERRNOS: Mapping[str, str] = {
    "ECONNREFUSED": "the connection was refused: nothing listens there, or a firewall refuses it",
    "ENETUNREACH": _NO_ROUTE,
    "EHOSTUNREACH": _NO_ROUTE,
    "ENETDOWN": _NO_ROUTE,
    "EHOSTDOWN": _NO_ROUTE,
    "EADDRNOTAVAIL": "this machine has no address, or no free port, to connect from",
    "EAFNOSUPPORT": "this machine has no addresses of that kind (IPv6?)",
    "EACCES": _FORBIDDEN,
    "EPERM": _FORBIDDEN,
    "EMFILE": _NO_FILES,
    "ENFILE": _NO_FILES,
    "ETIMEDOUT": "it does not answer: a firewall, or a wrong address or port",
}
_RESETS = ("ECONNRESET", "EPIPE", "ECONNABORTED", "ESHUTDOWN", "ENOTCONN")


def _numbers(name: str) -> set[int]:
    """The number of an errno here, and the one that Windows' sockets have for it."""
    return {number for each in (name, f"WSA{name}") if (number := getattr(errno, each, None))}


_BY_NUMBER: Mapping[int, str] = {
    number: words for name, words in _ERRNOS.items() for number in _numbers(name)
}
_RESET_NUMBERS = {number for name in _RESETS for number in _numbers(name)}
#: asyncio joins the errors of several addresses to one text without a number.
_IN_TEXT = re.compile(r"\[Errno ([0-9]{1,6})\]")


def _system(each: BaseException, trip: Trip) -> str:
    if not isinstance(each, OSError) or isinstance(each, (ssl.SSLError, socket.gaierror)):
        return ""
    if _is_wrapper(each):
        return ""
    numbers = [each.errno or 0]
    if each.errno is None:
        numbers += map(int, _IN_TEXT.findall(_said(each)))
    for number in numbers:
        if number in _BY_NUMBER:
            return _BY_NUMBER[number]
        if number in _RESET_NUMBERS:
            return _RESET[trip.began]
    return _RESET[trip.began] if isinstance(each, ConnectionError) else ""


# --------------------------------------------------------------------------- proxies and time

_PROXY_ANSWERS: Mapping[int, str] = {
    407: "the proxy wants another user and password than it was given",
    403: "the proxy does not permit connections to it",
    404: "the proxy does not know it",
    405: "the proxy makes no tunnels (CONNECT)",
    500: "the proxy failed (HTTP status 500)",
    502: "the proxy cannot reach it (HTTP status 502)",
    503: "the proxy cannot reach it (HTTP status 503)",
    504: "the proxy got no answer from it (HTTP status 504)",
}


def _proxy(each: Any, _trip: Trip) -> str:
    if not _is(each, *_PROXY_SAID):
        return ""
    status = getattr(each, "status", None)
    if status is None:
        # Of the proxy's own words only the number is taken: it may repeat the password.
        digits = re.match(r"[0-9]{3}(?![0-9])", _said(each))
        status = int(digits[0]) if digits else None
    if status is None:
        return "the proxy refuses the connection"
    return _PROXY_ANSWERS.get(status, f"the proxy refuses it with HTTP status {status}")


def _late(each: BaseException, trip: Trip) -> str:
    """A time-out of an engine, with the seconds of its phase; the system's own has a number."""
    phase = next((phase for name, phase in _PHASES.items() if _is(each, name)), "")
    if not phase and type(each) is TimeoutError and each.errno is None:
        phase = "write" if trip.began else "connect"
    if not phase:
        return ""
    seconds = trip.timeout.get(phase)
    words = _LATE[phase]
    return words if seconds is None else f"{words} (timeout: {phase}={seconds:g} s)"


_LATE: Mapping[str, str] = {
    "connect": "it does not answer: a firewall, or a wrong address or port",
    "read": "its answer did not come in time",
    "write": "it did not take the whole request in time",
    "pool": "no connection of the pool became free in time",
}
_PHASES: Mapping[str, str] = {
    "ConnectTimeout": "connect",
    "ConnectionTimeoutError": "connect",
    "ReadTimeout": "read",
    "SocketTimeoutError": "read",
    "ServerTimeoutError": "read",
    "WriteTimeout": "write",
    "PoolTimeout": "pool",
}


# --------------------------------------------------------------------------- what an engine says

_HUNG_UP = ("Server disconnected", "peer closed", "peer unexpectedly closed")
_CUT_OFF = ("ServerDisconnectedError", "ContentLengthError", "TransferEncodingError", "CloseError")
_UNREADABLE = ("RemoteProtocolError", "HttpProcessingError", "ClientPayloadError", "DecodingError")


def _engine(each: BaseException, trip: Trip) -> str:
    if _is(each, *_CUT_OFF):
        return _RESET[trip.began]
    if _is(each, "ReadError", "WriteError") or (
        _is(each, "RemoteProtocolError") and _said(each).startswith(_HUNG_UP)
    ):
        return _BROKEN_OFF
    if _is(each, "ClientPayloadError") and "Not enough data" in _said(each):
        return _BROKEN_OFF
    if _is(each, *_UNREADABLE, "ClientResponseError"):
        return "its answer is not HTTP: is something else listening there?"
    if _is(each, "UnsupportedProtocol", "InvalidURL", "IDNAError"):
        return "it is not the address of a web server"
    return ""


#: What an error may mean; the first row that knows it decides.
_ROWS: tuple[Callable[[BaseException, Trip], str], ...] = (
    _certificate,
    _name,
    _proxy,
    _late,
    _tls,
    _system,
    _engine,
)
