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

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


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
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # written in C without saying what it takes
        return False
    needed = [
        parameter
        for parameter in parameters
        if parameter.kind in _POSITIONAL and parameter.default is parameter.empty
    ]
    named = any(
        parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        for parameter in parameters
    )
    positional = sum(parameter.kind in _POSITIONAL for parameter in parameters)
    any_number = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    takes_them = positional >= len(given) or any_number
    if len(needed) > len(given) + 1 or named or not takes_them:
        shown = ", ".join(given)
        raise ParameterError({name: f"must take ({shown}) or ({shown}, connection)"})
    if len(needed) <= len(given):
        return False
    if not lends:
        raise ParameterError(
            {name: "takes a connection, and this inbox has none to lend: use SqlInbox"}
        )
    return True
