"""Waits for thousands of orders and refunds at once, and says how each ended.

- ``poller``: ``Poller``, which joins all of the below: who waits for which order.
- ``order``: one order that is asked about, when the next query is due, and which query is the last.
- ``feeding``: pulls the queries of ``run`` from whatever gives them.
- ``queue``: finds the next order to ask about, by time and then by urgency.
- ``scheduler``: sends the queries that are due, within the limits of rate and concurrency.
- ``records``: what is written into a store, when, and what may be given out after that.
- ``joined``: records of orders that are waited for already, and whose end is theirs.
- ``consumers``: hands outcomes to those who wait for one order, or read them as they come.
- ``outcome``: ``PollOutcome``, what to do about each, and ``PollStats``.

What decides is pure and lives in ``sansio.polling``.
"""

from __future__ import annotations

from chaoying_async.polling.outcome import PollOutcome, PollStats
from chaoying_async.polling.poller import Poller

__all__ = ["PollOutcome", "PollStats", "Poller"]
