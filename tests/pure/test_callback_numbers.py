"""Whether a merchant's callbacks come: what is counted, and when they are called dark."""

from __future__ import annotations

from datetime import timedelta

from chaoying_async.sansio.notifications.callback_health import (
    DARK_AFTER,
    DARK_FOR,
    CallbackCounts,
    CallbacksDark,
    MerchantCallbacks,
)
from chaoying_async.sansio.paid import PaidSource


def by_query(counts: CallbackCounts, mch_id: str, orders: int, now: float = 0.0) -> None:
    for number in range(orders):
        assert not counts.took_effect(mch_id, f"Q{number}", PaidSource.QUERY, now)


def test_delays_are_summed_by_merchant_and_together() -> None:
    """A callback whose payment has no time counts as heard, and not as timed."""
    counts = CallbackCounts()
    for mch_id, seconds in (("1", 2), ("1", 4), ("2", 12)):
        counts.heard(mch_id, timedelta(seconds=seconds))
    counts.heard("1", None)
    for mch_id, number in (("1", "A1"), ("1", "A1"), ("1", "A2"), ("2", "A1")):
        counts.took_effect(mch_id, number, PaidSource.NOTIFICATION, 0.0)
    by_query(counts, "2", 1)
    second = timedelta(seconds=1)
    first = MerchantCallbacks(
        by_notification=2, by_query=0, delay=3 * second, longest_delay=4 * second, is_dark=False,
        timed=2, delays=6 * second,
    )  # fmt: skip
    other = MerchantCallbacks(
        by_notification=1, by_query=1, delay=12 * second, longest_delay=12 * second,
        is_dark=False, timed=1, delays=12 * second,
    )  # fmt: skip
    both = MerchantCallbacks(
        by_notification=3, by_query=1, delay=6 * second, longest_delay=12 * second, is_dark=False,
        timed=3, delays=18 * second,
    )  # fmt: skip
    assert counts.snapshot() == {"1": first, "2": other}
    assert counts.total() == both
    assert [each.share_by_query for each in (first, other, both)] == [0.0, 0.5, 0.25]


def test_before_a_callback_was_heard_no_delay_is_known() -> None:
    """Nought would be a promise."""
    counts = CallbackCounts()
    by_query(counts, "1", 1)
    for each in (counts.snapshot()["1"], counts.total()):
        assert (each.delay, each.longest_delay, each.share_by_query) == (None, None, 1.0)
    nothing = CallbackCounts()
    assert (nothing.snapshot(), nothing.total().share_by_query) == ({}, 0.0)


def test_a_merchant_is_dark_after_so_many_orders_and_so_long() -> None:
    """Both bounds are reached, not passed; it is told once, and again after it was light."""
    counts = CallbackCounts()
    by_query(counts, "1", DARK_AFTER - 1)
    by_query(counts, "2", DARK_AFTER)
    assert [*counts.newly_dark(DARK_FOR - 0.001)] == []
    told = CallbacksDark(mch_id="2", orders=DARK_AFTER, seconds=DARK_FOR)
    assert [*counts.newly_dark(DARK_FOR)] == [told]
    assert [*counts.newly_dark(2 * DARK_FOR)] == []
    assert {mch_id: each.is_dark for mch_id, each in counts.snapshot().items()} == {
        "1": False,
        "2": True,
    }
    assert counts.total().is_dark
    assert counts.heard("2", None)
    assert not counts.heard("2", None)
    assert not counts.total().is_dark
    for number in range(DARK_AFTER):
        counts.took_effect("2", f"L{number}", PaidSource.QUERY, 100.0)
    told = CallbacksDark(mch_id="2", orders=DARK_AFTER, seconds=DARK_FOR)
    assert [*counts.newly_dark(100.0 + DARK_FOR)] == [told]
    assert counts.took_effect("2", "N1", PaidSource.NOTIFICATION, 130.0)


def test_a_callback_between_them_begins_the_row_anew() -> None:
    """Some come: the address is right, and what is late may come yet."""
    counts = CallbackCounts()
    by_query(counts, "1", DARK_AFTER)
    assert not counts.heard("1", None)
    assert [*counts.newly_dark(2 * DARK_FOR)] == []
    counts.took_effect("1", "L", PaidSource.QUERY, 0.0)
    assert [*counts.newly_dark(2 * DARK_FOR)] == []


def test_ten_thousand_merchants_are_remembered() -> None:
    """One more, and the oldest is forgotten; its orders stay in the sums."""
    counts = CallbackCounts()
    for number in range(10_000):
        counts.heard(f"{number}", timedelta(seconds=1))
    assert len(counts.snapshot()) == 10_000
    counts.heard("one more", None)
    assert (len(counts.snapshot()), "0" in counts.snapshot()) == (10_000, False)
    assert counts.total().timed == 10_000
