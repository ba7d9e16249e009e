"""What to do next about one payment at a till, from the pay call to an honest end (M-24).

What happened goes in (:func:`heard_query`, :func:`heard_cancel`), and :func:`next_move` answers
with ``Ask``, ``SendCancel``, ``WaitUntil`` or ``CheckoutEnd``. All moments are seconds since the
pay call *started*; after a restart they come from the stored wall time. ``hearing`` reads what
replies mean.
"""

from __future__ import annotations

import attrs

from chaoying_async.sansio.payments.moves import (
    NO_CANCELS,
    Ask,
    CancelNews,
    Cancels,
    CheckoutEnd,
    CheckoutReason,
    CheckoutStatus,
    Move,
    SendCancel,
    WaitUntil,
)
from chaoying_async.sansio.payments.wallets import Wallets
from chaoying_async.sansio.polling.schedule import PollSchedule, last_query_at, next_step
from chaoying_async.sansio.polling.schedule import Wait as PollWait
from chaoying_async.sansio.polling.status import (
    UNASKED,
    Answer,
    PollStatus,
    Says,
    Standing,
    taken_together,
)

#: Nobody is asked on the schedule for longer than this.
POLLING_ENDS = 240.0
#: A cancel leaves not before so many seconds after the pay call *ended* ...
CANCEL_AFTER = 15.0
#: ... and not later than so many after it started.
CANCEL_UNTIL = 270.0
#: After a restart: from when and until when a cancel may leave, by the stored wall time.
RESTARTED_CANCEL = (30.0, 240.0)
#: A restarted till stops polling earlier: a query of 30 s must leave room for a cancel.
RESTARTED_POLLING_ENDS = 210.0
#: An order that is still unknown then, never arrived.
NEVER_ARRIVED = 270.0
#: Nothing is asked after this, but for a paid answer that may still turn, or a late cancel.
GIVE_UP = 300.0
#: The stored moment lies before the pay call itself, by as long as the store took.
_RESTARTED_LATER = 30.0
#: How long a restarted till asks, however old the order is.
RESTARTED_PATIENCE = 60.0
#: A paid answer after a cancel is asked about again after these pauses.
CONFIRM = (5.0, 10.0, 30.0, 60.0, 120.0)
#: So often more when the last of them found nobody to ask.
_CONFIRM_MORE = 3

#: Pauses while a cancel's effect is awaited: between queries, and between two cancels.
EFFECT_EVERY = 5.0
CANCEL_EVERY = 15.0
#: An order that was closed unpaid is looked at once more after so many seconds: a payment may have
#: been on its way.
CLOSED_STAYS = 30.0
#: How long a cancel's effect is asked about, should the cancel have left late.
_EFFECT_LASTS = 60.0
#: A cancel whose reply was lost is repeated so often on an order that is over already.
_MOST_CANCELS_OF_ENDED = 4
_SLOWEST = 3


_NO_NEWS = Answer(Says.PENDING)
#: Ends of an order other than paid, and how a checkout ends with them when no cancel left.
_OVER = {
    PollStatus.FAILED: CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason.FAILED),
    PollStatus.CLOSED: CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason.CLOSED),
    PollStatus.REVOKED: CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason.REVOKED),
    # It was paid once, and perhaps only a part was given back.
    PollStatus.REFUNDED: CheckoutEnd(CheckoutStatus.UNKNOWN, CheckoutReason.REFUNDED),
}
#: Ends after which a payment that was on its way may still come through.
_UNPAID_SO_FAR = frozenset({PollStatus.CLOSED, PollStatus.NOT_FOUND})


