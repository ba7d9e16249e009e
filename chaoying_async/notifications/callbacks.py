"""How the functions of the user's want to be called: looked at once, when the handler is made."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
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
    """What a plain function returned, or what an ``async`` one will."""
    if inspect.isawaitable(value):
        return await value
    return value


class EffectCall:
    """A function that takes effect for an order, with the inbox's connection if it asks for one."""

    def __init__(self, name: str, function: Effect, *, lends: bool) -> None:
        self.name = name
        self._function = function
        #: Nearly every one is a coroutine function; the others are made one.
        self._coroutine: Callable[..., Coroutine[Any, Any, Any]] = (
            function if inspect.iscoroutinefunction(function) else self._called
        )
        self._with_connection = _wants_connection(name, function)
        if self._with_connection and not lends:
            raise ParameterError(
                {name: "takes a connection, and this inbox has none to lend: use SqlInbox"}
            )

    def begin(self, order: PaidOrder, connection: Any) -> Coroutine[Any, Any, Any]:
        """Run it, by awaiting what this returns."""
        if self._with_connection:
            return self._coroutine(order, connection)
        return self._coroutine(order)

    async def _called(self, *given: Any) -> Any:
        return await resolved(self._function(*given))

    def check(self, returned: Any) -> None:
        """Raise where what it returned is its work, not begun: nothing took effect."""
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
