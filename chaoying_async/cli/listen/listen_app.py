"""Verifies, keeps, passes on and answers the notifications of ``chaoying listen``.

Anybody who reaches its port may send anything, as often as he likes. So the cost of a body is
limited: its bytes, its seconds, the doctor's work, and its room in the log.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import attrs

from chaoying_async.abc import Clock
from chaoying_async.cli.listen.bounded_doctor import BoundedDoctor
from chaoying_async.cli.listen.event_log import EventLog, LoggedNotification, mark_of
from chaoying_async.cli.listen.forwarder import PATIENCE, PATIENT, QUICK, ForwardAttempt, Forwarder
from chaoying_async.exceptions import ChaoyingError, MalformedMessageError
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.notifications.message import (
    FAIL,
    SUCCESS,
    Notification,
    parse_notification,
)
from chaoying_async.sansio.notifications.reading import MAX_BODY

if TYPE_CHECKING:
    from chaoying_async.sandbox.serving.bodies import Receive, Scope
    from chaoying_async.sandbox.serving.sandbox_app import Send

#: How many notifications are passed on at the same time; more wait, or are answered ``fail``.
AT_ONCE: Final = 20
#: How many times the same one: repeating a captured notification blocks no others.
THE_SAME: Final = 2
_REMEMBERED: Final = 10_000


@attrs.frozen(kw_only=True)
class ReceivedDelivery:
    """One delivery and its answer. ``why`` says why it was refused; empty: it is verified."""

    notification: Notification | None = None
    why: str = ""
    mistakes: tuple[str, ...] = ()
    """The signature doctor's findings about a wrong sign."""
    unexplained: bytes = attrs.field(default=b"", repr=False)
    """A body that the doctor may examine once the sender has its answer."""
    status: int
    answer: bytes
    again: bool = False
    """Whether the same notification was delivered before."""
    at: datetime | None = None
    """When it arrived, before its body was read; set for what is told."""


Tell = Callable[[ReceivedDelivery], None]
TellAttempt = Callable[[str, ForwardAttempt], None]


