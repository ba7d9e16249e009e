"""The two tables of an inbox, and how orders and messages become their rows and come back.

The tables are as alike as they can be on every database. Moments are whole microseconds since 1970
(UTC): they sort, subtract and survive every time zone.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

from chaoying_async.sansio.notifications.inbox_values import (
    LONGEST_MCH_ID,
    LONGEST_NUMBER,
    Aside,
    Entry,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from chaoying_async.sansio.notifications.unreadable import readable
from chaoying_async.sql.columns import DEFAULT_PREFIX, TABLE_OPTIONS, exact_text, long_text
from chaoying_async.sql.dialects import EPOCH, microseconds

Params = dict[str, Any]

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


def orders_table(metadata: MetaData, prefix: str) -> Table:
    """One row for each order whose work has ended, or failed."""
    return Table(
        f"{prefix}orders",
        metadata,
        Column("mch_id", exact_text(LONGEST_MCH_ID), primary_key=True),
        Column("out_trade_no", exact_text(LONGEST_NUMBER), primary_key=True),
        Column("state", String(16), nullable=False),
        #: Grows whenever the order is taken over, and whenever its record changes.
        Column("token", BigInteger, nullable=False),
        #: While it is HELD: when its lease ends; 0: there is none. Afterwards: when it ended.
        Column("held_until", BigInteger, nullable=False),
        #: When the order may be retried after a failure; 0: at once.
        Column("due", BigInteger, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("reason", Text, nullable=False),
        Column("first_seen", BigInteger, nullable=False),
        Column("payload", long_text(), nullable=False),
        Column("payable", BigInteger),
        Column("transaction_id", Text),
        Column("out_transaction_id", Text),
        Column("source", Text, nullable=False),
        Column("decision", Text, nullable=False),
        Index(f"{prefix}orders_state", "state", "first_seen"),
        **TABLE_OPTIONS,
    )


def asides_table(metadata: MetaData, prefix: str) -> Table:
    """One row for each message that could not take effect."""
    return Table(
        f"{prefix}asides",
        metadata,
        Column("mch_id", exact_text(LONGEST_MCH_ID), primary_key=True),
        Column("out_trade_no", exact_text(LONGEST_NUMBER), primary_key=True),
        Column("fingerprint", exact_text(64), primary_key=True),
        Column("decision", String(64), nullable=False),
        Column("reason", Text, nullable=False),
        Column("payload", long_text(), nullable=False),
        Column("first_seen", BigInteger, nullable=False),
        Column("tries", Integer, nullable=False),
        Column("mark", String(16)),
        #: When the message is looked at again; NULL: only when somebody marks it.
        Column("due", BigInteger),
        Column("closed", Boolean, nullable=False),
        Index(f"{prefix}asides_closed", "closed", "first_seen"),
        **TABLE_OPTIONS,
    )


def inbox_metadata(table_prefix: str = DEFAULT_PREFIX) -> MetaData:
    """The tables alone, without an engine: for ``target_metadata`` in Alembic's ``env.py``."""
    metadata = MetaData()
    orders_table(metadata, table_prefix)
    asides_table(metadata, table_prefix)
    return metadata


def span(seconds: float | None) -> int | None:
    """Seconds as whole microseconds."""
    return None if seconds is None else round(seconds * 1_000_000)


def key_params(key: OrderKey) -> Params:
    """The parameters that name an order; ValueError for a name that is too long.

    A MariaDB whose sql_mode is not strict would cut it off in silence.
    """
    if len(key.mch_id) > LONGEST_MCH_ID or len(key.out_trade_no) > LONGEST_NUMBER:
        raise ValueError("an order's mch_id or out_trade_no is too long to be kept")
    return {"p_mch_id": key.mch_id, "p_out_trade_no": key.out_trade_no}


def message_params(key: OrderKey, fingerprint: str) -> Params:
    """The parameters that name a message."""
    return {**key_params(key), "p_fingerprint": fingerprint}


def entry_params(entry: Entry) -> Params:
    """The parameters that tell of a payment."""
    params = {f"p_{name}": getattr(entry, name) for name in ENTRY}
    params["p_first_seen"] = microseconds(entry.first_seen)
    if entry.other_numbers:  # behind the source, since the tables have no column for them
        params["p_source"] = f"{entry.source} {json.dumps(entry.other_numbers)}"
    return params


def aside_params(aside: Aside) -> Params:
    """The parameters of a message."""
    params = {f"p_{name}": getattr(aside, name) for name in ASIDE}
    if aside.foreign:
        params["p_decision"] = f"{aside.decision}{FOREIGN}"
    params["p_first_seen"] = microseconds(aside.first_seen)
    return params | message_params(aside.key, aside.fingerprint)


def to_record(row: Any) -> Record:
    """An order as its row says; its lease as seen when the row was read."""
    return readable(lambda: _record(row), _key_of(row))


def _record(row: Any) -> Record:
    fields = {name: getattr(row, name) for name in ENTRY}
    fields["first_seen"] = _moment(row)
    fields["source"], _, others = row.source.partition(" ")
    fields["other_numbers"] = tuple(json.loads(others or "[]"))
    held = row.state == SeenState.HELD
    return Record(
        key=_key_of(row),
        state=SeenState(row.state),
        entry=Entry(**fields),
        lease=max(0.0, row.left / 1_000_000) if held else 0.0,
        failures=row.failures,
        reason=row.reason,
        token=row.token,
    )


def to_aside(row: Any) -> Aside:
    """A message as its row says."""
    return readable(lambda: _aside(row), _key_of(row))


def _aside(row: Any) -> Aside:
    return Aside(
        key=_key_of(row),
        fingerprint=row.fingerprint,
        decision=row.decision.removesuffix(FOREIGN),
        reason=row.reason,
        payload=row.payload,
        first_seen=_moment(row),
        foreign=row.decision.endswith(FOREIGN),
        tries=row.tries,
        mark=None if row.mark is None else Mark(row.mark),
    )


def _key_of(row: Any) -> OrderKey:
    return OrderKey(row.mch_id, row.out_trade_no)


def _moment(row: Any) -> datetime:
    return EPOCH + timedelta(microseconds=row.first_seen)
