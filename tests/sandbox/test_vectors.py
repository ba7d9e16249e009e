"""The sandbox's own verdict on signatures that no code of ours has made, over a bare socket.

The vectors come from md5sum, sha1sum, sha256sum and openssl; the bytes of each request are put
together here. What goes over the wire is neither built, signed, escaped nor read by the client.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from chaoying_async import Credentials, SignAlgorithm, SortOrder, SystemClock
from chaoying_async.sandbox import Sandbox
from tests.pure import spec
from tests.sandbox.worlds import Port, World, in_every_world, signed_by_hand

pytestmark = pytest.mark.outside

VECTORS = spec.load("vectors.toml")
AGENT = "13000000000000000"
#: Where no ``method`` decides which endpoint is meant, so that the signature is looked at first.
ANY_FIELDS = "/Open/GetMchInfo"


def escaped(text: str) -> str:
    """Every byte that is no letter or digit as %XX, in small letters as the vendor's samples."""
    plain = text.isascii() and text.isalnum()
    return text if plain else "".join(f"%{byte:02x}" for byte in text.encode())


def posted(port: Port, fields: Mapping[str, str], path: str = "/UnifiedPay/Gateway") -> Any:
    """One request, written by hand; the members of the reply."""
    body = "&".join(f"{name}={escaped(value)}" for name, value in fields.items()).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    parts = urlsplit(port.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as link:
        link.sendall(head.encode() + body)
        answer = b""
        while chunk := link.recv(65536):
            answer += chunk
    status, _, members = answer.partition(b"\r\n\r\n")
    assert status.startswith(b"HTTP/1.1 200 ")
    return json.loads(members)


def _signs() -> Iterator[Any]:
    for vector in VECTORS["vector"]:
        for algorithm in SignAlgorithm:
            if sign := vector.get(algorithm.name.lower()):
                name = f"{vector['name']}-{algorithm.name}"
                yield pytest.param(vector, algorithm, sign, id=name)


@pytest.mark.parametrize(("vector", "algorithm", "sign"), [*_signs()])
def test_every_vector_passes_and_a_changed_digit_does_not(
    port: Port, vector: Mapping[str, Any], algorithm: SignAlgorithm, sign: str
) -> None:
    """20002 is what a wrong sign gets, whatever else is missing; a right one gets any further."""
    order = SortOrder.IGNORE_CASE if vector.get("order") == "ignore_case" else SortOrder.ASCII
    key = vector.get("key", VECTORS["key"])
    credentials = Credentials(AGENT, key, "yunpos", algorithm=algorithm, sort_order=order)
    with port.showing(Sandbox(clock=SystemClock(), credentials=credentials)):
        fields = {**dict(vector["params"]), "sign": sign}
        assert posted(port, fields, ANY_FIELDS)["code"] != "20002"
        for wrong in ("0" * len(sign), f"{sign[:-1]}{'1' if sign[-1] == '0' else '0'}", ""):
            assert posted(port, fields | {"sign": wrong}, ANY_FIELDS)["code"] == "20002"


@pytest.mark.parametrize("algorithm", SignAlgorithm)
def test_the_whole_vector_is_an_orderquery_and_its_answer_is_signed(
    port: Port, algorithm: SignAlgorithm
) -> None:
    """The seven parameters of the first vector are a request: 20007, signed as a hand signs it."""
    vector = VECTORS["vector"][0]
    key = VECTORS["key"]
    credentials = Credentials(AGENT, key, "yunpos", algorithm=algorithm)
    with port.showing(Sandbox(clock=SystemClock(), credentials=credentials)):
        sign = vector[algorithm.name.lower()]
        reply = posted(port, {**dict(vector["params"]), "sign": sign})
    assert (reply["state"], reply["code"]) == ("FAIL", "20007")
    names = sorted(set(reply) - {"sign"})
    text = f"{'&'.join(f'{name}={reply[name]}' for name in names)}&key={key}".encode()
    digests = {
        SignAlgorithm.MD5: lambda: hashlib.md5(text).hexdigest(),
        SignAlgorithm.SHA1: lambda: hashlib.sha1(text).hexdigest(),
        SignAlgorithm.SHA256: lambda: hashlib.sha256(text).hexdigest(),
        SignAlgorithm.HMAC_SHA256: lambda: hmac.new(key.encode(), text, "sha256").hexdigest(),
    }
    assert reply["sign"] == digests[algorithm]().upper()


@in_every_world
def test_a_payment_written_by_hand_is_taken(port: Port, world: World) -> None:
    """Spaces, percent signs, Chinese, JSON and names with capitals; signed here, verified there."""
    credentials = attrs.evolve(world.sandbox().credentials, agent_id=AGENT)
    made = Sandbox(
        clock=SystemClock(),
        credentials=credentials,
        sign_failures=world.sign_failures,
        sort_order=world.order,
    )
    fields = {
        "method": "pay",
        "agent_id": AGENT,
        "version": "1.0",
        "pid": "yunpos",
        "mch_id": "00000001",
        "out_trade_no": "1497769914931",
        "body": "image形象店 + 公仔 100%",
        "total_fee": "1",
        "attach": "1+1=2 &copy; <b>",
        "goods_detail": '[{"goods_id":"CY000","goods_name":"纸巾","quantity":1,"price":1}]',
        "auth_code": "130000000000001111",
        "ZName": "later than a, or not",
        "aName": "",
    }
    with port.showing(made):
        reply = posted(port, fields | {"sign": signed_by_hand(fields, world)})
        assert (reply["trade_state"], reply["attach"]) == ("SUCCESS", fields["attach"])
        assert reply["sign"] == signed_by_hand(reply, world)
        other = attrs.evolve(world, order=_OTHER[world.order])
        wrong = posted(port, fields | {"sign": signed_by_hand(fields, other)})
    assert wrong["code"] == "20002"
    assert ("sign" in wrong) == world.sign_failures


_OTHER = {
    SortOrder.ASCII: SortOrder.IGNORE_CASE,
    SortOrder.IGNORE_CASE: SortOrder.ASCII,
}
