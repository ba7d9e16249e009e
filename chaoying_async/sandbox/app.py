"""The sandbox over HTTP, as a plain ASGI application.

The gateway's own paths are the document's. ``/_sandbox/...`` is for those who run it: the books,
and what a customer does. Posts there need the header ``X-Sandbox``, which a page of another site
cannot send without asking first.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import attrs

from chaoying_async.sandbox import ledger as ledgers
from chaoying_async.sandbox.gateway import MAX_BODY, Cut, Request, Response
from chaoying_async.sandbox.records import Order, Refund
from chaoying_async.sandbox.runtime import Runtime

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTROL = "/_sandbox/"


class SandboxApp:
    """``uvicorn.run(SandboxApp(runtime))``, or mounted wherever ASGI applications are."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return  # no lifespan and no WebSocket here: servers take that for "not supported"
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _body(receive)
        if body is None:
            reply = Response(413, "text/plain", b"too large")
        elif scope["path"].startswith(CONTROL):
            reply = self._control(scope, headers, body)
        else:
            reply = await self.runtime.exchange(_request(scope, headers, body))
        if reply.cut in (Cut.REFUSED, Cut.RESET):
            await _hang_up(receive, send)
            return
        await _respond(send, reply)
        if reply.cut is Cut.HALF:
            await _hang_up(receive, send)

    def _control(self, scope: Scope, headers: dict[bytes, str], body: bytes) -> Response:
        what = (scope["method"], scope["path"].removeprefix(CONTROL))
        if what == ("GET", "books"):
            return _json(200, self.books())
        if what == ("POST", "act"):
            if b"x-sandbox" not in headers:
                return _json(403, {"problem": "the header X-Sandbox is missing"})
            return self._act(body)
        return _json(404, {"problem": "no such page"})

    def books(self) -> dict[str, Any]:
        """Everything the sandbox knows, for comparing: totals, orders, refunds, counts."""
        gateway, now = self.runtime.gateway, self.runtime.clock.now()
        ledger = gateway.ledger
        orders = sorted(ledger.orders.values(), key=lambda order: order.serial)
        refunds = sorted(ledger.refunds.values(), key=lambda refund: refund.serial)
        return {
            "totals": attrs.asdict(ledgers.books(ledger, now)),
            "orders": [_order(order) for order in orders],
            "refunds": [_refund(refund) | {"state": refund.state_at(now)} for refund in refunds],
            "requests": dict(gateway.requests),
            "deliveries": [
                {
                    "out_trade_no": each.out_trade_no,
                    "attempt": each.attempt,
                    "accepted": each.accepted,
                    "problem": each.problem,
                }
                for each in self.runtime.notifier.deliveries
            ],
        }

    def _act(self, body: bytes) -> Response:
        try:
            wish = json.loads(body)
            deed = ledgers.Deed[wish["deed"]]
            order = self.runtime.gateway.ledger.order(wish["out_trade_no"], wish.get("mch_id"))
        except (ValueError, KeyError, TypeError) as error:
            return _json(400, {"problem": f"deed and out_trade_no are needed: {error}"})
        return _json(200, _order(self.runtime.gateway.act(order.key, deed)))


def _order(order: Order) -> dict[str, Any]:
    return {
        "mch_id": order.mch_id,
        "out_trade_no": order.out_trade_no,
        "kind": order.kind,
        "paytype": order.paytype,
        "status": order.status,
        "scenario": order.scenario,
        "payable": order.payable,
        "paid": order.paid,
        "coupon": order.coupon,
        "was_paid": order.paid_at is not None,
        "transaction_id": order.transaction_id,
        "refunds": list(order.refunds),
    }


def _refund(refund: Refund) -> dict[str, Any]:
    return {
        "mch_id": refund.mch_id,
        "out_refund_no": refund.out_refund_no,
        "out_trade_no": refund.out_trade_no,
        "base": refund.base,
        "cash": refund.cash,
        "coupon": refund.coupon,
    }


def _request(scope: Scope, headers: dict[bytes, str], body: bytes) -> Request:
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        content_type=headers.get(b"content-type", ""),
        user_agent=headers.get(b"user-agent", ""),
        body=body,
    )


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None if it is larger than any request of the document."""
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY:
            return None
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _json(status: int, value: object) -> Response:
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(status, "application/json; charset=utf-8", body)


async def _respond(send: Send, reply: Response) -> None:
    headers = [
        (b"content-type", reply.content_type.encode("ascii")),
        (b"content-length", str(len(reply.body)).encode("ascii")),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    half = reply.cut is Cut.HALF
    body = reply.body[: len(reply.body) // 2] if half else reply.body
    await send({"type": "http.response.body", "body": body, "more_body": half})


async def _hang_up(receive: Receive, send: Send) -> None:
    """Close the connection under the reply, and wait until the server has noticed.

    ASGI has no word for this. uvicorn's ``send`` is a method of the object that holds the socket's
    transport; under another server nothing is closed, and it reports an incomplete reply instead.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        return
    transport.close()  # what was written still goes out, as half a reply should
    while (await receive())["type"] != "http.disconnect":
        pass
