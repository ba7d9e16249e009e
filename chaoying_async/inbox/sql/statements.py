"""Every statement of an inbox, made once; only those of ``work`` share a transaction.

No statement reads before it writes: what may be changed stands in the WHERE, and how many rows were
changed says whether it was. So nothing here deadlocks, whatever the isolation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    case,
    delete,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.sql.dml import ValuesBase

from chaoying_async.sansio.notifications.inbox_values import BY_A_PERSON, Mark, SeenState
from chaoying_async.sql.dialects import SqlDialect

V = TypeVar("V", bound=ValuesBase)

_FREE = (SeenState.HELD, SeenState.NOT_PAID)
_ENDED = (SeenState.DONE, SeenState.NOT_PAID)
_FOR_PEOPLE = (SeenState.HELD, SeenState.QUARANTINED)

#: The columns that a claim fills.
ENTRY = (
    "payload",
    "first_seen",
    "payable",
    "transaction_id",
    "out_transaction_id",
    "source",
    "decision",
)
ASIDE = ("decision", "reason", "payload", "first_seen")
#: Ends the decision of a foreign message, since the tables have no column for that.
FOREIGN = " (foreign)"
#: Matches a payload whose raw fields were not taken out yet.
_WITH_RAW = '%"raw":{"%'


def p(name: str) -> Any:
    """A parameter; SQLAlchemy keeps the columns' own names for itself, hence the prefix."""
    return bindparam(f"p_{name}")


def _is_one_of(state: Column[Any], states: Iterable[SeenState]) -> ColumnElement[bool]:
    """OR rather than IN, whose text depends on its values: these are compiled without them."""
    return or_(*(state == one for one in states))


class PruningStatements:
    """Finds a page of what ended, oldest first, and empties or deletes it.

    Each page begins where the last one ended: no long lock, and no row is looked at twice.
    """

    def __init__(
        self, table: Table, ended: ColumnElement[bool], forgotten: ColumnElement[bool]
    ) -> None:
        c = table.c
        old = and_(c.first_seen >= p("after"), c.first_seen < p("before"))
        has_body = and_(ended, c.payload != "")
        page = select(c.first_seen).where(old).order_by(c.first_seen).limit(p("limit"))
        of_page = and_(old, c.first_seen <= p("last"))
        #: True: the rows go; False: only their payloads.
        self.page = {True: page.where(forgotten), False: page.where(has_body)}
        self.act = {
            True: delete(table).where(of_page, forgotten),
            False: update(table).where(of_page, has_body).values(payload=""),
        }


class OrderStatements:
    """The statements on the table of orders."""

    def __init__(self, table: Table, dialect: SqlDialect) -> None:
        c = table.c
        self._table = table
        self._now = dialect.now
        self._this = and_(c.mch_id == p("mch_id"), c.out_trade_no == p("out_trade_no"))
        self._ours = and_(self._this, c.token == p("token"), c.state == SeenState.HELD)
        self._make_queries()
        self._make_inserts(dialect)
        self._make_claims()
        self._make_ends()
        self._make_marks()

    def _make_queries(self) -> None:
        c = self._table.c
        self._all = select(self._table, (c.held_until - self._now).label("left"))
        self.look = self._all.where(self._this)
        over = and_(c.held_until <= self._now, c.due <= self._now)
        self.unfinished = self._oldest(c.state == SeenState.HELD, over)
        self.listing = self._oldest(_is_one_of(c.state, _FOR_PEOPLE))
        # By when its work ended, not by when its message came, which may have waited for days.
        ended = _is_one_of(c.state, _ENDED)
        forgotten = and_(ended, c.held_until < p("before"))
        self.pruning = PruningStatements(self._table, ended, forgotten)

    def _make_inserts(self, dialect: SqlDialect) -> None:
        new = dialect.insert_new(self._table).values(
            {name: p(name) for name in ("mch_id", "out_trade_no", *ENTRY)}
            | {"due": 0, "failures": 0, "reason": ""}
        )
        leased = self._now + p("lease")
        self.claim_new = new.values(state=SeenState.HELD, token=1, held_until=leased)
        self.not_paid = new.values(state=SeenState.NOT_PAID, token=0, held_until=0)

    def _make_claims(self) -> None:
        c, leased = self._table.c, self._now + p("lease")
        # A claim, a release or a quarantine in between has changed the token.
        is_free = and_(
            self._this,
            c.token == p("token"),
            _is_one_of(c.state, _FREE),
            c.held_until <= self._now,
        )
        self.claim_again = (
            update(self._table)
            .where(is_free)
            .values({name: p(name) for name in ENTRY})
            .values(state=SeenState.HELD, token=c.token + 1, held_until=leased, due=0)
        )
        self.renew = self._change_ours(held_until=leased)
        self.still_ours = select(c.token).where(self._ours)
        #: For isolations under which the row's lock is the lease.
        self.lock = self.still_ours.with_for_update()
        # Changes nothing, but takes SQLite's one write lock.
        self.hold = self._change_ours(token=c.token)

    def _make_ends(self) -> None:
        c, now, free = self._table.c, self._now, self._table.c.token + 1
        # ``held_until`` of an ended order says when it ended: by that it is forgotten (M-19).
        self.complete = self._change_ours(state=SeenState.DONE, held_until=now)
        self.release = self._change_ours(
            token=free, held_until=0, due=now + p("retry"), failures=c.failures + p("failed")
        )
        self.quarantine = self._change_ours(
            state=SeenState.QUARANTINED, token=free, held_until=0, reason=p("reason")
        )
        # As an order of which only failures were heard: free, and not due.
        self.give_up = self._change_ours(state=SeenState.NOT_PAID, token=free, held_until=now)
        self.not_paid_given_up = (
            update(self._table)
            .where(self._this, c.state == SeenState.NOT_PAID, c.decision != p("decision"))
            .values({name: p(name) for name in ENTRY})
        )

    def _make_marks(self) -> None:
        quarantined = self._table.c.state == SeenState.QUARANTINED
        mark = (
            update(self._table)
            .where(self._this, quarantined)
            .values(held_until=self._now, due=0, state=SeenState.HELD)
        )
        self.mark = {
            Mark.RETRY: mark,
            Mark.APPLY: mark.values(decision=BY_A_PERSON),
            Mark.DISMISS: mark.values(state=SeenState.DONE),
        }

    def _change_ours(self, **values: Any) -> Update:
        return update(self._table).where(self._ours).values(**values)

    def _oldest(self, *which: ColumnElement[bool]) -> Select[Any]:
        return self._all.where(*which).order_by(self._table.c.first_seen).limit(p("limit"))


