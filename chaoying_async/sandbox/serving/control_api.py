"""The endpoints below ``/_sandbox/``: for whoever runs the sandbox, not for its clients.

=====================  =============================================================================
``GET books``          totals, orders, refunds, counts of requests, deliveries
``POST act``           ``{"out_trade_no", "deed"}``: what the customer or the gateway does to an
                       open order
``POST notify``        ``{"event", "out_trade_no"?, "notify_url"?, "total_fee"?, "late"?}``: a
                       notification of ``events``, a wrong one too; answers how it was taken, and
                       how the order stands, which it does not change
``POST resend``        ``{"out_trade_no"}`` or ``{"undelivered": true}``: notify once more
``POST faults``        ``{"plans": ["pay/slow:0.2:5"], "seed"?: 7}``: from now on exactly these go
                       wrong; with the same seed the same requests do
=====================  =============================================================================

Posts need the header ``X-Sandbox``, which a page of another site cannot send without asking first.
With a ``token`` everything here also needs ``Authorization: Bearer TOKEN``.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Never

import attrs

from chaoying_async.sandbox.bank.entities import BookedRefund, Order, Status
from chaoying_async.sandbox.bank.ledger import MCH_ID, Deed, books
from chaoying_async.sandbox.bank.order_life import settled
from chaoying_async.sandbox.document.http_messages import HttpResponse
from chaoying_async.sandbox.serving.events import EVENTS, Event, body_of, imagined
from chaoying_async.sandbox.serving.faults import Plan
from chaoying_async.sandbox.serving.notifier import Delivery
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.sansio.api.field_rules import absolute_url
from chaoying_async.sansio.redact import shown_url

PREFIX = "/_sandbox/"


class _WishError(ValueError):
    """What was asked for makes no sense; the error's text says why."""


