"""How the user's functions want to be called, found out when the handler is made."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.userfunctions import Kind, function_problem

T = TypeVar("T")

#: ``on_paid(order)`` or ``on_paid(order, connection)``.
Effect = Callable[..., Awaitable[None] | None]


async def resolved(value: Awaitable[T] | T) -> T:
    """What the user's function returned, awaited where it is ``async``."""
    if inspect.isawaitable(value):
        return await value
    return value


class EffectCall(NamedTuple):
    """A function of the user's that takes effect for an order."""

    name: str
    function: Effect
    takes_connection: bool

    @classmethod
    def of(cls, name: str, function: Effect, *, lends: bool) -> EffectCall:
        """How it wants to be called; ``lends``: whether the inbox has a connection for it."""
        return cls(name, function, wants_connection(name, function, "order", lends=lends))


def wants_connection(name: str, function: Callable[..., Any], *given: str, lends: bool) -> bool:
    """Whether a function takes a connection behind what it is given; ``lends``: there is one.

    :class:`ParameterError` where it can be called in neither way.
    """
    if problem := function_problem(function, Kind.EITHER, None):
        raise ParameterError({name: problem})
    if function_problem(function, Kind.EITHER, len(given)) is None:
        return False
    if function_problem(function, Kind.EITHER, len(given) + 1):
        shown = ", ".join(given)
        raise ParameterError({name: f"must take ({shown}) or ({shown}, connection)"})
    if not lends:
        raise ParameterError(
            {name: "takes a connection, and this inbox has none to lend: use SqlInbox"}
        )
    return True
