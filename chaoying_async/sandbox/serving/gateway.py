"""The gateway without its wires: a request in, a response out, and the books between them.

Whoever carries the bytes (``sandbox_app`` over HTTP, ``Sandbox.transport`` without a socket) calls
:meth:`SandboxGateway.answer`, which never waits. The rules are in ``bank`` and ``document``; the
gateway reads the clock and the dice that it was given, keeps the current ledger and counts.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta

import attrs

from chaoying_async.abc import Clock
from chaoying_async.sandbox.bank import ledger as ledgers
from chaoying_async.sandbox.bank import order_life
from chaoying_async.sandbox.bank.admission import refused
from chaoying_async.sandbox.bank.entities import Consequence, Key, Ledger, Order, Step
from chaoying_async.sandbox.bank.reply_fields import notification_fields
from chaoying_async.sandbox.bank.scenarios import CHOSEN
from chaoying_async.sandbox.document.draft_reply import DraftReply, refusal
from chaoying_async.sandbox.document.endpoints import (
    NONCED,
    TERMINALS,
    UNSIGNED,
    endpoint_at,
    endpoint_named,
)
from chaoying_async.sandbox.document.http_messages import (
    FORM,
    MAX_BODY,
    Cut,
    HttpRequest,
    HttpResponse,
    NotAFormError,
    plain_page,
    read_form,
    written_form,
)
from chaoying_async.sandbox.document.requirements import TERMINAL
from chaoying_async.sandbox.document.signature import is_signed, signature
from chaoying_async.sansio.credentials import Credentials

_NO_ENDPOINT = "?"
_LOST = "no such endpoint: this is a sandbox of the gateway, and calls go to /UnifiedPay/Gateway"


@attrs.frozen(kw_only=True)
class World:
    """How this gateway behaves where the document leaves it open."""

    credentials: Credentials
    sign_failures: bool = True
    """False: only a success carries a ``sign``, as the later document says."""
    total_is_paid: bool = False
    """True: a notification's ``total_fee`` is what was paid, not the order amount (C 45)."""
    invented: bool = False
    """True: the key is the sandbox's own invention, worth nothing, and may be shown (M-27)."""


_as_json = json.JSONEncoder(ensure_ascii=False).encode


