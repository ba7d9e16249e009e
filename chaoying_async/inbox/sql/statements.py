"""Every statement of an inbox, made once.

Those on an order run under its lock (``locks``). Of the others none reads before it writes: what
may be changed stands in the WHERE, and how many rows were changed says whether it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Executable,
    Select,
    Table,
    Text,
    Update,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.dml import ValuesBase

from chaoying_async.sansio.notifications.inbox_values import BY_A_PERSON, Mark, SeenState
from chaoying_async.sql.dialects import SqlDialect

V = TypeVar("V", bound=ValuesBase)

_ENDED = (SeenState.DONE, SeenState.NOT_PAID)
_FOR_PEOPLE = (SeenState.HELD, SeenState.QUARANTINED)

#: What lasts as long as the transaction in which the order was locked: a setting of PostgreSQL's,
#: and a savepoint in the other databases.
MARK, SAVEPOINT = "chaoying.locked", "chaoying_locked"
#: MariaDB: how long a transaction may leave its connection unused, of the whole session. The second
#: is of transactions that have written, and goes before the first where it is not 0.
_LIMITS = ("idle_transaction_timeout", "idle_write_transaction_timeout")

#: The columns that tell of a payment.
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


def fixed(value: str | int) -> Any:
    """A constant of ours in the statement's own text: drivers convert each parameter every time."""
    if isinstance(value, str):
        return literal_column(f"'{value}'", Text)
    return literal_column(str(value), BigInteger)


class Framed(NamedTuple):
    """A statement that is sent together with what comes before it and after it."""

    before: str
    statement: Any
    after: str


