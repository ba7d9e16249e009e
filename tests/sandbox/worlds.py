"""The sandbox over real HTTP in each of its worlds, for tests that take it for the gateway.

A server runs on a thread and a loop of its own, so a test may wait for an answer inside a clock
that stands still. What a reply or a request should be signed with is computed here, by hand: no
line of the client's signing, and none of the sandbox's.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import threading
from collections.abc import Coroutine, Generator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import attrs
import pytest

from chaoying_async import SortOrder, SystemClock
from chaoying_async.abc import Clock
from chaoying_async.sandbox import Order, Refund, RefundState, Sandbox, Status
from chaoying_async.sandbox.bank.entities import OrderKind, SmsCode, Terminal
from chaoying_async.sandbox.serving.sandbox_app import App
from chaoying_async.sandbox.serving.server import listening
from tests.factories import CREDENTIALS, MCH_ID, REFUND_ID, TRANSACTION
from tests.pure import spec

T = TypeVar("T")


@attrs.frozen
class World:
    """How the gateway might behave where nobody can ask the real one."""

    sign_failures: bool
    order: SortOrder

    @property
    def name(self) -> str:
        """For the test's id."""
        return f"{'all' if self.sign_failures else 'successes'} signed, {self.order.value}"

    def sandbox(self, clock: Clock | None = None) -> Sandbox:
        """Such a gateway, which knows the merchant, agent and key of ``tests.factories``."""
        return Sandbox(
            clock=clock or SystemClock(),
            sign_failures=self.sign_failures,
            sort_order=self.order,
            credentials=attrs.evolve(CREDENTIALS, sort_order=self.order),
        )


WORLDS = [World(sign_failures, order) for sign_failures in (True, False) for order in SortOrder]
in_every_world = pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)


def signed_by_hand(fields: Mapping[str, Any], world: World, key: str = CREDENTIALS.key) -> str:
    """MD5 over name=value, sorted as this world sorts, with the key at the end; upper case."""
    full = {name: str(value) for name, value in fields.items() if name != "sign"}
    folded = world.order is SortOrder.IGNORE_CASE
    names = sorted(full, key=lambda name: (name.lower(), name) if folded else name)
    text = "&".join(f"{name}={full[name]}" for name in names if full[name] != "")
    return hashlib.md5(f"{text}&key={key}".encode()).hexdigest().upper()


def should_be_signed(endpoint: str, members: Mapping[str, Any], world: World) -> bool:
    """M-08: what the document prints unsigned never is; else a success always is."""
    if not spec.ENDPOINTS[endpoint]["response_signed_example"]:
        return False
    done = members["state"] == "SUCCESS" and members.get("trade_state", "SUCCESS") == "SUCCESS"
    configured = endpoint not in TERMINALS or "mch_id" in members
    return (done and configured) or world.sign_failures


TERMINALS = ("PayBoxConfGet", "QrConfGet")
_PATHS = {
    urlsplit(row["url"]).path: name
    for name, row in spec.ENDPOINTS.items()
    if row["url_fixed"] and not row["method_param"]
}


def endpoint_at(path: str, form: Mapping[str, str]) -> str:
    """Which endpoint of the document a request is for."""
    if path.startswith("/qrpay/"):
        return "QrConfGet"
    return _PATHS.get(path) or form["method"]


def check_reply(endpoint: str, body: bytes, world: World) -> None:
    """The reply is signed where this world signs, and with the sign that a hand computes."""
    members = json.loads(body)
    assert ("sign" in members) == should_be_signed(endpoint, members, world), members
    if "sign" in members:
        assert members["sign"] == signed_by_hand(members, world)


def check_request(method: str, url: str, body: bytes, world: World) -> dict[str, str]:
    """The request's fields, whose sign is the one that a hand computes."""
    carried = body.decode() if method == "POST" else urlsplit(url).query
    fields = dict(parse_qsl(carried, keep_blank_values=True, strict_parsing=True))
    if fields["sign"] != signed_by_hand(fields, world):  # v2.9.0 or the later rule (C 97)
        number = urlsplit(url).path.rpartition("/")[2]
        assert fields["sign"] == signed_by_hand({"code_number": number} | fields, world)
    return fields


