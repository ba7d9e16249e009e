"""Every statement of an inbox, made once; each is a transaction of its own but those of ``work``.

None of them reads before it writes: what may be changed stands in the WHERE, and how many rows were
changed says whether it was. So nothing here deadlocks, whatever the isolation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    null,
    or_,
    select,
    update,
)

from chaoying_async.sansio.notifications.inbox_values import BY_A_PERSON, Mark, SeenState
from chaoying_async.sql.dialects import Dialect

_FREE = (SeenState.HELD, SeenState.NOT_PAID)
_ENDED = (SeenState.DONE, SeenState.NOT_PAID)
_FOR_PEOPLE = (SeenState.HELD, SeenState.QUARANTINED)

#: What a claim brings, by the column's own name.
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
#: Behind the decision of a foreign message, since the tables have no column for it.
FOREIGN = " (foreign)"
#: What a body has where its raw fields were not taken out yet.
_WITH_RAW = '%"raw":{"%'


def p(name: str) -> Any:
    """A parameter; its name never is a column's, which SQLAlchemy keeps for itself."""
    return bindparam(f"p_{name}")


def _is_one_of(state: Column[Any], states: Iterable[SeenState]) -> ColumnElement[bool]:
    """Not IN, whose text depends on its values: these are compiled without them."""
    return or_(*(state == one for one in states))


