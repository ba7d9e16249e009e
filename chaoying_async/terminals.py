"""What a terminal waits for: a merchant from its operator, and what its face-payment SDK needs."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from chaoying_async.abc import Clock, Gateway
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import (
    MalformedMessageError,
    NotConfiguredYetError,
    ParameterError,
    TransportError,
)
from chaoying_async.sansio.api.endpoint import check_kind
from chaoying_async.sansio.api.face import GetFaceAuth, GetFaceAuthResult
from chaoying_async.sansio.api.terminal import PayBoxConfGet, PayBoxConfGetResult


async def wait_for_terminal(
    gateway: Gateway, request: PayBoxConfGet, *, every: float = 5.0, clock: Clock | None = None
) -> PayBoxConfGetResult:
    """The terminal's configuration, asked for every 5 seconds until there is one (C 27, C 98).

    The first query leaves at once. There is no limit of ours: put one around it
    (``asyncio.timeout``), cancelling is safe. No answer, or none that can be read, counts as "not
    yet". A refusal (state FAIL or VER) ends the wait with its
    :class:`~chaoying_async.exceptions.GatewayError`, whose ``msg`` is for the person at the
    terminal; a wrong signature ends it too, since waiting does not mend a key.
    """
    check_kind("request", request, PayBoxConfGet)
    if not every > 0:
        raise ParameterError({"every": "must be a number of seconds above 0"})
    clock = clock or SystemClock()
    while True:
        try:
            return (await gateway.send(request)).unwrap()
        except (TransportError, MalformedMessageError, NotConfiguredYetError):
            await clock.sleep(every)


class FaceAuthCache:
    """One ``authinfo`` per device and set of parameters, asked for once while it lasts.

    ::

        auth = FaceAuthCache(gateway)
        result = await auth.get(GetFaceAuth(...))

    ``rawdata`` alone may differ: the document allows one ``authinfo`` for the same terminal with
    the same merchant, store and app. It is given out until ``margin`` seconds before it expires,
    so that there is time to use it. Callers that come at once wait for one request; one that
    fails is not kept, and the next caller asks anew. :meth:`forget` drops what the SDK refused.
    """

    def __init__(
        self, gateway: Gateway, *, margin: float = 60.0, clock: Clock | None = None
    ) -> None:
        self._gateway = gateway
        self._margin = margin
        self._clock = clock or SystemClock()
        #: Each result, and until when it is given out.
        self._kept: dict[Hashable, tuple[GetFaceAuthResult, float]] = {}
        self._locks: dict[Hashable, asyncio.Lock] = {}

    def __repr__(self) -> str:
        return f"<FaceAuthCache of {len(self._kept)}>"

    async def get(self, request: GetFaceAuth) -> GetFaceAuthResult:
        """The result for this device; raises what ``send`` and ``unwrap`` raise."""
        check_kind("request", request, GetFaceAuth)
        key = _key(request)
        if (kept := self._fresh(key)) is not None:
            return kept
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (kept := self._fresh(key)) is not None:
                    return kept
                asked = self._clock.monotonic()  # it may have been made at any time from here on
                result = (await self._gateway.send(request)).unwrap()
                if result.authinfo and result.expires_in:
                    lasting = {each: kept for each, kept in self._kept.items() if asked < kept[1]}
                    until = asked + result.expires_in - self._margin
                    self._kept = lasting | {key: (result, until)}
                return result
        finally:
            if not lock.locked():
                self._locks.pop(key, None)

    def forget(self, request: GetFaceAuth) -> None:
        """Drop the result of this device: the next call asks the gateway."""
        self._kept.pop(_key(request), None)

    def _fresh(self, key: Hashable) -> GetFaceAuthResult | None:
        result, until = self._kept.get(key, (None, 0.0))
        return result if self._clock.monotonic() < until else None


def _key(request: GetFaceAuth) -> Hashable:
    fields = request.wire_fields()
    fields.pop("rawdata", None)
    return frozenset(fields.items())
