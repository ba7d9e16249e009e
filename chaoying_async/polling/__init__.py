"""Waiting for thousands of orders at once.

- :class:`Poller` asks about each order on its schedule and says how it ended.
- :class:`FaceAuthCache` keeps what the face-payment SDK starts with until it expires.

What decides is pure and lives in ``sansio``: ``schedule``, ``pollstatus``, ``budget``, ``breaker``.
"""

from __future__ import annotations

from chaoying_async.polling.face_auth import FaceAuthCache
from chaoying_async.polling.outcome import PollOutcome, PollStats
from chaoying_async.polling.poller import Poller

__all__ = ["FaceAuthCache", "PollOutcome", "PollStats", "Poller"]
