"""The handler: bodies in, answers out; it owns the work that takes longer than an answer."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Self

from chaoying_async.abc import Clock, Gateway, Inbox, Observer
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import ParameterError
from chaoying_async.notifications.answering import (
    NOT_NOW,
    NOT_YET,
    OK,
    Counts,
    HandlerStats,
    refused,
)
from chaoying_async.notifications.callback_watch import CallbackWatch, OnCallbacksDark
from chaoying_async.notifications.callbacks import Effect, EffectCall
from chaoying_async.notifications.deciding import Decider, Lookup
from chaoying_async.notifications.due import EVERY, PATIENCE, DueWork
from chaoying_async.notifications.journey import Journey, Limits
from chaoying_async.notifications.keys import Keys, Resolver
from chaoying_async.notifications.reporting import OnConflict, OnNotPaid, Reporter, log
from chaoying_async.notifications.tasks import (
    LateError,
    OwnedTasks,
    must_propagate,
    only_exceptions,
)
from chaoying_async.observation import Observation, check_observer
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.notifications.case import NoAmountCheck
from chaoying_async.sansio.notifications.decide import (
    Decision,
    NotificationAnswer,
    has_effect,
    has_ended,
    is_success,
)
from chaoying_async.sansio.notifications.facts import Wallet, facts_of_order
from chaoying_async.sansio.notifications.message import FAIL, SUCCESS
from chaoying_async.sansio.notifications.reading import (
    NotABodyError,
    raw_bytes,
    read_facts,
)
from chaoying_async.sansio.notifications.unreadable import UnreadableRecordError
from chaoying_async.sansio.observed import ObservedMessage, order_mark
from chaoying_async.sansio.paid import PaidOrder, check_paid
from chaoying_async.sansio.sealed import shy
from chaoying_async.sansio.userfunctions import Kind, check_functions

#: Seconds of the budget kept back for answering that somebody else is still at work.
MOMENT = 0.05


class NotificationHandler:
    """Runs ``on_paid`` once for each paid order, and answers the gateway the truth in time.

    ::

        async def expected(mch_id: str, out_trade_no: str) -> ExpectedOrder | None: ...
        async def on_paid(order: PaidOrder, connection: AsyncConnection) -> None: ...


        async with NotificationHandler(
            credentials, SqlInbox(engine), on_paid, expected=expected
        ) as handler:
            answer = await handler.handle(body)  # the raw bytes, whatever they are

    ``credentials`` may be a function from a merchant number to the merchant's Credentials or None.
    ``expected`` says what an order should cost; None for an order that is not (yet) yours. It takes
    ``(mch_id, out_trade_no)`` and is asked before the order is locked, or, where the inbox lends a
    connection, ``(mch_id, out_trade_no, connection)``: then it is asked under the order's lock, in
    the transaction of ``on_paid``. That lock does not hold your own row: read it ``FOR UPDATE``
    there, or let ``on_paid`` update it with ``WHERE`` status and amount, and raise when no row
    fits. To do without ``expected`` you have to pass ``NO_AMOUNT_CHECK``, and then anybody's 1 fen
    buys anything.

    ``confirm`` is a gateway to ask (``orderquery``) before ``on_paid`` runs: the strong answer to
    forged messages. Without it ``trust_coupon_fee`` decides whether an amount that only a coupon
    explains is taken. ``on_paid`` takes ``(order)`` or, where the inbox lends one,
    ``(order, connection)``: what it does on that connection is committed with the record, by one
    COMMIT. It may run again when it raised, when that COMMIT failed, or when its process died; so
    do nothing else in it that must not happen twice.

    The answer is out after ``budget`` seconds. What takes longer goes on in tasks that ``async
    with`` owns; leaving the block waits ``grace`` seconds for them, then cancels them, and what
    they had begun is rolled back. Inside the block :meth:`run_due` runs every 30 s. Without ``async
    with`` nobody owns such work: :meth:`handle` returns when ``on_paid`` has ended, even late.

    With an inbox that lends a connection, nothing is committed before the effect is: of a process
    that dies nothing is left, and the gateway delivers the message again. If that was its last
    delivery, only a query finds the payment: run a ``Poller``, and give :meth:`settle` what it
    finds.

    The hooks: ``on_not_paid(notification)`` for the first failure of an order (at least once),
    ``on_conflict(set_aside)`` for what needs a person: mostly once, at least once if a process dies
    meanwhile; without it, or if it fails or takes over 20 s, that is a line at ERROR;
    ``on_paid_after_close(order)`` or ``(order, connection)`` for an order that the shop had closed:
    it runs as ``on_paid`` would; without it such a payment is a conflict.
    ``on_callbacks_dark(dark)`` for a merchant whose paid orders all come by :meth:`settle` and no
    more by notification (also a line at ERROR, once until they come again; noticed by
    :meth:`settle` and :meth:`run_due`). It goes by what this process sees: where others get the
    notifications, let the first query be later than these usually are.

    ``observer`` is told of each notification, each :meth:`settle`, and each order and message
    that :meth:`run_due` takes up, without anything personal.
    """

    def __init__(
        self,
        credentials: Credentials | Resolver,
        inbox: Inbox,
        on_paid: Effect,
        *,
        expected: Lookup | NoAmountCheck,
        confirm: Gateway | None = None,
        budget: float = 2.0,
        trust_coupon_fee: bool = False,
        grace: float = 10.0,
        on_not_paid: OnNotPaid | None = None,
        on_conflict: OnConflict | None = None,
        on_paid_after_close: Effect | None = None,
        on_callbacks_dark: OnCallbacksDark | None = None,
        observer: Observer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock: Clock = clock or SystemClock()
        self._inbox = inbox
        self._counts = Counts()
        self._tasks = OwnedTasks(self._clock)
        _check_asked(expected, confirm)
        check_observer(observer)
        self._observer = observer
        check_functions(
            Kind.EITHER,
            1,
            on_not_paid=on_not_paid,
            on_conflict=on_conflict,
            on_callbacks_dark=on_callbacks_dark,
        )
        self._callbacks = CallbackWatch(self._clock, on_callbacks_dark)
        self._budget, self._grace = _seconds("budget", budget), _seconds("grace", grace)
        self._keys = Keys(credentials, self._clock)
        lends = inbox.lends_connection
        effects = {Decision.APPLY: EffectCall.of("on_paid", on_paid, lends=lends)}
        if on_paid_after_close is not None:
            effects[Decision.PAID_AFTER_CLOSE] = EffectCall.of(
                "on_paid_after_close", on_paid_after_close, lends=lends
            )
        decider = Decider(
            inbox,
            self._clock,
            expected=expected,
            confirm=confirm,
            trust_coupon_fee=trust_coupon_fee,
            takes_closed=on_paid_after_close is not None,
        )
        reporter = Reporter(
            inbox,
            self._clock,
            self._counts,
            on_conflict=on_conflict,
            on_not_paid=on_not_paid,
            confirms=confirm is not None,
        )
        self._journey = Journey(
            inbox=inbox,
            clock=self._clock,
            decider=decider,
            effects=effects,
            reporter=reporter,
            tasks=self._tasks,
            counts=self._counts,
            callbacks=self._callbacks,
        )
        self._counts.working = self._journey.working
        self._limits = Limits(self._budget - MOMENT, self._budget)
        self._due = DueWork(
            self._journey, Limits(self._budget, PATIENCE, to_the_end=True), observer
        )

    def __repr__(self) -> str:
        state = "open" if self._tasks.is_open else "closed"
        at_work = len(self._counts.working)
        return f"<NotificationHandler on {self._inbox!r}, {at_work} at work, {state}>"

    @property
    def is_open(self) -> bool:
        """Whether work that outlives its answer has an owner: inside ``async with``."""
        return self._tasks.opened

    @property
    def grace(self) -> float:
        """For how many seconds leaving ``async with`` lets running work end."""
        return self._grace

    async def __aenter__(self) -> Self:
        self._tasks.open(self._run_due_for_ever())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not await self._tasks.close(self._grace):
            log.warning(
                "work that was not done within %.0f s is left to the next handler on this inbox,"
                " or to the gateway's next delivery",
                self._grace,
            )

    async def handle(self, body: bytes | str, *, kind: Wallet | None = None) -> NotificationAnswer:
        """What to answer to this body, whatever it is and whatever a hook or the inbox raises.

        Only the end of the process and a cancellation of the calling task go through.
        Pass the body as it came. ``kind`` says which page of the document the ``notify_url``
        serves, where you have one for each.
        """
        if self._tasks.opened and not self._tasks.is_open:  # it is being closed
            return NOT_NOW
        work = ObservedMessage(name="notification")
        with Observation(self._observer, work, self._clock):
            answer = await self._answer(body, kind, work)
            if answer.decision is not None:
                over = has_ended(answer.decision, durable=answer.body == SUCCESS)
                work.decided(answer.decision, over=over)
            return answer

    async def _answer(
        self, body: bytes | str, kind: Wallet | None, work: ObservedMessage
    ) -> NotificationAnswer:
        facts, came = None, self._clock.monotonic()
        try:
            # Shy, since the frames of what fails below are logged (M-27).
            raw = body = shy(raw_bytes(body))
            credentials = self._keys.own or await self._keys.of(raw, came + self._budget)
            now = self._clock.now() if credentials.previous_keys else None
            facts = read_facts(raw, credentials, kind, now)
            work.order = order_mark(facts.mch_id, facts.out_trade_no)
            outcome = await self._journey.run(facts, self._limits, came=came)
        except BaseException as error:  # any input at all gives an answer
            if must_propagate(error):
                raise
            work.failed(error)
            return self._failed(error, unread=facts is None)
        decision, durable, paid, *_ = outcome
        self._counts.decisions[decision] += 1
        body = SUCCESS if is_success(decision, durable=durable) else FAIL
        return NotificationAnswer(status=OK, body=body, decision=decision, paid=paid)

    async def settle(self, paid_order: PaidOrder) -> Decision:
        """Give a payment that was learnt by a query the same effect and the same record.

        APPLY, PAID_AFTER_CLOSE and DUPLICATE mean that the effect is durable: call
        ``outcome.done()`` then. IN_PROGRESS means not yet: whoever works on the order goes on, or
        :meth:`run_due` takes it up, since it is kept. Everything else was set aside. What the inbox
        or ``expected`` raise comes out.
        """
        check_paid(paid_order)
        work = ObservedMessage(
            name="settle", order=order_mark(paid_order.mch_id, paid_order.out_trade_no)
        )
        with Observation(self._observer, work, self._clock):
            decision = await self._settled(paid_order)
            work.decided(decision, over=has_ended(decision, durable=True))
            return decision

    async def _settled(self, paid_order: PaidOrder) -> Decision:
        facts = facts_of_order(paid_order)
        outcome = await self._journey.run(facts, Limits(self._budget, PATIENCE, to_the_end=True))
        decision = outcome.decision
        self._counts.decisions[decision] += 1
        await only_exceptions(self._callbacks.tell())
        if has_effect(decision) and not outcome.durable:
            decision = Decision.IN_PROGRESS
        if decision is Decision.IN_PROGRESS and not outcome.is_kept:
            await only_exceptions(self._journey.reporter.keep_in_progress(facts))
        return decision

    async def order_known(self, mch_id: str, out_trade_no: str) -> int:
        """Take up at once what came before the shop knew this order; how many messages that were.

        Call it after the order was committed. Without it :meth:`run_due` finds them.
        """
        return await only_exceptions(self._due.known(mch_id, out_trade_no))

    async def run_due(self) -> int:
        """Take up what is unfinished: failed work, set-aside messages, a person's marks.

        Returns how many were looked at. Inside ``async with`` it runs by itself every 30 s; without
        that call it from cron. After the gateway's last delivery nothing else would take them up.
        Of work that died with its process a ``RedisInbox`` has a claim, which is taken up when its
        lease has ended; a ``SqlInbox`` has nothing, and the gateway delivers the message again.
        """
        await only_exceptions(self._callbacks.tell())
        return await only_exceptions(self._due.run())

    def stats(self) -> HandlerStats:
        """What happened since the handler was made. Any thread may ask."""
        return self._counts.snapshot(self._callbacks.counts)

    async def _run_due_for_ever(self) -> None:
        while True:
            try:
                await self.run_due()
            except Exception as error:  # noqa: BLE001 - the next round may do better
                log.warning(
                    "what is due could not be looked up (%s): tried again in %.0f s",
                    *(type(error).__name__, EVERY),
                )
            if not self._tasks.is_open:  # it was cancelled, and a driver lost that
                return
            await self._clock.sleep(EVERY)

    def _failed(self, error: BaseException, *, unread: bool) -> NotificationAnswer:
        if unread and (refusal := refused(error)):
            counter, answer = refusal
            self._counts.add(counter)
            if counter == "unverified":
                self._journey.reporter.unverified(error)
            if isinstance(error, NotABodyError):
                log.error("%s", error)
            return answer
        if not unread and isinstance(error, LateError):
            self._counts.add("late")  # the handler owns what was begun, and it goes on
            return NOT_YET
        self._counts.add("troubled")
        if isinstance(error, UnreadableRecordError):
            self._journey.reporter.unreadable.tell(error)
            return NOT_NOW
        log.error(
            "a notification could not be dealt with: it is answered fail, and comes again",
            exc_info=error,
        )
        return NOT_NOW


def _check_asked(expected: object, confirm: object) -> None:
    if not isinstance(expected, NoAmountCheck) and not callable(expected):
        raise ParameterError({"expected": "must be a function, or NO_AMOUNT_CHECK in full view"})
    # Whatever goes wrong when it is asked would be taken for no answer.
    sends = not isinstance(confirm, type) and callable(getattr(confirm, "send", None))
    if confirm is not None and not sends:
        raise ParameterError({"confirm": "must be a session, or what sends as one does"})


def _seconds(name: str, value: float) -> float:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not known or not math.isfinite(value) or value < 0:
        raise ParameterError({name: "must be a number of seconds, 0 or more"})
    return value
