"""The receiving end of ``chaoying listen``: verify, keep, pass on, answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import attrs

from chaoying_async.abc import Clock
from chaoying_async.cli.eventlog import Entry, EventLog
from chaoying_async.cli.forward import PATIENCE, PATIENT, QUICK, Attempt, Forwarder
from chaoying_async.exceptions import ChaoyingError, MalformedMessageError
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.doctor import diagnose
from chaoying_async.sansio.notifications import (
    FAIL,
    MAX_BODY,
    SUCCESS,
    Notification,
    parse_notification,
)

if TYPE_CHECKING:
    from chaoying_async.sandbox.app import Receive, Scope, Send


@attrs.frozen(kw_only=True)
class Heard:
    """What one delivery was, and what was answered. ``why`` is empty for a verified one."""

    notification: Notification | None = None
    why: str = ""
    #: What the signature doctor makes of a wrong sign.
    mistakes: tuple[str, ...] = ()
    status: int
    answer: bytes


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
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery with exactly ``success``, or with ``fail``."""
        if scope["type"] != "http":
            return
        heard = await self.handle(await _read(receive))
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": heard.status, "headers": headers})
        await send({"type": "http.response.body", "body": heard.answer})
        self._tell(heard)

    async def handle(self, body: bytes) -> Heard:
        """What to answer to a body, and why."""
        if len(body) > MAX_BODY:
            return Heard(why="too large", status=413, answer=FAIL)
        try:
            notification = parse_notification(body, self._credentials, now=self._clock.now())
        except MalformedMessageError as error:
            return Heard(why=str(error), status=400, answer=FAIL)
        except ChaoyingError as error:
            mistakes = _mistakes(body, self._credentials)
            return Heard(why=str(error), mistakes=mistakes, status=200, answer=FAIL)
        answer = SUCCESS if await self._safe(notification, body) else FAIL
        return Heard(notification=notification, status=200, answer=answer)

    async def _safe(self, notification: Notification, body: bytes) -> bool:
        number = notification.out_trade_no
        if self._log is not None:
            at = self._clock.now().isoformat()
            entry = self._log.received(body, at, number)
            self._pass_on(entry)
            return True
        if self._forward is None:
            return True
        deliver = self._forward.deliver(
            body, QUICK, lambda attempt: self._tell_attempt(number, attempt)
        )
        try:
            async with self._clock.timeout(PATIENCE):
                return (await deliver).accepted
        except TimeoutError:
            return False

    def resume(self) -> None:
        """Take up what an earlier run received and did not pass on."""
        for entry in list(self._log.open.values()) if self._log else ():
            self._pass_on(entry)

    def _pass_on(self, entry: Entry) -> None:
        if self._forward is not None:
            self._spawn(self._deliver(self._forward, entry))

    async def _deliver(self, forward: Forwarder, entry: Entry) -> None:
        attempt = await forward.deliver(
            entry.body, PATIENT, lambda attempt: self._tell_attempt(entry.out_trade_no, attempt)
        )
        if attempt.accepted and self._log is not None:
            at = self._clock.now().isoformat()
            self._log.forwarded(entry, at, attempt.status or 0)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """End what is still being passed on; a log keeps it for the next run."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _mistakes(body: bytes, credentials: Credentials) -> tuple[str, ...]:
    try:
        verdict = diagnose(body, credentials)
    except ChaoyingError:
        return ()
    return tuple(finding.mistake for finding in verdict.findings)


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
