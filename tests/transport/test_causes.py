"""What could not be reached, and why: the same plain words for every engine, and no secret."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chaoying_async import GatewaySession, Hosts, OrderQuery, OutcomeUnknownError, PayType
from chaoying_async.exceptions import ChaoyingError, RequestNotSentError, TransportError
from chaoying_async.transport import TransportEngine
from chaoying_async.transport.causes import Trip, reason, what_happened
from tests.engines import ENGINES, SECRET, call, failure, garbage_status_line, running, silent, tls
from tests.factories import CREDENTIALS, MCH_ID, every_request
from tests.tcp_server import Link, Script, TcpServer, polite, refused_port

PASSWORD = "pr0xyPASSWORD"
REFUSED = "the connection was refused"
LATE = "it does not answer: a firewall, or a wrong address or port (timeout: connect=0.05 s)"


@pytest.fixture(params=ENGINES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _handshake_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's side of a broken handshake is logged by asyncio; that is not the subject."""
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)


def refused() -> None:
    """As an earlier call of the caller's is."""
    raise ConnectionRefusedError(errno.ECONNREFUSED, "an earlier call's")


async def words(kind: str, url: str, *, secret_url: bool = True, **options: Any) -> str:
    """The text of the error for a call whose URL and body hold a secret that must not show."""
    patience = {"timeout": options.pop("timeout")} if "timeout" in options else {}
    async with running(kind, **options) as engine:
        url = f"{url}?sign={SECRET}" if secret_url else url
        error = await failure(engine, url, body=SECRET.encode(), **patience)
    assert SECRET not in str(error)
    assert PASSWORD not in str(error)
    return str(error)


# ------------------------------------------------------------------ the way there


async def test_a_name_that_is_not_found(kind: str) -> None:
    """The host and its port, which is 443 where none was written."""
    told = await words(kind, "https://gateway.invalid/pay")
    assert "gateway.invalid:443 cannot be reached: its name is not found" in told


async def test_a_port_on_which_nothing_listens(kind: str) -> None:
    """Refused: the same beginning for every engine."""
    port = refused_port()
    told = await words(kind, f"http://127.0.0.1:{port}/pay")
    assert told.startswith(f"nothing was sent: 127.0.0.1:{port} cannot be reached: {REFUSED}")


async def test_an_address_that_does_not_answer(kind: str) -> None:
    """The time-out stands there by its name: the user knows what to raise."""

    async def ignore(link: Link) -> None:
        await link.reader.read(1)
        await asyncio.Event().wait()

    async with TcpServer(ignore) as server:
        slow = httpx.Timeout(5.0, connect=0.05)
        told = await words(kind, server.url("/", "https"), timeout=slow)
    assert f"127.0.0.1:{server.port}" in told
    assert told.endswith(LATE)


async def test_a_server_that_hangs_up_during_the_handshake(kind: str) -> None:
    """Closed before there was a connection to send on."""

    async def hang_up(link: Link) -> None:
        await link.reader.read(1)

    async with TcpServer(hang_up) as server:
        told = await words(kind, server.url("/", "https"))
    assert f"nothing was sent: 127.0.0.1:{server.port} cannot be reached: " in told
    assert told.endswith(("during the TLS handshake", "while it was being opened"))


async def test_a_port_that_speaks_no_tls(kind: str) -> None:
    """Somebody wrote https for http."""

    async def plain(link: Link) -> None:
        await link.reader.read(1)
        await link.send(b"HTTP/1.1 400 This port speaks no TLS\r\n\r\n")

    async with TcpServer(plain) as server:
        told = await words(kind, server.url("/", "https"))
    assert "it does not speak TLS on this port: is it http:// rather than https://?" in told


# ------------------------------------------------------------------ certificates

AUTHORITY = tls().authority