class AsideStatements:
    """The statements on the table of messages that were set aside."""

    def __init__(self, table: Table, dialect: SqlDialect) -> None:
        c = table.c
        self._table = table
        self._now = dialect.now
        self._is_open = c.closed.is_(False)
        self._order = and_(c.mch_id == p("mch_id"), c.out_trade_no == p("out_trade_no"))
        self._this = and_(self._order, c.fingerprint == p("fingerprint"))
        self._foreign = c.decision.like(f"%{FOREIGN}")
        self._make_queries()
        self._make_changes(dialect)

    def _make_queries(self) -> None:
        c, is_open, foreign = self._table.c, self._is_open, self._foreign
        self.look = select(self._table).where(self._this)
        self.of_order = select(self._table).where(self._order, is_open).order_by(c.first_seen)
        self.unfinished = self._oldest(is_open, or_(c.mark.is_not(None), c.due <= self._now))
        self.listing = self._oldest(is_open)
        #: For counting: the order's open messages, and the merchant's other foreign orders.
        self.messages = select(c.decision).where(self._order, is_open).limit(p("limit"))
        self.foreign = (
            select(c.out_trade_no)
            .distinct()
            .where(c.mch_id == p("mch_id"), c.out_trade_no != p("out_trade_no"), is_open, foreign)
            .limit(p("limit"))
        )
        is_closed = c.closed.is_(True)
        self.pruning = PruningStatements(self._table, is_closed, or_(is_closed, foreign))
        #: Open messages that still have their raw fields, oldest first.
        self.with_raw = self._oldest(is_open, c.first_seen < p("before"), c.payload.like(_WITH_RAW))

    def _make_changes(self, dialect: SqlDialect) -> None:
        c = self._table.c
        open_ = update(self._table).where(self._this, self._is_open)
        self.new = self._due(
            dialect.insert_new(self._table).values(
                {name: p(name) for name in ("mch_id", "out_trade_no", "fingerprint", *ASIDE)}
                | {"tries": 0, "mark": null(), "closed": False}
            )
        )
        self.again = self._due(
            open_.where(c.decision == p("seen")).values(
                {name: p(name) for name in ASIDE if name != "first_seen"}
            )
        )
        unmarked = case((c.mark == Mark.RETRY, null()), else_=c.mark)
        self.postpone = self._due(
            update(self._table).where(self._this).values(tries=c.tries + 1, mark=unmarked)
        )
        self.close = update(self._table).where(self._this).values(closed=True, due=null())
        self.mark = open_.values(mark=p("mark"), closed=p("closed"))
        #: Writes the payload without its raw fields.
        self.replace = open_.values(payload=p("payload"))

    def _due(self, statement: V) -> dict[bool, V]:
        """The statement by whether there is a time for the next look."""
        return {
            True: statement.values(due=self._now + p("retry")),
            False: statement.values(due=null()),
        }

    def _oldest(self, *which: ColumnElement[bool]) -> Select[Any]:
        chosen = select(self._table).where(*which)
        return chosen.order_by(self._table.c.first_seen).limit(p("limit"))
