"""Orders of every kind at once, against the in-process sandbox, judged by its ledger.

CI takes 70, two of each kind; ``FULL=1`` 100,000.
"""

from __future__ import annotations

import pytest

from chaoying_async import PollStatus
from tests.hard.mixed_orders import polled
from tests.sizes import FULL

ORDERS = 100_000 if FULL else 70


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_orders_and_refunds_of_every_kind_end_as_the_ledger_has_it() -> None:
    """M-22, M-23: paid at once or at the n-th query, unpaid, never, another amount, in refund."""
    found = await polled(ORDERS)
    assert found.wrong == []
    assert found.ends.total() == ORDERS
    assert set(found.ends) == set(PollStatus)
    assert 15 * 86_400 <= found.clock < 16 * 86_400  # the longest is a refund's (M-22)
