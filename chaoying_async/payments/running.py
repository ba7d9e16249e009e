"""The hands of a till: sends the queries and cancels that ``sansio.till`` decides on."""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import ProtocolError
from chaoying_async.payments.records import Keeper, log
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import Cancel as CancelRequest
from chaoying_async.sansio.api.follow_up import OrderQuery, OrderQueryResult
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.paid import PaidOrder, paid_order, refunded_order
from chaoying_async.sansio.payments.hearing import all_wrongly_signed, made_earlier, read_cancel
from chaoying_async.sansio.payments.intent import Intent, paid_under, wallet
from chaoying_async.sansio.payments.machine import Till, heard_cancel, heard_query, next_move
from chaoying_async.sansio.payments.moves import (
    Ask,
    Cancel,
    CancelNews,
    CheckoutReason,
    End,
    WaitUntil,
)
from chaoying_async.sansio.polling.status import Answer, Says, read_answer

#: Seconds that a ``Date`` header does not tell apart.
_A_DATE_HAS = 1.0
#: One answer may be anybody's, two in a row are a wrong key.
_SUSPICIOUS = 2


class Acting:
    """One payment that is asked about, and cancelled, until it has ended."""

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        rng: random.Random,
        keeper: Keeper,
        intent: Intent,
        *,
        age: float,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._rng = rng
        self._keeper = keeper
        self._zero = clock.monotonic() - max(0.0, age)
        #: Our clock was set back since the start was stored: nobody knows when that was.
        self._set_back = age < 0 and intent.ahead is None
        self._began = clock.now() if self._set_back else intent.started
        self._kept = intent
        #: The intent with everything that was learnt.
        self.intent = intent
        self.replies: list[Reply[Any] | Exception] = []
        self.paid: PaidOrder | None = None
        self._warned = False

    def starts(self) -> None:
        """The pay call leaves now."""
        self._zero = self._clock.monotonic()
        self._began = self._clock.now()

    def heard(self, said: Reply[Any] | Exception) -> None:
        """Keep what was said, and when; a warning, once, when none of it can be believed."""
        self.replies.append(said)
        self._compare_clocks(getattr(said, "date", None))
        if not self._warned and all_wrongly_signed(self.replies, at_least=_SUSPICIOUS):
            self._warned = True
            log.warning(
                "checkout of %s: every answer so far failed its signature check, and none is "
                "believed: are key and algorithm right? `chaoying check` tells",
                self.intent.out_trade_no,
            )

    def _compare_clocks(self, date: datetime | None) -> None:
        """By how much the gateway's clock was ahead of ours when the pay call started (M-24).

        What is uncertain is taken so that a payment of this call's own never seems earlier: our
        clock may be put forward, or the machine sleep, and several servers' clocks differ.
        """
        if date is None or self._set_back:
            return
        by_the_wall = (self._clock.now() - self._began).total_seconds()
        since = (date - self.intent.started).total_seconds()
        found = since - max(self.now, by_the_wall)
        ahead = self.intent.ahead
        if ahead is None or found < ahead - _A_DATE_HAS:
            self.intent = attrs.evolve(self.intent, ahead=found)

    @property
    def paid_earlier(self) -> bool:
        """Whether the payment that was last seen was made before the pay call started."""
        intent = self.intent
        time_end = None if self.paid is None else self.paid.time_end
        started = self._began if self._set_back else intent.started
        return made_earlier(time_end, started, intent.ahead)

    def _explained(self, end: End) -> End:
        """Nobody answered, or nobody who could be believed: the same end, another thing to do."""
        if end.reason is CheckoutReason.NO_ANSWER and all_wrongly_signed(self.replies):
            return End(end.status, CheckoutReason.UNVERIFIED)
        return end

    @property
    def now(self) -> float:
        """Seconds since the pay call started."""
        return self._clock.monotonic() - self._zero

    def dice(self) -> float:
        """The jitter of the next pause."""
        return self._rng.random()

    async def until_ended(self, till: Till) -> End:
        """Do what the till says until it says that it is over."""
        waited = 0.0  # a sleep may end a little early: the moment it was for has come all the same
        await self._learnt(till)
        while True:
            now = max(self.now, waited)
            move = next_move(till, now)
            match move:
                case End():
                    return self._explained(move)
                case WaitUntil():
                    await self._clock.sleep(move.moment - now)
                    waited = move.moment
                case Ask():
                    till = await self._ask(till, move, now)
                case Cancel():
                    till = await self._cancel(till, move)

    async def _ask(self, till: Till, move: Ask, now: float) -> Till:
        intent = self.intent
        query = OrderQuery(
            paytype=wallet(move.paytype), mch_id=intent.mch_id, out_trade_no=intent.out_trade_no
        )
        said: Reply[Any] | Exception
        try:
            said = await self._gateway.send(query)
        except Exception as error:  # noqa: BLE001 - no answer is an answer: ask again
            said = error
        self.heard(said)
        answer = self._read(query, said)
        till = heard_query(
            till,
            answer,
            sent=now,
            paytype=move.paytype,
            about=isinstance(said, ProtocolError),
            earlier=self.paid_earlier,
            dice=self.dice(),
        )
        await self._learnt(till)
        return till

    def _read(self, query: OrderQuery, said: Reply[Any] | Exception) -> Answer:
        try:
            answer = read_answer(query, said, self.intent.total_fee)
            if isinstance(said, Reply) and isinstance(said.result, OrderQueryResult):
                paid = paid_order(said.result, mch_id=self.intent.mch_id, raw=said.raw)
                self.paid = paid_under(paid, str(query.paytype))
            elif isinstance(said, Reply) and said.meaning is Meaning.REFUNDED:
                intent = self.intent
                self.paid = refunded_order(
                    said.raw, mch_id=intent.mch_id, out_trade_no=intent.out_trade_no
                )
        except Exception:  # noqa: BLE001 - a gateway of the user's that returns no Reply
            return Answer(Says.TROUBLE)
        return answer

    async def _cancel(self, till: Till, move: Cancel) -> Till:
        """Written down before it leaves: whoever restarts must know that it may have."""
        unclear = till.cancels.after(CancelNews.UNCLEAR, self.now)
        before = self.intent.learnt(attrs.evolve(till, cancels=unclear))
        news = CancelNews.NOT_SENT
        if await self._keeper.before_money(before.key, before.text()) and self.now <= move.until:
            self.intent = before  # whoever is cancelled meanwhile records this one
            news = await self._send_cancel(move)
        self._kept = before
        till = heard_cancel(till, news, ended=self.now)
        await self._learnt(till)
        return till

    async def _send_cancel(self, move: Cancel) -> CancelNews:
        intent = self.intent
        said: Reply[Any] | Exception
        try:
            said = await self._gateway.send(
                CancelRequest(
                    paytype=wallet(move.paytype),
                    mch_id=intent.mch_id,
                    out_trade_no=intent.out_trade_no,
                    op_user_id=intent.op_user_id,
                )
            )
        except Exception as error:  # noqa: BLE001 - read_cancel says what it means
            said = error
        self.heard(said)
        try:
            return read_cancel(said)
        except Exception:  # noqa: BLE001 - the same
            return CancelNews.UNCLEAR

    async def _learnt(self, till: Till) -> None:
        """Keep what a restart must know: that the order exists, its wallet, its cancels."""
        self.intent = self.intent.learnt(till)
        if self.intent != self._kept:
            self._kept = self.intent
            await self._keeper.note(self.intent.key, self.intent.text())
