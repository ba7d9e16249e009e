"""One checkout and one refund, killed and cancelled at each await, by replaying every choice.

    python -m tests.hard.shell_walk [--full] [--json PATH]

The functions are the real ones; gateway, store and clock are a page of their own. Every await of
theirs is a place where the process may die or the task be cancelled. A path is a list of choices
(0: nothing odd); all lists with up to so many odd choices are run, each from the start (how the pay
or refund call itself ends costs nothing). The gateway
is unforgiving: it books *every* payment and refund that it is sent, whatever their number.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chaoying_async import (
    Fen,
    OrderQuery,
    OrderQueryResult,
    OutcomeUnknownError,
    Pay,
    PayResult,
    PayType,
    PollSchedule,
    PollStatus,
    Refund,
    RefundQuery,
    RefundQueryResult,
    RefundResult,
    RequestNotSentError,
    TransportError,
)
from chaoying_async.exceptions import AttemptInProgressError, ChaoyingError, GatewayError
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.refunds import refund_and_track, resume_refunds
from chaoying_async.payments.resume import resume
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import Cancel, CancelResult
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sansio.payments.order_numbers import OrderNumbers
from tests.factories import AUTH_CODE, MCH_ID

AMOUNT = 100
START = datetime(2026, 1, 1, tzinfo=UTC)
PAY_SCHEDULE = PollSchedule(first=5, every=60, until=60, jitter=0)
REFUND_SCHEDULE = PollSchedule(first=30, every=60, until=60, jitter=0, longest=60)


class Killed(BaseException):
    """The process died here: nothing that runs afterwards reaches anybody."""


class Choices:
    """What happens at each point; the first is the ordinary thing."""

    def __init__(self, path: Sequence[int]) -> None:
        self._path = path
        self.made: list[int] = []
        self.widths: list[int] = []
        self.costs: list[int] = []

    def choose(self, width: int, cost: int = 1) -> int:
        at = len(self.made)
        chosen = self._path[at] if at < len(self._path) else 0
        self.made.append(chosen)
        self.widths.append(width)
        self.costs.append(cost)
        return chosen


class World:
    """What outlives a process: the gateway's books, the store's disk, the time."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.texts: dict[str, dict[str, str]] = {}
        self.time = 0.0
        self.truth = "ABSENT"
        self.payments = 0
        self.calls: Counter[str] = Counter()
        self.cancelled_at: list[float] = []
        self.pay_started: float | None = None
        #: The order was paid before, by another till; the pay call is answered 20004.
        self.others = False
        self.refund = "ABSENT"
        self.refunds = 0

    def pick(self, *things: Any, cost: int = 1) -> Any:
        return things[self.choices.choose(len(things), cost)]


class Process:
    """One life of the program: its gateway, store and clock, which die together."""

    mch_id = None

    def __init__(self, world: World) -> None:
        self.world = world
        self.dead = False

    def point(self) -> None:
        """An await: go on, die, or be cancelled."""
        if self.dead:
            raise Killed
        how = self.world.pick("go on", "die", "cancel")
        if how == "die":
            self.dead = True
            raise Killed
        if how == "cancel":
            raise asyncio.CancelledError

    # Clock

    def now(self) -> datetime:
        return START + timedelta(seconds=self.world.time)

    def monotonic(self) -> float:
        return self.world.time + 1000.0

    async def sleep(self, seconds: float) -> None:
        self.point()
        self.world.time += max(0.0, seconds)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        return nullcontext()

    # PollStore

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        self.point()
        for text in items.values():
            if AUTH_CODE in text:
                raise AssertionError("a payment code was stored (M-23)")
        self.world.texts.setdefault(kind, {}).update(items)
        self.point()

    async def get(self, kind: str, key: str) -> str | None:
        self.point()
        return self.world.texts.get(kind, {}).get(key)

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        self.point()
        for key in keys:
            self.world.texts.get(kind, {}).pop(key, None)

    async def load(self, kind: str) -> AsyncIterator[tuple[str, str]]:
        self.point()
        for item in list(self.world.texts.get(kind, {}).items()):
            yield item

    async def hold(self) -> None:
        self.point()

    # Gateway

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        self.point()
        self.world.calls[request.endpoint.name] += 1
        said = _HANDLERS[type(request)](self.world, request)
        self.point()  # it was carried out, and nobody is there to hear
        if isinstance(said, Exception):
            raise said
        return said