class Control:
    """The sandbox's own endpoints; ``token``, when set, has to come with every request."""

    def __init__(self, runtime: Runtime, token: str | None = None) -> None:
        self.runtime = runtime
        self.token = token

    async def answer(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> HttpResponse:
        """Answer one request below ``/_sandbox/``."""
        if not self._admitted(headers):
            return as_json(401, {"problem": "Authorization: Bearer TOKEN is needed"})
        what = path.removeprefix(PREFIX)
        if (method, what) == ("GET", "books"):
            return as_json(200, self.books())
        wish = _POSTS.get(what)
        if method != "POST" or wish is None:
            return as_json(404, {"problem": "no such page"})
        if "x-sandbox" not in headers:
            return as_json(403, {"problem": "the header X-Sandbox is missing"})
        try:
            return as_json(200, await wish(self, _object(body)))
        except _WishError as error:
            return as_json(400, {"problem": str(error)})

    def _admitted(self, headers: Mapping[str, str]) -> bool:
        if self.token is None:
            return True
        given = headers.get("authorization", "").encode()
        return hmac.compare_digest(given, f"Bearer {self.token}".encode())

    def books(self) -> dict[str, Any]:
        """Everything that the sandbox knows: totals, orders, refunds, requests and deliveries."""
        gateway, now = self.runtime.gateway, self.runtime.clock.now()
        ledger = gateway.ledger
        orders = sorted(ledger.orders.values(), key=lambda order: order.serial)
        refunds = sorted(ledger.refunds.values(), key=lambda refund: refund.serial)
        return {
            "totals": attrs.asdict(books(ledger, now)),
            "orders": [_order(order) for order in orders],
            "refunds": [_refund(refund, now) for refund in refunds],
            "requests": dict(gateway.requests),
            "deliveries": [_delivery(each) for each in self.runtime.notifier.deliveries],
        }

    async def act(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Let somebody do something to an open order."""
        deed = Deed.__members__.get(str(wish.get("deed")))
        if deed is None:
            raise _WishError(f"deed is one of {', '.join(Deed.__members__)}")
        order = self._known(wish)
        if order is None:
            raise _WishError("out_trade_no is needed, and must be an order of this sandbox")
        order, _ = settled(order, self.runtime.clock.now())
        if order.status is not Status.OPEN:
            raise _WishError(_over(order))
        return _order(self.runtime.gateway.act(order.key, deed))

    async def notify(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Post one event to the order's ``notify_url``, or to another address."""
        event = EVENTS.get(str(wish.get("event")))
        if event is None:
            raise _WishError(f"event is one of {', '.join(EVENTS)}")
        known = self._known(wish)
        order = _addressed(known or self._imagined(wish), wish.get("notify_url"))
        late = _number(wish, "late", event.late)
        told = {
            "event": wish["event"],
            "out_trade_no": order.out_trade_no,
            "late": late,
            "mch_id": order.mch_id,
            "order": self._standing(known),
            "repeated": any(
                each.key == order.key and each.accepted for each in self.runtime.notifier.deliveries
            ),
        }
        if late:
            self.runtime.spawn(self._later(event, order, late))
            return told | {"deliveries": []}
        made = await self._deliver(event, order)
        return told | {"deliveries": [_delivery(each) for each in made]}

    async def resend(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Notify once more about one order, or about all orders that nobody accepted yet."""
        if wish.get("undelivered") is True:
            orders = self._undelivered()
        elif (order := self._known(wish)) is not None:
            orders = [_addressed(order, wish.get("notify_url"))]
        else:
            raise _WishError("out_trade_no is needed, and must be an order of this sandbox")
        if unfinished := [each.out_trade_no for each in orders if each.status is Status.OPEN]:
            raise _WishError(f"nothing happened yet to {', '.join(unfinished)}")
        made = await self.runtime.notifier.attempt_together(orders)
        return {"deliveries": [_delivery(each) for each in made]}

    async def faults(self, wish: Mapping[str, Any]) -> dict[str, Any]:
        """Replace the fault plans in force."""
        texts = wish.get("plans")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _WishError("plans is a list of [ENDPOINT/]FAULT[:PROBABILITY[:SECONDS]]")
        try:
            plans = [Plan.parse(text) for text in texts]
        except ValueError as error:
            raise _WishError(str(error)) from error
        seed = wish.get("seed")
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise _WishError("seed is a whole number")
        self.runtime.faults.plans[:] = plans
        if seed is not None:
            self.runtime.faults.reseed(seed)
        return {"plans": texts}

    def _known(self, wish: Mapping[str, Any]) -> Order | None:
        try:
            number, mch_id = wish.get("out_trade_no"), wish.get("mch_id")
            return self.runtime.gateway.ledger.order(number, mch_id)  # type: ignore[arg-type]
        except (KeyError, TypeError):
            return None

    def _standing(self, order: Order | None) -> str | None:
        """How an order stands in the books now; None: nobody made it."""
        return None if order is None else settled(order, self.runtime.clock.now())[0].status

    def _imagined(self, wish: Mapping[str, Any]) -> Order:
        gateway = self.runtime.gateway
        number = wish.get("out_trade_no") or f"T{gateway.nonce()[:12]}"
        kind = "ALIPAY" if wish.get("kind") == "ALIPAY" else "WECHAT"
        total = _number(wish, "total_fee", 1)
        if total != int(total):
            raise _WishError("total_fee is a whole number of fen")
        first = gateway.ledger.first_enabled(self.runtime.clock.now())
        mch_id = str(wish.get("mch_id") or first or MCH_ID)
        return imagined(gateway, mch_id, str(number), kind=kind, total=int(total))

    def _undelivered(self) -> list[Order]:
        """The orders whose notifications were sent, and none accepted."""
        deliveries = self.runtime.notifier.deliveries
        accepted = {each.key for each in deliveries if each.accepted}
        keys = dict.fromkeys(each.key for each in deliveries if each.key not in accepted)
        orders = self.runtime.gateway.ledger.orders
        return [order for key in keys if (order := orders.get(key)) is not None]

    async def _later(self, event: Event, order: Order, seconds: float) -> None:
        await self.runtime.clock.sleep(seconds)
        await self._deliver(event, order)

    async def _deliver(self, event: Event, order: Order) -> Iterable[Delivery]:
        body = body_of(event, self.runtime.gateway, order)
        orders = [order] * event.times
        return await self.runtime.notifier.attempt_together(orders, body, forged=event.forged)


_POSTS: Mapping[str, Callable[[Control, Mapping[str, Any]], Awaitable[dict[str, Any]]]] = {
    "act": Control.act,
    "notify": Control.notify,
    "resend": Control.resend,
    "faults": Control.faults,
}


def _over(order: Order) -> str:
    """Why nothing was done to an order that is over, and what the caller can do."""
    number, status = order.out_trade_no, order.status
    if status in (Status.PAID, Status.FAILED) and order.asked.get("notify_url"):
        return (
            f"{number} is {status} and stays so: nothing was done; `chaoying resend {number}`"
            " notifies of it once more, and another end needs another order"
        )
    return f"{number} is {status} and stays so: nothing was done; another end needs another order"


def _object(body: bytes) -> Mapping[str, Any]:
    wish = None
    with suppress(ValueError, RecursionError):
        read = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        json.dumps(read, ensure_ascii=False).encode()  # fails for half a surrogate pair
        wish = read
    if not isinstance(wish, dict):
        raise _WishError("the body is a JSON object in UTF-8, with each name once")
    for name in _TEXTS:
        if not isinstance(wish.get(name, ""), str | None):
            raise _WishError(f"{name} is a text")
    return wish


#: Members of a wish that have to be texts.
_TEXTS = ("deed", "event", "kind", "mch_id", "notify_url", "out_trade_no")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name comes twice")
    return members


def _no_constant(_text: str) -> Never:
    raise ValueError("NaN and Infinity are not JSON")


def _number(wish: Mapping[str, Any], name: str, default: float) -> float:
    value = wish.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 10**9:
        raise _WishError(f"{name} is a number, not below 0")
    return value


def _addressed(order: Order, notify_url: object) -> Order:
    """The order with the address that it is notified at."""
    url = str(notify_url or order.asked.get("notify_url") or "")
    if not url:
        raise _WishError(f"{order.out_trade_no} has no notify_url: name one")
    if not absolute_url(url):
        raise _WishError("notify_url is an absolute http or https address")
    return attrs.evolve(order, asked={**order.asked, "notify_url": url})


_ORDER = ("mch_id", "out_trade_no", "kind", "paytype", "status", "scenario", "payable", "paid")
_REFUND = ("mch_id", "out_refund_no", "out_trade_no", "base", "cash", "coupon")


def _order(order: Order) -> dict[str, Any]:
    return {name: getattr(order, name) for name in _ORDER} | {
        "coupon": order.coupon,
        "was_paid": order.paid_at is not None,
        "transaction_id": order.transaction_id,
        "refunds": list(order.refunds),
    }


def _refund(refund: BookedRefund, now: datetime) -> dict[str, Any]:
    named = {name: getattr(refund, name) for name in _REFUND}
    return named | {"state": refund.state_at(now)}


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "out_trade_no": delivery.out_trade_no,
        "attempt": delivery.attempt,
        "url": shown_url(delivery.url),
        "status": delivery.status,
        "answer": delivery.answer.decode(errors="replace"),
        "accepted": delivery.accepted,
        "problem": delivery.problem,
        "forged": delivery.forged,
    }


def as_json(status: int, value: object) -> HttpResponse:
    """A JSON response of the sandbox itself, which is no reply of the gateway."""
    body = json.dumps(value, ensure_ascii=False).encode()
    return HttpResponse(status, "application/json; charset=utf-8", body)
