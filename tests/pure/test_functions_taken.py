"""Which functions of a user's can serve, and what is said about those that cannot."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from chaoying_async import ParameterError
from chaoying_async.sansio.userfunctions import (
    Kind,
    check_functions,
    function_problem,
    refuse_unbegun,
)


def plain(_one: Any) -> None: ...
async def waits(_one: Any) -> None: ...
def yields(_one: Any) -> Iterator[None]:
    yield


async def yields_later(_one: Any) -> AsyncIterator[None]:
    yield


class Called:
    async def __call__(self, _one: Any) -> None: ...


YIELDS = "has a `yield` in it, so calling it would run nothing: take the yield out"
TAKES = "must take 2 arguments, given by position"


@pytest.mark.parametrize(
    ("function", "kind", "arguments", "problem"),
    [
        (waits, Kind.ASYNC, 1, None),
        (plain, Kind.ASYNC, 1, Kind.ASYNC.value),
        (plain, Kind.PLAIN, 1, None),
        (waits, Kind.PLAIN, 1, Kind.PLAIN.value),
        (plain, Kind.EITHER, 1, None),
        (waits, Kind.EITHER, 1, None),
        (Called(), Kind.ASYNC, 1, None),
        (Called(), Kind.PLAIN, 1, Kind.PLAIN.value),
        (functools.partial(Called()), Kind.ASYNC, 1, None),
        ("a text", Kind.EITHER, 1, Kind.EITHER.value),
        (yields, Kind.EITHER, 1, YIELDS),
        (plain, Kind.PLAIN, 2, TAKES),
        (waits, Kind.ASYNC, 2, TAKES),
        (plain, Kind.PLAIN, None, None),
        (plain, Kind.PLAIN, 0, TAKES.replace("2", "0")),
        (functools.partial(plain, 1), Kind.PLAIN, 1, "must take 1 argument, given by position"),
        (functools.partial(plain, 1), Kind.PLAIN, 0, None),
        (print, Kind.PLAIN, 3, None),
    ],
)  # fmt: skip
def test_each_function_by_how_it_is_called(
    function: Any, kind: Kind, arguments: int | None, problem: str | None
) -> None:
    """Awaited or not, with so many arguments by position."""
    assert function_problem(function, kind, arguments) == problem


def test_every_function_that_cannot_serve_is_named() -> None:
    """All at once; one that was not given is no mistake."""
    with pytest.raises(ParameterError) as caught:
        check_functions(Kind.ASYNC, 1, on_paid=plain, on_failed=yields, check=waits, none=None)
    assert set(caught.value.problems) == {"on_paid", "on_failed"}
    check_functions(Kind.ASYNC, 1, check=waits, none=None)


@pytest.mark.parametrize(
    ("made", "what"),
    [(yields, "generator"), (yields_later, "async generator"), (waits, "coroutine")],
)
def test_work_that_was_not_begun_is_refused(made: Any, what: str) -> None:
    """Nothing of it has run, and nothing ever would; a result is fine."""
    with pytest.raises(TypeError, match=f"^on_paid returned a {what}: nothing of that has run$"):
        refuse_unbegun("on_paid", made(1))
    refuse_unbegun("on_paid", None)


async def test_a_task_runs_by_itself() -> None:
    """So does a future."""
    task = asyncio.ensure_future(waits(1))
    refuse_unbegun("on_paid", task)
    await task
