"""An inbox in a SQL database, by SQLAlchemy: each paid order takes effect exactly once."""

from __future__ import annotations

from chaoying_async.inbox.sql.inbox import SqlInbox
from chaoying_async.inbox.sql.lending import LentConnection
from chaoying_async.inbox.sql.tables import inbox_metadata

__all__ = ["LentConnection", "SqlInbox", "inbox_metadata"]
