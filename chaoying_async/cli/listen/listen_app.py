"""The receiving end of ``chaoying listen``: verify, keep, pass on, answer.

Whoever reaches its port may send what he likes, as often as he likes: what a body may cost is
bounded in bytes, in seconds, in work for the doctor, and in what the log keeps.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import attrs

from chaoying_async.abc import Clock
from chaoying_async.cli.listen.bounded_doctor import Examiner
from chaoying_async.cli.listen.event_log import Entry, EventLog, mark_of
from chaoying_async.cli.listen.forwarder import PATIENCE, PATIENT, QUICK, Attempt, Forwarder
from chaoying_async.exceptions import ChaoyingError, MalformedMessageError
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.notifications.message import (
    FAIL,
    MAX_BODY,
    SUCCESS,
    Notification,
    parse_notification,
)

if TYPE_CHECKING:
    from chaoying_async.sandbox.serving.bodies import Receive, Scope
    from chaoying_async.sandbox.serving.sandbox_app import Send

#: So many notifications are passed on at the same time; more wait, or are answered ``fail``.
AT_ONCE: Final = 20
#: And so many times the same one: who repeats what he captured takes no room from the others.
THE_SAME: Final = 2
_REMEMBERED: Final = 10_000


@attrs.frozen(kw_only=True)
class Heard:
    """What one delivery was, and what was answered. ``why`` is empty for a verified one."""

    notification: Notification | None = None
    why: str = ""
    #: What the signature doctor makes of a wrong sign.
    mistakes: tuple[str, ...] = ()
    #: A body whose sign the doctor may look at, once the gateway has its answer.
    unexplained: bytes = attrs.field(default=b"", repr=False)
    status: int
    answer: bytes
    #: It was here before: this is one more delivery of the same notification.
    again: bool = False


Tell = Callable[[Heard], None]
TellAttempt = Callable[[str, Attempt], None]


class Receiver:
    """An ASGI application for ``notify_url``.

    ``success`` is answered only when the notification is safe (M-14): it is on the disk in ``log``,
    or the program behind ``forward`` has answered so; without either it was shown, and that is all
    that was asked for. With a log, passing on goes on in the background.
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
        self._examiner = Examiner(credentials, clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._lately: dict[bytes, bool] = {}
        self._under_way: Counter[bytes] = Counter()
        self._passing = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery with exactly ``success``, or with ``fail``."""
        from chaoying_async.sandbox.serving.bodies import BodyNotReadError, read_body

        if scope["type"] != "http":
            return
        try:
            body = await read_body(scope, receive, limit=MAX_BODY, clock=self._clock)
        except BodyNotReadError as error:
            if error.status is None:
                return  # nobody is left to be answered
            heard = _NOT_READ[error.status]
        else:
            heard = await self.handle(body)
            del body
        await _answer(send, heard)
        self._tell(await self._examined(heard))

    async def handle(self, body: bytes) -> Heard:
        """What to answer to a body, and why."""
        if len(body) > MAX_BODY:
            return _NOT_READ[413]
        try:
            notification = parse_notification(body, self._credentials, now=self._clock.now())
        except MalformedMessageError as error:
            return Heard(why=str(error), status=400, answer=FAIL)
        except ChaoyingError as error:
            return Heard(why=str(error), unexplained=body, status=200, answer=FAIL)
        mark = mark_of(notification.raw)
        if self._log is not None:
            return self._kept(self._log, notification, body, mark)
        again, safe = self._seen(mark), True
        if self._forward is not None:
            told = self._told(notification.out_trade_no, again=again)
            safe = await self._passed_on(self._forward, mark, body, told)
        answer = SUCCESS if safe else FAIL
        return Heard(notification=notification, status=200, answer=answer, again=again)

    def _seen(self, mark: bytes) -> bool:
        """Whether it was here lately; from now on it was."""
        again = self._lately.pop(mark, False)
        self._lately[mark] = True
        if len(self._lately) > _REMEMBERED:
            del self._lately[next(iter(self._lately))]
        return again

    async def _examined(self, heard: Heard) -> Heard:
        if not heard.unexplained:
            return heard
        mistakes = await self._examiner.mistakes(heard.unexplained)
        return attrs.evolve(heard, mistakes=mistakes, unexplained=b"")

    def _kept(self, log: EventLog, notification: Notification, body: bytes, mark: bytes) -> Heard:
        """One delivery where a log keeps them: each notification once, however often it comes."""
        number, again = notification.out_trade_no, mark in log
        if again:
            self._pass_on_again(number, body, mark)
        else:
            try:
                entry = log.received(body, self._clock.now().isoformat(), number)
            except OSError as error:
                why = f"verified, but not kept: {error.strerror or error}"
                return Heard(why=why, status=200, answer=FAIL)
            self._pass_on(entry)
        return Heard(notification=notification, status=200, answer=SUCCESS, again=again)

    async def _passed_on(
        self, forward: Forwarder, mark: bytes, body: bytes, told: Callable[[Attempt], None]
    ) -> bool:
        if self._passing.locked() or self._under_way[mark] >= THE_SAME:
            return False  # it comes again
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

    def _told(self, number: str, *, again: bool = False) -> Callable[[Attempt], None]:
        return lambda attempt: self._tell_attempt(number, attrs.evolve(attempt, again=again))

    def resume(self) -> None:
        """Take up what an earlier run received and did not pass on."""
        for entry in list(self._log.open.values()) if self._log else ():
            self._pass_on(entry)

    def _pass_on(self, entry: Entry) -> None:
        if self._forward is not None:
            self._spawn(self._deliver(self._forward, entry))

    async def _deliver(self, forward: Forwarder, entry: Entry) -> None:
        told = self._told(entry.out_trade_no)
        attempt = await forward.deliver(entry.body, PATIENT, told, room=self._passing)
        if attempt.accepted and self._log is not None:
            with suppress(OSError):  # a full disk: the next run passes it on once more
                self._log.forwarded(entry, self._clock.now().isoformat(), attempt.status or 0)

    def _pass_on_again(self, number: str, body: bytes, mark: bytes) -> None:
        """Once more, as the gateway's own repetitions are; nothing depends on it."""
        if self._forward is not None and self._under_way[mark] < THE_SAME:
            self._under_way[mark] += 1
            task = self._spawn(self._repeat(self._forward, number, body))
            task.add_done_callback(lambda _: self._ended(mark))

    async def _repeat(self, forward: Forwarder, number: str, body: bytes) -> None:
        await forward.deliver(body, QUICK, self._told(number, again=True), room=self._passing)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """End what is still being passed on; a log keeps it for the next run."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


_NOT_READ = {
    413: Heard(why="too large", status=413, answer=FAIL),
    408: Heard(why="incomplete: the rest did not come in time", status=400, answer=FAIL),
}


async def _answer(send: Send, heard: Heard) -> None:
    length = str(len(heard.answer)).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", length)]
    if heard is _NOT_READ[408]:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": heard.status, "headers": headers})
    await send({"type": "http.response.body", "body": heard.answer})
