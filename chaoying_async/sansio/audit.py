"""Makes the record of one exchange for audits, with everything personal masked (M-27)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import attrs

from chaoying_async.sansio.api.endpoint import Endpoint
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.exchange import Outgoing
from chaoying_async.sansio.redact import hide_keys, masked_body, masked_form


@attrs.frozen(kw_only=True, repr=False)
class Exchange:
    """What went over the wire, both ways, masked (M-27); ``elapsed`` is in seconds."""

    endpoint: Endpoint
    """What was called."""
    order: str
    """The number that a person would look the call up by; empty where it has none."""
    method: str
    """GET or POST."""
    url: str
    """The address, without a query."""
    request: bytes
    """The form that was sent, masked, also where it travelled in the query."""
    status: int | None
    """The HTTP status; None where no answer came."""
    reply: bytes | None
    """The body of the answer, masked; None where no answer came."""
    elapsed: float
    """How long it took, in seconds."""
    error: BaseException | None = None
    """Why there is no result; None where there is one."""

    def line(self, at: datetime) -> str:
        """One line of JSON for an audit log, which ``chaoying explain --audit-log`` reads.

        ``at`` is the moment of the exchange, aware. A line has no line end; of an error it has the
        kind alone.
        """
        if at.utcoffset() is None:
            raise ValueError("needs a time zone, for example datetime.now(UTC)")
        members = {
            "at": at.isoformat(timespec="milliseconds"),
            "endpoint": self.endpoint.name,
            "order": self.order,
            "method": self.method,
            "url": self.url,
            "status": self.status,
            "request": self.request.decode(),
            "reply": None if self.reply is None else self.reply.decode("utf-8", "replace"),
            "elapsed": self.elapsed,
            "error": None if self.error is None else type(self.error).__name__,
        }
        return json.dumps(members, ensure_ascii=False)

    def __repr__(self) -> str:
        return f"Exchange({self.endpoint.name}, order={self.order!r}, status={self.status})"


def record(
    outgoing: Outgoing[Any],
    credentials: Credentials,
    *,
    elapsed: float,
    status: int | None = None,
    body: bytes | None = None,
    error: BaseException | None = None,
) -> Exchange:
    """The record of ``outgoing`` and what came of it."""
    reply = None
    if body is not None:
        masked = masked_body(body, outgoing.fields).decode()
        reply = hide_keys(masked, credentials).encode()
    return Exchange(
        endpoint=outgoing.endpoint,
        order=outgoing.order,
        method=outgoing.method,
        url=outgoing.url.partition("?")[0],
        request=masked_form(outgoing.fields),
        status=status,
        reply=reply,
        elapsed=elapsed,
        error=error,
    )
