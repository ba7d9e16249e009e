"""Delivers result notifications to a ``notify_url``: signed, form-encoded, and repeated.

Delivered on the document's schedule until an answer of status 200 whose body is exactly ``success``
comes within three seconds. After the last attempt the gateway gives up, as the real one does: only
a query will tell then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import attrs
import httpx

from chaoying_async.abc import Clock
from chaoying_async.sandbox.bank.entities import Key, Order
from chaoying_async.sandbox.bank.scenarios import SCENARIOS

#: Seconds between attempts (C 84).
SCHEDULE = (0, 15, 15, 15, 30, 180, 180, 1800, 1800, 1800, 1800, 3600)
#: Seconds that a merchant has to answer.
PATIENCE = 3.0
#: The status and body that end the schedule.
OK, SUCCESS = 200, b"success"
#: How many are under way at once. httpcore's pool looks through all that wait for it whenever one
#: ends, so a thousand there would take minutes, and nobody would be notified in time.
_AT_ONCE = 100
#: How many attempts are remembered, so that a sandbox can run for weeks.
KEPT = 20_000
_HEADERS: Mapping[str, str] = {"Content-Type": "application/x-www-form-urlencoded"}
_LONGEST_ANSWER = 1024


@attrs.frozen(kw_only=True)
class Delivery:
    """One attempt to deliver a notification."""

    key: Key
    """The merchant's number and the order's."""
    attempt: int
    """Which attempt it was; 1 is the first."""
    url: str = attrs.field(repr=False)
    """Where it went."""
    at: datetime
    """When it left; aware."""
    body: bytes = attrs.field(repr=False)
    """The form that was sent."""
    status: int | None = None
    """The HTTP status of the answer; None where there was none."""
    answer: bytes = attrs.field(default=b"", repr=False)
    """The body of the answer; empty where there was none."""
    problem: str = ""
    """What went wrong on the way; empty if nothing."""
    took: float = 0.0
    """Seconds from the first byte to the answer, or to the end of patience; on the sandbox's clock.
    """
    forged: bool = False
    """Whether it was somebody else's, not this gateway's, whatever the answer."""

    @property
    def accepted(self) -> bool:
        """Whether the answer is what the document asks for, which ends the schedule."""
        return self.status == OK and self.answer == SUCCESS

    @property
    def out_trade_no(self) -> str:
        """The number of the order that the notification is about."""
        return self.key[1]


class Notifier:
    """Delivers notifications through an httpx transport, on a clock of your choice.

    ``write`` makes the body of a notification, anew for every attempt; ``on_attempt`` is called
    with every attempt that ended. :meth:`aclose` leaves a ``transport`` that was handed in open.
    """

    def __init__(
        self,
        clock: Clock,
        write: Callable[[Order], bytes],
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        on_attempt: Callable[[Delivery], None] | None = None,
    ) -> None:
        self._clock = clock
        self._write = write
        self._on_attempt = on_attempt
        self._transport = transport
        self._own: httpx.AsyncBaseTransport | None = None
        self._room = asyncio.Semaphore(_AT_ONCE)
        #: Every attempt so far, oldest first; the oldest are forgotten beyond ``KEPT``.
        self.deliveries: list[Delivery] = []

    async def aclose(self) -> None:
        """Close the connections that were opened here."""
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()

    async def deliver(self, order: Order, *, times: int = 1, late: float = 0.0) -> None:
        """Notify of an order's end until the notification is accepted or given up.

        It is delivered until it was accepted ``times`` times, first after ``late`` seconds; the
        order's scenario may want more notifications, later ones, or none.
        """
        scenario = SCENARIOS[order.scenario]
        if not (scenario.notified and times):
            return
        wanted = max(scenario.notified, times)
        await self._clock.sleep(scenario.notified_late + late)
        began = self._clock.monotonic()
        for attempt, wait in enumerate(SCHEDULE, start=1):
            await self._clock.sleep(began + wait - self._clock.monotonic())
            began = self._clock.monotonic()
            delivery = await self.attempt(order, attempt)
            wanted -= delivery.accepted
            if not wanted:
                return

    async def attempt(
        self, order: Order, number: int = 1, body: bytes | None = None, *, forged: bool = False
    ) -> Delivery:
        """Deliver once, now; the result is noted and returned, and nothing is raised.

        Beyond a hundred at once it waits for its turn; the three seconds begin after that.
        """
        async with self._room:
            delivery = await self._attempted(order, number, body, forged=forged)
        self.deliveries.append(delivery)
        if len(self.deliveries) > KEPT:
            del self.deliveries[: KEPT // 2]
        if self._on_attempt is not None:
            self._on_attempt(delivery)
        return delivery

    async def attempt_together(
        self, orders: Iterable[Order], body: bytes | None = None, *, forged: bool = False
    ) -> list[Delivery]:
        """:meth:`attempt`, by hand, for all of these at the same time."""
        attempts = (self.attempt(order, 0, body, forged=forged) for order in orders)
        return await asyncio.gather(
            *(asyncio.create_task(each, name="chaoying sandbox: notify") for each in attempts)
        )

    async def _attempted(
        self, order: Order, number: int, body: bytes | None, *, forged: bool
    ) -> Delivery:
        url, body = order.asked["notify_url"], self._write(order) if body is None else body
        at, began = self._clock.now(), self._clock.monotonic()
        status, answer, problem = None, b"", ""
        try:
            async with self._clock.timeout(PATIENCE):
                status, answer = await self._post(url, body)
        except TimeoutError:
            problem = f"no answer within {PATIENCE:g} s"
        except Exception as error:  # noqa: BLE001 - a merchant's app in process may raise anything
            problem = type(error).__name__
        return Delivery(
            key=order.key,
            attempt=number,
            url=url,
            at=at,
            body=body,
            status=status,
            answer=answer,
            problem=problem,
            took=self._clock.monotonic() - began,
            forged=forged,
        )

    async def _post(self, url: str, body: bytes) -> tuple[int, bytes]:
        request = httpx.Request("POST", url, content=body, headers=dict(_HEADERS))
        if (transport := self._transport or self._own) is None:
            limits = httpx.Limits(max_connections=_AT_ONCE)
            transport = self._own = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)
        response = await transport.handle_async_request(request)
        stream = response.stream  # itself: a mock's response counts as read already
        if not isinstance(stream, httpx.AsyncByteStream):
            raise TypeError("notifications need an asynchronous transport")
        try:
            answer = b""
            async for chunk in stream:
                answer += chunk
                if len(answer) > _LONGEST_ANSWER:
                    break
            return response.status_code, answer
        finally:
            await stream.aclose()
