"""What stands on spans and metrics: names of ``http.*`` and ``server.*`` as they are stable, ours.

Everything comes from :mod:`chaoying_async.sansio.observed`, whose values know no order, no buyer,
no amount and no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from chaoying_async.sansio.observed import (
    ObservedCall,
    ObservedMessage,
    ObservedPayment,
    ObservedWork,
)

Attributes = Mapping[str, str | int]

_PORTS = {"https": 443, "http": 80}


@lru_cache(maxsize=256)
def of_request(endpoint: str, method: str, address: str) -> Attributes:
    """What is known of a call before it leaves. The path and the query of its address are not."""
    parts = urlsplit(address)
    return {
        "http.request.method": method,
        "server.address": parts.hostname or "",
        "server.port": parts.port or _PORTS.get(parts.scheme, 0),
        "url.scheme": parts.scheme,
        "chaoying.endpoint": endpoint,
    }


def at_the_beginning(work: ObservedWork) -> Attributes:
    """What a span has from its start, so that samplers see it."""
    if isinstance(work, ObservedCall):
        return of_request(work.endpoint.name, work.method, work.address)
    return {}


def at_the_end(work: ObservedWork) -> dict[str, str | int]:
    """What is known when the work has ended: on its span, and on its metric."""
    found: dict[str, str | int] = {"chaoying.ended": work.ended.value}
    if work.error:
        found["error.type"] = work.error
    if isinstance(work, ObservedCall):
        found["chaoying.outcome"] = work.outcome
        if work.status is not None:
            found["http.response.status_code"] = work.status
    elif isinstance(work, ObservedPayment):
        found["chaoying.payment"] = work.name
        if work.status:
            found["chaoying.status"] = work.status
    elif isinstance(work, ObservedMessage) and work.decision:
        found["chaoying.decision"] = work.decision
    return found


def of_the_span_alone(work: ObservedWork) -> dict[str, str | int]:
    """What would make too many series of a metric, or says nothing in a sum."""
    found: dict[str, str | int] = {}
    if isinstance(work, ObservedCall):
        if work.code:
            found["chaoying.code"] = work.code
        if work.round_trips > 1:
            found["http.request.resend_count"] = work.round_trips - 1
    elif isinstance(work, ObservedPayment) and work.reason:
        found["chaoying.reason"] = work.reason
    return found
