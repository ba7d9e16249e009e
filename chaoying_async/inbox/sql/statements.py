"""Every statement of an inbox, made once.

Those on an order run under its lock (``locks``). Of the others none reads before it writes: what
may be changed stands in the WHERE, and how many rows were changed says whether it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
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

from chaoying_async.inbox.sql.tables import ASIDE, ENTRY, FOREIGN
from chaoying_async.sansio.notifications.inbox_values import BY_A_PERSON, FIRST, Mark, SeenState
from chaoying_async.sql.dialects import SqlDialect

_ENDED = (SeenState.DONE, SeenState.NOT_PAID)
_FOR_PEOPLE = (SeenState.HELD, SeenState.QUARANTINED)

#: What lasts as long as the transaction in which the order was locked: a setting of PostgreSQL's,
#: and a savepoint in the other databases.
MARK, SAVEPOINT = "chaoying.locked", "chaoying_locked"
#: MariaDB: how long a transaction may leave its connection unused, of the whole session. The second
#: is of transactions that have written, and goes before the first where it is not 0.
_LIMITS = ("idle_transaction_timeout", "idle_write_transaction_timeout")

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
        self, table: Table, emptied: ColumnElement[bool], forgotten: ColumnElement[bool]
    ) -> None:
        c = table.c
        old = and_(c.first_seen >= p("after"), c.first_seen < p("before"))
        has_body = and_(emptied, c.payload != "")
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
        c, now = table.c, dialect.now
        self.table_name = table.name
        this = and_(c.mch_id == p("mch_id"), c.out_trade_no == p("out_trade_no"))
        chosen = select(table, (c.held_until - now).label("left"))
        self.look = chosen.where(this)
        over = and_(c.held_until <= now, c.due <= now)
        self.unfinished = _oldest(chosen.where(c.state == SeenState.HELD, over), c)
        self.listing = _oldest(chosen.where(_is_one_of(c.state, _FOR_PEOPLE)), c)
        # By when its work ended, not by when its message came, which may have waited for days.
        ended = _is_one_of(c.state, _ENDED)
        self.pruning = PruningStatements(table, ended, and_(ended, c.held_until < p("before")))
        # With a lease, in case the work commits it by itself: nobody else is to begin then.
        lease = now + fixed(round(idle * 1_000_000))
        values: dict[str, Any] = {name: p(name) for name in ("mch_id", "out_trade_no", *ENTRY)}
        values |= {"state": fixed(SeenState.HELD.value), "reason": fixed("")}
        values |= {"due": fixed(0), "failures": fixed(0), "token": fixed(1), "held_until": lease}
        #: Inserts an unfinished row, and takes what its database has for a lock.
        self.lock: Any = dialect.insert_new(table).values(values)
        self.read_locked = self.look.with_for_update(skip_locked=True)
        change = update(table).where(this)
        #: Whoever takes over an order changes its token, so that its last holder's no longer fits.
        self.take = change.values(token=c.token + fixed(1), held_until=lease)
        marked = change.where(c.state == SeenState.QUARANTINED)
        retried = marked.values(held_until=now, due=0, state=SeenState.HELD, token=c.token + 1)
        self.mark = {
            Mark.RETRY: retried,
            Mark.APPLY: retried.values(decision=BY_A_PERSON),
            Mark.DISMISS: retried.values(state=SeenState.DONE),
        }
        if dialect.name == "postgresql":
            change = self._for_postgresql(table, this, values, idle)
        changed = change.values(token=c.token + fixed(1))
        #: An order that is DONE as its new row says.
        self.done: Any = changed.values(
            state=fixed(SeenState.DONE.value), held_until=now, due=fixed(0)
        )
        save = changed.values({name: p(name) for name in (*ENTRY, "state", "failures", "reason")})
        # ``held_until`` of an ended order says when it ended: by that it is forgotten (M-19).
        self.save: dict[SeenState, Any] = {
            SeenState.HELD: save.values(held_until=0, due=now + p("retry")),
            SeenState.QUARANTINED: save.values(held_until=0, due=0),
            **dict.fromkeys(_ENDED, save.values(held_until=now, due=0)),
        }
        if dialect.name == "mysql":
            self._for_mariadb(idle)

    def _for_postgresql(
        self, table: Table, this: ColumnElement[bool], values: Mapping[str, Any], idle: float
    ) -> Update:
        """All that has to be done before the work in one statement; and how an order is changed.

        Where the transaction is another one by then, the mark is gone.
        """
        c = table.c
        limit = fixed("idle_in_transaction_session_timeout"), fixed(f"{idle:.0f}s"), true()
        got = select(
            func.pg_try_advisory_xact_lock(p("hash")).label("locked"),
            func.set_config(*limit),
            func.set_config(fixed(MARK), p("mark"), true()),
        ).cte("got")
        typed = [cast(value, c[name].type) for name, value in values.items()]
        new = (
            postgresql.insert(table)
            .from_select([*values], select(*typed).select_from(got).where(got.c.locked))
            .on_conflict_do_nothing()
            .returning(c.token)
            .cte("new")
        )
        inserted = exists(select(new.c.token)).label("inserted")
        kept = func.row_to_json(literal_column(_quoted(table))).cast(Text).label("kept")
        before = got.outerjoin(table, this)
        self.lock = select(got.c.locked, inserted, kept).select_from(before)
        is_marked = func.current_setting(fixed(MARK), true()) == p("mark")
        self.is_marked = select(is_marked.label("is_marked"))
        return update(table).where(this, is_marked)

    def _for_mariadb(self, idle: float) -> None:
        """What goes along with the statements that begin and end an order's transaction.

        The limit is a setting of the session, which goes back to its pool: so it is put back. A
        change that comes before the COMMIT fails where the savepoint is gone.
        """
        keep = (f"@chaoying_{name} = @@{name}" for name in _LIMITS)
        limit = (f"SESSION {name} = {math.ceil(idle)}" for name in _LIMITS)
        # Before the first limit of a session there is nothing to put back.
        back = (f"SESSION {name} = coalesce(@chaoying_{name}, @@{name})" for name in _LIMITS)
        begin = f"SET {', '.join((*keep, *limit))}; SAVEPOINT {SAVEPOINT}"
        no_wait = "SET STATEMENT innodb_lock_wait_timeout=0 FOR "
        self.lock = _compound(no_wait, self.lock, f"; {begin}")
        self.begin = _compound(begin)
        self.put_back = f"SET {', '.join(back)}"
        self.read_locked = self.look.with_for_update(nowait=True)
        release = f"RELEASE SAVEPOINT {SAVEPOINT}; "
        self.done = _compound(release, self.done)
        self.save = {state: _compound(release, save) for state, save in self.save.items()}


def _quoted(table: Table) -> str:
    escaped = table.name.replace('"', '""')
    return f'"{escaped}"'


class AsideStatements:
    """The statements on the table of messages that were set aside.

    ``retry`` is None where there is no time for the next look: then ``due`` is NULL as well.
    """

    def __init__(self, table: Table, dialect: SqlDialect) -> None:
        c, due = table.c, dialect.now + p("retry")
        order = and_(c.mch_id == p("mch_id"), c.out_trade_no == p("out_trade_no"))
        this = and_(order, c.fingerprint == p("fingerprint"))
        is_open, is_closed = c.closed.is_(False), c.closed.is_(True)
        foreign = c.decision.like(f"%{FOREIGN}")
        chosen, change = select(table), update(table).where(this)
        self.look = chosen.where(this)
        self.of_order = chosen.where(order, is_open).order_by(c.first_seen)
        is_due = or_(c.mark.is_not(None), c.due <= dialect.now)
        self.unfinished = _oldest(chosen.where(is_open, is_due), c)
        self.listing = _oldest(chosen.where(is_open), c)
        #: Open messages that still have their raw fields.
        with_raw = chosen.where(is_open, c.first_seen < p("before"), c.payload.like(_WITH_RAW))
        self.with_raw = _oldest(with_raw, c)
        #: For counting: the order's open messages, and the merchant's other foreign orders.
        self.messages = select(c.decision).where(order, is_open).limit(p("limit"))
        self.foreign = (
            select(c.out_trade_no)
            .distinct()
            .where(c.mch_id == p("mch_id"), c.out_trade_no != p("out_trade_no"), is_open, foreign)
            .limit(p("limit"))
        )
        emptied = and_(is_closed, c.fingerprint != FIRST)
        self.pruning = PruningStatements(table, emptied, or_(is_closed, foreign))
        names = {name: p(name) for name in ("mch_id", "out_trade_no", "fingerprint", *ASIDE)}
        unused = {"tries": 0, "mark": null(), "closed": False}
        self.new = dialect.insert_new(table).values(names | unused | {"due": due})
        told = {name: p(name) for name in ASIDE if name != "first_seen"}
        self.again = change.where(is_open, c.decision == p("seen")).values(told | {"due": due})
        unmarked = case((c.mark == Mark.RETRY, null()), else_=c.mark)
        self.postpone = change.values(tries=c.tries + 1, mark=unmarked, due=due)
        self.close = change.values(closed=True, due=null())
        self.mark = change.where(is_open).values(mark=p("mark"), closed=p("closed"))
        #: Writes the payload without its raw fields.
        self.replace = change.where(is_open).values(payload=p("payload"))


def _oldest(chosen: Select[Any], columns: Any) -> Select[Any]:
    return chosen.order_by(columns.first_seen).limit(p("limit"))
