"""Bugs that show only where keys are rotated, merchants have keys of their own, or clocks jump."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
import pytest

from chaoying_async.notifications.keys import Keys
from chaoying_async.payments.running import RunningPayment
from chaoying_async.sandbox.bank.ledger import MERCHANTS
from chaoying_async.sandbox.document.http_messages import read_form
from chaoying_async.sandbox.document.signature import is_signed
from chaoying_async.sansio import signing
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.payments import hearing
from tests.hard.planting import everywhere, planted


@planted("a previous key has no end", "M-21")
def _(patch: pytest.MonkeyPatch) -> None:
    def for_ever(credentials: Credentials, _: datetime | None) -> tuple[str, ...]:
        return tuple(old.key for old in credentials.previous_keys)

    patch.setattr(signing, "_still_counting", for_ever)


@planted("a previous key verifies nothing", "M-21")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(signing, "_still_counting", lambda *_: ())


@planted("the new key is not tried while there is an old one", "M-21")
def _(patch: pytest.MonkeyPatch) -> None:
    verify_for = signing.verify_for

    def stuck(credentials: Credentials, fields: Any, now: datetime | None) -> None:
        for old in credentials.previous_keys:
            credentials = attrs.evolve(credentials, key=old.key, previous_keys=())
        verify_for(credentials, fields, now)

    everywhere(patch, verify_for, stuck)


@planted("another merchant's key verifies", "M-20")
def _(patch: pytest.MonkeyPatch) -> None:
    of = Keys.of

    async def anybodys(self: Keys, body: bytes, until: float) -> Credentials:
        found = await of(self, body, until)
        fields = read_form(body)
        for merchant in MERCHANTS[:2]:
            other: Any = await self._resolver(merchant.mch_id)  # type: ignore[misc]
            if is_signed(fields, other):
                return other  # type: ignore[no-any-return]
        return found

    patch.setattr(Keys, "of", anybodys)


@planted("a till's seconds are the wall clock's", "M-26")
def _(patch: pytest.MonkeyPatch) -> None:
    def by_the_wall(self: RunningPayment) -> float:
        return (self.clock.now() - self.intent.started).total_seconds()

    patch.setattr(RunningPayment, "now", property(by_the_wall))


@planted("the gateway's clock is taken for ours", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    made_earlier = hearing.made_earlier

    def by_our_clock(time_end: datetime | None, started: datetime, _: float | None) -> bool:
        return made_earlier(time_end, started, 0.0)

    everywhere(patch, made_earlier, by_our_clock)
