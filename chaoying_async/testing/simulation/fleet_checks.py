"""What must hold where a shop has a fleet: every outcome comes, and it is always the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.testing.simulation.checks import BothBooks
from chaoying_async.testing.simulation.surroundings import AGAIN, Told


def what_is_handed_over_is_given(found: BothBooks) -> Iterator[str]:
    """M-23: what was committed comes to its task, and what was rolled back does not."""
    given = {each.number for each in found.given}
    for sale in found.sales:
        number = sale.number
        if sale.at_till:
            if found.left.get(("pay", number)) and number not in given:
                yield f"M-23: {number} was charged, and no task was told how it ended"
        elif number in found.orders and number not in given:
            yield f"M-23: {number} was handed over, and no task was told how it ended"
        elif number not in found.orders and number in given:
            yield f"M-23: {number} was rolled back, and a task was told how it ended"


def an_outcome_is_always_the_same(found: BothBooks) -> Iterator[str]:
    """M-23: it may come again, with the same name and the same words; a payment has one."""
    contents: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    again = Counter(word.number for word in found.words if word.status == AGAIN)
    for each in found.given:
        contents.setdefault(each.name, set()).add(each.content)
        if each.told is not Told.REFUND:  # a refund that nobody is sure of is sent again
            names.setdefault(each.number, set()).add(each.name)
    for name, said in contents.items():
        if len(said) > 1:
            yield f"M-23: the outcome {name} came with {len(said)} contents"
    for number, several in names.items():
        if len(several) > 1 + again[number]:
            yield f"M-23: {number} has {len(several)} outcomes: {' and '.join(sorted(several))}"


def who_waits_again_is_told_again(found: BothBooks) -> Iterator[str]:
    """M-23: what is waited for once more is asked about since, unless it is known to be paid."""
    for again in found.words:
        if again.status != AGAIN or again.told is Told.ERROR:  # nobody knows whether it is
            continue
        number = again.number
        told = [word for word in found.words if word.number == number and word.status != AGAIN]
        if any(word.told is Told.ORDER and word.status == PollStatus.PAID for word in told):
            continue
        if found.sent_last.get(("orderquery", number), 0.0) < again.at:
            yield f"M-23: {number} was waited for once more, and not asked about since"
        elif all(word.at < again.at for word in told):
            yield f"M-23: {number} was waited for once more, and no task was told how it ended"


def a_quiet_fleet_tells_once(found: BothBooks) -> Iterator[str]:
    """M-26: where no process, disk or clock is in trouble, no order has two owners."""
    weather, changes = found.weather, found.weather.changes
    if weather.blows or weather.disk or weather.raises or changes.steps or changes.end_processes:
        return
    if weather.hangs_up:  # it cancels notifications, for whose end a task may have to wait
        return
    for name, times in Counter(each.name for each in found.given).items():
        if times > 1:
            yield f"M-26: the outcome {name} came {times} times, and nobody died"


#: Every check of a world with a fleet.
FLEET_CHECKS: Sequence[Callable[[BothBooks], Iterator[str]]] = (
    what_is_handed_over_is_given,
    an_outcome_is_always_the_same,
    who_waits_again_is_told_again,
    a_quiet_fleet_tells_once,
)