def _compound(before: str, statement: Any = None, after: str = "") -> Any:
    """MariaDB: statements that cost one wait; where one of them fails, the rest is not run."""
    before, after = f"BEGIN NOT ATOMIC {before}", f"{after}; END"
    return before + after if statement is None else Framed(before, statement, after)


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

    def __init__(self, table: Table, dialect: SqlDialect, idle: float) -> None:
        c = table.c
        self.table_name = table.name
        self._table = table
        self._now = dialect.now
        self._this = and_(c.mch_id == p("mch_id"), c.out_trade_no == p("out_trade_no"))
        self._dialect = dialect
        self._idle = idle
        self._lease = self._now + fixed(round(idle * 1_000_000))
        self._make_queries()
        self._make_locks()
        self._make_changes()
        self._make_marks()

    def _make_queries(self) -> None:
        c = self._table.c
        self._left = (c.held_until - self._now).label("left")
        self._all = select(self._table, self._left)
        self.look = self._all.where(self._this)
        over = and_(c.held_until <= self._now, c.due <= self._now)
        self.unfinished = self._oldest(c.state == SeenState.HELD, over)
        self.listing = self._oldest(_is_one_of(c.state, _FOR_PEOPLE))
        # By when its work ended, not by when its message came, which may have waited for days.
        ended = _is_one_of(c.state, _ENDED)
        forgotten = and_(ended, c.held_until < p("before"))
        self.pruning = PruningStatements(self._table, ended, forgotten)

    def _make_locks(self) -> None:
        """``lock`` inserts an unfinished row, and takes what its database has for a lock."""
        values: dict[str, Any] = {name: p(name) for name in ("mch_id", "out_trade_no", *ENTRY)}
        values |= {"state": fixed(SeenState.HELD.value), "reason": fixed("")}
        values |= {name: fixed(0) for name in ("due", "failures")}
        # With a lease, in case the work commits it by itself: nobody else is to begin then.
        values |= {"token": fixed(1), "held_until": self._lease}
        self.lock: Any = self._dialect.insert_new(self._table).values(values)
        self.read_locked = self.look.with_for_update(skip_locked=True)
        if self._dialect.name == "postgresql":
            self.lock = self._lock_and_insert(values)
        elif self._dialect.name == "mysql":
            self._make_compounds()
            self.read_locked = self.look.with_for_update(nowait=True)

    def _make_compounds(self) -> None:
        """MariaDB: what goes along with the statements that begin and end an order's transaction.

        The limit is a setting of the session, which goes back to its pool: so it is put back.
        """
        seconds = math.ceil(self._idle)
        keep = (f"@chaoying_{name} = @@{name}" for name in _LIMITS)
        limit = (f"SESSION {name} = {seconds}" for name in _LIMITS)
        # Before the first limit of a session there is nothing to put back.
        back = (f"SESSION {name} = coalesce(@chaoying_{name}, @@{name})" for name in _LIMITS)
        begin = f"SET {', '.join((*keep, *limit))}; SAVEPOINT {SAVEPOINT}"
        no_wait = "SET STATEMENT innodb_lock_wait_timeout=0 FOR "
        self.lock = _compound(no_wait, self.lock, f"; {begin}")
        self.begin = _compound(begin)
        self.put_back = f"SET {', '.join(back)}"

    def _last(self, change: Update) -> Any:
        """The change that comes before the COMMIT; it fails where the savepoint is gone."""
        if self._dialect.name != "mysql":
            return change
        return _compound(f"RELEASE SAVEPOINT {SAVEPOINT}; ", change)

    def _lock_and_insert(self, values: Mapping[str, Any]) -> Executable:
        """PostgreSQL: all that has to be done before the work, in one statement."""
        c = self._table.c
        limit = fixed("idle_in_transaction_session_timeout"), fixed(f"{self._idle:.0f}s"), true()
        got = select(
            func.pg_try_advisory_xact_lock(p("hash")).label("locked"),
            func.set_config(*limit),
            func.set_config(fixed(MARK), p("mark"), true()),
        ).cte("got")
        typed = [cast(value, c[name].type) for name, value in values.items()]
        new = (
            postgresql.insert(self._table)
            .from_select([*values], select(*typed).select_from(got).where(got.c.locked))
            .on_conflict_do_nothing()
            .returning(c.token)
            .cte("new")
        )
        inserted = exists(select(new.c.token)).label("inserted")
        before = got.outerjoin(self._table, self._this)
        kept = func.row_to_json(literal_column(_quoted(self._table))).cast(Text).label("kept")
        return select(got.c.locked, inserted, kept).select_from(before)

    def _make_changes(self) -> None:
        c, now = self._table.c, self._now
        ours = update(self._table).where(self._this)
        #: Whoever takes over an order changes its token, so that its last holder's no longer fits.
        self.take = ours.values(token=c.token + fixed(1), held_until=self._lease)
        # PostgreSQL: where the transaction is another one, the mark is gone.
        is_marked = func.current_setting(fixed(MARK), true()) == p("mark")
        self.is_marked = select(is_marked.label("is_marked"))
        if self._dialect.name == "postgresql":
            ours = ours.where(is_marked)
        #: An order that is DONE as its new row says.
        changed = ours.values(token=c.token + fixed(1))
        done = changed.values(state=fixed(SeenState.DONE.value), held_until=now, due=fixed(0))
        self.done = self._last(done)
        save = changed.values({name: p(name) for name in (*ENTRY, "state", "failures", "reason")})
        # ``held_until`` of an ended order says when it ended: by that it is forgotten (M-19).
        ended = self._last(save.values(held_until=now, due=0))
        self.save: dict[SeenState, Any] = {
            SeenState.HELD: self._last(save.values(held_until=0, due=now + p("retry"))),
            SeenState.QUARANTINED: self._last(save.values(held_until=0, due=0)),
            **dict.fromkeys(_ENDED, ended),
        }

    def _make_marks(self) -> None:
        c = self._table.c
        mark = (
            update(self._table)
            .where(self._this, c.state == SeenState.QUARANTINED)
            .values(held_until=self._now, due=0, state=SeenState.HELD, token=c.token + 1)
        )
        self.mark = {
            Mark.RETRY: mark,
            Mark.APPLY: mark.values(decision=BY_A_PERSON),
            Mark.DISMISS: mark.values(state=SeenState.DONE),
        }

    def _oldest(self, *which: ColumnElement[bool]) -> Select[Any]:
        return self._all.where(*which).order_by(self._table.c.first_seen).limit(p("limit"))


def _quoted(table: Table) -> str:
    escaped = table.name.replace('"', '""')
    return f'"{escaped}"'


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
