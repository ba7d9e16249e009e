"""A gateway that answers queries by a script, and a poller on a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from chaoying_async import OrderQuery, PayType, Poller, PollOutcome, PollSchedule, RefundQuery
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.testing import FakeClock
from tests.factories import CREDENTIALS, MCH_ID, answer_fields, body_of

EXACT = PollSchedule(jitter=0)

PENDING = {"code": "10001", "trade_state": "NEED_QUERY"}
CLOSED = {"code": "10004", "trade_state": "FAIL"}
UNNAMED = CLOSED | {"out_trade_no": None, "transaction_id": None}
ABSENT = {"state": "FAIL", "code": "20007", "trade_state": None}
PAID: dict[str, Any] = {}

#: An error to raise, the fields of an answer, or a function that gives either.
Said = Exception | dict[str, Any]
Script = Callable[[str, int], Said]


class Scripted:
    """A ``Gateway``: ``script(number, which query)`` says what comes, and each is written down."""

    mch_id = None

    def __init__(self, clock: FakeClock, script: Script) -> None:
        self.clock = clock
        self.script = script
        self.asked: list[tuple[float, str]] = []
        self.under_way = 0
        self.most_under_way = 0
        #: Awaited before every answer.
        self.before: Callable[[str], Awaitable[None]] | None = None
        self._counts: dict[str, int] = {}

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        number = number_of(request)
        self._counts[number] = count = self._counts.get(number, 0) + 1
        self.asked.append((self.clock.monotonic(), number))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.before is not None:
                await self.before(number)
        finally:
            self.under_way -= 1
        said = self.script(number, count)
        if isinstance(said, Exception):
            raise said
        return reply_to(request, said)

    def times(self, number: str) -> list[float]:
        return [moment for moment, asked in self.asked if asked == number]


def number_of(request: Any) -> str:
    named = request.out_refund_no if isinstance(request, RefundQuery) else request.out_trade_no
    return str(named)


def reply_to(request: Any, fields: dict[str, Any]) -> Any:
    sent = build_request(request, CREDENTIALS)
    own = {"out_trade_no": getattr(request, "out_trade_no", None), "transaction_id": None}
    if isinstance(request, RefundQuery):
        own = {}
    body = body_of(answer_fields(request.endpoint.name, **own | fields))
    return read_reply(sent, 200, body, CREDENTIALS, now=None)


def always(said: Said) -> Script:
    return lambda _number, _count: said


def order(number: str = "A100011", **fields: Any) -> OrderQuery:
    named: dict[str, Any] = {"paytype": PayType.WECHAT, "mch_id": MCH_ID, "out_trade_no": number}
    return OrderQuery(**named | fields)


def orders(count: int) -> list[OrderQuery]:
    return [order(f"A{n:06d}") for n in range(count)]


def poller_on(gateway: Scripted, **options: Any) -> Poller:
    return Poller(gateway, options.pop("schedule", EXACT), clock=gateway.clock, **options)


def after(count: int, first: Any, then: Any) -> Script:
    return lambda _number, asked: first if asked <= count else then


async def collected(outcomes: Any) -> list[PollOutcome[Any]]:
    return [outcome async for outcome in outcomes]
