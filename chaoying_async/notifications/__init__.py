"""Each paid order takes effect exactly once, however often and however late one is told of it.

- :class:`NotificationHandler` verifies, claims, runs your code and says what to answer.
- What decides is pure: ``sansio.judging`` has the table, ``sansio.decisions`` the names.
- What has been handled is kept by an inbox: ``inbox.memory``, ``inbox.sql``, ``inbox.redis``.

In here: ``engine`` is the handler, ``reading`` verifies, ``claims`` holds on to a claim while your
code runs, ``confirming`` asks the gateway, ``calls`` knows how your functions want to be called.
"""

from __future__ import annotations

from chaoying_async.notifications.handler import NotificationHandler
from chaoying_async.notifications.stats import HandlerStats

__all__ = ["HandlerStats", "NotificationHandler"]
