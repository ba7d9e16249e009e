"""PgBouncer in transaction mode: each transaction of a client may be on another connection.

    with pooled(servers, "psycopg") as (direct, by_pooler): ...

Two connections to the server for all clients, so that they have to take turns.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal
from uuid import uuid4

import psycopg
from sqlalchemy import NullPool, make_url

from tests.servers import Server, Servers, find_program

#: What SQLAlchemy's documentation asks for behind a pooler: no statement is prepared for later.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "psycopg": {"prepare_threshold": None},
    "asyncpg": {
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": lambda: f"chaoying_{uuid4()}",
    },
}
_SETTINGS = """
[databases]
postgres = host=127.0.0.1 port={server} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 300
server_reset_query =
ignore_startup_parameters = extra_float_digits
"""


class PgBouncer(Server):
    name = "pgbouncer"
    account = "postgres"

    def __init__(self, server_port: int, user: str) -> None:
        self.pgbouncer = find_program("pgbouncer", "pgbouncer")
        super().__init__()
        self._server_port = server_port
        self._user = user

    def prepare(self) -> None:
        """Nothing: its settings name the port, and are written when that is known."""

    def command(self) -> Sequence[str]:
        settings = self.directory / "pgbouncer.ini"
        settings.write_text(
            _SETTINGS.format(server=self._server_port, user=self._user, port=self.port)
        )
        return (self.pgbouncer, "-q", str(settings))

    def answers(self) -> bool:
        psycopg.connect(
            host="127.0.0.1", port=self.port, user=self._user, dbname="postgres"
        ).close()
        return True


def options(driver: str) -> dict[str, Any]:
    """What an engine needs whose server is behind the pooler."""
    return {"poolclass": NullPool, "connect_args": ARGUMENTS[driver]}


@contextmanager
def pooled(servers: Servers, driver: Literal["psycopg", "asyncpg"]) -> Generator[tuple[str, str]]:
    """SQLAlchemy's addresses of a fresh schema: at the server itself, and behind the pooler."""
    direct = servers.postgresql_url(driver)
    url = make_url(direct)
    pooler = servers.found(lambda: PgBouncer(url.port or 0, url.username or ""))
    try:
        pooler.start()
        yield direct, url.set(port=pooler.port).render_as_string(hide_password=False)
    finally:
        pooler.stop()
