"""An event loop in a thread of its own, for calls that other threads wait for."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import Enum
from functools import partial
from typing import Any, Generic, TypeVar

from anyio.from_thread import start_blocking_portal

from chaoying_async.observation import log
from chaoying_async.payments.records import SHIELDED_FOR
from chaoying_async.threads import context_for_a_loop
from chaoying_async.workers.this_process import this_process

T = TypeVar("T")
Opened = TypeVar("Opened")

LOOP_THREAD = "chaoying-blocking"

#: Seconds that the loop may take to begin a call; longer only where something blocks it.
BEGINS_WITHIN = 10.0
#: Seconds that a call which is given up may take to write down that it is UNKNOWN.
RECORDS_WITHIN = SHIELDED_FOR + 2.0
#: Seconds that closing may take.
CLOSES_WITHIN = RECORDS_WITHIN + 3.0


class NotBegunError(Exception):
    """The loop did not begin the call, and never will."""


class GivenUpError(Exception):
    """The call was cancelled, or has not even answered to that."""


class _WaitedCall(Generic[T]):
    """One call, which runs in the loop while a thread waits for it."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.result: Future[T] = Future()
        self.begun = threading.Event()
        self._work = work
        self.task: asyncio.Task[T] | None = None

    def begin(self, tasks: set[asyncio.Task[Any]]) -> None:
        """In the loop: begin, unless the thread has left meanwhile."""
        if self.result.set_running_or_notify_cancel():
            self.begun.set()
            self.task = asyncio.create_task(self._work(), name="chaoying blocking: call")
            tasks.add(self.task)
            self.task.add_done_callback(tasks.discard)
            self.task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """In the loop: cancel it once, as asyncio does; a scope of anyio would cancel each await.

        So what has to be written down can be awaited.
        """
        if self.task is not None:
            self.task.cancel()

    def _ended(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.result.set_exception(GivenUpError("it was cancelled while it was under way"))
        elif (error := task.exception()) is not None:
            self.result.set_exception(error)
        else:
            self.result.set_result(task.result())


def _tell_lost(about: tuple[str, str], result: Future[Any]) -> None:
    """Log how a call ended whose thread was interrupted at that very moment."""
    error = None if result.cancelled() else result.exception()
    if result.cancelled() or isinstance(error, GivenUpError):
        return  # nothing has moved, or what was cancelled has said so
    ended = type(error).__name__ if error is not None else _end_of(result.result())
    log.error(
        "%s %s ended %s while its thread was being interrupted, so nobody was told: ask for it by "
        "its number before anything else",
        *about,
        ended,
    )


def _end_of(value: Any) -> str:
    """In one word: the status of an outcome, or the meaning of a reply."""
    said = getattr(value, "status", None) or getattr(value, "meaning", None)
    return said.name if isinstance(said, Enum) else type(value).__name__


class _Pool(ThreadPoolExecutor):
    """For looking names up. Python shuts every pool before its threads that still sell have ended.

    Then each work has a thread of its own.
    """

    def submit(self, fn: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        try:
            return super().submit(fn, *args, **options)
        except RuntimeError:
            result: Future[T] = Future()
            work = partial(_work, result, partial(fn, *args, **options))
            threading.Thread(target=work, name="chaoying-blocking-last", daemon=True).start()
            return result


def _work(result: Future[T], work: Callable[[], T]) -> None:
    if result.set_running_or_notify_cancel():
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            result.set_exception(error)


class BackgroundLoop(Generic[Opened]):
    """An event loop in a thread of this process, with something open in it.

    Calls reach it by ``call_soon_threadsafe``: ``BlockingPortal.start_task_soon`` waits without a
    limit for a loop that something blocks. Entering and leaving the portal may wait so, too, and is
    done by a thread that nobody has to wait for.
    """

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[Opened]]) -> None:
        self._make = make
        self._process = this_process()
        self._opened: Future[tuple[Opened, asyncio.AbstractEventLoop]] = Future()
        self._closing = threading.Event()
        self._over = threading.Event()
        self._fell_over = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread: threading.Thread | None = None
        # Daemons: a program can end while they run. Its end closes them, when all other threads
        # have ended, so that nobody's payment is cut short. The hooks that a child of
        # multiprocessing runs at its end come too early for that: before its threads have ended.
        self._keeper = threading.Thread(
            target=self._keep_open, name="chaoying-blocking-keeper", daemon=True
        )
        self._keeper.start()
        atexit.register(self.close)

    @property
    def is_over(self) -> bool:
        """Whether it was closed, could not be opened, or fell over."""
        return self._over.is_set()

    @property
    def is_here(self) -> bool:
        """Whether the caller runs in this loop, which must never wait for itself."""
        return threading.current_thread() is self._thread

    def run(
        self,
        work: Callable[[Opened], Coroutine[Any, Any, T]],
        within: float | None,
        about: tuple[str, str] | None,
    ) -> T:
        """What ``work`` returns; its error; or one that says that it was given up.

        ``about``: what moves money is called so in the log, should its end come to nobody.
        """
        if self._process is not this_process():
            raise NotBegunError("its background loop is another process's")
        try:
            opened, loop = self._opened.result(within)
        except TimeoutError:
            if self._opened.done():
                raise  # an error of opening
            raise NotBegunError(f"the session did not open within {within} s") from None
        call = _WaitedCall(partial(work, opened))
        try:
            self._begin(call, loop, within)
            wait([call.result], within)
        except NotBegunError:
            raise
        except BaseException:  # Ctrl-C, a soft time limit, a server that ends its thread
            self._give_up(call, loop)
            if about is not None and call.result.done():
                _tell_lost(about, call.result)
            raise
        if not call.result.done():
            self._give_up(call, loop)
        if not call.result.done():
            raise GivenUpError("it does not end, although it was cancelled")
        return call.result.result()

    def _begin(
        self, call: _WaitedCall[Any], loop: asyncio.AbstractEventLoop, within: float | None
    ) -> None:
        try:
            context = context_for_a_loop()
            loop.call_soon_threadsafe(call.begin, self._tasks, context=context)
        except RuntimeError:
            raise NotBegunError("the background loop is closed") from None
        patience = BEGINS_WITHIN if within is None else min(within, BEGINS_WITHIN)
        if not call.begun.wait(patience) and call.result.cancel():
            raise NotBegunError(
                f"the background loop did not begin it within {patience} s: does an event hook "
                "or on_exchange block it?"
            )

    @staticmethod
    def _give_up(call: _WaitedCall[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the call, and wait until what it has to record is recorded."""
        if not call.result.cancel():
            with contextlib.suppress(RuntimeError):  # the loop is closed: the call was cancelled
                loop.call_soon_threadsafe(call.cancel)
            wait([call.result], RECORDS_WITHIN)

    def close(self) -> None:
        """Cancel what is under way, close what is open, end the loop; in its own process only."""
        atexit.unregister(self.close)
        if self._process is this_process():
            self._closing.set()
            self._keeper.join(CLOSES_WITHIN)

    def _keep_open(self) -> None:
        try:
            with (
                start_blocking_portal("asyncio") as portal,
                portal.wrap_async_context_manager(self._serving()) as opened,
            ):
                self._opened.set_result((opened, portal.call(asyncio.get_running_loop)))
                self._closing.wait()
        except BaseException as error:
            self._over.set()  # first: whoever sees the error may start another at once
            if not self._opened.done():
                self._opened.set_exception(error)
            elif not self._fell_over:
                raise  # while closing: threading's excepthook reports it
        finally:
            self._over.set()
            atexit.unregister(self.close)  # else each that could not be opened would be kept

    @asynccontextmanager
    async def _serving(self) -> AsyncGenerator[Opened]:
        self._thread = threading.current_thread()
        self._thread.name = LOOP_THREAD  # older anyios name it themselves
        asyncio.get_running_loop().set_default_executor(_Pool())
        async with self._make() as opened:
            try:
                yield opened
            finally:
                self._fell_over = not self._closing.is_set()  # sys.exit in a hook, for example
                self._closing.set()
                for task in [*self._tasks]:
                    task.cancel()
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=RECORDS_WITHIN)
