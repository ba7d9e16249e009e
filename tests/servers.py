"""Real servers for tests and benchmarks: PostgreSQL, MariaDB and Redis, private and short-lived.

    with Servers() as servers:
        engine = create_async_engine(servers.postgresql_url("psycopg"))

Each is started when it is first asked for, in a fresh directory, on a free port of 127.0.0.1, and
stopped when the block is left (or when this process dies). Every address is that of a database (or
schema) of its own. They are as durable as a user's would be: what was committed is on the disk.

In tests use the fixture ``servers``. Where a program is missing, a test is skipped, but fails where
``CI`` is set.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeVar

import psycopg
import pymysql  # type: ignore[import-untyped]

#: Where Debian keeps what is not on everybody's PATH.
ELSEWHERE = ("/usr/sbin", "/sbin", "/usr/lib/postgresql/*/bin")
STARTING = 60.0
STOPPING = 20.0
ATTEMPTS = 3  # another program may take the free port first


class MissingProgramError(Exception):
    """A server's program is not on this machine."""


def find_program(name: str, package: str) -> str:
    """The program's path; MissingProgramError names Debian's package that has it."""
    places = [str(place) for pattern in ELSEWHERE for place in Path("/").glob(pattern[1:])]
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *places]))
    if found is None:
        message = f"{name} is not installed (Debian: apt-get install {package})"
        raise MissingProgramError(message)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


S = TypeVar("S", bound="Server")
T = TypeVar("T")


class Server(ABC):
    """One server of our own: its directory, its process, its port."""

    name: str
    #: Whom it runs as when we are root.
    account: str
    #: What stops it at once, with its clients still there.
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.setpriv = find_program("setpriv", "util-linux")
        self.databases = 0
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._account = self.account if os.geteuid() == 0 else None
        # Not TMPDIR's: a socket's path may have 107 bytes, and the account has to get there.
        self.directory = Path(tempfile.mkdtemp(prefix=f"chaoying-{self.name}-", dir="/tmp"))
        self.log = self.directory / "log"
        self.log.touch()
        if self._account is not None:
            for path in (self.directory, self.log):
                shutil.chown(path, self._account, pwd.getpwnam(self._account).pw_gid)

    @abstractmethod
    def prepare(self) -> None:
        """Make its directory ready, once."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What serves on ``port``."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes connections; errors mean no."""

    def start(self) -> None:
        self.prepare()
        for _ in range(ATTEMPTS):
            self.port = free_port()
            self.serve()
            if self.wait():
                return
            self.kill()
        message = f"{self.name} did not start:\n{self.log.read_text(errors='replace')[-3000:]}"
        raise RuntimeError(message)

    def serve(self) -> None:
        """Start the process; it ends with ours, however ours ends."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._until_we_die(self.stop_signal), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests
            )

    def run(self, *command: str) -> None:
        done = subprocess.run(
            [*self._until_we_die(signal.SIGKILL), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            cwd=self.directory,
        )
        if done.returncode:
            message = f"{self.name}: {command[0]} failed:\n{done.stdout.decode(errors='replace')}"
            raise RuntimeError(message)

    def _until_we_die(self, farewell: signal.Signals) -> Sequence[str]:
        """What to put before a command, so that it ends with us and runs as the account."""
        prefix = (self.setpriv, "--pdeathsig", farewell.name.removeprefix("SIG"))
        if self._account is None:
            return prefix
        user = pwd.getpwnam(self._account)
        return (*prefix, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")

    def wait(self) -> bool:
        end = time.monotonic() + STARTING
        while time.monotonic() < end and self.process is not None and self.process.poll() is None:
            with contextlib.suppress(OSError, psycopg.Error, pymysql.Error):
                if self.answers():
                    return True
            time.sleep(0.05)
        return False

    def kill(self) -> None:
        """SIGKILL, as the machine's out-of-memory killer would: what was committed stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(STOPPING)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def fresh(self) -> str:
        """A name that no database of this server had before."""
        self.databases += 1
        return f"test_{self.databases}"


