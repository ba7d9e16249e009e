"""Interfaces: what the engines are handed instead of reaching for it themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from chaoying_async.sansio.api.endpoint import Reply, Request
    from chaoying_async.sansio.notifications.inbox_values import (
        Aside,
        Claim,
        Entry,
        Mark,
        OrderKey,
        Record,
    )

T = TypeVar("T")


class Clock(Protocol):
    """Time, handed in: every wait, now() and time-out of the library goes through one of these."""

    def now(self) -> datetime:
        """The wall clock as an aware datetime, for what is stored or compared with the document."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for durations inside one process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long on this clock."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        """Cancel the block and raise :class:`TimeoutError` when it takes longer; None: never."""
        ...


class Gateway(Protocol):
    """What pollers, checkouts and handlers need of a session: one way to send any request."""

    async def send(self, request: Request[T], *, timeout: Any = None) -> Reply[T]:
        """Send one request once (reads may be repeated) and return its verified reply."""
        ...


class PollStore(Protocol):
    """What is being waited for, kept where the next process finds it; one process owns it.

    It knows nothing of orders: it keeps texts (JSON) under a ``kind`` and a ``key``. A poller keeps
    its orders and their outcomes in it, ``checkout`` and ``refund_and_track`` their intents. Only
    an open store can be used; opening it takes the ownership, and
    :class:`~chaoying_async.exceptions.StoreInUseError` says that somebody else has it.

    Whatever else these methods raise reaches callers of ``checkout`` and of pollers as a
    :class:`~chaoying_async.exceptions.StoreError`, with what was raised as its cause. A store of
    yours needs no more than these five methods; there ``await`` what ``outcome.done()`` returns,
    since it cannot wait for that by itself when it is closed.
    """

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        """Keep these texts under their keys, durable on return; what was there is replaced.

        Calls that come together are written together, in the order in which they came. Where the
        caller is cancelled meanwhile, or an error is raised, the texts may have been kept or not:
        putting them again does no harm.
        """
        ...

    async def get(self, kind: str, key: str) -> str | None:
        """One text; None where there is none."""
        ...

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        """Drop these; keys that are not there are no error."""
        ...

    def load(self, kind: str) -> AsyncIterator[tuple[str, str]]:
        """Everything of one kind as ``(key, text)``, in the order of the first ``put``."""
        ...

    async def hold(self) -> None:
        """Read again that this process owns the store, as before every call that moves money.

        :class:`~chaoying_async.exceptions.StoreInUseError` when another one has taken it over.
        """
        ...


