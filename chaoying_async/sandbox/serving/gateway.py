"""The gateway without its wires: the bytes of a request in, the bytes of a reply out.

Whoever carries the bytes (``app.py`` over HTTP, ``inprocess.py`` without a socket) calls
:meth:`SandboxGateway.answer`, which never waits. All thinking is in the pure modules; this reads
the clock and the dice that it was given, keeps the current ledger and counts.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import Enum
from urllib.parse import unquote_plus

import attrs

from chaoying_async.abc import Clock
from chaoying_async.sandbox.bank import ledger as ledgers
from chaoying_async.sandbox.bank.admission import refused
from chaoying_async.sandbox.bank.entities import Answer, Event, Key, Ledger, Order, Step, refusal
from chaoying_async.sandbox.bank.reply_fields import notification_fields
from chaoying_async.sandbox.bank.scenarios import CHOSEN
from chaoying_async.sandbox.document.requirements import TERMINAL
from chaoying_async.sandbox.document.signature import is_signed, signature
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.wire.forms import encode_form

#: Larger bodies are not read; the document's largest request has some 2 KiB.
MAX_BODY = 64 * 1024
_MAX_FIELDS = 200
_FORM = "application/x-www-form-urlencoded"

_BY_METHOD = ""
_NONE = "?"
#: HTTP method and path, as the document prints them, to endpoint; the gateway goes by ``method``.
ROUTES: Mapping[tuple[str, str], str] = {
    ("POST", "/UnifiedPay/Gateway"): _BY_METHOD,
    ("POST", "/Open/WECHAT_PreOrder"): "WECHAT_PreOrder",
    ("POST", "/Open/ALIPAY_PreOrder"): "ALIPAY_PreOrder",
    ("POST", "/UnifiedPay/Mch_Reg"): "Mch_Reg",
    ("POST", "/Mch/GetMchSMSValid"): "GetMchSMSValid",
    ("POST", "/Mch/GetMchId"): "GetMchId",
    ("POST", "/Open/GetPartnerId"): "GetPartnerId",
    ("POST", "/Open/GetMchInfo"): "GetMchInfo",
    ("POST", "/Open/WXA_Code2Session"): "WXA_Code2Session",
    ("POST", "/open/wx_addsubdevconfig"): "wx_addsubdevconfig",
    ("GET", "/Mch/PayBoxConfGet"): "PayBoxConfGet",
}
#: Links in merchants' QR codes lead below this path; what follows is the code's number.
SCANNED = "/qrpay/"
#: What the gateway's ``method`` may ask for.
METHODS = frozenset(
    {
        *("pay", "facepay", "orderquery", "refund", "refundquery", "cancel"),
        *("getfaceauth", "authcodetoopenid"),
    }
)

#: Replies that the document prints without a signature (C 4).
UNSIGNED = frozenset({"WECHAT_PreOrder", "ALIPAY_PreOrder", "WXA_Code2Session"})
#: Replies that carry a ``nonce_str``.
NONCED = METHODS | {"WECHAT_PreOrder", "ALIPAY_PreOrder", "Mch_Reg"}
TERMINALS = frozenset({"PayBoxConfGet", "QrConfGet"})


@attrs.frozen(kw_only=True)
class World:
    """How this gateway behaves where nobody can ask the real one."""

    credentials: Credentials
    #: False: only a success carries a ``sign``, as the later document says.
    sign_failures: bool = True
    #: True: a notification's ``total_fee`` is what was paid, not the order amount (C 45).
    total_is_paid: bool = False


@attrs.frozen(kw_only=True)
class Request:
    """What came over the wire."""

    method: str
    path: str
    query: str = ""
    content_type: str = ""
    user_agent: str = ""
    body: bytes = b""

    @property
    def parameters(self) -> bytes:
        """Where this method carries its parameters: the body, or the query."""
        return self.body if self.method == "POST" else self.query.encode("ascii", "replace")


class Cut(Enum):
    """How a connection ends before the reply is complete."""

    REFUSED = "it is refused"
    RESET = "it is cut without a byte of the reply"
    HALF = "it is cut in the middle of the reply"


@attrs.frozen
class Response:
    """What goes over the wire, unless the connection is ``cut``."""

    status: int
    content_type: str
    body: bytes
    cut: Cut | None = None


_as_json = json.JSONEncoder(ensure_ascii=False).encode


class _NotAFormError(ValueError):
    """The body cannot be read; its text says why."""


class SandboxGateway:
    """Answers requests and keeps the books.

    ``on_event`` hears what follows from each step; ``keep`` is given the books before and after it,
    for writing them down before anybody learns of it.
    """

    def __init__(
        self,
        world: World,
        clock: Clock,
        rng: random.Random,
        *,
        on_event: Callable[[Event], None],
        ledger: Ledger | None = None,
        keep: Callable[[Ledger, Ledger], None] | None = None,
    ) -> None:
        self.world = world
        self.clock = clock
        #: The books as they stand; every step puts a new one here.
        self.ledger = ledger or ledgers.opened()
        #: Requests that arrived, by endpoint; those for none, or unreadable, count under "?".
        self.requests: Counter[str] = Counter()
        #: The scenario that every payment follows, or every refund, whatever its amount says.
        self.chosen: int | None = None
        self.chosen_for_refunds: int | None = None
        self._rng = rng
        self._on_event = on_event
        self._keep = keep

    def answer(self, request: Request, *, skew: float = 0.0) -> Response:
        """Carry a request out, and say what the gateway says; ``skew`` seconds off by its clock."""
        endpoint = route(request)
        if endpoint is None:
            self.requests[_NONE] += 1
            return _page(404, "no such endpoint")
        if len(request.body) > MAX_BODY:
            return _page(413, f"a request has at most {MAX_BODY} bytes")
        if request.method == "POST" and not _is_form(request.content_type):
            return _page(415, f"requests are {_FORM}")
        try:
            fields = _fields(request.parameters)
        except _NotAFormError as error:
            self.requests[_NONE] += 1
            return self._written(endpoint, refusal("20004", str(error)))
        endpoint = endpoint or fields.get("method", "")
        self.requests[endpoint if endpoint in ledgers.HANDLERS else _NONE] += 1
        if endpoint == "QrConfGet":
            fields = self._scanned(request, fields)
        if endpoint in TERMINALS and request.user_agent != TERMINAL:
            return self._written(endpoint, refusal("20004", f"User-Agent must be {TERMINAL}"))
        return self._written(endpoint, self._carried_out(endpoint, fields, skew))

    def count(self, request: Request) -> None:
        """Note that a request arrived which will not be answered."""
        endpoint = endpoint_of(request)
        self.requests[endpoint if endpoint in ledgers.HANDLERS else _NONE] += 1

    def _carried_out(self, endpoint: str, fields: Mapping[str, str], skew: float) -> Answer:
        if endpoint not in ledgers.HANDLERS:
            return refusal("20004", "method is not known")
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

    def _scanned(self, request: Request, fields: dict[str, str]) -> dict[str, str]:
        """A scanned link's parameters, with the code's number signed along or not (C 97)."""
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

    def take(self, step: Step) -> Answer:
        """Make a step the current state of the books, and tell what follows from it."""
        if self._keep is not None:
            self._keep(self.ledger, step.ledger)
        self.ledger = step.ledger
        for event in step.events:
            self._on_event(event)
        return step.answer

    def pass_time(self, key: Key) -> None:
        """Let an order reach what is due now, though nobody asked."""
        self.take(ledgers.passed(self.ledger, key, self.clock.now()))

    def told(self, key: Key) -> None:
        """The order's notification is done with."""
        self.take(Step(ledgers.told(self.ledger, key), Answer()))

    def act(self, key: Key, deed: ledgers.Deed) -> Order:
        """The customer, or the gateway itself, does something to an order."""
        self.take(ledgers.act(self.ledger, key, deed, self.clock.now()))
        return self.ledger.orders[key]

    def _written(self, endpoint: str, answer: Answer) -> Response:
        message: dict[str, str | int] = {"state": answer.state}
        status = {"code": answer.code, "trade_state": answer.trade_state, "msg": answer.msg}
        message |= {name: value for name, value in status.items() if value}
        message |= answer.fields
        if answer.succeeded and endpoint in NONCED:
            message["nonce_str"] = self.nonce()
        if self._signs(endpoint, answer):
            texts = {name: str(value) for name, value in message.items()}
            message["sign"] = signature(texts, self.world.credentials)
        body = _as_json(message).encode()
        cut = Cut.RESET if answer.lost else None
        return Response(200, "application/json; charset=utf-8", body, cut)

    def _signs(self, endpoint: str, answer: Answer) -> bool:
        if answer.succeeded:
            return endpoint not in UNSIGNED
        return self.world.sign_failures and endpoint not in UNSIGNED

    def nonce(self) -> str:
        """A ``nonce_str``, from the seeded dice."""
        return f"{self._rng.getrandbits(128):032x}"

    def notification(self, order: Order) -> bytes:
        """The signed body of an order's result notification, as of now."""
        fields = notification_fields(order, self.nonce(), total_is_paid=self.world.total_is_paid)
        return self.signed_form(fields)

    def forgery(self, order: Order) -> bytes:
        """A notification about an order that somebody else wrote: paid, and signed at a guess."""
        fields = notification_fields(order, self.nonce(), total_is_paid=False)
        forged = {
            **fields,
            "pay_result": "0",
            "result_code": "SUCCESS",
            "sign": self.nonce().upper(),
        }
        return lower_escapes(encode_form(sorted(forged.items()))).encode()

    def signed_form(self, fields: Mapping[str, str]) -> bytes:
        """A form as the document's samples look: sorted names, escapes in lower case."""
        signed = {**fields, "sign": signature(fields, self.world.credentials)}
        return lower_escapes(encode_form(sorted(signed.items()))).encode()