class PostgreSQL(Server):
    name = "postgresql"
    account = "postgres"
    stop_signal = signal.SIGINT  # "fast": does not wait for clients to leave

    def __init__(self) -> None:
        self.initdb = find_program("initdb", "postgresql")
        self.postgres = find_program("postgres", "postgresql")
        super().__init__()

    def prepare(self) -> None:
        self.run(
            *(self.initdb, "--pgdata", str(self.directory / "data"), "--auth=trust"),
            *("--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"),
        )

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "Asia/Shanghai",  # never UTC by luck
        }
        options = (part for item in settings.items() for part in ("-c", "=".join(item)))
        return (self.postgres, "-D", str(self.directory / "data"), *options)

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True
        )

    def answers(self) -> bool:
        self.connect().close()
        return True

    def schema(self) -> str:
        """An account with an empty schema of its own: a database would cost 300 files."""
        name = self.fresh()
        with self.connect() as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN SUPERUSER".encode())
            connection.execute(f"CREATE SCHEMA AUTHORIZATION {name}".encode())
        return name


class MariaDB(Server):
    name = "mariadb"
    account = "mysql"

    def __init__(self) -> None:
        self.install = find_program("mariadb-install-db", "mariadb-server")
        self.mariadbd = find_program("mariadbd", "mariadb-server")
        super().__init__()

    def prepare(self) -> None:
        # Its own tmpdir: one that starts removes the temporary tables of the others in /tmp.
        self.run(
            *(self.install, "--no-defaults", f"--datadir={self.directory / 'data'}"),
            f"--tmpdir={self.directory}",
            *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"),
        )

    def command(self) -> Sequence[str]:
        return (
            *(self.mariadbd, "--no-defaults", f"--datadir={self.directory / 'data'}"),
            f"--tmpdir={self.directory}",
            *("--bind-address=127.0.0.1", f"--port={self.port}"),
            *(f"--socket={self.directory / 'socket'}", f"--pid-file={self.directory / 'pid'}"),
            *("--max-connections=200", "--innodb-buffer-pool-size=64M", "--skip-name-resolve"),
            *("--default-time-zone=+08:00", "--character-set-server=utf8mb4"),  # never UTC by luck
        )

    def connect(self) -> Any:
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)

    def answers(self) -> bool:
        self.connect().close()
        return True

    def database(self) -> str:
        name = self.fresh()
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return name


class Redis(Server):
    name = "redis"
    account = "redis"

    def __init__(self) -> None:
        self.redis_server = find_program("redis-server", "redis-server")
        super().__init__()

    def prepare(self) -> None:
        """Nothing: it makes its files itself."""

    def command(self) -> Sequence[str]:
        return (
            *(self.redis_server, "--bind", "127.0.0.1", "--port", str(self.port)),
            *("--dir", str(self.directory), "--databases", "5000"),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        )

    def answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")

    def database(self) -> int:
        self.databases += 1
        return self.databases


def _raise(missing: MissingProgramError) -> NoReturn:
    raise missing


class Servers:
    """The servers of one run, each started when first asked for; leaving the block stops them."""

    def __init__(self, missing: Callable[[MissingProgramError], NoReturn] = _raise) -> None:
        self._missing = missing
        self._running: dict[type[Server], Server] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._running:
            self._running.popitem()[1].stop()

    @property
    def postgresql(self) -> PostgreSQL:
        return self._server(PostgreSQL)

    @property
    def mariadb(self) -> MariaDB:
        return self._server(MariaDB)

    @property
    def redis(self) -> Redis:
        return self._server(Redis)

    def postgresql_url(self, driver: Literal["psycopg", "asyncpg"] = "psycopg") -> str:
        """SQLAlchemy's address of a fresh schema (by an account whose own it is)."""
        server = self.postgresql
        return f"postgresql+{driver}://{server.schema()}@127.0.0.1:{server.port}/postgres"

    def mariadb_url(self) -> str:
        """SQLAlchemy's address of a fresh database, by aiomysql."""
        server = self.mariadb
        return f"mysql+aiomysql://root@127.0.0.1:{server.port}/{server.database()}"

    def redis_url(self) -> str:
        """The address of a fresh database, for ``redis.asyncio.from_url``."""
        server = self.redis
        return f"redis://127.0.0.1:{server.port}/{server.database()}"

    def found(self, make: Callable[[], T]) -> T:
        """What ``make`` finds; where its program is missing the test is skipped, or fails."""
        try:
            return make()
        except MissingProgramError as missing:
            self._missing(missing)

    def _server(self, kind: type[S]) -> S:
        found = self._running.get(kind)
        if isinstance(found, kind):
            return found
        server = self.found(kind)
        self._running[kind] = server  # before it starts: what fails half-way is stopped too
        server.start()
        return server
