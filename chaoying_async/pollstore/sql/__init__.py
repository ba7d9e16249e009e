"""A poll store in a database: a SQLite file as it is; PostgreSQL and MariaDB by address.

The latter need the extra ``[sql]`` and a driver. For Alembic :func:`pollstore_metadata` has the
tables.

- ``owned_texts``: texts while this process owns them, written in batches that prove it.
- ``ownership``: which process owns a store: a lease on the database's clock, and a token.
- ``pollstore``: the store itself: texts in one table, their owner in another.
- ``tables``: the two tables.
"""

from __future__ import annotations

from chaoying_async.pollstore.sql.pollstore import SqlPollStore
from chaoying_async.pollstore.sql.tables import pollstore_metadata

__all__ = ["SqlPollStore", "pollstore_metadata"]