@attrs.frozen(kw_only=True)
class Till:
    """Everything that is known of one payment; each step makes a new one."""

    schedule: PollSchedule
    since: float
    """When waiting began: the pay call's end, or the restart."""
    polling_ends: float
    cancel_from: float
    cancel_until: float
    give_up: float
    never_arrived: float = NEVER_ARRIVED
    """An order that nobody knows then, never arrived."""
    wallets: Wallets
    asked: float | None = None
    """When the last query was sent; None before the first."""
    attempts: int = 0
    standing: Standing = UNASKED
    """What was heard since the last cancel."""
    seen: bool = False
    """Somebody answered about the order, which therefore exists or did."""
    suspect: bool = False
    """The pay call's answer was about another order or amount: never cancelled unless seen open."""
    used: bool = False
    """The pay call was answered 20004: the order, if there is one, may be another till's."""
    never_cancel: bool = False
    """Cancelling could reverse another till's sale, so it is never done."""
    earlier: bool = False
    """The payment that was last seen was made before the pay call."""
    open: bool = False
    """The last news of the order was that it is open."""
    over: PollStatus | None = None
    """The end that it is known to have come to, other than paid."""
    over_at: float = -1.0
    """When the last query that showed so was sent."""
    over_since: float = -1.0
    """When it was first heard of that end."""
    cancels: Cancels = NO_CANCELS
    confirms: int | None = None
    """Queries since a paid answer came after a cancel; None: none came."""
    dice: float = 0.0
    """Jitter of the next pause, from 0 to 1."""

    @property
    def closing(self) -> bool:
        """Whether polling is over: what is left is to cancel, and to learn what became of it."""
        if self.cancels.tries or self.cancels.left:
            return True
        return self.asked is not None and self.asked >= self.polling_ends


def opened(
    schedule: PollSchedule,
    *,
    ended: float,
    paytype: str | None,
    certain: bool,
    seen: bool = False,
    suspect: bool = False,
    used: bool = False,
    dice: float = 0.0,
) -> Till:
    """A till whose pay call took ``ended`` seconds and did not decide.

    ``used``: it was answered 20004. Then the order may be another call's, of any wallet.
    """
    return Till(
        schedule=schedule,
        since=ended,
        polling_ends=min(ended + schedule.until, max(POLLING_ENDS, ended)),
        cancel_from=ended + CANCEL_AFTER,
        cancel_until=CANCEL_UNTIL,
        give_up=GIVE_UP,
        wallets=Wallets(paytype=paytype, certain=certain and not used),
        seen=seen,
        suspect=suspect,
        used=used,
        never_cancel=used,
        dice=dice,
    )


def reopened(
    schedule: PollSchedule,
    *,
    age: float,
    paytype: str | None,
    certain: bool,
    seen: bool,
    suspect: bool,
    cancels: Cancels,
    used: bool = False,
    answered: bool = True,
    dice: float = 0.0,
) -> Till:
    """A till that a dead process left, ``age`` seconds after its pay call started (wall time).

    A negative age means that the wall clock was moved: nobody knows how old the order is, so
    nothing is cancelled. Nor is it where nobody knows how the pay call was answered: that may have
    been 20004, and the order another call's, of any wallet.
    """
    since = max(0.0, age)
    earliest, latest = RESTARTED_CANCEL
    return Till(
        schedule=attrs.evolve(schedule, first=0.0),
        since=since,
        polling_ends=min(schedule.until, RESTARTED_POLLING_ENDS),
        cancel_from=earliest,
        cancel_until=latest if age >= 0 else -1.0,
        give_up=max(GIVE_UP + _RESTARTED_LATER, since + RESTARTED_PATIENCE),
        never_arrived=NEVER_ARRIVED + _RESTARTED_LATER,
        wallets=Wallets(paytype=paytype, certain=certain and (answered or seen)),
        seen=seen,
        suspect=suspect,
        used=used,
        never_cancel=used or not answered,
        cancels=attrs.evolve(cancels, last_at=since),
        dice=dice,
    )


def heard_query(
    till: Till,
    answer: Answer,
    *,
    sent: float,
    paytype: str,
    about: bool = False,
    earlier: bool = False,
    heard: float | None = None,
    dice: float = 0.0,
) -> Till:
    """The till after a query that left at ``sent``; ``about``: an answer came that may be ours.

    ``heard`` is when its answer came, by default at once. ``answer`` is ``read_answer``'s, with the
    amount compared; ``earlier`` says of a paid one that the payment was made before the pay call.
    """
    heard = sent if heard is None else heard
    refused = answer.status is PollStatus.REFUSED  # asking may be possible again
    if refused or (till.confirms is not None and answer.says is Says.ABSENT):
        answer = _NO_NEWS  # what was paid does not vanish
    paid = answer.status in (PollStatus.PAID, PollStatus.MISMATCH)
    news = paid or answer.about_order
    standing = taken_together(till.standing, answer)
    is_open = answer.about_order and answer.says is Says.PENDING
    over = _over_by(till, standing)
    wallets = till.wallets.found(paytype) if news else till.wallets
    if answer.says is Says.ABSENT:
        wallets = wallets.missed(paytype, late=sent >= till.never_arrived)
    confirms = None if till.confirms is None else till.confirms + 1
    if till.closing and not till.cancels.harmless and paid and confirms is None:
        confirms = 0
    elif answer.about_order:
        confirms = None
    return attrs.evolve(
        till,
        asked=sent,
        attempts=till.attempts + 1,
        standing=standing,
        seen=till.seen or news or about,
        open=is_open or (till.open and answer.status is None),
        earlier=earlier if paid else till.earlier,
        over=None if paid or is_open else (over or till.over),
        over_at=till.over_at if over is None else sent,
        over_since=till.over_since if over is None or till.over else heard,
        wallets=wallets,
        confirms=confirms,
        dice=dice,
    )


