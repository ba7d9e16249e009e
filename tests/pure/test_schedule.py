"""When to ask again, how many a second, and when to hold back: values in, values out."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoying_async import ParameterError, PollSchedule, PollStatus
from chaoying_async.sansio.polling.pacing import CLOSED, LONGEST_PAUSE, THRESHOLD, Bucket
from chaoying_async.sansio.polling.schedule import Done, GiveUp, Wait, last_query_at, next_step
from chaoying_async.sansio.polling.status import UNASKED, Says, Standing

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ABSENT = Standing(Says.ABSENT, PollStatus.NOT_FOUND)


def moments(
    schedule: PollSchedule, last: Standing = UNASKED, random_number: float = 0
) -> list[float]:
    """Every moment at which an order is asked about that never ends."""
    found: list[float] = []
    elapsed, step = 0.0, next_step(schedule, 0, 0.0, last, random_number)
    while isinstance(step, Wait):
        elapsed += step.seconds
        found.append(elapsed)
        step = next_step(schedule, len(found), elapsed, last, random_number)
    assert step == GiveUp()
    return found


def test_payments_are_asked_about_every_five_seconds_for_three_minutes() -> None:
    """M-22: 5 s, every 5 s, to 180 s, the last query at the deadline itself."""
    assert moments(PollSchedule()) == [5.0 * n for n in range(1, 37)]


def test_preorders_begin_late_and_stretch() -> None:
    """M-22: 20 s, every 5 s for 3 minutes, stretching to 60 s, 2 hours without an expiry."""
    asked = moments(PollSchedule.preorder(None))
    assert asked[:37] == [20.0 + 5 * n for n in range(37)]
    pauses = [round(b - a, 6) for a, b in itertools.pairwise(asked[36:-1])]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (5.0, 60.0)
    assert asked[-1] == 7200.0


def test_preorders_are_asked_about_two_minutes_after_they_expire() -> None:
    """M-22: by the wall clock, whenever the waiting begins; an expiry long past means once."""
    schedule = PollSchedule.preorder(NOW + timedelta(seconds=600))
    assert moments(schedule.begun(NOW))[-1] == 720.0
    assert moments(schedule.begun(NOW + timedelta(seconds=500)))[-1] == 220.0
    assert moments(schedule.begun(NOW + timedelta(days=1))) == [0.0]
    assert schedule.begun(NOW).ends is None
    plain = PollSchedule()
    assert plain.begun(NOW) is plain


def test_refunds_stretch_to_hours_over_fifteen_days() -> None:
    """M-22: 30 s at first, 15 x 24 h at last, and few enough queries to be polite."""
    asked = moments(PollSchedule.refunds())
    assert asked[0] == 30.0
    assert asked[-1] == 15 * 24 * 3600
    assert max(b - a for a, b in itertools.pairwise(asked)) == 6 * 3600
    assert len(asked) < 90


def test_a_preorders_pause_grows_by_a_fifth_of_what_was_waited() -> None:
    """After three steady minutes, up to a minute."""
    schedule = PollSchedule.preorder()
    waited = [0.0, 180.0, 190.0, 280.0, 455.0, 5000.0]
    assert [schedule.pause(9, 20 + each, 0, 0.5) for each in waited] == pytest.approx(
        [5.0 * 1.05, 5.0 * 1.05, 7.0 * 1.05, 25.0 * 1.05, 60.0 * 1.05, 60.0 * 1.05]
    )


def test_a_refunds_pause_grows_by_half_of_what_was_waited() -> None:
    """From the first query on, up to six hours."""
    schedule = PollSchedule.refunds()
    waited = [0.0, 100.0, 43_140.0, 1e6]
    assert [schedule.pause(2, 30 + each, 0, 0.0) for each in waited] == pytest.approx(
        [30.0, 80.0, 21_600.0, 21_600.0]
    )


def test_an_expiry_without_a_time_zone_is_refused_by_its_own_name() -> None:
    """Nobody has given an `ends`."""
    with pytest.raises(ParameterError) as error:
        PollSchedule.preorder(datetime(2026, 1, 1))  # noqa: DTZ001 - that is it
    assert error.value.problems == {"until": "needs a time zone"}


@pytest.mark.parametrize("longest", [0.0, -1.0, math.nan, True, "soon"])
def test_what_is_wrong_by_itself_is_compared_with_nothing(longest: Any) -> None:
    """One rule is named, and it is that of the number itself."""
    with pytest.raises(ParameterError) as error:
        PollSchedule(longest=longest)
    assert error.value.problems == {"longest": "must be a number of seconds above 0"}
    with pytest.raises(ParameterError) as error:
        PollSchedule(every=longest, longest=1.0)
    assert error.value.problems == {"every": "must be a number of seconds above 0"}


@pytest.mark.parametrize("every", [math.inf, -math.inf, math.nan])
def test_a_pause_without_end_is_one_problem(every: float) -> None:
    """The longest pause, which nobody gave, is none besides."""
    with pytest.raises(ParameterError) as error:
        PollSchedule(every=every)
    assert error.value.problems == {"every": "must be a number of seconds above 0"}


@pytest.mark.parametrize("steady", [-0.001, math.inf, "soon"])
def test_the_steady_time_is_a_number_of_seconds(steady: Any) -> None:
    """None at all is fine."""
    assert PollSchedule(steady=0).steady == 0
    with pytest.raises(ParameterError) as error:
        PollSchedule(steady=steady)
    assert error.value.problems == {"steady": "must be a number of seconds, 0 or more"}


def test_a_query_that_is_due_at_the_deadline_but_for_a_rounding_error_is_the_last() -> None:
    """M-23: what is earlier by more than that, or later, stays where it is."""
    due = [180.0 - 1e-7, 180.0 - 1e-5, 179.0, 180.0, 181.0]
    assert [last_query_at(each, 180.0) for each in due] == [180.0, *due[1:]]


def test_a_pause_may_be_up_to_twice_as_long() -> None:
    """A jitter of 1, and no more; it is a fraction, not seconds."""
    assert PollSchedule(jitter=1).pause(1, 5.0, 0, 1.0) == 10.0
    with pytest.raises(ParameterError, match="jitter"):
        PollSchedule(jitter=1.001)


def test_the_steady_time_is_given_by_its_name() -> None:
    """A seventh number by place would be read by nobody."""
    numbers: list[Any] = [5.0, 5.0, 180.0, 0.1, 1.0, 60.0, 20.0]
    assert PollSchedule(*numbers[:6]) == PollSchedule()
    with pytest.raises(TypeError):
        PollSchedule(*numbers)


def test_jitter_only_makes_a_pause_longer() -> None:
    """Nobody is asked earlier than the document says, and nobody later than the deadline."""
    late = moments(PollSchedule(jitter=0.5), random_number=1.0)
    assert late[0] == 7.5
    assert late[-1] == 180.0


def test_trouble_doubles_the_pause_up_to_the_longest() -> None:
    """Backs off on transport errors and 20006 / 30001, and still asks at the deadline."""
    schedule = PollSchedule(jitter=0)
    steps = [
        next_step(schedule, n, 5.0, Standing(Says.TROUBLE, troubles=n), 0.5) for n in range(1, 7)
    ]
    assert steps == [Wait(10), Wait(20), Wait(40), Wait(60), Wait(60), Wait(60)]
    assert next_step(schedule, 9, 170.0, Standing(Says.TROUBLE, troubles=9), 0.5) == Wait(10)


def test_an_end_that_counts_ends_it_at_once() -> None:
    """Whatever the schedule says."""
    paid = Standing(Says.ENDED, PollStatus.PAID, counts=True)
    assert next_step(PollSchedule(), 1, 5.0, paid, 0.0) == Done(PollStatus.PAID)


def test_not_found_counts_at_the_end_only_and_after_two_queries() -> None:
    """M-22, M-06: 20007 is "not there yet" before, and one answer without a name is no proof."""
    schedule = PollSchedule(jitter=0)
    sure = Standing(Says.ABSENT, PollStatus.NOT_FOUND, counts=True)
    assert next_step(schedule, 3, 15.0, sure, 0.0) == Wait(5)
    assert next_step(schedule, 36, 180.0, ABSENT, 0.0) == Wait(5)
    assert next_step(schedule, 37, 185.0, sure, 0.0) == Done(PollStatus.NOT_FOUND)


def test_an_unsure_end_at_the_deadline_is_asked_about_once_more() -> None:
    """M-06: the second query decides; trouble there ends it EXPIRED, not failed."""
    schedule = PollSchedule(jitter=0)
    unsure = Standing(Says.ENDED, PollStatus.CLOSED)
    assert next_step(schedule, 36, 180.0, unsure, 0.0) == Wait(5)
    trouble = Standing(Says.TROUBLE, PollStatus.CLOSED, troubles=1)
    assert next_step(schedule, 37, 185.0, trouble, 0.0) == GiveUp()


SECONDS = st.floats(0.01, 10_000)


@given(
    st.builds(
        lambda first, every, until, jitter, factor, longer: PollSchedule(
            first, every, until, jitter, factor, every + longer
        ),
        st.floats(0, 1000),
        st.floats(1, 1000),
        st.floats(0, 20_000),
        st.floats(0, 1),
        st.floats(1, 3),
        st.floats(0, 1000),
    ),
    st.floats(0, 1),
    st.integers(0, 20),
)
def test_nothing_ends_unasked(schedule: PollSchedule, number: float, troubles: int) -> None:
    """M-23: whatever the schedule, the last query is at the deadline, and none comes after it."""
    says = Says.TROUBLE if troubles else Says.PENDING
    elapsed, attempts = 0.0, 0
    last = Standing(says, troubles=troubles)
    step = next_step(schedule, 0, 0.0, UNASKED, number)
    while isinstance(step, Wait):
        assert step.seconds >= 0
        elapsed, attempts = elapsed + step.seconds, attempts + 1
        assert elapsed <= schedule.until + 1e-6
        if abs(elapsed - schedule.until) < 1e-6:
            elapsed = schedule.until  # as the poller does: sums of floats drift
        step = next_step(schedule, attempts, elapsed, last, number)
    assert attempts >= 1
    assert elapsed == schedule.until


@pytest.mark.parametrize(("every", "longest"), [(5, 60), (60, 60), (61, 61), (120, 120)])
def test_a_slow_schedule_needs_no_second_number(every: float, longest: float) -> None:
    """``every=120`` is enough."""
    assert PollSchedule(every=every).longest == longest


def test_a_schedule_names_every_number_that_makes_no_sense() -> None:
    """All at once, and by name."""
    with pytest.raises(ParameterError) as caught:
        PollSchedule(first=-1, every=0, until=float("nan"), jitter=2, factor=0.5, longest=0)
    assert set(caught.value.problems) == {"first", "every", "until", "jitter", "factor", "longest"}
    with pytest.raises(ParameterError, match="longest: must not be less than every"):
        PollSchedule(every=61, longest=60)
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ParameterError, match="time zone"):
        PollSchedule.preorder(naive)
    with pytest.raises(ParameterError, match="ends"):
        PollSchedule(ends=naive)


@given(st.floats(0.1, 5000), st.lists(st.floats(0, 0.3), min_size=1, max_size=300))
def test_a_rate_is_never_exceeded_in_any_second(rate: float, gaps: list[float]) -> None:
    """Not on average: count the tokens of every window of one second."""
    bucket, now = Bucket.per_second(rate), 0.0
    taken: list[float] = []
    for gap in gaps:
        now += gap
        while not bucket.wait(now) and len(taken) < 3000:
            bucket = bucket.take(now)
            taken.append(now)
    for index, start in enumerate(taken):
        within = [moment for moment in taken[index:] if moment < start + 1 - 1e-6]
        assert len(within) <= math.ceil(rate)


@pytest.mark.parametrize("rate", [0.5, 10, 50, 51, 1000])
def test_a_rate_is_reached(rate: float) -> None:
    """Somebody who waits exactly as told gets nearly all of it."""
    bucket, now, count = Bucket.per_second(rate), 0.0, 0
    while now < 20:
        while wait := bucket.wait(now):
            now += wait
        bucket, count = bucket.take(now), count + 1
    assert count == pytest.approx(20 * rate, rel=0.05, abs=1)


@pytest.mark.parametrize("rate", [1, 10, 50, 51, 100, 1000])
def test_the_first_second_has_as_many_tokens_as_any_other(rate: float) -> None:
    """A full bucket is no extra: whoever takes all there is gets the rate, and not more."""
    bucket, now, taken = Bucket.per_second(rate), 0.0, 0
    while now < 1 - 1e-6:
        bucket, taken = bucket.take(now), taken + 1
        now += bucket.wait(now)
    assert 0.95 * rate <= taken <= rate


@pytest.mark.parametrize(("rate", "at_once"), [(0.5, 1), (50, 1), (100, 2), (1000, 20)])
def test_a_full_bucket_hands_out_one_group_at_once(rate: float, at_once: int) -> None:
    """One by one up to 50 a second, above that a fiftieth of what a second has."""
    bucket, taken = Bucket.per_second(rate), 0
    while not bucket.wait(7.0):
        bucket, taken = bucket.take(7.0), taken + 1
    assert taken == at_once


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan"), True, "5"])
def test_a_rate_is_a_number_above_nothing(rate: float) -> None:
    """None means no limit; nothing else does."""
    with pytest.raises(ParameterError, match="rate"):
        Bucket.per_second(rate)


def test_the_breaker_opens_after_troubles_in_a_row_and_closes_on_any_answer() -> None:
    """An answer between them starts the count anew; probes become rarer, up to a limit."""
    breaker = CLOSED
    for _ in range(THRESHOLD - 1):
        breaker = breaker.heard(trouble=True, now=0.0)
    assert not breaker.is_open
    assert breaker.heard(trouble=False, now=0.0) is CLOSED
    breaker = breaker.heard(trouble=True, now=100.0)
    assert breaker.probe_at == 101.0
    assert breaker.heard(trouble=True, now=100.5) is breaker
    probes, now = [], 101.0
    for _ in range(8):
        breaker = breaker.probed(now)
        assert breaker.probe_at is not None
        probes.append(breaker.probe_at - now)
        now = breaker.probe_at
    assert probes == [1, 2, 4, 8, 16, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert breaker.heard(trouble=False, now=now) is CLOSED
