"""Telling a failure from an end that somebody wants.

Hooks, drivers and pools raise more than an ``Exception``: a CancelledError of their own, a
GeneratorExit, a group of both. Unless somebody cancelled *us*, that is a failure of what raised it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.notifications.tasks import is_being_cancelled

T = TypeVar("T")

_OF_THE_PROCESS = (KeyboardInterrupt, SystemExit)


class StrayEndError(ChaoyingError):
    """A hook or an inbox raised what should end a whole task, and nobody had asked for that."""


def is_wanted(error: BaseException) -> bool:
    """Whether this has to go on up: the process ends, or this very task was cancelled."""
    if isinstance(error, Exception):
        return False
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(_OF_THE_PROCESS) is not None
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return _is_ending(error)
    return isinstance(error, _OF_THE_PROCESS)


async def tamed(work: Awaitable[T]) -> T:
    """What ``work`` returns or raises; what is no ``Exception`` comes as a StrayEndError."""
    try:
        return await work
    except Exception:
        raise
    except BaseException as error:
        if is_wanted(error):
            raise
        raise StrayEndError(f"{type(error).__name__}, and nobody asked for it") from error


def _is_ending(error: BaseException) -> bool:
    try:
        cancelled = is_being_cancelled()
    except RuntimeError:  # no loop: a coroutine is being thrown away
        return True
    return cancelled and isinstance(error, asyncio.CancelledError)