def heard_cancel(till: Till, news: CancelNews, *, ended: float) -> Till:
    """The till after a cancel; what was heard before it says nothing about its effect."""
    kept = news in (CancelNews.NOT_SENT, CancelNews.REFUSED)
    certain = till.wallets.certain or news is CancelNews.CARRIED_OUT
    return attrs.evolve(
        till,
        cancels=till.cancels.after(news, ended),
        wallets=attrs.evolve(till.wallets, certain=certain),
        standing=till.standing if kept else UNASKED,
        open=till.open if kept else False,
        over=till.over if kept else None,
    )


def _over_by(till: Till, standing: Standing) -> PollStatus | None:
    if not standing.counts:
        return None
    if standing.status is PollStatus.NOT_FOUND and till.cancels.carried_out:
        return standing.status
    return standing.status if standing.status in _OVER else None


def next_move(till: Till, now: float) -> Move:
    """What to do at the moment ``now``."""
    end = _verdict(till, now)
    if end is not None:
        return end
    # A last query that would leave late gives way to the cancel, which has a window.
    late = till.asked is not None and now > till.polling_ends + EFFECT_EVERY
    return _closing(till, now) if till.closing or late else _polling(till, now)


def _polling(till: Till, now: float) -> Move:
    last = till.since if till.asked is None else till.asked
    schedule = attrs.evolve(till.schedule, until=max(0.0, till.polling_ends - till.since))
    step = next_step(schedule, till.attempts, last - till.since, till.standing, till.dice)
    due = last + step.seconds if isinstance(step, PollWait) else last
    return _ask(till, last_query_at(due, till.polling_ends), now)


def _closing(till: Till, now: float) -> Move:
    ask_at = _ask_moment(till)
    cancel_at = _cancel_moment(till, now)
    if (
        cancel_at is not None
        and till.wallets.paytype is not None
        and (ask_at is None or cancel_at <= ask_at)
    ):
        return (
            WaitUntil(cancel_at)
            if cancel_at > now
            else SendCancel(till.wallets.paytype, till.cancel_until)
        )
    if ask_at is None:
        return CheckoutEnd(CheckoutStatus.UNKNOWN, _undecided(till))
    return _ask(till, ask_at, now)


def _ask(till: Till, moment: float, now: float) -> Move:
    return WaitUntil(moment) if moment > now else Ask(_wallet_to_ask(till, now))


def _wallet_to_ask(till: Till, now: float) -> str:
    late = now >= till.never_arrived and _may_be_absent(till)
    return till.wallets.next_asked(till.attempts, late=late)


def _verdict(till: Till, now: float) -> CheckoutEnd | None:
    standing = till.standing
    if standing.counts and standing.status is PollStatus.MISMATCH:
        return CheckoutEnd(CheckoutStatus.UNKNOWN, CheckoutReason.MISMATCH)
    if standing.counts and standing.status is PollStatus.PAID:
        stays = till.confirms is not None and till.confirms >= len(CONFIRM)
        return _paid_end(till) if till.cancels.harmless or stays else None
    if till.over is not None:
        return _verdict_of_ended(till, till.over, now)
    if _may_be_absent(till) and till.wallets.all_absent:
        return CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason.NOT_FOUND)
    return None


