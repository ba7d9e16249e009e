"""One order, explained: what is proven, what is not, what to do next, and why.

Whoever gathers hands in what the gateway, a store, an inbox and an audit log told of the order
(:class:`OrderEvidence`); :func:`explain_order` judges it, and :func:`lines_of` tells the result in
English or Chinese. What a single answer means is decided elsewhere (``sansio/meaning``,
``sansio/polling/status``, ``sansio/notifications/decide``): in here answers are only held against
each other.

- ``told``: one thing that one witness told of an order, and how it bears on whether it was paid.
- ``from_gateway``: what the answers to queries say, and which query is to be sent next.
- ``from_store``: what a poll store or a fleet holds of the order.
- ``from_inbox``: what an inbox holds of the order.
- ``from_audit_log``: which lines of an audit log are about the order, and what they say.
- ``evidence``: everything that was gathered about one order.
- ``standing``: how the order stands, all witnesses taken together: a table.
- ``contradictions``: how what the witnesses told contradicts each other.
- ``judge``: from the evidence to an explanation, by tables.
- ``next_steps``: what to do next, with the money rule that says so.
- ``telling``: an explanation in words, from ``english.toml`` and ``chinese.toml``.
"""

from __future__ import annotations

from chaoying_async.sansio.explanation.evidence import Inquiry, OrderEvidence
from chaoying_async.sansio.explanation.judge import Explanation, explain_order
from chaoying_async.sansio.explanation.standing import OrderStanding
from chaoying_async.sansio.explanation.telling import lines_of, members_of_explanation

__all__ = [
    "Explanation",
    "Inquiry",
    "OrderEvidence",
    "OrderStanding",
    "explain_order",
    "lines_of",
    "members_of_explanation",
]
