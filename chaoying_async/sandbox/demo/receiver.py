"""A small receiver of result notifications: believe nothing unverified, count nothing twice."""

from __future__ import annotations

import asyncio
from collections import Counter

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sandbox.app import Receive, Scope, Send
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.notifications import FAIL, MAX_BODY, SUCCESS, parse_notification
from chaoying_async.sansio.outcome import NotificationOutcome
from chaoying_async.sansio.values import Fen


class Receiver:
    """An ASGI application for ``notify_url``.

    ``expected`` is what the shop asked for. Some first deliveries are answered ``fail`` on purpose,
    so that the gateway comes again.
    """

    def __init__(self, credentials: Credentials, expected: dict[str, Fen]) -> None:
        self._credentials = credentials
        self._expected = expected
        #: Paid orders, each once, with the amount that was notified.
        self.paid: dict[str, Fen] = {}
        #: What came: deliveries, duplicates, put off, refused.
        self.counts: Counter[str] = Counter()
        self._changed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery with exactly ``success``, or with ``fail``."""
        if scope["type"] != "http":
            return
        answer = self.judge(await _read(receive))
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def judge(self, body: bytes) -> bytes:
        """What to answer; takes effect once for every paid order."""
        self.counts["deliveries"] += 1
        try:
            notification = parse_notification(body, self._credentials)
        except ChaoyingError:
            self.counts["refused"] += 1
            return FAIL
        number, total = notification.out_trade_no, notification.total_fee
        if notification.outcome is not NotificationOutcome.PAID or total is None:
            return SUCCESS  # it says "not paid": recorded, and nothing is handed out
        if total != self._expected.get(number):
            self.counts["refused"] += 1
            return FAIL  # not the order's amount: a person has to look
        if number in self.paid:
            self.counts["duplicates"] += 1
            return SUCCESS
        if self._put_off(number):
            return FAIL
        self.paid[number] = total
        self._changed.set()
        return SUCCESS

    def _put_off(self, number: str) -> bool:
        """Every fifth order is answered ``fail`` once, as if the shop had been busy."""
        if not number.endswith(("0", "5")) or self.counts[number]:
            return False
        self.counts[number] += 1
        self.counts["put off"] += 1
        return True

    async def all_paid(self, numbers: set[str]) -> None:
        """Wait until every one of these orders was notified as paid."""
        while not numbers <= self.paid.keys():
            self._changed.clear()
            await self._changed.wait()


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
