"""How the user's functions want to be called, found out when the handler is made."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.userfunctions import Kind, function_problem, refuse_unbegun

T = TypeVar("T")

#: ``on_paid(order)`` or ``on_paid(order, connection)``.
Effect = Callable[..., Awaitable[None] | None]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_AND_CONNECTION = 2


async def resolved(value: Awaitable[T] | T) -> T:
    """What the user's function returned, awaited where it is ``async``."""
    if inspect.isawaitable(value):
        return await value
    return value


class EffectCall:
    """A function that takes effect for an order, with the inbox's connection if it asks for one."""

    def __init__(self, name: str, function: Effect, *, lends: bool) -> None:
        self.name = name
        self._function = function
        self._with_connection = _wants_connection(name, function)
        if self._with_connection and not lends:
            raise ParameterError(
                {name: "takes a connection, and this inbox has none to lend: use SqlInbox"}
            )

    async def __call__(self, order: PaidOrder, connection: Any) -> None:
        """Run the function; raise where what it returned is work that nobody has begun."""
        given = (order, connection) if self._with_connection else (order,)
        returned: Any = await resolved(self._function(*given))
        refuse_unbegun(self.name, returned)


def _wants_connection(name: str, function: Effect) -> bool:
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
    takes_one = bool(needed) or any(
        parameter.kind in (*_POSITIONAL, parameter.VAR_POSITIONAL) for parameter in parameters
    )
    if len(needed) > _AND_CONNECTION or named or not takes_one:
        raise ParameterError({name: "must take (order) or (order, connection)"})
    return len(needed) == _AND_CONNECTION
