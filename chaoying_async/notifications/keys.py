"""Whose key verifies a body: one merchant's, or the resolver's answer by its number (M-20)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from chaoying_async.abc import Clock
from chaoying_async.clock import within
from chaoying_async.exceptions import MalformedMessageError, ParameterError
from chaoying_async.notifications.callbacks import resolved
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.notifications.reading import peek_mch_id
from chaoying_async.sansio.userfunctions import Kind, check_functions

Resolver = Callable[[str], Awaitable[Credentials | None] | Credentials | None]

#: Seconds for which "no such merchant" is remembered, and for how many of them (M-20).
FORGET_AFTER = 10.0
MOST_UNKNOWN = 1000


class UnknownMerchantError(MalformedMessageError):
    """Nobody has a key for the merchant that an unverified body names."""


class Keys:
    """Whose key verifies a body: one merchant's, or the resolver's answer by its number (M-20)."""

    def __init__(self, source: Credentials | Resolver, clock: Clock) -> None:
        #: The one merchant's, where no resolver is asked.
        self.own = source if isinstance(source, Credentials) else None
        if not isinstance(source, Credentials):
            if not callable(source):
                raise ParameterError(
                    {"credentials": "must be Credentials, or a function of the merchant number"}
                )
            check_functions(Kind.EITHER, 1, credentials=source)
            self._resolver: Resolver = source
        self._clock = clock
        self._unknown: OrderedDict[str, float] = OrderedDict()

    async def of(self, body: bytes, until: float) -> Credentials:
        """The credentials that must verify this body, or :class:`UnknownMerchantError`.

        The resolver is asked, until a moment of the monotonic clock. What it raises comes out;
        nobody else's key is tried instead.
        """
        mch_id = peek_mch_id(body)
        remembered, now = self._unknown.get(mch_id), self._clock.monotonic()
        if remembered is None or now >= remembered:
            found = await within(self._clock, until - now, resolved(self._resolver(mch_id)))
            if isinstance(found, Credentials):
                return found
            if found is not None:
                raise TypeError("the resolver must return Credentials or None")
            self._remember(mch_id)
        raise UnknownMerchantError("nobody has a key for this merchant")

    def _remember(self, mch_id: str) -> None:
        self._unknown[mch_id] = self._clock.monotonic() + FORGET_AFTER
        self._unknown.move_to_end(mch_id)
        while len(self._unknown) > MOST_UNKNOWN:
            self._unknown.popitem(last=False)
