"""An event loop whose time is virtual and whose every choice comes from one ``random.Random``.

Nothing waits for real: when nothing is ready the clock jumps to the next timer, so everybody's
``asyncio.sleep`` and ``asyncio.timeout`` take no time. No thread runs: what is given to an executor
runs inline, and sockets, signals and subprocesses are refused. Every callback belongs to the
process (:mod:`~chaoying_async.testing.simulation.process`) in whose context it was scheduled; those
of a stopped process wait, and those of a killed one never run.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, NoReturn, Protocol, TypeVar

T = TypeVar("T")

#: So many steps without an end are a program that spins.
MOST_STEPS = 3_000_000
#: So many steps at one moment are, too.
_MOST_AT_ONCE = 50_000


class SimulationError(RuntimeError):
    """The program under simulation asked for what a simulated world has not, or never ends."""


class Owner(Protocol):
    """Whoever callbacks belong to, as far as the loop has to know."""

    def may_run(self, step: Turn) -> bool:
        """Whether a callback of this owner may run now; one that may not was put away."""
        ...


#: Whose callbacks are scheduled from here; None: the world's own.
OWNER: ContextVar[Owner | None] = ContextVar("chaoying_async.simulation", default=None)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise SimulationError("a simulated world has no sockets, pipes, signals and children")


_REFUSED: Any = _refuse


class Turn(asyncio.TimerHandle):
    """One callback that is to run; the handle that whoever scheduled it may cancel."""

    __slots__ = ("args", "callback", "context", "owner")

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        context = copy_context() if context is None else context
        super().__init__(when, callback, args, loop, context)
        self.callback = callback
        self.args = args
        self.context = context
        self.owner: Owner | None = context.get(OWNER)

    def __hash__(self) -> int:
        return id(self)


class SimulatedTask(asyncio.Task[T]):
    """A task that knows its owner, and whose place in a set is the same in every run."""

    serial: int
    owner: Owner | None

    def __hash__(self) -> int:
        # A set of tasks, such as a TaskGroup's, is walked in the order of this.
        return getattr(self, "serial", 0)


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Deterministic: the same dice and the same program give the same steps.

    ``shuffled`` is how likely a step is taken out of turn: asyncio promises that callbacks run in
    the order in which they were scheduled, so 0 is what a real loop does. Timers of one moment ring
    in an order of the dice's in any case.
    """

    def __init__(self, rng: random.Random, *, shuffled: float = 0.0) -> None:
        self._rng = rng
        self._shuffled = shuffled
        self._now = 0.0
        self._ready: deque[Turn] = deque()
        self._timers: list[tuple[float, float, int, Turn]] = []
        self._serial = 0
        self._running = False
        self._closed = False
        self._stopping = False
        self._thread = threading.get_ident()
        #: How many callbacks ran.
        self.steps = 0
        #: What reached the loop's exception handler: the owner then, and asyncio's words.
        self.complaints: list[tuple[Owner | None, dict[str, Any]]] = []

    def __repr__(self) -> str:
        return f"<SimulatedLoop at {self._now:.3f}, {self.steps} steps>"

    add_reader = remove_reader = add_writer = remove_writer = _REFUSED
    add_signal_handler = remove_signal_handler = _REFUSED
    getaddrinfo = getnameinfo = _REFUSED
    create_connection = create_server = create_datagram_endpoint = start_tls = sendfile = _REFUSED
    create_unix_connection = create_unix_server = connect_accepted_socket = _REFUSED
    connect_read_pipe = connect_write_pipe = subprocess_exec = subprocess_shell = _REFUSED
    sock_accept = sock_connect = sock_recv = sock_recv_into = sock_recvfrom = _REFUSED
    sock_recvfrom_into = sock_sendall = sock_sendfile = sock_sendto = _REFUSED
    set_default_executor = set_task_factory = set_exception_handler = _REFUSED

    def get_task_factory(self) -> None:
        return None

    # ------------------------------------------------------------------------------- time and turns

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override] # typeshed ties callback and args together
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self._check_open()
        step = Turn(self._now, callback, args, self, context)
        self._ready.append(step)
        return step

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_open()
        step = Turn(when, callback, args, self, context)
        self._serial += 1
        heapq.heappush(self._timers, (when, self._rng.random(), self._serial, step))
        return step

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() != self._thread:
            raise SimulationError("a thread called a simulated loop: nobody could repeat that")
        return self.call_soon(callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is dropped when its moment comes."""

    def again(self, step: Turn) -> None:
        """Take up a step that was put away."""
        self._ready.append(step)

    def _turn(self) -> bool:
        """Run one step, or move the clock to the next timer; False when nothing is left."""
        if not self._ready:
            while self._timers and self._timers[0][3].cancelled():
                heapq.heappop(self._timers)
            if not self._timers:
                return False
            self._now = max(self._now, self._timers[0][0])
            while self._timers and self._timers[0][0] <= self._now:
                self._ready.append(heapq.heappop(self._timers)[3])
        if self._shuffled and len(self._ready) > 1 and self._rng.random() < self._shuffled:
            self._ready.rotate(-self._rng.randrange(len(self._ready)))
        step = self._ready.popleft()
        if step.cancelled() or not (step.owner is None or step.owner.may_run(step)):
            return True
        self.steps += 1
        try:
            step.context.run(step.callback, *step.args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001 - as every event loop does
            self.call_exception_handler({"message": "a callback raised", "exception": error})
        return True

    # ------------------------------------------------------------------------------------- running

    def run_until_complete(self, future: Any) -> Any:
        task = asyncio.ensure_future(future, loop=self)
        self._run(task.done)
        if not task.done():
            task.cancel()
            raise SimulationError("it waits for something that never comes")
        return task.result()

    def run_forever(self) -> None:
        self._run(lambda: False)

    def run_idle(self, most: int = 100_000) -> None:
        """Run what is ready and every timer, until nothing is left or so many steps were made."""
        until = self.steps + most
        self._run(lambda: self.steps >= until)

    def _run(self, enough: Callable[[], bool]) -> None:
        self._check_open()
        if self._running:
            raise RuntimeError("this loop is running already")
        self._running, self._stopping = True, False
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=self._abandoned)
        asyncio._set_running_loop(self)  # noqa: SLF001 - meant for event loops, says Python's manual
        moment, since = self._now, self.steps
        try:
            while not enough() and not self._stopping and self._turn():
                if self._now != moment:
                    moment, since = self._now, self.steps
                elif self.steps - since > _MOST_AT_ONCE or self.steps > MOST_STEPS:
                    raise SimulationError("the program spins: it never comes to rest")
        finally:
            self._running = False
            asyncio._set_running_loop(None)  # noqa: SLF001
            sys.set_asyncgen_hooks(*hooks)

    def stop(self) -> None:
        self._stopping = True

    def close(self) -> None:
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - as every event loop
        """Do nothing: a simulated loop has no debug mode."""

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: whoever began a generator ends it."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Do nothing: there are no threads."""

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def _abandoned(self, generator: Any) -> None:
        if not self._closed:
            start = partial(self.create_task, generator.aclose(), name="abandoned generator")
            self.call_soon(start)

    # ----------------------------------------------------------------------------- tasks and errors

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **_: Any,
    ) -> asyncio.Task[T]:
        self._check_open()
        context = copy_context() if context is None else context
        task = SimulatedTask(coro, loop=self, name=name or "task", context=context)
        self._serial += 1
        task.serial = self._serial
        task.owner = context.get(OWNER)
        return task

    def tasks_of(self, owner: Owner | None) -> list[SimulatedTask[Any]]:
        """The tasks of one owner that have not ended, oldest first."""
        found = [
            task
            for task in asyncio.all_tasks(self)
            if isinstance(task, SimulatedTask) and task.owner is owner
        ]
        return sorted(found, key=lambda task: task.serial)

    def run_in_executor(  # type: ignore[override]
        self,
        executor: Any,  # noqa: ARG002 - there is none
        func: Callable[..., T],
        *args: Any,
    ) -> asyncio.Future[T]:
        """Run the function inline at its turn: a simulated world has no threads."""
        future: asyncio.Future[T] = self.create_future()

        def run() -> None:
            if future.done():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - it is raised to who waits
                future.set_exception(error)

        self.call_soon(run)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.complaints.append((OWNER.get(), context))

    def get_exception_handler(self) -> None:
        return None

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)