def _reply(request: Any, result: Any, code: str = "10000", trade_state: str = "SUCCESS") -> Any:
    meaning = Meaning.RESULT if result is not None else Meaning.PENDING
    if code in ("10004", "10005", "10006"):
        meaning = Meaning.FAILED
    raw = {"out_trade_no": "named"}
    state: Any = "SUCCESS"
    return Reply(request.endpoint, meaning, state, code, None, trade_state, result, True, raw)


def _refused(code: str) -> GatewayError:
    return GatewayError(f"refused {code}", state="FAIL", code=code)


def _unclear(code: str) -> OutcomeUnknownError:
    return OutcomeUnknownError("refused", refusal=_refused(code))


_LOST = OutcomeUnknownError("the reply was lost")
_WAITING = ("10001", "NEED_QUERY")


def _pay(world: World, request: Pay) -> Any:
    world.pay_started = world.time
    how = world.pick(*_PAYS, cost=0)
    truth, said = _PAYS[how]
    world.truth = truth
    world.others = how.startswith("20004")
    world.payments += truth in ("OPEN", "PAID") and not world.others
    if said == "paid":
        return _reply(request, _paid(world, PayResult, request.out_trade_no))
    return _reply(request, None, *_WAITING) if said == "waiting" else said


_PAYS: dict[str, tuple[str, Any]] = {
    "waiting": ("OPEN", "waiting"),
    "paid": ("PAID", "paid"),
    "lost, booked": ("OPEN", _LOST),
    "lost, paid": ("PAID", _LOST),
    "lost before": ("ABSENT", _LOST),
    "20006, paid": ("PAID", _unclear("20006")),
    "20006, nothing": ("ABSENT", _unclear("20006")),
    "not sent": ("ABSENT", RequestNotSentError("refused")),
    "20013": ("ABSENT", _refused("20013")),
    "20004, paid": ("PAID", _unclear("20004")),
    "20004, open": ("OPEN", _unclear("20004")),
}


def _paid(world: World, cls: Any, number: str) -> Any:
    amount = Fen(AMOUNT)
    when = START - timedelta(hours=1) if world.others else None
    return cls(
        out_trade_no=number,
        base_fee=amount,
        total_fee=amount,
        transaction_id="T1",
        time_end=when,
    )


def _meanwhile(world: World) -> None:
    if world.truth == "OPEN":
        world.truth = world.pick("OPEN", "PAID", "FAILED")


def _orderquery(world: World, request: OrderQuery) -> Any:
    _meanwhile(world)
    if world.pick("answered", "lost") == "lost":
        return TransportError("lost")
    if world.truth == "ABSENT":
        return _refused("20007")
    if world.truth == "PAID":
        return _reply(request, _paid(world, OrderQueryResult, str(request.out_trade_no)))
    code = {"OPEN": "10001", "CLOSED": "10004", "REVOKED": "10005", "FAILED": "10006"}[world.truth]
    return _reply(request, None, code, "NEED_QUERY" if code == "10001" else "FAIL")


def _cancel(world: World, request: Cancel) -> Any:
    world.cancelled_at.append(world.time - (world.pay_started or 0.0))
    _meanwhile(world)
    if world.truth == "ABSENT":
        return world.pick(_unclear("20007"), _LOST)
    how = world.pick("done", "done, lost", "lost", "20006", "20005", "not sent", "20011")
    if how.startswith("done"):
        world.truth = {"OPEN": "CLOSED", "PAID": "REVOKED"}.get(world.truth, world.truth)
    if how == "done":
        return _reply(request, CancelResult(out_trade_no=request.out_trade_no))
    errors: dict[str, Any] = {
        "20006": _unclear("20006"),
        "20011": _unclear("20011"),
        "20005": _refused("20005"),
    }
    return errors.get(how, RequestNotSentError("refused") if how == "not sent" else _LOST)


_REFUNDS = ("taken", "taken, lost", "lost", "20006, taken", "20008", "20005", "not sent")


