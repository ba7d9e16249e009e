"""The loop in the background when things go wrong: hanging, dying, closing, the process ending."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chaoying_async import ExpectedOrder, MemoryInbox, NotificationHandler, PaidOrder
from chaoying_async.exceptions import UsageError
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.contract import HttpAnswer, Refusal
from chaoying_async.web.loop_thread import LoopThread, NoResultError
from tests.factories import CREDENTIALS, MCH_ID
from tests.web.app_servers import TOTAL, notification

SUCCESS = Refusal(200, body=b"success")
BODY = b"openid=of-a-person"


class Fake:
    """A handler that always says yes."""

    def __init__(self) -> None:
        self.events: list[str] = []

    async def handle(self, body: bytes, *, kind: Any = None) -> HttpAnswer:
        return SUCCESS

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Fake]:
        self.events.append("opened")
        yield self
        self.events.append("closed")


class Slow(Fake):
    """One that takes as long to open as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.making = threading.Event()
        self.go_on = threading.Event()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Fake]:
        self.making.set()
        await asyncio.to_thread(self.go_on.wait, 30)
        async with super().open() as opened:
            yield opened


def test_a_closed_one_answers_fail(caplog: pytest.LogCaptureFixture) -> None:
    """M-17: what still comes while the server ends is `fail`, never an error."""
    background = BackgroundHandler(Fake().open)
    background.start()
    background.close()
    answer = background.handle(BODY)
    assert (answer.status, answer.body) == (200, b"fail")
    assert "closed" in caplog.text
    assert "openid" not in caplog.text


def test_opening_that_hangs_holds_no_thread_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A database that does not answer while the handler opens is `fail` in time, for everybody.

    The log says so once a minute: nothing is delivered meanwhile.
    """
    slow = Slow()
    background = BackgroundHandler(slow.open, patience=0.05)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(background.handle, [BODY] * 4))
    assert {answer.body for answer in answers} == {b"fail"}
    assert caplog.text.count("got no answer within 0.05 s") == 1
    slow.go_on.set()
    background.start()
    assert background.handle(BODY) is SUCCESS
    assert slow.events == ["opened"]
    background.close()


async def its_thread() -> threading.Thread:
    return threading.current_thread()


class Stuck(Fake):
    """One whose work stands still until the test lets it go."""

    grace = 0.01

    def __init__(self, *, in_a_thread: bool) -> None:
        super().__init__()
        self.in_a_thread = in_a_thread
        self.go_on = threading.Event()

    async def handle(self, body: bytes, *, kind: Any = None) -> HttpAnswer:
        if self.in_a_thread:
            await asyncio.to_thread(self.go_on.wait, 30)
        else:
            self.go_on.wait(30)
        self.events.append("went on")
        return SUCCESS


@pytest.mark.parametrize("in_a_thread", [True, False])
def test_closing_leaves_work_alone_that_never_ends(
    *, in_a_thread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A server would kill the process: neither a thread nor a blocked loop is waited for."""
    stuck = Stuck(in_a_thread=in_a_thread)
    background = BackgroundHandler(stuck.open, patience=0.01)
    turning = background.run(its_thread())
    assert background.handle(BODY).body == b"fail"
    background.close()
    assert "went on" not in stuck.events
    assert turning.is_alive()
    assert "left alone" in caplog.text
    stuck.go_on.set()
    turning.join(30)
    assert not turning.is_alive()


