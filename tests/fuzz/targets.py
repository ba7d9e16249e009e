"""What is done with an input, and what must hold whatever it is; an AssertionError is a finding.

An input of the first two targets begins with a byte that says whether its text is signed here, so
that mutations come behind the signature.
"""

from __future__ import annotations

import asyncio
import json
import string
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from chaoying_async.exceptions import ChaoyingError, ChaoyingWarning
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.document.endpoints import ROUTES
from chaoying_async.sandbox.document.http_messages import NotAFormError, read_form
from chaoying_async.sandbox.document.signature import signature
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.notifications.facts import facts_from_text, to_text
from chaoying_async.sansio.notifications.message import facts_of, parse_notification
from chaoying_async.sansio.notifications.reading import peek_mch_id
from chaoying_async.sansio.wire.forms import parse_form
from tests.pure.factories import CREDENTIALS, FULL_REQUESTS, KEY, QUERY, form, naive_sign, signed

#: What an answer may be to, in the order that an input's second byte chooses from.
REQUESTS = (QUERY, *FULL_REQUESTS)
#: Parts two requests of one input to the sandbox.
NEXT = b"\n\n"
#: What a request's first byte chooses from; any other byte: the first line is the path,
#: asked for by GET after a "1".
ROUTED = dict(zip(string.ascii_letters.encode(), sorted(ROUTES), strict=False))


def notification(data: bytes) -> None:
    """Any body is a notification that was really signed, or an error of ours (M-04, M-12)."""
    body = data[1:]
    if data[:1] == b"s":
        try:
            body = form(signed(parse_form(body)))
        except (ChaoyingError, UnicodeError):
            return
    with _only_our_errors():
        peek_mch_id(body)
    with _only_our_errors():
        read = parse_notification(body, CREDENTIALS)
        fields = dict(read.raw)
        assert fields["sign"].upper() == naive_sign(fields)
        assert read.out_trade_no
        facts = facts_of(read)
        assert facts_from_text(to_text(facts)).out_trade_no == facts.out_trade_no
        assert KEY not in repr(read)


def reply(data: bytes) -> None:
    """Any answer to any request is a reply that answers it, or an error of ours (M-05 to M-08)."""
    request = REQUESTS[(data[1] if data[1:] else 0) % len(REQUESTS)]
    body = data[2:]
    if data[:1] == b"s" and (members := _members(body)) is not None:
        texts = {name: value for name, value in members.items() if isinstance(value, str)}
        try:
            body = json.dumps(members | {"sign": naive_sign(texts)}).encode()
        except UnicodeError:
            return
    sent = build_request(request, CREDENTIALS)
    with _only_our_errors():
        read: Reply[Any] = read_reply(
            sent, 200, body, CREDENTIALS, now=None, require_signed=data[:1] != b"u"
        )
        assert read.signed or data[:1] == b"u"
        assert KEY not in repr(read)


def sandbox(data: bytes) -> None:
    """Whatever is asked of the sandbox in turn: an answer below 500, and its key in none."""
    asyncio.run(_asked(data.split(NEXT)[:6]))


async def _asked(requests: list[bytes]) -> None:
    async with Sandbox() as gateway:
        for each in requests:
            method, path, parameters = _addressed(each)
            if each[1:2] == b"s":
                parameters = _signed(parameters, gateway.credentials)
            status, answer = await _answered(gateway.app, method, path, parameters)
            assert status < HTTPStatus.INTERNAL_SERVER_ERROR, (path, status, answer)
            assert gateway.credentials.key.encode() not in answer
        assert gateway.books.kept >= 0


def _addressed(request: bytes) -> tuple[str, str, bytes]:
    """Method, path and parameters of a request: its route, its flag, then its parameters."""
    if request[:1] and request[0] in ROUTED:
        return *ROUTED[request[0]], request[2:]
    line, _, parameters = request[2:].partition(b"\n")
    return "GET" if request[:1] == b"1" else "POST", f"/{line.decode('latin-1')}", parameters


def _signed(parameters: bytes, credentials: Credentials) -> bytes:
    try:
        fields = read_form(parameters)
        return form(fields | {"sign": signature(fields, credentials)})
    except (NotAFormError, UnicodeError):
        return parameters


async def _answered(app: Any, method: str, path: str, parameters: bytes) -> tuple[int, bytes]:
    posts = method == "POST"
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"" if posts else parameters,
        "headers": [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"user-agent", b"CySoftPayBox"),
        ],
        "client": ("127.0.0.1", 1),
    }
    said: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        body = parameters if posts else b""
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        said.append(message)

    await app(scope, receive, send)
    return said[0]["status"], b"".join(part.get("body", b"") for part in said[1:])


def _members(body: bytes) -> dict[str, Any] | None:
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


@contextmanager
def _only_our_errors() -> Iterator[None]:
    """Errors of ours end the block, if they do not name the key; all others come out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ChaoyingWarning)
            yield
    except ChaoyingError as error:
        assert KEY not in f"{error} {error!r}"


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "notification": notification,
    "reply": reply,
    "sandbox": sandbox,
}
