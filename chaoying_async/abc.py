"""The interfaces of what the engines are given: clock, gateway, poll store, inbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from chaoying_async.sansio.api.endpoint import Reply, Request
    from chaoying_async.sansio.notifications.inbox_values import (
        Aside,
        Entry,
        Mark,
        OrderKey,
        Record,
        SeenState,
    )
    from chaoying_async.sansio.observed import ObservedWork

T = TypeVar("T")


class Clock(Protocol):
    """The time: every wait, time-out and look at the time of the library goes through a Clock."""

    def now(self) -> datetime:
        """The wall clock as an aware datetime, for moments that are stored or sent."""
        ...

    def monotonic(self) -> float:
        """Seconds from a fixed moment, which never go back; for durations inside one process."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long on this clock."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        """Cancel the block and raise :class:`TimeoutError` when it takes longer; None: never."""
        ...


class Gateway(Protocol):
    """The part of a session that pollers, checkouts and handlers need: it sends any request.

    A gateway of your own may lack ``mch_id``; each request then has to name its merchant. If it has
    an ``observer`` (an :class:`Observer` or None), checkouts and refunds are told to that one. If
    it has a ``timeout`` (an ``httpx.Timeout``), as a session has, and its :meth:`send` takes one,
    its payments leave in time or not at all (M-24).
    """

    @property
    def mch_id(self) -> str | None:
        """The merchant of the requests that name none (M-18); None: each has to name its own."""
        ...

    async def send(self, request: Request[T], *, timeout: Any = None) -> Reply[T]:
        """Send one request once (reads may be repeated) and return its verified reply.

        A call that moves money may go by another session only where the first one's certainly has
        not left: ``RequestNotSentError``, or an error of a request hook.
        """
        ...


class Observer(Protocol):
    """Is told of calls, payments and notifications while they are under way: for traces, metrics.

    What it is told are codes and numbers (``sansio.observed``): no order, buyer, amount or key.
    ``chaoying_async.observing.otel.Telemetry`` is one.
    """

    def observing(self, work: ObservedWork) -> AbstractContextManager[object] | None:
        """A block around some work, which is entered before it begins and left when it has ended.

        None where nobody would see it: then the rest of it costs nothing.

        On entering, ``work`` says what it is; on leaving, how it ended and how long it took. The
        block is left without an exception, whatever the work raised. Context variables that it sets
        are seen by everything inside, and blocks inside belong to this one. It runs in the event
        loop, on the way of every payment: it must neither wait nor write. What it raises is a line
        at ERROR, and changes nothing for the work; only SystemExit and KeyboardInterrupt end the
        program, as anywhere. What ends the work itself, such as its cancellation, goes on.
        """
        ...


class PollStore(Protocol):
    """Keeps texts about orders that are waited for, so that the next process finds them.

    The store knows nothing of orders: it keeps texts (JSON) under a ``kind`` and a ``key``. A
    poller keeps its orders and their outcomes there, ``checkout`` and ``refund_and_track`` their
    intents. Only an open store can be used. Opening it makes this process its owner;
    :class:`~chaoying_async.exceptions.StoreInUseError` says that another process owns it.

    Any other error of these methods reaches callers of ``checkout`` and of pollers as a
    :class:`~chaoying_async.exceptions.StoreError` with that error as its cause. A store of your own
    needs no more than these five methods. With such a store ``await`` what ``outcome.done()``
    returns, since the store cannot wait for that by itself when it is closed.
    """

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        """Keep these texts under their keys, in place of older ones; they are durable on return.

        Calls that come at the same time may be written together, in the order in which they came.
        If the caller is cancelled or an error is raised, the texts may have been kept or not;
        putting them again does no harm.
        """
        ...

    async def get(self, kind: str, key: str) -> str | None:
        """The text under this key; None where there is none."""
        ...

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        """Delete the texts under these keys; a key that is not there is no error."""
        ...

    def load(self, kind: str) -> AsyncIterator[tuple[str, str]]:
        """Every ``(key, text)`` of one kind, in the order in which the keys were first put."""
        ...

    async def hold(self) -> None:
        """Check that this process still owns the store, as before every call that moves money.

        Raises :class:`~chaoying_async.exceptions.StoreInUseError` when another process has taken
        the store over.
        """
        ...


class LockedOrder(Protocol):
    """An order that nobody else works on until the block of :meth:`Inbox.lock` is left."""

    @property
    def before(self) -> Record | None:
        """The order's record, read under the lock; None where the order was never heard of."""
        ...

    def lend(self) -> AbstractAsyncContextManager[Any]:
        """A block for a function of the user's; it yields what that function may be handed.

        That is a connection inside the transaction that records the order too, or None where the
        inbox has none. A block may follow another. Where the function has ended that transaction,
        leaving its block or :meth:`save` raises a ``TransactionEndedError`` (of
        ``sansio.notifications.inbox_values``, as are the other errors and values here).
        """
        ...

    async def save(
        self,
        state: SeenState,
        entry: Entry,
        *,
        failures: int = 0,
        reason: str = "",
        retry_in: float = 0.0,
    ) -> None:
        """Record how the order stands from now on, in place of :attr:`before`; at most once.

        It is durable when the block has been left without an error. ``failures``: how often
        ``on_paid`` has failed. ``reason``: why it is QUARANTINED. ``retry_in``: seconds until an
        order that is HELD becomes due. The token of the new record is another one.
        """
        ...