def _refund(world: World, request: Refund) -> Any:
    how = world.pick(*_REFUNDS, cost=0)
    if how in ("taken", "taken, lost", "20006, taken"):
        world.refund = "PROCESSING"
        world.refunds += 1
    if how == "taken":
        return _reply(request, RefundResult(out_refund_no=request.out_refund_no))
    errors: dict[str, Any] = {"20006, taken": _unclear("20006"), "20008": _unclear("20008")}
    errors |= {"20005": _refused("20005"), "not sent": RequestNotSentError("refused")}
    return errors.get(how, _LOST)


def _refundquery(world: World, request: RefundQuery) -> Any:
    if world.refund == "PROCESSING":
        world.refund = world.pick("PROCESSING", "SUCCESS", "FAIL", "NOTSURE", "CHANGE")
    if world.pick("answered", "lost") == "lost":
        return TransportError("lost")
    if world.refund == "ABSENT":
        return _refused("20007")
    item = RefundItem(
        out_refund_no=request.out_refund_no,
        refund_status=world.refund,
        base_refund_fee=Fen(AMOUNT),
    )
    return _reply(request, RefundQueryResult(refund_list=(item,)))


_HANDLERS: Mapping[type[Any], Callable[[World, Any], Any]] = {
    Pay: _pay,
    OrderQuery: _orderquery,
    Cancel: _cancel,
    Refund: _refund,
    RefundQuery: _refundquery,
}


async def one_checkout(choices: Choices) -> str:
    """One path; what it ended with. Raises AssertionError where money went wrong."""
    world = World(choices)
    numbers = OrderNumbers("ORDER1")
    life = Process(world)
    status = None
    try:
        outcome = await checkout(life, _payment(numbers), **_with(life))
        status = outcome.status
    except (Killed, asyncio.CancelledError):
        booked = world.payments
        await _no_second_attempt(world)
        for _ in range(5):  # each life may end early, too
            world.time += 40.0
            life = Process(world)
            try:
                statuses = [ended.status async for ended in resume(life, life, **_timed(life))]
            except (Killed, asyncio.CancelledError):
                continue
            status = statuses[0] if statuses else None
            break
        _check(world.payments == booked, "paid again", world)
    _judge(world, status)
    return str(status)


async def _no_second_attempt(world: World) -> None:
    """While the first may be paid, or is, no other is let through; asked of a copy of the disk."""
    probe = World(Choices([]))
    probe.texts = {kind: dict(texts) for kind, texts in world.texts.items()}
    numbers = OrderNumbers("ORDER1", last=1)
    try:
        await checkout(Process(probe), _payment(numbers), **_with(Process(probe)))
    except AttemptInProgressError:
        return
    _check(world.truth not in ("OPEN", "PAID"), "a second attempt was let through", world)


def _judge(world: World, status: CheckoutStatus | None) -> None:
    _check(world.calls["pay"] <= 1 and world.payments <= 1, "charged twice", world)
    _check(all(15 <= at <= 270 for at in world.cancelled_at), "a cancel out of time", world)
    _check(not (world.others and world.cancelled_at), "another till's sale was cancelled", world)
    own = world.truth == "PAID" and not world.others
    fits = {
        None: True,
        CheckoutStatus.PAID: own,
        CheckoutStatus.PAID_EARLIER: world.truth == "PAID" and world.others,
        CheckoutStatus.PAID_AFTER_CANCEL: own,
        CheckoutStatus.FAILED: world.truth in ("ABSENT", "FAILED", "CLOSED", "REVOKED"),
        CheckoutStatus.CANCELLED: world.truth in ("CLOSED", "REVOKED"),
        CheckoutStatus.UNKNOWN: True,
    }
    _check(bool(fits[status]), f"{status} is not true", world)
    if status is None and world.calls["pay"]:
        # Only an outcome that was taken, or a life that ended again and again, may be missing.
        kept = bool(world.texts.get("checkout")) or bool(world.texts.get("checkout-order"))
        _check(kept, "a payment was forgotten", world)


def _payment(numbers: OrderNumbers) -> Pay:
    return Pay(
        mch_id=MCH_ID,
        out_trade_no=numbers.next(),
        body="tea",
        total_fee=AMOUNT,
        auth_code=AUTH_CODE,
        op_user_id="op",
    )


def _with(life: Process) -> dict[str, Any]:
    return {"schedule": PAY_SCHEDULE, "paytype": PayType.WECHAT, "store": life, "clock": life}


