"""Finds the tasks that wait for real time although a clock is moved by hand: for a database.

asyncio does not say what a task waits for, but every coroutine says what it awaits. Whoever stands
inside a driver waits for a server, a file or a thread.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

#: Modules that wait for a database, a socket or a thread of theirs.
_DRIVERS = frozenset(
    ("sqlalchemy", "aiosqlite", "asyncpg", "psycopg", "psycopg_pool", "aiomysql", "redis")
)
#: Work that was handed to a thread.
_THREADS = frozenset({"asyncio.threads", "anyio.to_thread", "asgiref.sync"})
#: A generator's `__anext__` and the like say nothing of what they wait in; they refer to it.
_KINDS = (inspect.iscoroutine, inspect.isgenerator, inspect.isasyncgen)


def real_wait() -> str:
    """Where a task of this loop waits for real time; empty where none does."""
    ours = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not ours and (where := _driver_in(task.get_coro())):
            return where
    return ""


def _driver_in(awaited: Any) -> str:
    """The innermost driver on the way to what a task awaits; none above a clock's own wait."""
    found = ""
    for frame in _frames(awaited):
        module: str = frame.f_globals.get("__name__", "")
        if module == "chaoying_async.testing.fake_clock":
            return ""
        if module.partition(".")[0] in _DRIVERS or module in _THREADS:
            code: CodeType = frame.f_code
            found = f"{module}.{code.co_qualname}"
    return found


def _frames(awaited: Any) -> Iterator[FrameType]:
    """The frames of suspended coroutines and generators, from the outermost to the innermost."""
    while awaited is not None:
        if inspect.iscoroutine(awaited):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif inspect.isasyncgen(awaited):
            frame, awaited = awaited.ag_frame, awaited.ag_await
        elif inspect.isgenerator(awaited):
            frame, awaited = awaited.gi_frame, awaited.gi_yieldfrom
        else:
            frame, awaited = None, _behind(awaited)
        if frame is not None:
            yield frame


def _behind(awaited: Any) -> Any:
    """What a wrapper around a coroutine or a generator awaits; None for a future."""
    if isinstance(awaited, asyncio.Future):
        return None
    referents = gc.get_referents(awaited)
    return next((each for each in referents if any(is_one(each) for is_one in _KINDS)), None)