class PruningStatements:
    """A page of what ended, oldest first: where it ends, and what is done to it.

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
        #: By whether the rows themselves go, or their bodies only.
        self.page = {True: page.where(forgotten), False: page.where(has_body)}
        self.act = {
            True: delete(table).where(of_page, forgotten),
            False: update(table).where(of_page, has_body).values(payload=""),
        }


class OrderStatements:
    """What is asked of the table of orders."""

    def __init__(self, table: Table, dialect: Dialect) -> None:
        c = table.c
        self.table = table
        now, state = dialect.now, c.state
        this = and_(c.mch_id == p("mch_id"), c.out_trade_no == p("out_trade_no"))
        ours = and_(this, c.token == p("token"), state == SeenState.HELD)
        over = and_(c.held_until <= now, c.due <= now)

        self._all = select(table, (c.held_until - now).label("left"))
        self.look = self._all.where(this)
        new = dialect.insert_new(table).values(
            {name: p(name) for name in ("mch_id", "out_trade_no", *ENTRY)}
            | {"due": 0, "failures": 0, "reason": ""}
        )
        self.claim_new = new.values(state=SeenState.HELD, token=1, held_until=now + p("lease"))
        self.not_paid = new.values(state=SeenState.NOT_PAID, token=0, held_until=0)
        self.not_paid_given_up = (
            update(table)
            .where(this, state == SeenState.NOT_PAID, c.decision != p("decision"))
            .values({name: p(name) for name in ENTRY})
        )
        # A claim, a release or a quarantine in between has changed the token.
        self.claim_again = (
            update(table)
            .where(this, c.token == p("token"), _is_one_of(state, _FREE), c.held_until <= now)
            .values({name: p(name) for name in ENTRY})
            .values(state=SeenState.HELD, token=c.token + 1, held_until=now + p("lease"), due=0)
        )
        self.still_ours = select(c.token).where(ours)
        #: Where isolation makes that lock the lease.
        self.lock = self.still_ours.with_for_update()
        # Changes nothing, but takes SQLite's one write lock.
        self.hold = update(table).where(ours).values(token=c.token)
        # Of what has ended, the moment when it did: by that it is forgotten (M-19).
        self.complete = update(table).where(ours).values(state=SeenState.DONE, held_until=now)
        self.renew = update(table).where(ours).values(held_until=now + p("lease"))
        self.release = (
            update(table)
            .where(ours)
            .values(
                token=c.token + 1,
                held_until=0,
                due=now + p("retry"),
                failures=c.failures + p("failed"),
            )
        )
        self.quarantine = (
            update(table)
            .where(ours)
            .values(
                state=SeenState.QUARANTINED, token=c.token + 1, held_until=0, reason=p("reason")
            )
        )
        # As one of which only failures were heard: free, and not due.
        self.give_up = (
            update(table)
            .where(ours)
            .values(state=SeenState.NOT_PAID, token=c.token + 1, held_until=now)
        )
        mark = (
            update(table)
            .where(this, state == SeenState.QUARANTINED)
            .values(held_until=now, due=0, state=SeenState.HELD)
        )
        self.mark = {
            Mark.RETRY: mark,
            Mark.APPLY: mark.values(decision=BY_A_PERSON),
            Mark.DISMISS: mark.values(state=SeenState.DONE),
        }
        self.unfinished = self._oldest(state == SeenState.HELD, over)
        self.listing = self._oldest(_is_one_of(state, _FOR_PEOPLE))

        # A message may have waited for days for its order: what took effect only now is kept.
        ended = _is_one_of(state, _ENDED)
        self.pruning = PruningStatements(table, ended, and_(ended, c.held_until < p("before")))

    def _oldest(self, *which: ColumnElement[bool]) -> Select[Any]:
        return self._all.where(*which).order_by(self.table.c.first_seen).limit(p("limit"))


class AsideStatements:
    """What is asked of the table of messages that were set aside."""

    def __init__(self, table: Table, dialect: Dialect) -> None:
        c = table.c
        self.table = table
        now, is_open = dialect.now, c.closed.is_(False)
        order = and_(c.mch_id == p("mch_id"), c.out_trade_no == p("out_trade_no"))
        this = and_(order, c.fingerprint == p("fingerprint"))

        self.look = select(table).where(this)
        self.of_order = select(table).where(order, is_open).order_by(c.first_seen)
        due_in = now + p("retry")
        new = dialect.insert_new(table).values(
            {name: p(name) for name in ("mch_id", "out_trade_no", "fingerprint", *ASIDE)}
            | {"tries": 0, "mark": null(), "closed": False}
        )
        again = (
            update(table)
            .where(this, is_open, c.decision == p("seen"))
            .values({name: p(name) for name in ASIDE if name != "first_seen"})
        )
        postpone = (
            update(table)
            .where(this)
            .values(tries=c.tries + 1, mark=case((c.mark == Mark.RETRY, null()), else_=c.mark))
        )
        # By whether there is a time for the next look.
        self.new = {True: new.values(due=due_in), False: new.values(due=null())}
        self.again = {True: again.values(due=due_in), False: again.values(due=null())}
        self.postpone = {True: postpone.values(due=due_in), False: postpone.values(due=null())}
        self.close = update(table).where(this).values(closed=True, due=null())
        self.mark = update(table).where(this, is_open).values(mark=p("mark"), closed=p("closed"))
        self.unfinished = self._oldest(is_open, or_(c.mark.is_not(None), c.due <= now))
        self.listing = self._oldest(is_open)

        foreign = c.decision.like(f"%{FOREIGN}")
        is_closed = c.closed.is_(True)
        self.pruning = PruningStatements(table, is_closed, or_(is_closed, foreign))
        #: What waits and was not pruned yet, oldest first; and what is written in its place.
        self.with_raw = self._oldest(is_open, c.first_seen < p("before"), c.payload.like(_WITH_RAW))
        self.replace = update(table).where(this, is_open).values(payload=p("payload"))
        #: Whether there is room for one more: the order's own, and the merchant's other ones.
        self.messages = select(c.decision).where(order, is_open).limit(p("limit"))
        self.foreign = (
            select(c.out_trade_no)
            .distinct()
            .where(c.mch_id == p("mch_id"), c.out_trade_no != p("out_trade_no"), is_open, foreign)
            .limit(p("limit"))
        )

    def _oldest(self, *which: ColumnElement[bool]) -> Select[Any]:
        chosen = select(self.table).where(*which)
        return chosen.order_by(self.table.c.first_seen).limit(p("limit"))