class Port:
    """Where a sandbox listens; :attr:`sandbox` may be another one for every test."""

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop, held: list[App]) -> None:
        self.url = url
        self._loop = loop
        self._held = held

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run something on the server's own loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    @contextmanager
    def showing(self, sandbox: Sandbox) -> Generator[Sandbox]:
        """Answer with this sandbox while the block runs."""
        self._held[:] = [sandbox.app]
        try:
            yield sandbox
        finally:
            self.run(sandbox.aclose())

    def ask(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """One request over a connection of its own, whatever host it names; the reply's body.

        It blocks the caller, so that no clock of the caller's moves meanwhile.
        """
        parts = urlsplit(url)
        link = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            link.request(method, target, body or None, dict(headers))
            reply = link.getresponse()
            assert reply.status == 200
            return reply.read()
        finally:
            link.close()


@contextmanager
def open_port() -> Generator[Port]:
    """A server on a thread of its own."""
    held: list[App] = []
    ready: list[Port | BaseException] = []
    started, stop = threading.Event(), threading.Event()

    async def shown(scope: Any, receive: Any, send: Any) -> None:
        await held[0](scope, receive, send)

    async def main() -> None:
        async with listening(shown) as url:
            ready.append(Port(url, asyncio.get_running_loop(), held))
            started.set()
            await asyncio.to_thread(stop.wait)

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001 - the thread that waits is told
            ready.append(error)
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert started.wait(30)
        port = ready[0]
        if isinstance(port, BaseException):
            raise port
        yield port
    finally:
        stop.set()
        thread.join(30)


# ------------------------------------------------------- putting the books as a test needs them


def put_order(
    sandbox: Sandbox,
    number: str,
    *,
    status: Status = Status.PAID,
    payable: int = 100,
    wallet: str = "WECHAT",
    mch_id: str = MCH_ID,
    transaction_id: str = TRANSACTION,
) -> Order:
    """An order that stands like this, as if it had come that way."""
    gateway, now = sandbox.app.runtime.gateway, sandbox.clock.now()
    order = Order(
        serial=gateway.ledger.serial + 1,
        kind=OrderKind.PAY,
        mch_id=mch_id,
        out_trade_no=number,
        paytype=wallet,
        payable=payable,
        coupon=0,
        transaction_id=transaction_id,
        out_transaction_id=f"2{transaction_id}",
        scenario=0,
        created=now,
        asked={},
        status=status,
        ended=None if status is Status.OPEN else now,
        paid_at=now if status is Status.PAID else None,
    )
    numbers = gateway.ledger.numbers.put(transaction_id, order.key)
    ledger = attrs.evolve(gateway.ledger, numbers=numbers, serial=order.serial)
    gateway.ledger = ledger.with_order(order)
    return order


def put_refund(
    sandbox: Sandbox, order: Order, number: str, part: int = 40, refund_id: str = REFUND_ID
) -> None:
    """A refund of that order, carried out long ago."""
    gateway, now = sandbox.app.runtime.gateway, sandbox.clock.now()
    refund = Refund(
        serial=gateway.ledger.serial + 1,
        mch_id=order.mch_id,
        out_refund_no=number,
        out_trade_no=order.out_trade_no,
        refund_id=refund_id,
        out_refund_id=f"3{refund_id}",
        base=part,
        cash=part,
        coupon=0,
        scenario=0,
        created=now,
        becomes=RefundState.SUCCESS,
        becomes_at=now,
    )
    changed = attrs.evolve(order, refunds=(*order.refunds, number))
    ledger = gateway.ledger.with_order(changed).with_refund(refund)
    numbers = ledger.numbers.put(refund_id, refund.key)
    gateway.ledger = attrs.evolve(ledger, numbers=numbers, serial=refund.serial)


def put_sms(sandbox: Sandbox, mobile: str, valid: str) -> None:
    """A code that was sent to that number just now."""
    gateway = sandbox.app.runtime.gateway
    code = SmsCode(valid=valid, until=sandbox.clock.now() + timedelta(minutes=20))
    gateway.ledger = attrs.evolve(gateway.ledger, sms=gateway.ledger.sms.put(mobile, code))


def put_terminal(sandbox: Sandbox, number: str, mch_id: str = MCH_ID) -> None:
    """A terminal that somebody has configured."""
    gateway = sandbox.app.runtime.gateway
    terminals = gateway.ledger.terminals.put(number, Terminal(op_device_id=number, mch_id=mch_id))
    gateway.ledger = attrs.evolve(gateway.ledger, terminals=terminals)


def put_merchant(sandbox: Sandbox, mch_id: str) -> None:
    """Another merchant that can trade."""
    gateway = sandbox.app.runtime.gateway
    known = attrs.evolve(gateway.ledger.merchants[MCH_ID], mch_id=mch_id, mobile="")
    merchants = gateway.ledger.merchants.put(mch_id, known)
    gateway.ledger = attrs.evolve(gateway.ledger, merchants=merchants)
