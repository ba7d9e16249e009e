"""A store in a database: a SQLite file as it is; PostgreSQL and MariaDB by address (extra [sql]).

:class:`SqlPollStore` is the store, :func:`pollstore_metadata` its tables for Alembic.
"""

from __future__ import annotations

from chaoying_async.pollstore.sql.pollstore import SqlPollStore
from chaoying_async.pollstore.sql.tables import pollstore_metadata

__all__ = ["SqlPollStore", "pollstore_metadata"]