class SandboxGateway:
    """Answers requests and keeps the books.

    ``on_event`` is called with everything that follows from a step. ``keep`` is called first, with
    the books before and after the step, so that they are written down before anybody learns of it.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        rng: random.Random,
        *,
        on_event: Callable[[Consequence], None],
        ledger: Ledger | None = None,
        keep: Callable[[Ledger, Ledger], None] | None = None,
    ) -> None:
        self.world = world
        self.clock = clock
        #: The books as they stand; every step puts a new ledger here.
        self.ledger = ledger or ledgers.opened()
        #: How many requests arrived for each endpoint; unreadable ones count under "?".
        self.requests: Counter[str] = Counter()
        #: The scenario that every payment follows, or every refund, whatever its amount says.
        self.chosen: int | None = None
        self.chosen_for_refunds: int | None = None
        self._rng = rng
        self._on_event = on_event
        self._keep = keep

    def answer(self, request: HttpRequest, *, skew: float = 0.0) -> HttpResponse:
        """Carry a request out and answer it, on a clock that is ``skew`` seconds off."""
        endpoint = endpoint_at(request.method, request.path)
        if endpoint is None:
            self.requests[_NO_ENDPOINT] += 1
            return plain_page(404, _LOST)
        if len(request.body) > MAX_BODY:
            return plain_page(413, f"a request has at most {MAX_BODY} bytes")
        if request.method == "POST" and not request.is_form:
            return plain_page(415, f"requests are {FORM}")
        try:
            fields = read_form(request.parameters)
        except NotAFormError as error:
            self.requests[_NO_ENDPOINT] += 1
            return self._written(endpoint, refusal("20004", str(error)))
        endpoint = endpoint_named(endpoint, fields)
        self._count(endpoint)
        if endpoint == "QrConfGet":
            fields = self._scanned(request, fields)
        if endpoint in TERMINALS and request.user_agent != TERMINAL:
            return self._written(endpoint, refusal("20004", f"User-Agent must be {TERMINAL}"))
        return self._written(endpoint, self._carried_out(endpoint, fields, skew))

    def would_answer(self, endpoint: str, fields: Mapping[str, str]) -> HttpResponse:
        """The answer to a query of an order as if it had not been sent: nothing is noted of it.

        The books, the counters and the dice stay as they are, and no fault strikes. An order whose
        course goes by the number of queries is answered as at its last one.
        """
        dice = self._rng.getstate()
        order = order_life.find(self.ledger, fields)
        ledger = self.ledger
        if order is not None and endpoint == "orderquery":
            ledger = ledger.with_order(attrs.evolve(order, queries=order.queries - 1))
        try:
            step = ledgers.handle(ledger, endpoint, fields, self.clock.now())
            return self._written(endpoint, step.answer)
        finally:
            self._rng.setstate(dice)

    def count(self, request: HttpRequest) -> None:
        """Count a request that will not be answered."""
        self._count(request.endpoint)

    def _count(self, endpoint: str) -> None:
        self.requests[endpoint if endpoint in ledgers.HANDLERS else _NO_ENDPOINT] += 1

    def _carried_out(self, endpoint: str, fields: Mapping[str, str], skew: float) -> DraftReply:
        now = self.clock.now() + timedelta(seconds=skew)
        if why := refused(endpoint, fields, self.world.credentials, self.ledger, now):
            return why
        fields = self._with_chosen(endpoint, fields)
        return self.take(ledgers.handle(self.ledger, endpoint, fields, now))

    def _with_chosen(self, endpoint: str, fields: Mapping[str, str]) -> Mapping[str, str]:
        chosen = self.chosen_for_refunds if endpoint == "refund" else self.chosen
        if chosen is None and CHOSEN not in fields:
            return fields
        rest = {name: value for name, value in fields.items() if name != CHOSEN}
        return rest if chosen is None else {**rest, CHOSEN: str(chosen)}

    def _scanned(self, request: HttpRequest, fields: dict[str, str]) -> dict[str, str]:
        """The parameters of a scanned link, and the number of its code, signed or not (C 97)."""
        if "code_number" in fields:
            return fields
        number = request.path.rstrip("/").rpartition("/")[2]
        later = {"code_number": number, **fields}
        if is_signed(later, self.world.credentials):
            return later
        # The rule of v2.9.0 signs the link's query alone: the number then enters after the check.
        if is_signed(fields, self.world.credentials):
            return {**later, "sign": signature(later, self.world.credentials)}
        return fields

    def take(self, step: Step) -> DraftReply:
        """Make a step the current state of the books, and report what follows from the step."""
        if self._keep is not None:
            self._keep(self.ledger, step.ledger)
        self.ledger = step.ledger
        for event in step.events:
            self._on_event(event)
        return step.answer

    def pass_time(self, key: Key) -> None:
        """Bring an order up to date though nobody asks about it."""
        self.take(ledgers.passed(self.ledger, key, self.clock.now()))

    def told(self, key: Key) -> None:
        """Note that nobody needs to be notified of the order any more."""
        self.take(ledgers.told(self.ledger, key))

    def act(self, key: Key, deed: ledgers.Deed) -> Order:
        """Let the customer, or the gateway itself, do something to an order."""
        self.take(ledgers.act(self.ledger, key, deed, self.clock.now()))
        return self.ledger.orders[key]

    def _written(self, endpoint: str, answer: DraftReply) -> HttpResponse:
        message: dict[str, str | int] = {"state": answer.state}
        status = {"code": answer.code, "trade_state": answer.trade_state, "msg": answer.msg}
        message |= {name: value for name, value in status.items() if value}
        message |= answer.fields
        if answer.succeeded and endpoint in NONCED:
            message["nonce_str"] = self.nonce()
        signs = answer.succeeded or self.world.sign_failures
        if signs and endpoint not in UNSIGNED:
            texts = {name: str(value) for name, value in message.items()}
            message["sign"] = signature(texts, self.world.credentials)
        body = _as_json(message).encode()
        cut = Cut.RESET if answer.lost else None
        return HttpResponse(200, "application/json; charset=utf-8", body, cut)

    def nonce(self) -> str:
        """A ``nonce_str``, from the seeded dice."""
        return f"{self._rng.getrandbits(128):032x}"

    def notification(self, order: Order) -> bytes:
        """The signed body of an order's result notification, as of now."""
        fields = notification_fields(order, self.nonce(), total_is_paid=self.world.total_is_paid)
        return self.signed_form(fields)

    def forgery(self, order: Order) -> bytes:
        """A forged notification: it says that the order is paid, and its sign is a guess."""
        fields = notification_fields(order, self.nonce(), total_is_paid=False)
        forged = {"pay_result": "0", "result_code": "SUCCESS", "sign": self.nonce().upper()}
        return written_form(fields | forged)

    def signed_form(self, fields: Mapping[str, str]) -> bytes:
        """A form with its sign, written as the document's samples are."""
        return written_form({**fields, "sign": signature(fields, self.world.credentials)})