def issued(**options: Any) -> ssl.SSLContext:
    """A server whose certificate comes from the authority that the client trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(options.pop("name", "localhost"), **options).configure_cert(context)
    return context


def self_signed() -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    blob = certificate.public_bytes(pem) + key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(blob).tempfile() as path:
        context.load_cert_chain(path)
    return context


def elsewhere() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    return context


LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
FAR_AHEAD = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)
CERTIFICATES: dict[str, tuple[Callable[[], ssl.SSLContext], str]] = {
    "expired": (
        lambda: issued(not_before=LONG_AGO, not_after=LONG_AGO + dt.timedelta(days=90)),
        "its certificate has expired",
    ),
    "not yet": (
        lambda: issued(not_before=FAR_AHEAD, not_after=FAR_AHEAD + dt.timedelta(days=90)),
        "its certificate is not valid yet",
    ),
    "another host": (lambda: issued(name="pay.example"), "its certificate is for another name"),
    "self-signed": (self_signed, "its certificate is self-signed"),
    "unknown authority": (elsewhere, "an authority that this machine does not know"),
}


@pytest.mark.parametrize("which", CERTIFICATES)
async def test_a_certificate_that_does_not_hold(kind: str, which: str) -> None:
    """What is wrong with it, in words: the host, the clock, the authority."""
    make, expected = CERTIFICATES[which]
    async with TcpServer(polite, make()) as server:
        told = await words(kind, server.url(), verify=tls().client)
    assert f"nothing was sent: localhost:{server.port} cannot be reached: " in told
    assert expected in told
    assert server.requests == []


async def test_a_certificate_that_is_not_for_the_ip_address(kind: str) -> None:
    """The certificate is what is wrong, not the network."""
    async with TcpServer(polite, issued()) as server:
        told = await words(kind, server.url("/").replace("localhost", "127.0.0.1"))
    assert "certificate is" in told


# ------------------------------------------------------------------ proxies


def answering(status: bytes) -> Script:
    async def script(link: Link) -> None:
        await link.reader.readuntil(b"\r\n\r\n")
        await link.send(
            b"HTTP/1.1 " + status + f" {PASSWORD}\r\nContent-Length: 0\r\n\r\n".encode()
        )

    return script


PROXIES = {
    b"407": "wants another user and password than it was given",
    b"403": "the proxy does not permit connections to it",
    b"502": "the proxy cannot reach it (HTTP status 502)",
    b"418": "the proxy refuses it with HTTP status 418",
}


@pytest.mark.parametrize("status", PROXIES)
async def test_a_proxy_that_refuses(kind: str, status: bytes) -> None:
    """Its status in words, never its own text, which may repeat the password."""
    async with TcpServer(answering(status)) as proxy:
        url = f"http://user:{PASSWORD}@127.0.0.1:{proxy.port}"
        told = await words(kind, "https://gateway.invalid/pay", proxy=url)
    assert PROXIES[status] in told
    assert "gateway.invalid:443" in told
    if kind in {"aiohttp", "httpx"}:  # of a user's transport nobody knows the proxy
        assert f"(through the proxy 127.0.0.1:{proxy.port})" in told


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_a_proxy_that_is_not_there(kind: str) -> None:
    """It is the proxy that is named: the gateway was never asked."""
    port = refused_port()
    url = f"http://user:{PASSWORD}@127.0.0.1:{port}"
    told = await words(kind, "https://gateway.invalid/pay", proxy=url)
    assert f"the proxy 127.0.0.1:{port} (on the way to gateway.invalid:443)" in told
    assert REFUSED in told


# ------------------------------------------------------------------ after it was sent


async def test_a_server_that_hangs_up_on_the_request(kind: str) -> None:
    """From the first byte on it is no longer "not sent", and the address stands there still."""

    async def close(link: Link) -> None:
        await link.request()

    async with TcpServer(close) as server:
        told = await words(kind, server.url())
    assert told == (
        f"no usable answer came from 127.0.0.1:{server.port}: "
        "the connection was closed before the whole answer was there"
    )


async def test_a_server_that_says_nothing(kind: str) -> None:
    """The read time-out is named with its seconds."""
    async with TcpServer(silent) as server:
        told = await words(kind, server.url(), timeout=httpx.Timeout(5.0, read=0.05))
    assert told.endswith("its answer did not come in time (timeout: read=0.05 s)")


async def test_what_is_not_http(kind: str) -> None:
    """Another program listens on that port."""
    async with TcpServer(garbage_status_line) as server:
        told = await words(kind, server.url())
    assert told.endswith("its answer is not HTTP: is something else listening there?")


# ------------------------------------------------------------------ whatever an engine raises

REASONS: list[tuple[Exception, str]] = [
    (OSError(errno.ENETUNREACH, "x"), "there is no route to it"),
    (OSError(errno.EMFILE, "x"), "too many files and connections"),
    (PermissionError(errno.EPERM, "x"), "does not permit the connection"),
    (OSError("Multiple exceptions: [Errno 111] a, [Errno 101] b"), REFUSED),
    (TimeoutError(errno.ETIMEDOUT, "x"), "it does not answer"),
    (socket.gaierror(socket.EAI_AGAIN, "x"), "no DNS server answered"),
    (socket.gaierror(-99, "x"), "could not be looked up (-99)"),
    (ssl.SSLError(1, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] x"), "TLS failed"),
    (httpx.UnsupportedProtocol("x"), "not the address of a web server"),
    (KeyError(SECRET), "KeyError"),
    (type("OwnError", (OSError,), {})("x"), "OwnError"),
]


@pytest.mark.parametrize(("error", "expected"), REASONS, ids=lambda each: str(each)[:30])
def test_a_reason_in_words(error: Exception, expected: str) -> None:
    """By number, by class, by text; an unknown error is named by its class."""
    wrapped = httpx.ConnectError("wrapped")
    wrapped.__cause__ = error
    told = reason(wrapped)
    assert SECRET not in told
    if expected in {"KeyError", "OwnError"}:
        assert told == "ConnectError"  # names the engine's class, at least
        told = reason(error)
    assert expected in told


def test_the_nearest_error_decides() -> None:
    """A caller may be handling an error of its own while it calls us."""
    error = httpx.ConnectError("x")
    error.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "x")
    error.__cause__.__context__ = socket.gaierror(socket.EAI_NONAME, "the caller's")
    told = what_happened(error, Trip("pay.example:443"), sent=False)
    assert told.startswith("nothing was sent: pay.example:443 cannot be reached: " + REFUSED)


# ------------------------------------------------------------------ as a program sees it


async def test_the_error_of_a_session_says_it_too() -> None:
    """A read and a payment: address and cause once, and what was being done."""
    port = refused_port()
    hosts = Hosts.single(f"http://127.0.0.1:{port}")
    async with GatewaySession(CREDENTIALS, mch_id=MCH_ID, hosts=hosts, read_retries=0) as till:
        with pytest.raises(RequestNotSentError) as caught:
            await till.send(OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1"))
    told = str(caught.value)
    assert told.startswith(f"orderquery A1: nothing was sent: 127.0.0.1:{port} cannot be reached")
    assert told.count(REFUSED) == 1


async def test_where_money_may_have_moved_the_address_stands_there_too() -> None:
    """The same sentence stands inside the one about the unknown outcome (M-02)."""
    async with TcpServer(silent) as server:
        hosts = Hosts.single(server.url("").rstrip("/"))
        async with GatewaySession(
            CREDENTIALS, mch_id=MCH_ID, op_user_id="1", hosts=hosts, timeout=0.05
        ) as till:
            with pytest.raises(OutcomeUnknownError) as caught:
                await till.send(every_request()["pay"])
    assert f"no usable answer came from 127.0.0.1:{server.port}: its answer" in str(caught.value)


async def test_a_deadline_and_a_status_name_their_address() -> None:
    """Neither comes from an engine, and both say where."""
    async with TcpServer(silent) as server:
        hosts = Hosts.single(server.url("").rstrip("/"))
        async with GatewaySession(CREDENTIALS, mch_id=MCH_ID, hosts=hosts, deadline=0.05) as till:
            with pytest.raises(TransportError, match=f"127.0.0.1:{server.port} within"):
                await till.send(OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1"))

    def page(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(502)

    async with GatewaySession(
        CREDENTIALS, mch_id=MCH_ID, transport=httpx.MockTransport(page), read_retries=0
    ) as till:
        with pytest.raises(ChaoyingError, match=r"storepos\.cn:443 answered with HTTP status 502"):
            await till.send(OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1"))


async def test_an_error_that_the_caller_is_handling_says_nothing_about_the_call() -> None:
    """M-01: else a payment that may have been made would say that nothing listens there."""

    def broken(_request: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError(SECRET)

    engine = TransportEngine(httpx.MockTransport(broken))
    try:
        refused()
    except ConnectionRefusedError:
        with pytest.raises(TransportError) as caught:
            await call(engine, "https://pay.example/pay")
    assert REFUSED not in str(caught.value)


async def test_an_error_that_the_caller_is_handling_says_nothing_of_an_engine(kind: str) -> None:
    """Of no engine that we drive either: here the server hangs up on the request."""

    async def close(link: Link) -> None:
        await link.request()

    async with TcpServer(close) as server:
        try:
            refused()
        except ConnectionRefusedError:
            told = await words(kind, server.url())
    assert REFUSED not in told


async def test_a_users_transport_that_breaks_on_its_own_is_named() -> None:
    """Its class, and never its text."""

    def broken(_request: httpx.Request) -> httpx.Response:
        raise LookupError(SECRET)

    engine = TransportEngine(httpx.MockTransport(broken))
    with pytest.raises(TransportError) as caught:
        await call(engine, "https://pay.example/pay")
    assert str(caught.value) == (
        "no usable answer came from pay.example:443: the connection failed (LookupError)"
    )
