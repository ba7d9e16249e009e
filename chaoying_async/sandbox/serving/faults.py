"""What goes wrong between a shop and its gateway on purpose, how often, and with which seed.

::

    sandbox.faults.add(Fault.RESET_AFTER, probability=0.1, endpoints={"pay"})
    Plan.parse("pay/slow:0.2:5")  # as on the command line

The money is booked or not exactly as the fault says, so that what a client believes afterwards can
be held against the books.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Self

import attrs

from chaoying_async.abc import Clock
from chaoying_async.sandbox.document.http_messages import Cut, HttpRequest, HttpResponse
from chaoying_async.sandbox.serving.gateway import SandboxGateway


class Fault(StrEnum):
    """What can go wrong with a request or a notification."""

    REFUSED = "refused"
    """The connection is refused: the request never arrives."""
    RESET_BEFORE = "reset-before"
    """The connection is cut after the request was read and before anything was done."""
    RESET_AFTER = "reset-after"
    """The request is carried out, and then the connection is cut: the reply is lost."""
    SLOW = "slow"
    """The request is carried out at once and answered late."""
    HALF_BODY = "half-body"
    """The request is carried out, and half of the reply arrives."""
    HTTP_500 = "http-500"
    """The request is carried out, and a proxy answers with its own page."""
    HTTP_502 = "http-502"
    """The request is not carried out; a proxy answers with its own page."""
    WRONG_SIGN = "wrong-sign"
    """The request is carried out, and the reply is signed wrongly."""
    NO_SIGN = "no-sign"
    """The request is carried out, and the reply is not signed."""
    CLOCK_SKEW = "clock-skew"
    """The request is carried out by a gateway whose clock is wrong."""
    NOTIFY_TWICE = "notify-twice"
    """The shop is notified twice though it answered."""
    NOTIFY_LATE = "notify-late"
    """The shop is notified late."""
    NOTIFY_REORDERED = "notify-reordered"
    """The shop is notified after a random wait, so that orders overtake each other."""
    NOTIFY_FORGED = "notify-forged"
    """A forgery comes before the true notification."""
    NOTIFY_NEVER = "notify-never"
    """The shop is never notified."""

    @property
    def of_notifications(self) -> bool:
        """Whether it befalls a notification rather than a request."""
        return self.value.startswith("notify-")


#: How many seconds a fault takes where its plan does not say.
SECONDS: Mapping[Fault, float] = {
    Fault.SLOW: 10.0,
    Fault.CLOCK_SKEW: 3600.0,
    Fault.NOTIFY_LATE: 300.0,
    Fault.NOTIFY_REORDERED: 60.0,
}


#: Longer than anybody waits, and still a moment that a calendar has.
MOST_SECONDS = 1e9


@attrs.frozen
class Plan:
    """One fault, how likely it is (0 to 1), and which endpoints it befalls (none: all)."""

    fault: Fault
    """What goes wrong."""
    probability: float = 1.0
    """How likely it is, from 0 to 1."""
    endpoints: frozenset[str] = frozenset()
    """The endpoints that it befalls; none means all."""
    seconds: float = 0.0
    """How slow, how late, or how far off the clock, in seconds."""

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError("a probability is 0 to 1")
        if not -MOST_SECONDS <= self.seconds <= MOST_SECONDS:
            raise ValueError(f"a fault takes at most {MOST_SECONDS:g} seconds")

    @classmethod
    def parse(cls, text: str) -> Self:
        """``[ENDPOINT/]FAULT[:PROBABILITY[:SECONDS]]``; ValueError for anything else."""
        match = _PLAN(text)
        if match is None or match["fault"] not in set(Fault):
            raise ValueError(
                f"[ENDPOINT/]FAULT[:PROBABILITY[:SECONDS]], where FAULT is {', '.join(Fault)}"
            )
        fault = Fault(match["fault"])
        return cls(
            fault,
            float(match["chance"] or 1),
            frozenset(filter(None, [match["endpoint"]])),
            float(match["seconds"] or SECONDS.get(fault, 0)),
        )


_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_PLAN = re.compile(
    r"(?:(?P<endpoint>[A-Za-z0-9_]+)/)?(?P<fault>[a-z0-9-]+)"
    rf"(?::(?P<chance>{_NUMBER})(?::(?P<seconds>{_NUMBER}))?)?"
).fullmatch

_HTML = b"<html><head><title>%s</title></head><body><h1>%s</h1></body></html>"


class Faults:
    """The plans in force, and the dice that decide when a plan strikes."""

    def __init__(self, rng: random.Random, clock: Clock) -> None:
        self._rng = rng
        self._clock = clock
        self.plans: list[Plan] = []

    def add(
        self,
        fault: Fault,
        *,
        probability: float = 1.0,
        endpoints: Iterable[str] = (),
        seconds: float | None = None,
    ) -> None:
        """Let something go wrong from now on. ``seconds``: how slow, how late, or how skewed."""
        lasts = SECONDS.get(fault, 0.0) if seconds is None else seconds
        self.plans.append(Plan(fault, probability, frozenset(endpoints), lasts))

    def reseed(self, seed: int) -> None:
        """Begin the dice anew with this seed."""
        self._rng.seed(seed)

    def clear(self) -> None:
        """Take all plans back."""
        self.plans.clear()

    def draw(self, endpoint: str = "", *, notification: bool = False) -> Plan | None:
        """The first plan that strikes this request or notification, if any does."""
        for plan in self.plans:
            fits = not plan.endpoints or endpoint in plan.endpoints
            meant = fits and plan.fault.of_notifications is notification
            if meant and self._rng.random() < plan.probability:
                return plan
        return None

    def wait(self, plan: Plan | None) -> float:
        """By how many seconds a notification is late."""
        if plan is None or plan.fault not in (Fault.NOTIFY_LATE, Fault.NOTIFY_REORDERED):
            return 0.0
        late = plan.fault is Fault.NOTIFY_LATE
        return plan.seconds if late else self._rng.uniform(0, plan.seconds)

    async def befall(
        self, plan: Plan, request: HttpRequest, gateway: SandboxGateway
    ) -> HttpResponse:
        """Treat a request as the plan says: carry it out or not, and answer or not."""
        fault = plan.fault
        if fault is Fault.REFUSED:
            return attrs.evolve(_NOTHING, cut=Cut.REFUSED)
        if fault in (Fault.RESET_BEFORE, Fault.HTTP_502):
            gateway.count(request)
            return _BEFORE[fault]
        reply = gateway.answer(request, skew=plan.seconds if fault is Fault.CLOCK_SKEW else 0.0)
        match fault:
            case Fault.RESET_AFTER | Fault.HALF_BODY:
                cut = Cut.HALF if fault is Fault.HALF_BODY else Cut.RESET
                return attrs.evolve(reply, cut=cut)
            case Fault.HTTP_500:
                return _html(500, b"500 Internal Server Error")
            case Fault.WRONG_SIGN | Fault.NO_SIGN:
                return _missigned(reply, fault)
            case Fault.SLOW:
                await self._clock.sleep(plan.seconds)
            case _:  # the reply of a skewed clock is as it is
                pass
        return reply


def _missigned(reply: HttpResponse, fault: Fault) -> HttpResponse:
    try:
        message = json.loads(reply.body)
    except ValueError:
        return reply  # not one of the gateway's own answers
    signed = message.pop("sign", "")
    if fault is Fault.WRONG_SIGN:
        message["sign"] = "0" * max(len(signed), 32)
    return attrs.evolve(reply, body=json.dumps(message, ensure_ascii=False).encode())


def _html(status: int, title: bytes) -> HttpResponse:
    return HttpResponse(status, "text/html", _HTML % (title, title))


_NOTHING = HttpResponse(200, "text/plain", b"")
#: The answers to requests that were read and not carried out.
_BEFORE: Mapping[Fault, HttpResponse] = {
    Fault.RESET_BEFORE: attrs.evolve(_NOTHING, cut=Cut.RESET),
    Fault.HTTP_502: _html(502, b"502 Bad Gateway"),
}