class ListenApp:
    """An ASGI application for ``notify_url``.

    It answers ``success`` only when the notification is safe (M-14): the ``log`` has it on the
    disk, or the program behind ``forward`` has answered ``success``. Without either, showing it is
    enough. With a log, passing on continues in the background.
    """

    def __init__(
        self,
        credentials: Credentials,
        clock: Clock,
        *,
        forward: Forwarder | None = None,
        log: EventLog | None = None,
        tell: Tell,
        tell_attempt: TellAttempt,
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._forward = forward
        self._log = log
        self._tell = tell
        self._tell_attempt = tell_attempt
        self._examiner = BoundedDoctor(credentials, clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lately: dict[bytes, bool] = {}
        self._under_way: Counter[bytes] = Counter()
        self._passing = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery with exactly ``success``, or with ``fail``."""
        from chaoying_async.sandbox.serving.bodies import BodyNotReadError, read_body

        if scope["type"] != "http":
            return
        at = self._clock.now()
        try:
            body = await read_body(scope, receive, limit=MAX_BODY, clock=self._clock)
        except BodyNotReadError as error:
            if error.status is None:
                return  # the sender has gone
            heard = _NOT_READ[error.status]
        else:
            heard = await self.handle(body)
            del body
        await _answer(send, heard)
        self._tell(attrs.evolve(await self._examined(heard), at=at))

    async def handle(self, body: bytes) -> ReceivedDelivery:
        """Decide the answer to a body."""
        if len(body) > MAX_BODY:
            return _NOT_READ[413]
        try:
            notification = parse_notification(body, self._credentials, now=self._clock.now())
        except MalformedMessageError as error:
            return ReceivedDelivery(why=str(error), status=400, answer=FAIL)
        except ChaoyingError as error:
            return ReceivedDelivery(why=str(error), unexplained=body, status=200, answer=FAIL)
        mark = mark_of(notification.raw)
        if self._log is not None:
            return self._kept(self._log, notification, body, mark)
        again, safe = self._seen(mark), True
        if self._forward is not None:
            told = self._told(notification.out_trade_no, again=again)
            safe = await self._passed_on(self._forward, mark, body, told)
        answer = SUCCESS if safe else FAIL
        return ReceivedDelivery(notification=notification, status=200, answer=answer, again=again)

    def _seen(self, mark: bytes) -> bool:
        """Whether the notification came lately; remembers it."""
        again = self._lately.pop(mark, False)
        self._lately[mark] = True
        if len(self._lately) > _REMEMBERED:
            del self._lately[next(iter(self._lately))]
        return again

    async def _examined(self, heard: ReceivedDelivery) -> ReceivedDelivery:
        if not heard.unexplained:
            return heard
        mistakes = await self._examiner.mistakes(heard.unexplained)
        return attrs.evolve(heard, mistakes=mistakes, unexplained=b"")

    def _kept(
        self, log: EventLog, notification: Notification, body: bytes, mark: bytes
    ) -> ReceivedDelivery:
        """One delivery with a log, which keeps each notification once, however often it comes."""
        number, again = notification.out_trade_no, mark in log
        if again:
            self._pass_on_again(number, body, mark)
        else:
            try:
                entry = log.received(body, self._clock.now().isoformat(), number)
            except OSError as error:
                why = f"verified, but not kept: {error.strerror or error}"
                return ReceivedDelivery(why=why, status=200, answer=FAIL)
            self._pass_on(entry)
        return ReceivedDelivery(notification=notification, status=200, answer=SUCCESS, again=again)

    async def _passed_on(
        self, forward: Forwarder, mark: bytes, body: bytes, told: Callable[[ForwardAttempt], None]
    ) -> bool:
        if self._passing.locked() or self._under_way[mark] >= THE_SAME:
            return False  # the gateway delivers it again
        self._under_way[mark] += 1
        try:
            async with self._passing, self._clock.timeout(PATIENCE):
                return (await forward.deliver(body, QUICK, told)).accepted
        except TimeoutError:
            return False
        finally:
            self._ended(mark)

    def _ended(self, mark: bytes) -> None:
        self._under_way[mark] -= 1
        if not self._under_way[mark]:
            del self._under_way[mark]

    def _told(self, number: str, *, again: bool = False) -> Callable[[ForwardAttempt], None]:
        return lambda attempt: self._tell_attempt(number, attrs.evolve(attempt, again=again))

    def resume(self) -> None:
        """Pass on what an earlier run received and did not pass on."""
        for entry in list(self._log.open.values()) if self._log else ():
            self._pass_on(entry)

    def _pass_on(self, entry: LoggedNotification) -> None:
        if self._forward is not None:
            self._spawn(self._deliver(self._forward, entry))

    async def _deliver(self, forward: Forwarder, entry: LoggedNotification) -> None:
        told = self._told(entry.out_trade_no)
        attempt = await forward.deliver(entry.body, PATIENT, told, room=self._passing)
        if attempt.accepted and self._log is not None:
            with suppress(OSError):  # the disk is full: the next run passes it on again
                self._log.forwarded(entry, self._clock.now().isoformat(), attempt.status or 0)

    def _pass_on_again(self, number: str, body: bytes, mark: bytes) -> None:
        """Pass a repetition on, as the gateway would; nothing depends on its end."""
        if self._forward is not None and self._under_way[mark] < THE_SAME:
            self._under_way[mark] += 1
            task = self._spawn(self._repeat(self._forward, number, body))
            task.add_done_callback(lambda _: self._ended(mark))

    async def _repeat(self, forward: Forwarder, number: str, body: bytes) -> None:
        await forward.deliver(body, QUICK, self._told(number, again=True), room=self._passing)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine, name="chaoying listen: pass on")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Cancel all passing on; a log keeps the notifications for the next run."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


_NOT_READ = {
    413: ReceivedDelivery(why="too large", status=413, answer=FAIL),
    408: ReceivedDelivery(why="incomplete: the rest did not come in time", status=400, answer=FAIL),
}


async def _answer(send: Send, heard: ReceivedDelivery) -> None:
    length = str(len(heard.answer)).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", length)]
    if heard is _NOT_READ[408]:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": heard.status, "headers": headers})
    await send({"type": "http.response.body", "body": heard.answer})
