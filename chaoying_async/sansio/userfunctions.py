"""Decides whether a function that a user hands in can serve, when its owner is made.

A hook that cannot be called, or that nobody awaits, would otherwise be noticed at the first payment
that was made.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from enum import StrEnum
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from chaoying_async.exceptions import ParameterError


class Kind(StrEnum):
    """How the owner calls the function."""

    ASYNC = "must be an async function: its call is awaited"
    """Called and awaited; what is not plainly ``async`` cannot be told from what is not."""
    PLAIN = "must be a plain function: nobody awaits it, so an async one would never run"
    """Called where nothing can be awaited."""
    EITHER = "must be a function, async or not"
    """Called, and awaited where that gives something to await."""


#: What a function with a ``yield``, or one that is not awaited, returns without having run.
_UNBEGUN = (GeneratorType, AsyncGeneratorType, CoroutineType)
_YIELDS: Final = "has a `yield` in it, so calling it would run nothing: take the yield out"


def check_functions(kind: Kind, arguments: int, **functions: Any) -> None:
    """Raise a ``ParameterError`` naming every function that cannot serve; None is no function."""
    problems = {
        name: problem
        for name, function in functions.items()
        if function is not None and (problem := function_problem(function, kind, arguments))
    }
    if problems:
        raise ParameterError(problems)


def function_problem(function: Any, kind: Kind, arguments: int | None) -> str | None:
    """Why this cannot be called with so many arguments by such an owner; None: it can.

    Without ``arguments`` its parameters are not looked at.

    Partials, bound methods and objects with ``__call__`` are seen through, mocks are what they say
    (``AsyncMock`` is async, ``Mock`` is not). A lambda that returns a coroutine is plain.
    """
    if not callable(function):
        return kind.value
    if _yields(function):
        return _YIELDS
    if kind is not Kind.EITHER and _is_async(function) is not (kind is Kind.ASYNC):
        return kind.value
    if arguments is not None and not _takes(function, arguments):
        return f"must take {arguments} argument{'' if arguments == 1 else 's'}, given by position"
    return None


def _yields(function: Any) -> bool:
    """Whether calling it makes a generator, of either sort, and runs nothing."""
    return _is_any(function, (inspect.isgeneratorfunction, inspect.isasyncgenfunction))


def _is_async(function: Any) -> bool:
    """Whether calling it is known to give something to await."""
    return _is_any(function, (inspect.iscoroutinefunction,))


def refuse_unbegun(name: str, returned: Any) -> None:
    """Raise where a function returned its work, not begun: nothing of that has run, or ever would.

    A task or a future is fine: it runs by itself.
    """
    if isinstance(returned, _UNBEGUN):
        if isinstance(returned, CoroutineType):
            returned.close()
        what = type(returned).__name__.replace("_", " ")
        raise TypeError(f"{name} returned a {what}: nothing of that has run")


def _is_any(function: Any, tests: Iterable[Callable[[Any], bool]]) -> bool:
    called = getattr(type(_inner(function)), "__call__", None)  # noqa: B004 - to look at, not to call
    return any(test(each) for test in tests for each in (function, called))


def _inner(function: Any) -> Any:
    """What a partial calls: ``inspect`` sees through one of a function, not of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def takes_named(function: Any, name: str) -> bool:
    """Whether it can be called with an argument of this name; one that does not say so cannot."""
    try:
        inspect.signature(function).bind_partial(**{name: None})
    except (TypeError, ValueError):
        return False
    return True


def _takes(function: Any, arguments: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C without saying what it takes
        return True
    try:
        signature.bind(*range(arguments))
    except TypeError:
        return False
    return True
