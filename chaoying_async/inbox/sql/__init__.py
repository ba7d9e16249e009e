"""An inbox in a SQL database, by SQLAlchemy: each paid order takes effect exactly once.

- ``access``: how the inbox reaches its database: connections, statements, SQLite's driver itself.
- ``inbox``: the inbox itself.
- ``lending``: the connection lent to ``on_paid``, and what it refuses.
- ``locks``: how each database locks an order without waiting.
- ``pruning``: forgets what is old, a page at a time.
- ``statements``: every statement of an inbox.
- ``tables``: the two tables of an inbox, and how orders and messages become their rows.
"""

from __future__ import annotations

from chaoying_async.inbox.sql.inbox import SqlInbox
from chaoying_async.inbox.sql.lending import LentConnection
from chaoying_async.inbox.sql.tables import inbox_metadata

__all__ = ["LentConnection", "SqlInbox", "inbox_metadata"]