def _paid_end(till: Till) -> CheckoutEnd:
    """How a payment that is there ends, by whose it is and whether a cancel may have left."""
    harmless = till.cancels.harmless
    if till.used or till.earlier:
        reason = CheckoutReason.NONE if harmless else CheckoutReason.AFTER_CANCEL
        return CheckoutEnd(CheckoutStatus.PAID_EARLIER, reason)
    return CheckoutEnd(CheckoutStatus.PAID if harmless else CheckoutStatus.PAID_AFTER_CANCEL)


def _verdict_of_ended(till: Till, over: PollStatus, now: float) -> CheckoutEnd | None:
    if till.cancels.harmless or over is PollStatus.FAILED:
        return _OVER[over]
    if over in _UNPAID_SO_FAR and till.over_at < _closed_by(till) + CLOSED_STAYS:
        return None  # it is looked at once more
    if till.cancels.carried_out:
        return CheckoutEnd(CheckoutStatus.CANCELLED)
    return None if _cancel_moment(till, now) is not None else _OVER[over]


def _closed_by(till: Till) -> float:
    """When the order was closed, at the latest: a cancel without an answer may arrive late."""
    last = till.cancels.last_at
    return last if till.cancels.carried_out else max(last, till.over_since)


def _may_be_absent(till: Till) -> bool:
    """No answer about the order was ever seen, and each cancel said the same."""
    return not till.seen and not till.suspect and till.cancels.left == till.cancels.absent


def _cancel_moment(till: Till, now: float) -> float | None:
    """The moment when a cancel should leave; None where none should, or none may any more."""
    if till.never_cancel or till.wallets.paytype is None or not _cancel_wanted(till):
        return None
    moment = till.cancel_from
    if till.cancels.tries:
        moment = max(moment, till.cancels.last_at + CANCEL_EVERY)
    return moment if max(moment, now) <= till.cancel_until else None


def _cancel_wanted(till: Till) -> bool:
    paid = till.confirms is not None or till.standing.status in (
        PollStatus.PAID,
        PollStatus.MISMATCH,
    )
    if paid or till.asked is None or (till.suspect and not till.open):
        return False
    last = till.cancels.last
    if till.over is not None:
        unclear = last in (CancelNews.UNCLEAR, CancelNews.NOT_SENT)
        few = till.cancels.tries < _MOST_CANCELS_OF_ENDED
        return unclear and few and not till.cancels.carried_out
    if last is None or till.open:
        return True
    return last in (CancelNews.UNCLEAR, CancelNews.ABSENT, CancelNews.NOT_SENT)


def _ask_moment(till: Till) -> float | None:
    """The moment when the next query is due; None after the last one."""
    if till.asked is None:
        return till.since
    asked = till.asked
    if till.confirms is not None:
        return _confirm_moment(asked, till.confirms)
    last_cancel = till.cancels.last_at if till.cancels.tries else -_EFFECT_LASTS
    end = max(till.give_up, last_cancel + _EFFECT_LASTS)
    if till.over in _UNPAID_SO_FAR:
        closed_by = _closed_by(till)
        end = max(end, closed_by + _EFFECT_LASTS)
        if asked < closed_by + CLOSED_STAYS:
            return closed_by + CLOSED_STAYS
    if asked >= end:
        return None
    troubles = min(till.standing.troubles, _SLOWEST)
    due = max(asked, last_cancel) + EFFECT_EVERY * 2.0**troubles
    if asked >= till.never_arrived and not troubles and _may_be_absent(till):
        due = asked if till.wallets.unasked_late else asked + EFFECT_EVERY
    for checkpoint in (till.never_arrived, end):
        if asked < checkpoint < due:
            due = checkpoint
    return due


def _confirm_moment(asked: float, confirms: int) -> float | None:
    if confirms < len(CONFIRM):
        return asked + CONFIRM[confirms]
    return asked + EFFECT_EVERY if confirms < len(CONFIRM) + _CONFIRM_MORE else None


def _undecided(till: Till) -> CheckoutReason:
    if till.confirms is not None:
        return CheckoutReason.PAID_UNCONFIRMED
    if till.over is PollStatus.REFUNDED:
        return CheckoutReason.REFUNDED
    if till.open:
        return CheckoutReason.STILL_OPEN
    unconfirmed = till.cancels.carried_out or till.over is not None
    return CheckoutReason.CANCEL_UNCONFIRMED if unconfirmed else CheckoutReason.NO_ANSWER