def _timed(life: Process) -> dict[str, Any]:
    return {"schedule": PAY_SCHEDULE, "clock": life}


REFUND = Refund(
    paytype=PayType.WECHAT,
    mch_id=MCH_ID,
    out_trade_no="A100011",
    out_refund_no="R-1",
    total_fee=AMOUNT,
    refund_fee=AMOUNT,
    op_user_id="op",
)


async def one_refund(choices: Choices) -> str:
    """One path of one refund, as :func:`one_checkout`."""
    world = World(choices)
    allowed = 1
    status: PollStatus | str | None = None
    for attempt in range(5):
        life = Process(world)
        kept: dict[str, Any] = {"schedule": REFUND_SCHEDULE, "clock": life}
        try:
            if attempt % 2 == 0:
                status = (await refund_and_track(life, REFUND, store=life, **kept)).status
            else:
                found = [one.status async for one in resume_refunds(life, life, **kept)]
                status = found[0] if found else None
        except (Killed, asyncio.CancelledError):
            world.time += 40.0
            # Taken back only where it provably never left.
            allowed += not world.texts.get("refund") and not world.calls["refund"]
            continue
        except ChaoyingError as error:
            status = type(error).__name__
            _check(world.refunds == 0, "refused, and refunded all the same", world)
        if status is not None:
            break
    _check(world.refunds <= 1, "refunded twice", world)
    _check(world.calls["refund"] <= 1, "sent twice", world)
    truths = {
        PollStatus.REFUNDED: "SUCCESS",
        PollStatus.REFUND_FAILED: "FAIL",
        PollStatus.NOTSURE: "NOTSURE",
        PollStatus.CHANGED: "CHANGE",
        PollStatus.NOT_FOUND: "ABSENT",
    }
    true = truths.get(PollStatus(status)) if status in set(PollStatus) else None
    _check(true in (None, world.refund), f"{status} is not true", world)
    return str(status)


def _check(condition: bool, what: str, world: World) -> None:
    if not condition:
        raise AssertionError(
            f"{what}: truth {world.truth}/{world.refund}, calls {dict(world.calls)}, "
            f"cancels at {world.cancelled_at}, choices {world.choices.made}"
        )


async def walk(
    run: Callable[[Choices], Awaitable[str]], odd: int, near: int = 100_000, every: int = 1
) -> tuple[int, int, Counter[str]]:
    """Every path with up to so many odd choices: how many, the longest, and their ends.

    Behind the first ``near`` places of a path, where it repeats itself, one in ``every`` is odd.
    """
    ends: Counter[str] = Counter()
    paths = longest = 0
    waiting: list[tuple[list[int], int]] = [([], 0)]
    while waiting:
        prefix, spent = waiting.pop()
        choices = Choices(prefix)
        ends[await run(choices)] += 1
        paths += 1
        longest = max(longest, len(choices.made))
        for at in range(len(prefix), len(choices.made)):
            if (cost := spent + choices.costs[at]) <= odd and (at < near or at % every == 0):
                ways = range(1, choices.widths[at])
                waiting += [([*choices.made[:at], way], cost) for way in ways]
    return paths, longest, ends


def figures(odd: int, odd_refund: int) -> dict[str, object]:
    """Walk both, and say how far."""
    logging.getLogger("chaoying_async").setLevel(logging.CRITICAL)
    found: dict[str, object] = {}
    for name, run, most in (("checkout", one_checkout, odd), ("refund", one_refund, odd_refund)):
        began = time.monotonic()
        paths, longest, ends = asyncio.run(walk(run, most))
        found[name] = {
            "paths": paths,
            "odd_choices": most,
            "longest_path": longest,
            "ends": dict(sorted(ends.items())),
            "seconds": round(time.monotonic() - began, 1),
        }
    return found


def main() -> None:
    """Print the figures, or write them down."""
    parser = argparse.ArgumentParser(description="Killed and cancelled at each await.")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = json.dumps(figures(2, 3) if options.full else figures(1, 2), indent=2)
    print(found)  # noqa: T201 - a command
    if options.json is not None:
        options.json.write_text(found + "\n", "utf-8")


if __name__ == "__main__":
    main()
