"""Every order of events for one checkout and one refund; FULL=1 walks deeper, and everywhere.

Without it, only one await in so many is one to die at where a path goes on with the same questions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from chaoying_async.sansio.payments import machine as till
from chaoying_async.sansio.payments.moves import Cancels, CheckoutEnd, CheckoutStatus
from chaoying_async.sansio.payments.wallets import Wallets
from chaoying_async.sansio.polling.status import PollStatus
from tests.hard import shell_walk, till_walk
from tests.sizes import FULL

#: Every await so near to the start of a path, and one in so many behind it.
CHECKOUT: dict[str, int] = {} if FULL else {"near": 20, "every": 23}
REFUND: dict[str, int] = {} if FULL else {"near": 9, "every": 13}


@pytest.mark.slow
@pytest.mark.timeout(7200 if FULL else 300)
def test_no_order_of_events_ends_with_money_wrong() -> None:
    """M-24: the till against a gateway that shares nothing with it, and every end it can reach."""
    found: Any = till_walk.figures(till_walk.FULL if FULL else till_walk.CI)
    assert found["paths"] > 50_000
    assert found["cancels_checked"] > 1_000
    reached = {end.split("/")[0] for end in found["ends"]}
    assert reached == set(CheckoutStatus)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLOSED_STAYS", 0.0),
        ("_closed_by", lambda it: it.cancels.last_at),
        ("CANCEL_UNTIL", 400.0),
        ("RESTARTED_CANCEL", (0.0, 270.0)),
        ("_OVER", {**till._OVER, PollStatus.CLOSED: CheckoutEnd(CheckoutStatus.PAID)}),
        ("_paid_end", lambda _: CheckoutEnd(CheckoutStatus.PAID)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_walk_notices_a_till_that_is_wrong(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk that finds nothing proves nothing: each of these mistakes has to be found."""
    monkeypatch.setattr(till, name, value)
    monkeypatch.setattr(till, "GIVE_UP", 420.0 if name == "CANCEL_UNTIL" else till.GIVE_UP)
    with pytest.raises(till_walk.BrokenError):
        till_walk.figures((*till_walk.NEAR, *till_walk.CI))


def test_the_walk_notices_an_order_that_only_one_wallet_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An order that was paid under another wallet must not end as one that never arrived."""
    monkeypatch.setattr(Wallets, "all_absent", property(lambda kept: bool(kept.absent)))
    with pytest.raises(till_walk.BrokenError):
        till_walk.figures(till_walk.CI)


def test_the_walk_notices_a_cancel_that_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel whose reply was lost may have been carried out: taking it for none is found."""
    monkeypatch.setattr(Cancels, "harmless", property(lambda kept: not kept.carried_out))
    with pytest.raises(till_walk.BrokenError):
        till_walk.figures(till_walk.CI)


@pytest.mark.parametrize("name", ["used", "answered"])
def test_the_walk_notices_a_cancel_of_another_tills_sale(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-24: a till that forgets 20004, at once or over a restart, is found."""
    right: Callable[..., till.Till]
    right = till.opened if name == "used" else till.reopened

    def forgets(*args: Any, **options: Any) -> till.Till:
        made: Any = right(*args, **options)
        forgetful: till.Till = attrs.evolve(made, never_cancel=False)
        return forgetful

    monkeypatch.setattr(till_walk, "opened" if name == "used" else "reopened", forgets)
    with pytest.raises(till_walk.BrokenError, match="another till's sale"):
        till_walk.figures(till_walk.NEAR)


@pytest.mark.slow
@pytest.mark.timeout(7200 if FULL else 300)
async def test_killed_or_cancelled_at_any_await_it_never_pays_twice() -> None:
    """M-02, M-23, M-24: one dies at every await, is resumed, and dies again."""
    paths, _, ends = await shell_walk.walk(shell_walk.one_checkout, 2 if FULL else 1, **CHECKOUT)
    assert paths > 250
    assert set(ends) >= {"PAID", "PAID_EARLIER", "FAILED", "CANCELLED"}


@pytest.mark.slow
@pytest.mark.timeout(7200 if FULL else 300)
async def test_killed_or_cancelled_at_any_await_it_never_refunds_twice() -> None:
    """M-25: against a gateway that pays out every refund that it is sent, whatever its number."""
    paths, _, ends = await shell_walk.walk(shell_walk.one_refund, 3 if FULL else 2, **REFUND)
    assert paths > 500
    assert set(ends) >= {"REFUNDED", "REFUND_FAILED", "NOTSURE", "CHANGED", "EXPIRED"}