def route(request: Request) -> str | None:
    """The endpoint at an address; empty where ``method`` decides, None where there is none."""
    if request.method == "GET" and request.path.startswith(SCANNED):
        return "QrConfGet"
    return ROUTES.get((request.method, request.path))


def endpoint_of(request: Request) -> str:
    """The endpoint that a request is for; empty if nobody can tell."""
    try:
        return route(request) or _fields(request.parameters).get("method", "")
    except _NotAFormError:
        return ""


def _is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == _FORM


def lower_escapes(form: str) -> str:
    """``%5B`` as ``%5b``: how the vendor's samples are escaped (C 15)."""
    head, *rest = form.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def http_date(now: datetime) -> str:
    """The ``Date`` header of a reply: the clock of the gateway's front, whatever skew is behind."""
    return format_datetime(now.astimezone(UTC), usegmt=True)


def _page(status: int, text: str) -> Response:
    return Response(status, "text/plain; charset=utf-8", text.encode())


def _fields(body: bytes) -> dict[str, str]:
    """The parameters of a form; not the client's parser, so that both can disagree."""
    if not body:
        return {}
    try:
        pieces = body.decode("ascii").split("&", _MAX_FIELDS)
        if len(pieces) > _MAX_FIELDS:
            raise _NotAFormError(f"a form has at most {_MAX_FIELDS} parameters")
        pairs = [piece.partition("=") for piece in pieces]
        if not all(equals for _, equals, _ in pairs):
            raise _NotAFormError("the body is not a form")
        fields = {_decoded(name): _decoded(value) for name, _, value in pairs}
    except UnicodeError:
        raise _NotAFormError("the body is not a form in UTF-8") from None
    if len(fields) != len(pieces):
        raise _NotAFormError("a parameter comes twice")
    return fields


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text
