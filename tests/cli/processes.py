"""The command line in processes of its own: real streams, signals and exit codes.

They begin as forks (:mod:`tests.cli.forking`). Where a start is what is tested, take
``subprocess`` and :data:`tests.cli_calls.PROGRAM`: streams that are closed, encodings, signals that
are ignored, modules that are missing.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Self

import attrs

from tests.cli_calls import NO_MORE, NOTHING, ROOT, Running, environment


@cache
def _forking() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forking", str(theirs.fileno())],
            cwd=ROOT,
            env=environment({}),
            stdin=subprocess.PIPE,  # its forks have others
            stdout=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
        )
    return process, ours


def end_forking() -> None:
    """Where one was begun."""
    if _forking.cache_info().currsize:
        process, channel = _forking()
        channel.close()
        with process:
            pass
        _forking.cache_clear()


@attrs.define(kw_only=True)
class Process:
    """One that has begun, used as a ``subprocess.Popen`` is."""

    pid: int
    stdin: Any
    stdout: Any
    stderr: Any
    returncode: int | None = None
    _told: socket.socket

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                status = self._told.recv(4)
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            assert status, "what forks has ended before its forks"
            self.returncode = int.from_bytes(status, signed=True)
            self._told.close()
        return self.returncode

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(1e-6)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, given: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """What it still says; on stderr it may say no more than a pipe takes."""
        with suppress(BrokenPipeError):
            if given is not None:
                self.stdin.write(given)
            if self.stdin is not None:
                self.stdin.close()
        said = tuple(None if each is None else each.read() for each in (self.stdout, self.stderr))
        self.wait(timeout)
        return said[0], said[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self.stdout, self.stderr, self.stdin):
            if each is not None:
                with suppress(BrokenPipeError):
                    each.close()
        self.wait()


def begun(
    *arguments: str,
    env: Mapping[str, str],
    cwd: Path = ROOT,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    text: bool = True,
    session: bool = False,
) -> Process:
    """A command with these streams: descriptors, or what ``subprocess.Popen`` takes."""
    _, channel = _forking()
    ends = [
        _ends(stream, mode if text else f"{mode}b")
        for stream, mode in ((stdin, "w"), (stdout, "r"), (stderr, "r"))
    ]
    told, telling = socket.socketpair()
    request = {"arguments": arguments, "env": dict(env), "cwd": str(cwd), "session": session}
    with telling:
        sent = [telling.fileno(), *(theirs for _, theirs in ends)]
        socket.send_fds(channel, [json.dumps(request).encode() + b"\n"], sent)
    for _, theirs in ends:
        os.close(theirs)
    pid = int.from_bytes(told.recv(4))
    opened = dict(zip(("stdin", "stdout", "stderr"), (ours for ours, _ in ends), strict=True))
    return Process(pid=pid, told=told, **opened)


def _ends(stream: int, mode: str) -> tuple[Any, int]:
    """Our end of a process's stream, where there is one, and its own."""
    if stream == subprocess.PIPE:
        reading, writing = os.pipe()
        ours, theirs = (writing, reading) if mode.startswith("w") else (reading, writing)
        return open(ours, mode, encoding=None if "b" in mode else "utf-8"), theirs  # noqa: PTH123
    return None, os.open(os.devnull, os.O_RDWR) if stream == subprocess.DEVNULL else os.dup(stream)


@contextmanager
def process(*arguments: str, env: Mapping[str, str | None]) -> Generator[Process]:
    """A command in a process of its own; ended with the block, if it has not ended before."""
    with begun(*arguments, env=environment({**env}), stderr=2) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait()


def line_of(running: Process) -> dict[str, Any]:
    """The next JSON line that a process says."""
    line = running.stdout.readline()
    assert line, "it ended before it said anything"
    found: dict[str, Any] = json.loads(line)
    return found


@contextmanager
def sandbox(*options: str, env: Mapping[str, str | None] | None = None) -> Generator[Running]:
    """A sandbox in a process of its own."""
    with process("sandbox", "--json", *options, env={**NOTHING, **(env or {})}) as running:
        told = line_of(running)
        yield Running(url=told["url"], told=told)


def on_a_terminal(
    arguments: Sequence[str],
    env: Mapping[str, str | None],
    typed: str = "",
    *,
    more: Mapping[str, str] = NO_MORE,
) -> str:
    """What a person at a terminal sees who types this once something is asked.

    ``more`` goes into its environment: ``COLUMNS`` is how wide the terminal is.
    """
    ours, theirs = pty.openpty()
    streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    whole = {**environment({**env}), **more}
    with begun(*arguments, env=whole, session=True, **streams) as running:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # EIO: the other end is closed
            while chunk := os.read(ours, 4096):
                seen += chunk
                if typed and seen.rstrip().endswith(b":"):
                    os.write(ours, f"{typed}\n".encode())
                    typed = ""
        os.close(ours)
    return f"{seen.decode()}\nexit code {running.returncode}"
