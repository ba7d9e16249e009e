"""For the tests of programs that take payments (extra ``[testing]``).

- ``fake_clock``: a clock that moves when told: hours of polling in milliseconds (``FakeClock``).
- ``real_waits``: finds the tasks that wait for a database, for a clock that waits for them.
- ``signed_messages``: makes messages as the gateway signs them (``signed_reply``,
  ``sign_notification``).
- ``simulation``: a whole shop and its gateway from one seed: kills, lost replies, full disks.
- ``pytest_plugin``: fixtures that pytest finds by itself: ``fake_clock``, ``gateway_router``,
  ``gateway_transport``, ``no_real_gateway``, ``simulate``.
"""

from __future__ import annotations

from chaoying_async.testing.fake_clock import FakeClock
from chaoying_async.testing.signed_messages import sign_notification, signed_reply

__all__ = ["FakeClock", "sign_notification", "signed_reply"]
