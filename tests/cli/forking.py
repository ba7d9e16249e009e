"""Begins the command line as forks of one process that has imported it: most of a start is imports.

    python -m tests.cli.forking DESCRIPTOR

A fork has streams, environment, folder and signals of its own, runs what ``python -m
chaoying_async`` runs, and ends as Python ends. With ``FULL=1`` each fork starts a Python anew.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module

from chaoying_async.cli import command_line, main
from tests.sizes import FULL

#: What commands import once they know that they need it.
LATER = (
    *("aiosqlite", "anyio", "certifi", "httpcore", "httpx", "prometheus_client", "uvicorn"),
    *("rich.live", "rich.table", "sqlalchemy.ext.asyncio"),
    *("chaoying_async.inbox.sql", "chaoying_async.observing.prometheus"),
    *("chaoying_async.pollstore.sql", "chaoying_async.sandbox.serving", "chaoying_async.workers"),
    *("chaoying_async.transport.aiohttp_connections", "chaoying_async.transport.httpx_engine"),
)


class Forking:
    """Forks for each request that comes through a socket, and says there how each fork ended."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.told: dict[int, socket.socket] = {}

    def serve(self) -> bool:
        """In a fork, as soon as it is one: True. Where nobody asks any more: False."""
        ended, woken = socket.socketpair()
        woken.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken.fileno())
        while True:
            ready, _, _ = select.select([self.channel, ended], [], [])
            if ended in ready:
                ended.recv(1 << 16)
                self.reap()
            if self.channel in ready:
                text, descriptors, _, _ = socket.recv_fds(self.channel, 1 << 16, 4)
                while text and not text.endswith(b"\n"):
                    text += self.channel.recv(1 << 16)
                if not text:
                    self.end()
                    return False
                told = socket.socket(fileno=descriptors.pop(0))
                if not (pid := os.fork()):
                    self.become(json.loads(text), descriptors)
                    return True
                for each in descriptors:
                    os.close(each)
                told.sendall(pid.to_bytes(4))
                self.told[pid] = told

    def reap(self) -> None:
        for pid in [*self.told]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with self.told.pop(pid) as told, suppress(OSError):  # nobody waits for it
                    told.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))

    def end(self) -> None:
        """Nobody is left who would end what a test that failed has left."""
        for pid in self.told:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def become(self, request: dict[str, object], streams: list[int]) -> None:
        """Be what was asked for, up to its first line."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self.channel, *self.told.values()):
            each.close()
        arguments, environment, folder = request["arguments"], request["env"], request["cwd"]
        assert isinstance(arguments, list)
        assert isinstance(environment, dict)
        if request["session"]:
            os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(str(folder))
        if FULL:
            command = [sys.executable, "-m", "chaoying_async", *arguments]
            os.execve(sys.executable, command, environment)  # noqa: S606 - nothing of a shell's
        os.environ.clear()
        os.environ.update(environment)
        sys.path[0] = str(folder)
        sys.argv[1:] = arguments
        sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]


if __name__ == "__main__":
    for command in command_line._FILES.values():
        import_module(f"chaoying_async.cli.commands.{command}")
    for module in LATER:
        with suppress(ImportError):  # an extra that is not here
            import_module(module)
    gc.freeze()  # a fork that looked at all of it, when it ends, would copy all of it
    if Forking(socket.socket(fileno=int(sys.argv[1]))).serve():
        sys.exit(main())
