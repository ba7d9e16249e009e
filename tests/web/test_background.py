"""One loop in the background: for threads, and for servers that fork."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from opentelemetry.trace import NonRecordingSpan, SpanContext, get_current_span, use_span
from structlog.contextvars import bind_contextvars, get_contextvars

from chaoying_async import Wallet
from chaoying_async.exceptions import UsageError
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.contract import HttpAnswer, Refusal

SUCCESS = Refusal(200, body=b"success")
#: As a framework keeps one for each request, and closes it with that.
_SESSION = ContextVar("a session", default="none")


class Fake:
    """A handler that tells what was done to it."""

    def __init__(self, answers: Callable[[bytes], Any] | None = None) -> None:
        self.answers = answers
        self.events: list[str] = []
        self.threads: set[str] = set()
        self.loops: set[int] = set()

    async def handle(self, body: bytes, *, kind: Wallet | None = None) -> HttpAnswer:
        self.threads.add(threading.current_thread().name)
        self.loops.add(id(asyncio.get_running_loop()))
        if self.answers is not None:
            await self.answers(body)
        return SUCCESS

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Fake]:
        self.events.append("opened")
        yield self
        self.events.append("closed")


def test_all_threads_share_one_handler_in_one_loop() -> None:
    """Sixteen threads that all bring the first notification open one handler."""
    fake = Fake()
    with BackgroundHandler(fake.open) as background, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(background.handle, [b"a=1"] * 200))
    assert set(answers) == {SUCCESS}
    assert fake.events == ["opened", "closed"]
    assert fake.threads == {"chaoying-notifications"}
    assert len(fake.loops) == 1


async def _behind_asgi(view: Callable[[], Any]) -> Any:
    """How Django behind an ASGI server calls a synchronous view."""
    async with ThreadSensitiveContext():
        return await sync_to_async(view)()


async def test_a_shop_may_call_the_orm_while_djangos_thread_waits() -> None:
    """`sync_to_async` takes another thread than the one that waits for the answer.

    What the request ends is not the shop's, which may outlive it; its trace is.
    """
    found: dict[str, Any] = {}

    async def shop(body: bytes) -> None:
        async with asyncio.timeout(10.0):
            found["here"] = get_contextvars() | {"session": _SESSION.get()}
            await sync_to_async(lambda: found.setdefault("called", True))()
            found["traced"] = get_current_span() is span

    span = NonRecordingSpan(SpanContext(1, 2, is_remote=False))

    def view() -> Any:
        _SESSION.set("the request's")
        bind_contextvars(request="R1")
        with use_span(span):
            return background.handle(b"a=1")

    with BackgroundHandler(Fake(shop).open) as background:
        assert await _behind_asgi(view) is SUCCESS
    here = {"request": "R1", "session": "none"}
    assert found == {"here": here, "traced": True, "called": True}


def test_nothing_is_made_before_it_is_needed() -> None:
    """What forks after loading must find no loop and no connections made yet."""
    fake = Fake()
    background = BackgroundHandler(fake.open)
    assert fake.events == []
    background.handle(b"a=1")
    assert fake.events == ["opened"]
    background.close()
    background.close()
    assert fake.events == ["opened", "closed"]


def test_what_fails_while_opening_is_raised_and_tried_again() -> None:
    """A missing key is an error, not silence; a database that comes back is found."""
    fake = Fake()
    failures = [ValueError("no key"), OSError("no database")]

    def make() -> Any:
        if failures:
            raise failures.pop(0)
        return fake.open()

    background = BackgroundHandler(make)
    with pytest.raises(ValueError, match="no key"):
        background.start()
    with pytest.raises(OSError, match="no database"):
        background.handle(b"a=1")
    assert background.handle(b"a=1") is SUCCESS
    background.close()


def test_a_closed_one_says_so() -> None:
    """After close() there is nothing to run in; the error says what to do."""
    background = BackgroundHandler(Fake().open)
    background.start()
    background.close()
    for call in (background.start, lambda: background.run(asyncio.Event().wait())):
        with pytest.raises(UsageError, match="make another"):
            call()


def test_closing_waits_for_nothing_that_the_handler_does_not_wait_for() -> None:
    """Who still waits when it is closed is answered `fail`, and no thread hangs."""
    entered = threading.Event()

    async def for_ever(body: bytes) -> None:
        entered.set()
        await asyncio.Event().wait()

    background = BackgroundHandler(Fake(for_ever).open)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(background.handle, b"a=1")
        assert entered.wait(10)
        background.close()
        assert waiting.result(10).body == b"fail"


def test_a_loop_that_is_blocked_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """A thread of the server gets its `fail` although what blocks the loop never ends."""
    release = threading.Event()

    async def blocks(body: bytes) -> None:
        release.wait(30)

    background = BackgroundHandler(Fake(blocks).open, patience=0.05)
    answer = background.handle(b"a=1")
    assert (answer.status, answer.body) == (200, b"fail")
    assert "something blocks the loop" in caplog.text
    release.set()
    background.close()


def test_the_handlers_own_error_goes_up() -> None:
    """What a handler raises is the caller's, a TimeoutError included."""

    async def fails(body: bytes) -> None:
        raise TimeoutError("of the handler")

    with (
        BackgroundHandler(Fake(fails).open) as background,
        pytest.raises(TimeoutError, match="of the handler"),
    ):
        background.handle(b"a=1")


