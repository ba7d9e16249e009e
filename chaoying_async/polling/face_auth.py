"""What the face-payment SDK starts with, kept until it expires."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.api.face import GetFaceAuth, GetFaceAuthResult


@attrs.define
class _Kept:
    result: GetFaceAuthResult
    until: float


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
        self._kept: dict[Hashable, _Kept] = {}
        self._locks: dict[Hashable, asyncio.Lock] = {}

    def __repr__(self) -> str:
        return f"<FaceAuthCache of {len(self._kept)}>"

    async def get(self, request: GetFaceAuth) -> GetFaceAuthResult:
        """The result for this device; raises what ``send`` and ``unwrap`` raise."""
        key = _key(request)
        if (kept := self._fresh(key)) is not None:
            return kept
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if (kept := self._fresh(key)) is not None:
                    return kept
                asked = self._clock.monotonic()  # it may have been made any time from here on
                result = (await self._gateway.send(request)).unwrap()
                if result.authinfo and result.expires_in:
                    self._drop_expired(asked)
                    self._kept[key] = _Kept(result, asked + result.expires_in - self._margin)
                return result
        finally:
            if not lock.locked():
                self._locks.pop(key, None)

    def forget(self, request: GetFaceAuth) -> None:
        """Ask the gateway the next time, whatever is left of the old one."""
        self._kept.pop(_key(request), None)

    def _fresh(self, key: Hashable) -> GetFaceAuthResult | None:
        kept = self._kept.get(key)
        return kept.result if kept is not None and self._clock.monotonic() < kept.until else None

    def _drop_expired(self, now: float) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if now < kept.until}


def _key(request: GetFaceAuth) -> Hashable:
    fields = request.wire_fields()
    fields.pop("rawdata", None)
    return frozenset(fields.items())
