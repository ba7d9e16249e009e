"""What stands behind an address's question mark: each driver's own name for it, in a sentence."""

from __future__ import annotations

import inspect
import re
import sqlite3

import aiomysql  # type: ignore[import-untyped]
import asyncpg  # type: ignore[import-untyped]
import pytest
from psycopg import pq

from chaoying_async.exceptions import UsageError
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sql.address_options import _DRIVERS, _MODES, _TLS_FILES
from chaoying_async.sql.addresses import database_url
from chaoying_async.sql.engines import engine_at
from tests.cli_calls import NOTHING, call
from tests.table import table

SECRET = "pass-word-that-nobody-says"
PG, MY = f"u:{SECRET}@127.0.0.1:9/db", f"u:{SECRET}@127.0.0.1:9/db"
#: An address, and what to write instead.
WRONG = [
    (f"postgresql+asyncpg://{PG}?sslmode=require", "write ?ssl=require"),
    (f"postgresql+asyncpg://{PG}?sslmode=verify-full", "write ?ssl=verify-full"),
    (f"postgresql+asyncpg://{PG}?ssl=true", "write ?ssl=require"),
    (f"postgresql+asyncpg://{PG}?ssl={SECRET}", "write ?ssl=disable|allow"),
    (f"postgresql+asyncpg://{PG}?sslrootcert=/ca.pem", "PGSSLROOTCERT"),
    (f"postgresql+asyncpg://{PG}?timeout=5", "takes no timeout from an address"),
    (f"postgresql+asyncpg://{PG}?application_name=x", "takes no application_name"),
    (f"postgresql://{PG}?ssl=require", "psycopg does not know ssl: write ?sslmode=require"),
    (f"postgresql://{PG}?ssl=verify-full", "write ?sslmode=verify-full"),
    (f"postgresql://{PG}?sslmode=true", "write ?sslmode=require"),
    (f"postgresql://{PG}?sslmod=require", "is sslmode meant?"),
    (f"postgresql://{PG}?timeout=5", "write ?connect_timeout="),
    (f"postgresql://{PG}?{SECRET}=1", "leave it out"),
    (f"mysql://{MY}?ssl=true", "connect_args={'ssl': ssl.create_default_context()}"),
    (f"mysql://{MY}?ssl_mode=REQUIRED", "aiomysql takes no TLS from an address"),
    (f"mariadb+aiomysql://{MY}?ssl_ca=/ca.pem", "aiomysql takes no TLS from an address"),
    (f"mysql://{MY}?autocommit=true", "aiomysql takes no autocommit"),
    ("sqlite:///shop.db?sslmode=require", "a SQLite file has no TLS"),
    ("sqlite:///shop.db?mode=ro", "aiosqlite takes no mode"),
    (f"postgres://{PG}", "write postgresql://"),
    (f"postgresq://{PG}", "write postgresql://"),
    ("sqlite3:///shop.db", "write sqlite://"),
    (f"mongodb://{PG}", "not in mongodb"),
]
RIGHT = [
    f"postgresql+asyncpg://{PG}?ssl=verify-full&prepared_statement_cache_size=0",
    f"postgresql://{PG}?sslmode=require&connect_timeout=5&application_name=shop",
    f"mysql://{MY}?charset=utf8mb4&connect_timeout=5",
    "sqlite:///shop.db?timeout=5",
    "sqlite+aiosqlite:///file:shop.db?mode=ro&uri=true",
    "postgresql+psycopg:///db?host=/var/run/postgresql",
]


@table("address, says", WRONG)
def test_an_option_that_the_driver_does_not_take_says_what_to_write(
    address: str, says: str
) -> None:
    """M-27: a UsageError without a cause, whose text has nothing of the password."""
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        database_url(address)
    assert SECRET not in f"{caught.value!r}"


@table("address", RIGHT)
def test_what_a_driver_takes_is_left_alone(address: str) -> None:
    """Its options reach it as they stand there."""
    assert database_url(address).query


def test_the_drivers_know_the_options_that_we_let_through() -> None:
    """Each driver's own signature, of the version that is installed."""
    own = {
        "asyncpg": {
            *inspect.signature(asyncpg.connect).parameters,
            "prepared_statement_cache_size",
        },
        "aiomysql": {*inspect.signature(aiomysql.connect).parameters},
        "psycopg": {each.keyword.decode() for each in pq.Conninfo.get_defaults()},
        "aiosqlite": {"timeout", "isolation_level", "detect_types", "check_same_thread"}
        | {"cached_statements", "uri"},
    }
    for name, driver in _DRIVERS.items():
        assert driver.options() <= own[name]
        assert driver.tls in {"", *driver.options()}
        assert set(driver.instead.values()) <= driver.options()
    sqlite3.connect(":memory:", cached_statements=1, uri=True).close()


@pytest.mark.parametrize("value", _MODES)
async def test_every_value_that_we_name_is_one_of_the_drivers(value: str) -> None:
    """asyncpg reads each of them; libpq checks them when it connects."""
    try:
        await asyncpg.connect(host="127.0.0.1", port=9, ssl=value, timeout=5)
    except (OSError, asyncpg.exceptions.ClientConfigurationError) as error:
        # verify-ca looks for the authority's file; an unknown mode would be named as such.
        assert "must be one of" not in str(error)
    assert set(_TLS_FILES.values()) == {"PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"}


async def test_inbox_and_store_say_it_before_anything_is_opened() -> None:
    """A program that hands in an address hears the same."""
    address = WRONG[0][0]
    with pytest.raises(UsageError, match="ssl=require"):
        engine_at(address)
    with pytest.raises(UsageError, match="ssl=require"):
        await SqlPollStore(address).__aenter__()


COMMANDS = {
    "inbox": ("inbox", "list"),
    "prune": ("inbox", "prune", "--older-than", "40"),
    "watch": ("watch", "A1", "--paytype", "WECHAT"),
    "poller": ("poller", "--then", "os:getcwd"),
    "status": ("poller", "status"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("address", [WRONG[0], (f"postgresql://{PG}", "does the server run there")])
def test_every_command_with_a_store_tells_it_in_a_line(
    command: str, address: tuple[str, str]
) -> None:
    """Exit code 2, no traceback; a server that is not there as well."""
    where, says = address
    names = ("KEY", "AGENT_ID", "PID", "MCH_ID")
    env: dict[str, str | None] = {**NOTHING, **{f"CHAOYING_{name}": "1" for name in names}}
    done = call(
        *COMMANDS[command], "--store", where, env={**env, "CHAOYING_URL": "http://127.0.0.1:9"}
    )
    assert done.exit_code == 2, done.stderr
    assert says in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert SECRET not in done.output