async def where_it_turns() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    return asyncio.get_running_loop(), threading.current_thread()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_died_is_replaced() -> None:
    """A handler that falls over while open costs one loop, not all notifications to come."""
    fake = Fake()
    lives: list[asyncio.Event] = []

    @contextlib.asynccontextmanager
    async def mortal() -> AsyncIterator[Fake]:
        dies = asyncio.Event()
        lives.append(dies)

        async def die() -> None:
            await dies.wait()
            raise RuntimeError("fell over")

        async with asyncio.TaskGroup() as group:
            dying = group.create_task(die())
            yield fake
            dying.cancel()

    background = BackgroundHandler(mortal)
    loop, thread = background.run(where_it_turns())
    loop.call_soon_threadsafe(lives[0].set)
    thread.join(10)
    assert background.handle(b"a=1") is SUCCESS
    assert len(lives) == 2
    background.close()


def test_other_coroutines_run_in_the_same_loop() -> None:
    """settle() and order_known() of the open handler are called from a thread too."""
    fake = Fake()
    with BackgroundHandler(fake.open) as background:
        assert background.start() is fake
        assert background.run(fake.handle(b"a=1")) is SUCCESS
    assert fake.threads == {"chaoying-notifications"}


PROGRAM = """
import concurrent.futures.thread, contextlib, ctypes, os, sys, threading
if sys.argv[1] == "no hook":
    del threading._register_atexit
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.contract import Refusal

class Handler:
    async def handle(self, body, *, kind=None):
        return Refusal(200, body=str(os.getpid()).encode())

@contextlib.asynccontextmanager
async def opened():
    print("opened", os.getpid(), flush=True)
    yield Handler()
    print("closed", os.getpid(), flush=True)

background = BackgroundHandler(opened)
assert background.handle(b"a=1").body == str(os.getpid()).encode()
if "fork" in sys.argv[1]:
    child = ctypes.PyDLL(None).fork() if sys.argv[1] == "silent fork" else os.fork()
    assert background.handle(b"a=1").body == str(os.getpid()).encode()
    if child:
        assert os.waitpid(child, 0)[1] == 0
"""


def _said(argument: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, argument],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.split()[0] for line in done.stdout.splitlines()]


@pytest.mark.outside
def test_the_end_of_the_process_closes_the_handler() -> None:
    """M-17: claims are released even if nobody called close()."""
    assert _said("stay") == ["opened", "closed"]


@pytest.mark.outside
def test_without_the_hook_of_threading_the_end_of_the_process_closes_it_too() -> None:
    """The hook is not public: where a version lacks it, ``atexit`` serves."""
    assert _said("no hook") == ["opened", "closed"]


@pytest.mark.outside
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("how", ["fork", "silent fork"])
def test_a_fork_gets_a_loop_of_its_own(how: str) -> None:
    """A child of a process that already serves does not wait for the parent's thread.

    Nor where Python is not told of the fork: uWSGI forks so by itself.
    """
    assert sorted(_said(how)) == ["closed", "closed", "opened", "opened"]
