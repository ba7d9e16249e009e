"""The command line, called in this process: against a sandbox behind a socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import click
from click.testing import CliRunner, Result

from chaoying_async.cli.command_line import chaoying
from chaoying_async.sandbox import Plan, Sandbox
from chaoying_async.sandbox.speed import FastClock
from tests.factories import CREDENTIALS, MCH_ID

ROOT = Path(__file__).parent.parent
PROGRAM = (sys.executable, "-m", "chaoying_async")
#: What the tests of a user's shell must not leak into ours.
NOTHING: dict[str, str | None] = {
    f"CHAOYING_{name}": None
    for name in (
        *("AGENT_ID", "KEY", "PID", "VERSION", "ALGORITHM", "MCH_ID", "OP_USER_ID", "URL"),
        "SANDBOX_TOKEN",
    )
}

NO_MORE: Mapping[str, str] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Running:
    """A sandbox that runs, and what a shell that uses it has in its environment."""

    url: str
    told: dict[str, str]

    @property
    def env(self) -> dict[str, str | None]:
        names = ("url", "agent_id", "key", "pid", "mch_id")
        mine = {f"CHAOYING_{name.upper()}": self.told[name] for name in names}
        if "token" in self.told:
            mine["CHAOYING_SANDBOX_TOKEN"] = self.told["token"]
        return {**NOTHING, **mine, "CHAOYING_OP_USER_ID": "cashier"}

    def call(self, *arguments: str, **more: Any) -> Result:
        """Run a command in this process."""
        env = {**self.env, **more.pop("env", {})}
        return call(*arguments, env=env, **more)

    def ask(self, *arguments: str, **more: Any) -> dict[str, Any]:
        """Run a command with ``--json``; what it says, which is one line."""
        return said(self.call(*arguments, "--json", **more))


def call(*arguments: str, **more: Any) -> Result:
    """Run a command in this process; no exception may get out of it."""
    env = {**NOTHING, **(more.pop("env", None) or {})}
    result = CliRunner().invoke(chaoying, list(arguments), env=env, prog_name="chaoying", **more)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(result: Result) -> dict[str, Any]:
    """The one JSON line on stdout."""
    (line,) = result.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def environment(env: dict[str, str | None]) -> dict[str, str]:
    """A whole environment for a process."""
    whole = {name: value for name, value in os.environ.items() if name not in env}
    whole |= {name: value for name, value in env.items() if value is not None}
    return whole | {"PYTHONUTF8": "1", "TERM": "xterm-256color", "COLUMNS": "100"}


@contextmanager
def in_thread(*faults: str, speed: float = 1, **options: Any) -> Generator[Running]:
    """A sandbox behind a socket of its own, in this process: half a second less than a process."""
    made: Future[Running] = Future()
    loop, ended = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        world = Sandbox(clock=FastClock(speed), **options)
        world.faults.plans.extend(map(Plan.parse, faults))
        async with world, world.serve(console=True) as url:
            who = world.credentials
            told = {"agent_id": who.agent_id, "key": who.key, "pid": who.pid}
            made.set_result(Running(url=url, told={"url": url, "mch_id": world.mch_id, **told}))
            await ended.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        except BaseException as error:
            if made.done():
                raise
            made.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield made.result()
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


class UsersProgram:
    """A user's own program: answers what it is told to, and remembers what it was sent."""

    def __init__(self, *answers: bytes) -> None:
        self.got: list[bytes] = []
        self._answers = list(answers)

    @contextmanager
    def serving(self) -> Generator[str]:
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                shop.got.append(self.rfile.read(int(self.headers["content-length"])))
                answer = shop._answers.pop(0) if shop._answers else b"success"
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its parent's name
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/paid"
            finally:
                server.shutdown()
                thread.join()


def told_by(*answers: bytes, command: str, env: Mapping[str, str] = NO_MORE) -> Result:
    """What the command prints whose gateway gives these answers, one after the other."""
    gateway = UsersProgram(*answers)
    with gateway.serving() as url:
        who = {"agent_id": CREDENTIALS.agent_id, "key": CREDENTIALS.key, "pid": CREDENTIALS.pid}
        shell = Running(url=url, told={"url": url, "mch_id": MCH_ID, **who})
        result = shell.call(*command.split(), env={"LC_ALL": "C", **env})
    assert len(gateway.got) == len(answers), "each answer is asked for, and no more"
    return result


def commands() -> list[str]:
    """Every command there is."""
    return chaoying.list_commands(click.Context(chaoying))