class Inbox(Protocol):
    """What has been handled already, shared by every process that receives notifications.

    It keeps two kinds of things: *orders*, one record for each key, and *asides*, the verified
    messages that could not take effect (yet), any number for an order. An order that is DONE stays
    DONE whatever else is said about it. Every moment in here (leases, retries) is on the inbox's
    own clock: the database's, Redis's; ``first_seen`` alone is the handler's (M-26).

    Whatever fails is raised; the handler answers ``fail``, and nothing is lost by that.
    """

    @property
    def window(self) -> timedelta:
        """How long an order that ended is remembered at the least (M-19)."""
        ...

    @property
    def lends_connection(self) -> bool:
        """Whether :meth:`work` yields a connection whose transaction records the effect too."""
        ...

    @property
    def renews(self) -> bool:
        """False where :meth:`work` itself keeps others out, so that no lease has to be renewed."""
        ...

    async def look(self, key: OrderKey) -> Record | None:
        """What is known of this order; None: nothing."""
        ...

    async def claim(self, key: OrderKey, entry: Entry, *, lease: float) -> Claim | Record:
        """Take the order for ``lease`` seconds, durable on return; its record where it is not free.

        Free are: an order never heard of, a NOT_PAID one, and a HELD one whose lease has ended or
        was released, even before its retry is due. One step, whoever else tries at the same moment.
        ``entry`` replaces what was kept, all of it; the count of failures stays.
        """
        ...

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        """From now on ``lease`` seconds again; False when the claim is no longer ours.

        An error raised here proves nothing: it is tried again.
        """
        ...

    def work(self, claim: Claim) -> AbstractAsyncContextManager[Any]:
        """Do the work inside; leaving the block normally makes the order DONE.

        Yields a connection where :attr:`lends_connection`, else None. What was done with it and the
        record are committed together on leaving, only where the claim still holds, else everything
        is rolled back and ``ClaimLostError`` raised.
        Leaving by an exception (cancellation too) rolls back and touches the record not at all.
        :class:`~chaoying_async.exceptions.HandlerMisuseError` when the work ended the transaction
        that it was lent. Any other error on leaving leaves it open whether it was committed.
        """
        ...

    async def release(self, claim: Claim, *, retry_in: float, failed: bool) -> bool:
        """Let go of a claim that came to nothing; due again in ``retry_in`` seconds.

        ``failed`` counts a failure of ``on_paid``. Without effect where the claim is no longer ours
        or its work was committed after all. True for the order's first counted failure.
        """
        ...

    async def quarantine(self, claim: Claim, reason: str) -> bool:
        """End a claim in QUARANTINED; True if it did (the claim was still ours)."""
        ...

    async def give_up(self, claim: Claim) -> bool:
        """End a claim in NOT_PAID, as if nothing but failures had been heard: True if it did.

        For an order whose message is set aside instead: free for the next claim, and never due.
        Its entry stays, and by its decision it is told from an order of which a failure was heard.
        """
        ...

    async def not_paid(self, key: OrderKey, entry: Entry) -> bool:
        """Note that a payment failed; True if it was news. Never over HELD, DONE, QUARANTINED.

        Over what was given up it is news: a NOT_PAID record whose entry has another decision.
        """
        ...

    async def set_aside(self, aside: Aside, *, retry_in: float | None) -> bool:
        """Keep a message under its key and fingerprint; True only when it is to be reported.

        That is the first time, and when its decision is another one than before. Of a message that
        is kept already, ``first_seen``, ``tries`` and the mark stay, and what was dismissed stays
        so (False). ``retry_in`` seconds from now it is due; None: only when somebody marks it.

        A new one is refused with ``TooManyWaitError`` where
        the order has ``MOST_MESSAGES`` open ones already, or, for a ``foreign`` one, where the
        merchant has ``MOST_FOREIGN`` such orders. Processes that write at the same moment may go
        beyond that by what they are writing.
        """
        ...

    async def postpone(self, aside: Aside, *, retry_in: float | None) -> None:
        """It was looked at: one more try, due again then (None: not), and any RETRY mark is off."""
        ...

    async def close(self, aside: Aside) -> None:
        """Nothing is to be done about it any more; it stays dismissed."""
        ...

    async def asides(self, key: OrderKey) -> Sequence[Aside]:
        """What is set aside about this order and not closed, oldest ``first_seen`` first."""
        ...

    async def aside(self, key: OrderKey, fingerprint: str) -> Aside | None:
        """One message, closed or not; None when it was never set aside."""
        ...

    async def unfinished(self, limit: int) -> Sequence[Record | Aside]:
        """What is due, at most so many of both together, oldest ``first_seen`` first.

        HELD orders whose lease has ended or was released, with no retry before now; asides that are
        open and due, or marked RETRY or APPLY.
        """
        ...

    async def listing(self, limit: int) -> Sequence[Record | Aside]:
        """For people: asides that are open, orders QUARANTINED or HELD; oldest first."""
        ...

    async def mark(self, key: OrderKey, mark: Mark, fingerprint: str | None = None) -> bool:
        """Say what to do; False when there is no such thing to decide about.

        With a fingerprint, about an open aside: DISMISS closes it, the others make it due at once.
        Without one, about a QUARANTINED order: DISMISS makes it DONE, since a person says that its
        effect is there; the others make it HELD and due at once, and APPLY has its entry's decision
        say :data:`~chaoying_async.sansio.notifications.inbox_values.BY_A_PERSON`.
        """
        ...

    async def prune(self, before: datetime, *, keys: bool = False) -> int:
        """Forget the payloads of what ended (DONE, NOT_PAID, closed) before then; how many did.

        Of what is set aside and came before then the raw fields go; numbers and amounts stay. With
        ``keys`` ``foreign`` messages go altogether, and the records of what ended too, but nothing
        of which the message came, or the effect, inside :attr:`window` and ``AHEAD`` (10 minutes):
        a redelivery of anything older is STALE, of anything younger it would take effect again. A
        ``settle`` has no age: one that comes after the record was forgotten runs ``on_paid`` again.
        """
        ...
