"""Waiting for thousands of orders at once, and for terminals.

- :class:`Poller` asks about each order on its schedule and says how it ended.
- :func:`wait_for_terminal` waits until a terminal has a merchant.
- :class:`FaceAuthCache` keeps what the face-payment SDK starts with until it expires.

What decides is pure and lives in ``sansio``: ``schedule``, ``pollstatus``, ``budget``, ``breaker``.
"""

from __future__ import annotations

from chaoying_async.poller.engine import Poller
from chaoying_async.poller.faceauth import FaceAuthCache
from chaoying_async.poller.outcome import PollOutcome, PollStats
from chaoying_async.poller.terminal import wait_for_terminal

__all__ = ["FaceAuthCache", "PollOutcome", "PollStats", "Poller", "wait_for_terminal"]
