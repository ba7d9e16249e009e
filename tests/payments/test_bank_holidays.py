"""How long a refund to a bank card is waited for: three working days, whatever lies between them.

``chinesecalendar`` holds what the State Council announced for each year (国务院办公厅关于节假日安排
的通知), moved weekends and the prolonged New Year of 2020 included. Its last year is 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import cache

import chinese_calendar  # type: ignore[import-untyped]

from chaoying_async import PayType, Poller, PollSchedule, PollStatus, RefundQuery
from chaoying_async.sansio.values import GMT8
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID, REFUND
from tests.pollers import Scripted

FIRST, LAST = date(2004, 1, 1), date(2026, 12, 20)
#: Accepted on the eve of the longest holidays so far, which the epidemic made longer.
LONGEST = date(2020, 1, 23)


def days() -> Iterator[date]:
    for number in range((LAST - FIRST).days + 1):
        yield FIRST + timedelta(days=number)


@cache
def is_workday(day: date) -> bool:
    return bool(chinese_calendar.is_workday(day))


def answered_by(accepted: date) -> datetime:
    """The end of the third working day after that on which the bank took the refund."""
    day, left = accepted, 3
    while left:
        day += timedelta(days=1)
        left -= is_workday(day)
    return midnight(day + timedelta(days=1))


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), GMT8)


def test_no_holidays_so_far_were_longer_than_a_refund_is_waited_for() -> None:
    """M-22: accepted at any moment of any day, it is asked about after the third working day."""
    waits = {day: answered_by(day) - midnight(day) for day in days()}
    longest = max(waits.values())
    assert longest == waits[LONGEST - timedelta(days=2)] == timedelta(days=14)
    assert longest < timedelta(seconds=PollSchedule.refunds().until)


async def test_a_refund_on_the_eve_of_the_longest_holidays_ends_refunded() -> None:
    """M-22: the bank answers in the last minute of the third working day, and is heard."""
    clock = FakeClock(midnight(LONGEST))
    answered = answered_by(LONGEST) - timedelta(minutes=1)

    def bank(_number: str, _count: int) -> dict[str, str]:
        status = "SUCCESS" if clock.now() >= answered else "PROCESSING"
        return {"refund_list": json.dumps([{"out_refund_no": REFUND, "refund_status": status}])}

    query = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_refund_no=REFUND)
    async with Poller(Scripted(clock, bank), PollSchedule.refunds(), clock=clock) as poller:
        outcome = await clock.run(poller.wait(query), within=15 * 86400)
    assert outcome.status is PollStatus.REFUNDED
    assert answered <= clock.now() <= answered + timedelta(hours=8)
