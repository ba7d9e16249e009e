"""Where a store or an inbox is kept: what cannot be opened says what to do, and no password."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.cli.stores import trouble
from chaoying_async.exceptions import StoreError, UsageError
from chaoying_async.inbox.redis.inbox import redis_inbox_at
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.redact import is_certain, shown_address
from chaoying_async.sql.addresses import check_address, database_url, shown_url
from tests.cli_calls import NOTHING, call, said
from tests.servers import Servers, free_port
from tests.table import table

SECRET = "pass-word-that-nobody-says"
WATCH = ("watch", "A1", "--paytype", "WECHAT", "--mch-id", "1", "--url", "http://127.0.0.1:9")
WHO = {"CHAOYING_AGENT_ID": "a", "CHAOYING_KEY": "k", "CHAOYING_PID": "p"}
#: An address, and what is said about it.
WRONG = [
    (f"postgresql://u:{SECRET}@h:port/db", "escaped"),
    (f"oracle://u:{SECRET}@h/db", "mysql, postgresql, sqlite, not in oracle"),
    (f"postgresql+psycopg2://u:{SECRET}@h/db", r"write postgresql\+psycopg://"),
    (f"postgresql+nosuch://u:{SECRET}@h/db", r"write postgresql\+psycopg://"),
    ("sqlite+pysqlite:///a.db", r"write sqlite\+aiosqlite://"),
    ("sqlite://", "name one"),
]


@pytest.mark.parametrize(("where", "says"), WRONG)
async def test_an_address_that_no_server_could_mend_says_what_to_write(
    where: str, says: str
) -> None:
    """M-27: a UsageError before anything is opened, with the remedy and without the password."""
    with pytest.raises(UsageError, match=says) as caught:
        await SqlPollStore(where).__aenter__()
    assert SECRET not in f"{caught.value}{caught.value.__cause__}"


def test_an_address_without_a_driver_gets_one_that_is_tried_out() -> None:
    """postgresql:// and mysql:// are what people have in their settings."""
    assert database_url("postgresql://h/db").drivername == "postgresql+psycopg"
    assert database_url("mariadb://h/db").drivername == "mysql+aiomysql"


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
def test_a_driver_that_is_not_installed_is_named_as_pip_knows_it(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package to install, which is not always called like the module."""
    real: Callable[..., Any] = builtins.__import__

    def without_it(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == driver:
            raise ModuleNotFoundError(f"No module named {name!r}", name=driver)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_it)
    with pytest.raises(UsageError, match=rf"pip install '{driver}(\[binary\])?'"):
        database_url(f"postgresql+{driver}://h/db")


async def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    """SQLite says "unable to open database file", and not which, nor why."""
    with pytest.raises(UsageError, match=r"no directory .*shop.*: make it first"):
        await SqlPollStore(tmp_path / "shop" / "polls.db").__aenter__()
    with pytest.raises(UsageError, match="is a directory: name a file in it"):
        await SqlPollStore(tmp_path).__aenter__()


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_a_wrong_password_comes_with_what_to_look_at(
    servers: Servers, driver: Literal["psycopg", "asyncpg"]
) -> None:
    """An error of ours, with a note that names the address, the remedy, no user, no password."""
    url = servers.postgresql_url(driver)
    nobody = str(database_url(url).set(username="nobody", password=SECRET)).replace("***", SECRET)
    with pytest.raises(Exception, match="refuses the user") as caught:
        await SqlPollStore(nobody).__aenter__()
    (note,) = caught.value.__notes__
    assert "are user, password and database right?" in note
    assert SECRET not in f"{note}{trouble(caught.value)}"


@pytest.mark.parametrize("command", [WATCH, ("inbox", "list")], ids=["watch", "inbox"])
class TestCommands:
    def told(self, command: tuple[str, ...], store: str) -> str:
        """What a program is told: one JSON line, exit code 2, and never the password."""
        result = call(*command, "--store", store, "--json", env={**NOTHING, **WHO})
        found = said(result)
        assert (result.exit_code, found["ok"]) == (2, False)
        assert SECRET not in result.output
        return str(found["message"])

    @pytest.mark.parametrize(
        "scheme", ["postgresql", "postgresql+asyncpg", "mysql"], ids=lambda name: name
    )
    def test_a_server_that_is_not_there_is_one_line(
        self, command: tuple[str, ...], scheme: str
    ) -> None:
        """No traceback: what failed, where, and what to look at."""
        where = f"127.0.0.1:{free_port()}"
        words = self.told(command, f"{scheme}://u:{SECRET}@{where}/db")
        assert f"://{where}: does the server run there" in words

    def test_a_file_that_is_no_database_is_one_line(
        self, command: tuple[str, ...], tmp_path: Path
    ) -> None:
        """The file is named, and left as it was."""
        file = tmp_path / "notes.txt"
        file.write_text("milk, bread, and enough of them to fill a page of SQLite\n" * 20)
        words = self.told(command, str(file))
        assert f"{file}: is it a database's file" in words
        assert file.read_text().startswith("milk")

    @pytest.mark.parametrize(("where", "says"), WRONG[:4])
    def test_an_address_that_is_wrong_is_one_line(
        self, command: tuple[str, ...], where: str, says: str
    ) -> None:
        """The same words as the library's."""
        assert says.replace("\\", "") in self.told(command, where)


class TestInboxes:
    @pytest.mark.parametrize(
        ("store", "says"),
        [
            (
                f"redis://:{SECRET}@127.0.0.1:PORT/0",
                "Redis at redis://127.0.0.1:PORT: does it run there",
            ),
            (f"redis://:{SECRET}@h:port", "write redis://HOST:PORT/NUMBER"),
            ("sqlite:///nosuch.db", "there is no file nosuch.db"),
        ],
    )
    def test_an_inbox_that_is_not_there_is_one_line(self, store: str, says: str) -> None:
        """Exit code 2, where it was looked for, and no password; no file is made by looking."""
        port = str(free_port())
        result = call("inbox", "list", "--store", store.replace("PORT", port))
        assert result.exit_code == 2
        assert says.replace(":PORT:", f":{port}:") in result.output
        assert SECRET not in result.output
        assert not Path("nosuch.db").exists()


def test_other_errors_are_not_taken_for_a_store_s() -> None:
    """A mistake of ours stays a traceback."""
    assert trouble(ValueError("a bug")) is None
    assert trouble(OSError("the disk is full")) == "the disk is full"


# ------------------------------------------------------------------- passwords in any message

TAIL = "TAIL"
SHOWN = ["postgresql", "redis", "REDIS", "mysql+aiomysql", "http", "unix"]
RESTS = ["", "/", "/db", "?a=b", "/db?a=b", "#", "#x"]
#: Addresses in which somebody forgot to escape a password, or that hold one elsewhere.
DOUBTFUL = [
    "{scheme}://u:half@TAIL@host/x",
    "{scheme}://u:half/TAIL@host/x",
    "{scheme}://u:1/TAIL@host/x",
    "{scheme}://u:half?TAIL@host/x",
    "{scheme}://u:1#TAIL@host/x",
    "{scheme}://u:half\\TAIL@host/x",
    "{scheme}://u:half TAIL@host/x",
    "{scheme}://u:half[TAIL]@host/x",
    "{scheme}://u:TAIL\n@host/x",
    "{scheme}://host:TAIL/x",
    "{scheme}://:TAIL",
    "{scheme}://host/x?password=half@TAIL",
    "{scheme}:/u:half@TAIL@host/x",
    "{scheme}//u:TAIL@host/x",
    "u:TAIL@host/x",
]
#: These are certain, and so somebody tries to connect.
CERTAIN = [
    "{scheme}://u:TAIL@127.0.0.1:1/x",
    "{scheme}://u:a:TAIL@127.0.0.1:1/x",
    "{scheme}://TAIL@127.0.0.1:1/x",
    "{scheme}://TAIL:@127.0.0.1:1/x",
    "{scheme}://:TAIL@127.0.0.1:1/x",
    "{scheme}://u:half%40TAIL@127.0.0.1:1/x",
    "{scheme}://127.0.0.1:1/x?password=TAIL",
    "{scheme}://127.0.0.1:1/x?sslpassword=TAIL",
    "{scheme}://127.0.0.1:1/x?passwd=TAIL",
]
SCHEMES = ["postgresql", "PostgreSQL", "postgresql+asyncpg", "mysql", "mariadb", "sqlite"]
REDIS = ["redis", "REDIS", "rediss", "unix"]


def _everything(error: BaseException | None) -> str:
    """All that a log, a reporter or a person may see of an error and of what caused it."""
    if error is None:
        return ""
    of_it = f"{error!s} {error!r} {getattr(error, '__notes__', '')} {vars(error)!r}"
    return of_it + _everything(error.__cause__) + _everything(error.__context__)


@table("scheme", SCHEMES)
@table("form", DOUBTFUL)
async def test_a_doubtful_address_is_refused_and_not_shown(
    form: str, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-27: before anything is opened; not in the error, nor in what SQLAlchemy said before it."""
    with pytest.raises(UsageError) as caught:
        await SqlPollStore(form.format(scheme=scheme)).__aenter__()
    assert TAIL not in _everything(caught.value) + caplog.text


@table("scheme", SCHEMES)
@table("form", CERTAIN)
async def test_an_address_that_is_certain_is_shown_without_user_and_query(
    form: str, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    """M-27: in the notes of whatever is raised, whoever raised it; the user may be a token."""
    with pytest.raises((UsageError, StoreError)) as caught:
        await SqlPollStore(form.format(scheme=scheme)).__aenter__()
    told = f"{caught.value!s} {caught.value!r} {getattr(caught.value, '__notes__', '')}"
    assert TAIL not in told + caplog.text


@pytest.mark.parametrize("host", ["half@TAIL", "u:TAIL", "half/TAIL", "half?TAIL"])
async def test_a_url_or_an_engine_made_of_a_doubtful_address_is_refused(host: str) -> None:
    """M-27: SQLAlchemy took the end of a password for the host, and drivers quote hosts."""
    url = URL.create("postgresql+asyncpg", host=host, database="x")
    engine = create_async_engine(url)
    for open_it in (SqlPollStore(url).__aenter__, SqlPollStore(engine).__aenter__):
        with pytest.raises(UsageError, match="escaped") as caught:
            await open_it()
        assert TAIL not in _everything(caught.value)
    with pytest.raises(UsageError, match="escaped"):
        SqlInbox(engine)


@pytest.mark.parametrize("scheme", ["PostgreSQL", "postgresql+asyncpg", "mysql", "REDIS", "unix"])
@pytest.mark.parametrize("command", [WATCH, ("inbox", "list")], ids=["watch", "inbox"])
def test_no_command_shows_a_part_of_a_password(command: tuple[str, ...], scheme: str) -> None:
    """M-27: whatever the address is like, and whatever the driver says about it."""
    for form in (*DOUBTFUL[:3], DOUBTFUL[12], *CERTAIN[::2]):
        store = form.format(scheme=scheme)
        result = call(*command, "--store", store, env={**NOTHING, **WHO})
        assert TAIL not in f"{result.output}{result.stderr}{result.exception!r}", store
        assert result.exit_code == 2, (store, result.output)


@pytest.mark.parametrize("store", ["host=h user=u password=TAIL", "u:TAIL@host", "u@TAIL"])
def test_settings_taken_for_a_file_are_not_shown(store: str) -> None:
    """M-27: libpq's own form, or half an address, is no file, and may hold a password."""
    result = call("inbox", "list", "--store", store)
    assert (result.exit_code, TAIL in result.output) == (2, False)
    assert "a path that is not shown" in result.output


@table("scheme", REDIS)
@table("form", DOUBTFUL)
async def test_a_doubtful_address_of_redis_is_refused(form: str, scheme: str) -> None:
    """M-27: redis-py would quote a part of it, or look for a server of that name."""
    with pytest.raises(UsageError) as caught:
        async with redis_inbox_at(form.format(scheme=scheme)):
            raise AssertionError
    assert TAIL not in _everything(caught.value)


@table(
    ("address_", "shown"),
    [
        ("postgresql://u:p@db.example:5432/shop?password=x", "postgresql://db.example:5432"),
        ("redis://:p@[::1]:6379/0", "redis://[::1]:6379"),
        ("redis://u:p@q@h", "redis://..."),
        ("postgresql://u:p@/db?host=/run/postgresql", "postgresql://"),
        ("u:p@h", "(an address that is not shown)"),
        # A forgotten host: user and password look like host and port.
        *((f"{scheme}://u:1234{rest}", f"{scheme}://...") for scheme in SHOWN for rest in RESTS),
        ("redis://u.:1234", "redis://..."),
        ("redis://.u:1234", "redis://..."),
        ("redis://u,v:1234", "redis://..."),
        ("redis://localhosts:1234", "redis://..."),
        # What is surely a host keeps its port.
        ("redis://u:p@redis:6379/0", "redis://redis:6379"),
        ("redis://@redis:6379", "redis://redis:6379"),
        ("redis://localhost:6379/0", "redis://localhost:6379"),
        ("http://LOCALHOST.:8000", "http://LOCALHOST.:8000"),
        ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
        ("redis://[fe80::1%eth0]:6379", "redis://[fe80::1%eth0]:6379"),
        ("postgresql://db.example:5432/shop", "postgresql://db.example:5432"),
        ("postgresql://a.example,b.example:5432/shop", "postgresql://a.example,b.example:5432"),
        # No port, so nothing that may be a password.
        ("postgresql://db/shop", "postgresql://db"),
    ],
)
def test_what_is_shown_of_an_address(address_: str, shown: str) -> None:
    """M-27: what is allowed: its scheme, and host and port where they are certain."""
    assert shown_address(address_) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:1234/shop", "postgresql://..."),
        ("postgresql://u:p@db:5432/shop", "postgresql://db:5432"),
        ("postgresql://db.example:5432/shop", "postgresql://db.example:5432"),
        ("mysql+aiomysql://localhost:3306/shop", "mysql+aiomysql://localhost:3306"),
    ],
)
def test_a_database_at_a_name_without_a_dot_is_taken_though_not_shown(url: str, shown: str) -> None:
    """M-27: ``db:5432`` is what a container's name looks like: people connect by it."""
    check_address(make_url(url))
    assert shown_url(make_url(url)) == shown
    assert is_certain(url)
    assert shown_address(url) == shown
