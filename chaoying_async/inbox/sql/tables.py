"""The two tables of an inbox, as alike as they can be on every database.

Moments are whole microseconds since 1970 (UTC): they sort, subtract and survive every time zone.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

from chaoying_async.sansio.notifications.inbox_values import LONGEST_MCH_ID, LONGEST_NUMBER
from chaoying_async.sql.columns import DEFAULT_PREFIX, TABLE_OPTIONS, exact_text, long_text


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
