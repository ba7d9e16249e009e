"""What a session asks of an HTTP engine: one round trip, and the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import httpx

#: Header fields as they are written, in order, the way httpx lists them.
Headers = Sequence[tuple[str, str]]


class Engine(Protocol):
    """Sends one request exactly once and reads one whole reply.

    An engine raises only these, whatever happens underneath:

    - :class:`RequestNotSentError`: proven that no byte of this request reached a connected socket;
    - :class:`MalformedMessageError`: the reply grew over ``max_bytes`` and was cut off;
    - :class:`TransportError`: everything else, so the request may have been carried out.

    It never repeats a request, follows a redirect, keeps a cookie or changes a byte of the URL.
    """

    async def round_trip(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        timeout: httpx.Timeout,
        max_bytes: int,
    ) -> tuple[int, bytes]:
        """Return status and whole body, decoded if the server compressed it unasked."""
        ...

    async def aclose(self) -> None:
        """Close what the engine opened itself; calls still under way end with an error."""
        ...