class Inbox(Protocol):
    """Remembers what was handled already, for every process that receives notifications.

    An inbox keeps *orders*, one record for each key, and *asides*: verified messages that could not
    take effect (yet), any number of them for an order. An order that is DONE stays DONE. Every
    moment in an inbox (leases, retries) is on the inbox's own clock (the database's, Redis's); only
    ``first_seen`` is on the handler's (M-26).

    Every failure is raised. The handler answers ``fail`` then, so the gateway delivers the message
    again and nothing is lost. These ten names are all that a handler needs: an inbox for another
    database is a class with them.
    """

    @property
    def window(self) -> timedelta:
        """The least time for which an order that ended is remembered (M-19)."""
        ...

    @property
    def lends_connection(self) -> bool:
        """Whether :meth:`LockedOrder.lend` yields a connection."""
        ...

    async def look(self, key: OrderKey) -> Record | None:
        """The record of this order, without its lock; None where it was never heard of."""
        ...

    def lock(self, key: OrderKey, entry: Entry) -> AbstractAsyncContextManager[LockedOrder | None]:
        """A block in which nobody else works on this order; it yields None where somebody does.

        It never waits for the order's holder. What was saved (and what was done on a connection
        that was lent) is durable when the block has been left normally; an exception, a
        cancellation, or leaving without :meth:`LockedOrder.save` changes nothing about the order,
        its token and the moment when it is due included. An order that is DONE needs no lock, since
        nobody changes it any more: it is yielded without one, and must not be saved. Inside the
        block a handler calls nothing else of the inbox, so it needs one connection at a time.

        ``entry`` is what the message says of the payment. An inbox that shows others an order that
        is locked keeps it from here on, where the order is new or NOT_PAID, so that they see that
        the order is HELD, and take it up when its holder has died; where nothing is saved, the
        record is again what it was. Where nobody would read it, its payload is empty: in an inbox
        that lends its connection, and in one that has an attribute ``shows_claims`` which is False.

        Raises :class:`~chaoying_async.sansio.notifications.inbox_values.LookAgainError` where the
        block was rolled back for the sake of somebody else, or its lock was lost. After any other
        error on leaving, nobody knows whether the work was committed.
        """
        ...

    async def set_aside(self, aside: Aside, *, retry_in: float | None) -> bool:
        """Keep a message under its key and fingerprint; True only when it has to be reported.

        It has to be reported when it is new, and when its decision is not the one it had before. A
        message that is kept already retains its ``first_seen``, its ``tries`` and its mark, and the
        rest is replaced; a dismissed one stays as it is (False). The message is due in ``retry_in``
        seconds; with None only when somebody marks it.

        A new message is refused with ``TooManyWaitError`` where its order has ``MOST_MESSAGES``
        open ones already, and a new ``foreign`` one where its merchant has ``MOST_FOREIGN`` such
        orders: ``check_room`` raises it by the counts. Processes that write at the same moment may
        go beyond these limits by what they are writing.
        """
        ...

    async def postpone(self, aside: Aside, *, retry_in: float | None) -> None:
        """Count one more try and remove a RETRY mark; due in ``retry_in`` seconds (None: never)."""
        ...

    async def close(self, aside: Aside) -> None:
        """Dismiss the message: it is kept, and nothing is to be done about it any more."""
        ...

    async def asides(self, key: OrderKey) -> Sequence[Aside]:
        """The open messages about this order, oldest ``first_seen`` first."""
        ...

    async def aside(self, key: OrderKey, fingerprint: str) -> Aside | None:
        """One message, dismissed or not; None when it was never set aside."""
        ...

    async def unfinished(self, limit: int) -> Sequence[Record | Aside]:
        """What is due: at most ``limit`` orders and messages together, oldest ``first_seen`` first.

        An order is due when it is HELD, nobody's lease on it runs, and its retry's time has come. A
        message is due when it is open and its time has come, or it is marked RETRY or APPLY. An
        order whose lock is held may be among them: whoever takes it up finds that. What cannot be
        read, since another version wrote it, is left out and said: it must hide no other.
        """
        ...


class InboxForPeople(Inbox, Protocol):
    """What ``chaoying inbox`` needs beside: what waits for a person, and what a person decides."""

    async def listing(self, limit: int) -> Sequence[Record | Aside]:
        """What people want to see: open messages, orders QUARANTINED or HELD; oldest first."""
        ...

    async def mark(self, key: OrderKey, mark: Mark, fingerprint: str | None = None) -> bool:
        """Record what a person wants done; False when there is nothing of the kind to decide about.

        With a fingerprint this is about an open message: DISMISS closes it, the other marks make it
        due at once. Without one it is about a QUARANTINED order: DISMISS makes it DONE, since a
        person says that its effect is there; the other marks make it HELD and due at once, and
        APPLY makes its entry's decision
        :data:`~chaoying_async.sansio.notifications.inbox_values.BY_A_PERSON`.
        """
        ...

    async def prune(self, before: datetime, *, keys: bool = False) -> int:
        """Delete the payloads of what ended (DONE, NOT_PAID, dismissed) before then; how many.

        A message whose fingerprint is
        :data:`~chaoying_async.sansio.notifications.inbox_values.FIRST` retains its payload: a
        second payment of its order is told by it.
        Open messages that came before then lose their raw fields, and keep numbers and amounts.
        With ``keys``, ``foreign`` messages and the records of what ended are deleted altogether,
        except those whose message or effect is younger than :attr:`Inbox.window` and ``AHEAD`` (10
        minutes): a redelivery of an older one is STALE, one of a younger would take effect again. A
        ``settle`` has no age: one that comes after the record was deleted runs ``on_paid`` again.
        """
        ...
