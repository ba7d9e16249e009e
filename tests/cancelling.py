"""Cancels a call at one of its awaits, the n-th, and again while it cleans up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

import attrs


@attrs.define
class Cancelled:
    """What became of the call; ``reached`` is False when it had ended before."""

    reached: bool
    error: BaseException | None


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose steps are counted: each time it is resumed, and so each await."""

    def __init__(self, inner: Coroutine[Any, Any, Any], waits: Callable[[], None]) -> None:
        self._inner, self._waits = inner, waits

    def send(self, value: Any) -> Any:
        sent = self._inner.send(value)
        self._waits()
        return sent

    def throw(self, *error: Any) -> Any:
        sent = self._inner.throw(*error)
        self._waits()
        return sent

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


async def cancelled_at(
    await_: int, work: Coroutine[Any, Any, Any], *, later: int = 0, times: int = 1
) -> Cancelled:
    """Run this and cancel it at that await (0: the first), ``later`` turns of the loop after.

    ``times``: the awaits after that are cancelled too, so many in all.
    """
    seen = 0
    task: asyncio.Task[Any]

    def waits() -> None:
        nonlocal seen
        if await_ <= seen < await_ + times:
            _soon(task.cancel, later)
        seen += 1

    async def run() -> Any:
        return await work

    task = asyncio.create_task(_Stepped(run(), waits))
    await asyncio.wait([task])
    error = None if task.cancelled() else task.exception()
    return Cancelled(reached=seen > await_, error=error)


def _soon(act: Callable[[], Any], turns: int) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(act if turns == 0 else lambda: _soon(act, turns - 1))


async def eventually(holds: Callable[[], Awaitable[bool]], turns: int = 400) -> bool:
    """Whether it comes to hold; what was cancelled may still be given back in the background."""
    for _ in range(turns):
        if await holds():
            return True
        await asyncio.sleep(0.005)
    return False