def test_closing_waits_as_long_as_the_handlers_grace() -> None:
    """Its patience is for what should have ended by then."""
    begun, go_on = threading.Event(), threading.Event()
    paid: list[str] = []

    async def expected(mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        return ExpectedOrder(TOTAL, MCH_ID)

    async def on_paid(order: PaidOrder) -> None:
        begun.set()
        await asyncio.to_thread(go_on.wait, 30)
        paid.append(order.out_trade_no)

    def make() -> NotificationHandler:
        return NotificationHandler(CREDENTIALS, MemoryInbox(), on_paid, expected=expected, grace=30)

    background = BackgroundHandler(make, patience=0.01)
    background.start()
    assert background.handle(notification("A100011")).body == b"fail"
    with ThreadPoolExecutor(1) as pool:
        assert begun.wait(10)
        closing = pool.submit(background.close)
        assert not wait([closing], 0.05).done
        go_on.set()
        closing.result(10)
    assert paid == ["A100011"]


def test_closing_while_it_opens_undoes_the_opening() -> None:
    """Nobody is left waiting, and what opened too late is closed again."""
    slow = Slow()
    background = BackgroundHandler(slow.open)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(background.handle, BODY)
        assert slow.making.wait(10)
        closing = pool.submit(background.close)
        assert waiting.result(10).body == b"fail"
        slow.go_on.set()
        closing.result(10)
    assert slow.events in ([], ["opened", "closed"])


async def test_a_loop_that_waits_for_itself_is_told_so() -> None:
    """run(), handle() and close() inside on_paid would stand still for ever."""
    background: BackgroundHandler[Any]
    said: list[str] = []

    async def from_within() -> None:
        work = Fake().handle(BODY)
        with pytest.raises(UsageError, match="await"):
            background.run(work)
        with pytest.raises(UsageError, match="await"):
            background.handle(BODY)
        with pytest.raises(UsageError, match="thread"):
            background.close()
        said.append("told")

    background = BackgroundHandler(Fake().open)
    background.run(from_within())
    assert said == ["told"]
    assert background.handle(BODY) is SUCCESS  # and from within another loop, this test's
    background.close()


async def test_a_second_loop_where_threads_are_none_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under gevent and eventlet a thread starts where another loop runs already."""
    patched = SimpleNamespace(is_monkey_patched=lambda name: name == "thread")
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patched)
    monkeypatch.setattr(threading.Thread, "start", threading.Thread.run)
    second = LoopThread[Any](lambda: pytest.fail("made"))
    with pytest.raises(UsageError, match="gthread"):
        second.opened()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_died_can_be_closed() -> None:
    """A handler that fell over is no error of close(), which runs when the process ends."""

    @contextlib.asynccontextmanager
    async def mortal() -> AsyncIterator[Fake]:
        async with asyncio.TaskGroup() as group:
            group.create_task(fall_over())
            yield Fake()

    fell = threading.Event()

    async def fall_over() -> None:
        await asyncio.to_thread(fell.wait, 30)
        raise RuntimeError("fell over")

    background = BackgroundHandler(mortal)
    background.start()
    fell.set()
    for thread in threading.enumerate():
        if thread.name == "chaoying-notifications":
            thread.join(10)
    background.close()
    assert "chaoying-notifications" not in {thread.name for thread in threading.enumerate()}


def test_who_waits_for_run_is_not_forgotten_when_it_closes() -> None:
    """A thread in run() is told that the loop has gone, instead of waiting for ever."""
    entered = threading.Event()

    async def never() -> None:
        entered.set()
        await asyncio.Event().wait()

    background = BackgroundHandler(Fake().open)
    background.start()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(background.run, never())
        assert entered.wait(10)
        background.close()
        assert isinstance(waiting.exception(10), UsageError)


def test_what_comes_while_the_loop_is_torn_down_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The last moments of a loop take on work that they never do: nobody hangs there."""
    tearing, go_on = threading.Event(), threading.Event()

    @contextlib.asynccontextmanager
    async def stubborn() -> AsyncIterator[Fake]:
        asyncio.get_running_loop().run_in_executor(None, go_on.wait, 30)
        yield Fake()
        tearing.set()

    async def never() -> None:
        await asyncio.Event().wait()

    caplog.set_level("CRITICAL", "asyncio")  # it says which tasks it dropped
    loop = LoopThread(stubborn)
    loop.opened()
    with ThreadPoolExecutor(3) as pool:
        closing = pool.submit(loop.end, 0.1)
        assert tearing.wait(10)
        late = pool.submit(loop.run, never())
        go_on.set()
        closing.result(10)
        assert isinstance(late.exception(10), NoResultError)
    with pytest.raises(NoResultError):
        loop.run(never())


def test_two_handlers_in_one_process_share_nothing() -> None:
    """Two apps, two loops: one of them closed or stuck is nothing to the other."""
    first, second = Slow(), Fake()
    with BackgroundHandler(second.open) as two, ThreadPoolExecutor(1) as pool:
        one = BackgroundHandler(first.open)
        opening = pool.submit(one.start)
        assert two.handle(BODY) is SUCCESS
        first.go_on.set()
        opening.result(10)
        one.close()
        assert two.handle(BODY) is SUCCESS


def frames_with(secret: bytes, error: BaseException) -> list[str]:
    """The functions of ours in a traceback whose locals show this."""
    found = []
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        ours = f"{os.sep}chaoying_async{os.sep}" in frame.f_code.co_filename
        if ours and any(secret.decode() in repr(value) for value in frame.f_locals.values()):
            found.append(frame.f_code.co_name)
        traceback = traceback.tb_next
    return found


def test_an_error_while_opening_shows_no_body() -> None:
    """M-27: debug pages and Sentry print the locals of every frame; ours hold no buyer's ids."""

    def make() -> Any:
        raise ConnectionRefusedError("no database")

    background = BackgroundHandler(make)
    with pytest.raises(ConnectionRefusedError) as caught:
        background.handle(BODY)
    assert frames_with(BODY, caught.value) == []


PROGRAM = """
import asyncio, contextlib, os, sys, threading, time
from chaoying_async.web.background import BackgroundHandler
from chaoying_async.web.contract import Refusal

class Handler:
    async def handle(self, body, *, kind=None):
        return Refusal(200)

@contextlib.asynccontextmanager
async def opened():
    yield Handler()
    await asyncio.to_thread(print, "work ended in a thread", flush=True)

background = BackgroundHandler(opened)
background.handle(b"a=1")
if sys.argv[1] == "fork":
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
    else:
        background.handle(b"a=1")
if sys.argv[1] == "dropped":
    del background
if sys.argv[1] == "stuck":
    stuck = BackgroundHandler(lambda: time.sleep(600), patience=0.05)
    assert stuck.handle(b"a=1").body == b"fail"
"""


@pytest.mark.outside
@pytest.mark.parametrize(("how", "ends"), [("stay", 1), ("fork", 2), ("dropped", 1), ("stuck", 1)])
def test_work_may_use_threads_while_the_process_ends(how: str, ends: int) -> None:
    """M-17: on_paid that calls asyncio.to_thread gets its grace, in a forked process too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PROGRAM, how],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0
    said = "got no answer within", "left alone"
    told = [line for line in done.stderr.splitlines() if not any(each in line for each in said)]
    assert (told, [each in done.stderr for each in said]) == ([], [how == "stuck"] * 2)
    assert done.stdout.splitlines() == ["work ended in a thread"] * ends
