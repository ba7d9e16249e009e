"""Each paid order takes effect exactly once, however often and however late one is told of it.

:class:`NotificationHandler` verifies, locks the order, runs your code and says what to answer. What
decides is pure, in ``sansio.notifications``; what was handled is remembered by an inbox.

- ``answering``: what the gateway is answered, and the counts of it.
- ``callback_watch``: notices a merchant whose callbacks have ceased, and tells of it.
- ``callbacks``: how the user's functions want to be called.
- ``deciding``: decides about one message: asks the shop, the inbox and the gateway.
- ``due``: takes up what nobody will deliver again: failures, set-aside messages, a person's marks.
- ``handler``: the handler itself.
- ``journey``: one message from its facts to its outcome, top to bottom.
- ``keys``: whose key verifies a body.
- ``reporting``: sets messages aside and tells the hooks of them.
- ``tasks``: work that outlives its request, who owns it, and what may end it.
"""

from __future__ import annotations

from chaoying_async.notifications.answering import HandlerStats
from chaoying_async.notifications.handler import NotificationHandler

__all__ = ["HandlerStats", "NotificationHandler"]
