"""From a body to verified facts: whose key, is it right, what does it say."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime

from chaoying_async.abc import Clock
from chaoying_async.clock import within
from chaoying_async.exceptions import (
    AmbiguousSignatureError,
    MalformedMessageError,
    ParameterError,
)
from chaoying_async.notifications.callbacks import resolved
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.notifications.facts import Facts, facts_of_fields, unreadable_facts
from chaoying_async.sansio.notifications.message import (
    MAX_BODY,
    IncompleteNotificationError,
    OversizedNotificationError,
    Wallet,
    peek_mch_id,
    verified_fields,
    wallet_of,
)
from chaoying_async.sansio.userfunctions import Kind, check_functions
from chaoying_async.sansio.wire.forms import parse_form

Resolver = Callable[[str], Awaitable[Credentials | None] | Credentials | None]

#: Seconds for which "no such merchant" is remembered, and for how many of them (M-20).
FORGET_AFTER = 10.0
MOST_UNKNOWN = 1000


class UnknownMerchantError(MalformedMessageError):
    """Nobody has a key for the merchant that an unverified body names."""


class NotABodyError(MalformedMessageError):
    """The handler was given something that a framework made of the body."""


class Keys:
    """Whose key verifies a body: one merchant's, or the resolver's answer by its number (M-20)."""

    def __init__(self, source: Credentials | Resolver, clock: Clock, budget: float) -> None:
        if not isinstance(source, Credentials):
            if not callable(source):
                raise ParameterError(
                    {"credentials": "must be Credentials, or a function of the merchant number"}
                )
            check_functions(Kind.EITHER, 1, credentials=source)
        self._source = source
        self._clock = clock
        #: Seconds that the resolver may take.
        self._budget = budget
        self._unknown: OrderedDict[str, float] = OrderedDict()

    async def of(self, body: bytes) -> Credentials:
        """The credentials that must verify this body, or :class:`UnknownMerchantError`.

        What the resolver raises comes out; nobody else's key is tried instead.
        """
        if isinstance(self._source, Credentials):
            return self._source
        mch_id = peek_mch_id(body)
        if not self._is_unknown(mch_id):
            found = await within(self._clock, self._budget, resolved(self._source(mch_id)))
            if isinstance(found, Credentials):
                return found
            if found is not None:
                raise TypeError("the resolver must return Credentials or None")
            self._remember(mch_id)
        raise UnknownMerchantError("nobody has a key for this merchant")

    def _is_unknown(self, mch_id: str) -> bool:
        until = self._unknown.get(mch_id)
        return until is not None and self._clock.monotonic() < until

    def _remember(self, mch_id: str) -> None:
        self._unknown[mch_id] = self._clock.monotonic() + FORGET_AFTER
        self._unknown.move_to_end(mch_id)
        while len(self._unknown) > MOST_UNKNOWN:
            self._unknown.popitem(last=False)


def read_facts(
    body: bytes, credentials: Credentials, kind: Wallet | None, now: datetime | None
) -> Facts:
    """What a body says, verified; without ``now`` previous keys do not count.

    Raises a ``ProtocolError`` where nothing could be verified: then nothing may be kept of it.
    """
    try:
        fields = verified_fields(body, credentials, now)
    except AmbiguousSignatureError:  # raised only where the signature itself is right
        problem = "it is signed, but can be read in two ways (M-04)"
    except IncompleteNotificationError:
        problem = "it is signed, but names no merchant or no order"
    else:
        return facts_of_fields(fields, kind or wallet_of(fields))
    return unreadable_facts(parse_form(body), problem, kind)


def raw_bytes(body: object) -> bytes:
    """The body, or a :class:`MalformedMessageError` for what is no body at all."""
    if isinstance(body, (str, bytes, bytearray, memoryview)):
        size = body.nbytes if isinstance(body, memoryview) else len(body)
        if size > MAX_BODY:  # refused before it is copied
            raise OversizedNotificationError(f"the notification has more than {MAX_BODY} bytes")
        if isinstance(body, str):
            return body.encode("utf-8", "surrogatepass")  # half a pair is then refused as no UTF-8
        return bytes(body)
    raise NotABodyError(
        "handle() takes the request's raw body, as bytes, before any framework parses it; not"
        f" {type(body).__name__}"
    )
