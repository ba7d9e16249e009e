"""What must hold in every world: the gateway's books are held against the shop's.

Each check is named by the money rule (docs/rules.md) that it watches over, and yields a sentence
for everything that is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta

import attrs

from chaoying_async.sandbox.bank.entities import Key, Ledger, Order, RefundState, Status
from chaoying_async.sandbox.bank.order_life import settled
from chaoying_async.sandbox.bank.scenarios import SCENARIOS
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.testing.simulation.process import BEGINNING, SimulatedClock
from chaoying_async.testing.simulation.sales import Purchase
from chaoying_async.testing.simulation.surroundings import GivenOutcome, Told, Word
from chaoying_async.testing.simulation.weather import Weather


@attrs.frozen(kw_only=True)
class BothBooks:
    """Everything that can be held against a world when it has ended."""

    weather: Weather
    """What went wrong on purpose."""
    sales: Sequence[Purchase]
    """Who came to buy."""
    mch_id: str
    """The merchant's number."""
    ledger: Ledger
    """The gateway's books."""
    clock: SimulatedClock
    """The gateway's clock."""
    words: Sequence[Word]
    """What the library told the shop."""
    orders: Mapping[str, str]
    """The shop's orders, and their state."""
    effects: Sequence[tuple[str, str, int | None]]
    """What the shop's function did: number, how (paid, late), the amount in fen."""
    returns: Mapping[str, str]
    """The shop's refunds, and their state."""
    left: Mapping[tuple[str, str], int]
    """How often each call left for each number."""
    sent: Mapping[tuple[str, str], float]
    """When each call left first for each number."""
    sent_last: Mapping[tuple[str, str], float]
    """When it left last."""
    replied: Mapping[tuple[str, str], float]
    """When the first reply came, or its loss."""
    repeated: Collection[str]
    """Orders of which a reply to their payment said that they were there already (20004)."""
    tracked: Collection[str]
    """Orders that a poller's store has."""
    given: Sequence[GivenOutcome]
    """Outcomes that a fleet gave to the shop's task, each time that it did."""
    accepted: frozenset[Key]
    """Orders whose notification was acknowledged."""
    given_up: frozenset[Key]
    """Orders whose notification the gateway gave up."""
    left_over: Sequence[str]
    """Tasks, files and connections that outlived their process."""
    hanging: Sequence[str]
    """What never came to an end."""
    died: Sequence[str]
    """Programs that ended by an error."""
    logged: Sequence[str]
    """Lines of the library's log, at every level."""
    secrets: Sequence[str]
    """What may stand in no log."""

    @property
    def took_effect(self) -> set[str]:
        """Numbers of the orders that the shop's function was run for."""
        return {number for number, _, _ in self.effects}

    def order(self, number: str) -> Order | None:
        """An order as it stands in the gateway's books, an hour from now."""
        order = self.ledger.orders.get((self.mch_id, number))
        if order is None:
            return None
        return settled(order, self.clock.now() + timedelta(hours=1))[0]


def effect_exactly_once(found: BothBooks) -> Iterator[str]:
    """M-16: a paid order takes effect once; never twice, and never without a payment."""
    for number, times in Counter(number for number, _, _ in found.effects).items():
        order = found.order(number)
        if times > 1:
            yield f"M-16: {number} took effect {times} times"
        if order is None or order.paid_at is None:
            yield f"M-15: {number} took effect, and was never paid"
        elif SCENARIOS[order.scenario].off_by:
            yield f"M-15: {number} took effect, and another amount was paid"


def nothing_is_lost(found: BothBooks) -> Iterator[str]:
    """M-17: whoever paid gets the goods, or a person knows of it."""
    weather = found.weather
    for sale in found.sales:
        order = found.order(sale.number)
        if sale.at_till or order is None or order.status is not Status.PAID:
            continue
        scenario = SCENARIOS[order.scenario]
        if sale.number in found.took_effect or sale.number not in found.orders or scenario.off_by:
            continue
        closed = found.orders[sale.number] == "closed"
        coupon = bool(order.coupon) and weather.total_is_paid and not weather.confirms
        asked_about = weather.polls and not closed
        if (closed and not weather.after_close) or (coupon and not asked_about):
            continue  # a conflict, or nobody vouches for it: a person knows
        key = (found.mch_id, sale.number)
        if key in found.accepted:
            yield f"M-14: {sale.number} was acknowledged, and has no effect"
        elif (
            (asked_about and not weather.tracks_once)
            or key not in found.given_up
            or _nothing_in_the_way(found, order)
        ):
            yield f"M-17: {sale.number} is paid, and has no effect"


#: Seconds of one order's work from which on others may wait too long for their turn.
_QUEUES = 0.3


def _nothing_in_the_way(found: BothBooks, order: Order) -> bool:
    """Whether a notification must have come through: no process, disk or wire was in its way.

    Nor another order: SQLite has one writer at a time, and an answer is due within two seconds.
    """
    weather = found.weather
    trouble = weather.blows or weather.disk or weather.mail or weather.wire or weather.hangs_up
    trouble = trouble or weather.slow + weather.slow_disk > _QUEUES
    trouble = trouble or not weather.changes.are_unseen
    return bool(SCENARIOS[order.scenario].notified) and not trouble


#: What ``settle`` says of a payment that is for a person.
_SET_ASIDE = tuple(
    f"settle: {decision}"
    for decision in Decision
    if decision not in (Decision.APPLY, Decision.DUPLICATE, Decision.PAID_AFTER_CLOSE)
    and decision is not Decision.IN_PROGRESS
)
#: A cancel's window begins so many seconds after the payment (with the wire's dice left out), and a
#: reply that came sooner than this ended the call.
_CANCEL_AFTER, _PROMPT = 14.9, 4.0
_SAYS_PAID = ("PAID", "PAID_EARLIER")
_SAYS_UNPAID = ("FAILED", "CANCELLED", "CLOSED", "REVOKED")
_KINDS = {
    **dict.fromkeys(_SAYS_PAID, "paid"),
    **dict.fromkeys(_SAYS_UNPAID, "not paid"),
    "PAID_AFTER_CANCEL": "paid after a cancel",
}


def no_end_is_wrong(found: BothBooks) -> Iterator[str]:
    """M-23, M-24: what is told of a payment is true, and stays true."""
    for word in found.words:
        if word.told not in (Told.CHECKOUT, Told.ORDER):
            continue
        status = word.status.partition(" ")[0]
        order, where = found.order(word.number), f"{word.number} was told {word.status}"
        if status in ("PAID", "PAID_AFTER_CANCEL") and (order is None or order.paid_at is None):
            yield f"M-23: {where}, and was never paid"
        elif status == "PAID" and order is not None and SCENARIOS[order.scenario].off_by:
            yield f"M-13: {where}, and another amount was paid"
        elif status in _SAYS_PAID and order is not None and order.status is Status.REVOKED:
            yield f"M-24: {where}, and its money was given back"
        elif "NOT_FOUND" in word.status and found.weather.ages_by_the_wall:
            continue  # M-24 tells a restarted till to believe the wall clock
        elif status in _SAYS_UNPAID and order is not None and order.status is Status.PAID:
            yield f"M-24: {where}, and its money was kept"
        elif word.status.startswith("refused") and order is not None:
            yield f"M-09: {where}, and the order was made"


def no_two_ends(found: BothBooks) -> Iterator[str]:
    """M-23: whoever is told of a payment is told the same."""
    told: dict[tuple[Told, str], set[str]] = {}
    for word in found.words:
        kind = _KINDS.get(word.status.partition(" ")[0])
        if kind is not None and word.told in (Told.CHECKOUT, Told.ORDER):
            told.setdefault((word.told, word.number), set()).add(kind)
    for (_, number), kinds in told.items():
        if len(kinds) > 1:
            yield f"M-23: {number} was told {' and '.join(sorted(kinds))}"


def every_till_is_told(found: BothBooks) -> Iterator[str]:
    """M-24: a payment at a till has an end, or somebody is told that it is unknown."""
    told = {word.number for word in found.words if word.told is Told.CHECKOUT}
    paid = {
        word.number
        for word in found.words
        if word.told is Told.CHECKOUT and word.status in _SAYS_PAID
    }
    for sale in found.sales:
        if not sale.at_till:
            continue
        if found.left.get(("pay", sale.number)) and sale.number not in told:
            yield f"M-24: nobody was told how {sale.number} ended"
        if sale.number in paid and sale.number not in found.took_effect:
            yield f"M-16: {sale.number} was told paid, and has no effect"


def what_is_tracked_is_told(found: BothBooks) -> Iterator[str]:
    """M-23: the outcome of a tracked order comes, perhaps twice, and never not at all."""
    words = [word for word in found.words if word.told is Told.ORDER]
    told = {word.number for word in words if word.status in PollStatus.__members__}
    for number in sorted(set(found.tracked) - told):
        yield f"M-23: {number} was tracked, and nobody was told how it ended"
    aside = {word.number for word in words if word.status in _SET_ASIDE}
    for number in sorted({word.number for word in words if word.status == "PAID"}):
        if number not in found.took_effect and number not in aside:
            yield f"M-16: {number} was told paid, and has no effect"


def no_cancel_is_early(found: BothBooks) -> Iterator[str]:
    """M-24: a cancel leaves no earlier than 15 seconds after the payment's call has ended."""
    if found.weather.ages_by_the_wall:
        return
    for (endpoint, number), at in found.sent.items():
        began = found.sent.get(("pay", number))
        if endpoint != "cancel" or began is None:
            continue
        ended = found.replied.get(("pay", number), began)
        since = ended if ended - began < _PROMPT else began  # else the till had given up waiting
        if at - since < _CANCEL_AFTER:
            yield f"M-24: {number} was cancelled {at - since:.1f} s after its payment"


def nothing_is_paid_earlier(found: BothBooks) -> Iterator[str]:
    """M-24: PAID_EARLIER is what was paid before its call left, by the gateway's clock."""
    for word in found.words:
        order, at = found.order(word.number), found.sent.get(("pay", word.number))
        if word.told is not Told.CHECKOUT or word.status.partition(" ")[0] != "PAID_EARLIER":
            continue
        if order is None or order.paid_at is None or at is None or word.number in found.repeated:
            continue
        since = (order.paid_at - BEGINNING).total_seconds() - found.weather.ahead - at
        if since >= 0 and not found.weather.ages_by_the_wall:
            yield f"M-24: {word.number} was told PAID_EARLIER, {since:.1f} s after its call"


def a_calm_day_is_plain(found: BothBooks) -> Iterator[str]:
    """M-24: where nothing goes wrong, what is paid at once is told PAID, and nothing else."""
    if not found.weather.is_calm:
        return
    for sale in found.sales:
        order = found.order(sale.number)
        told = {word.status for word in found.words if word.number == sale.number}
        if sale.at_till and order is not None and not order.scenario and not told & {"PAID"}:
            yield f"M-24: {sale.number} was paid on a calm day, and was told {sorted(told)}"


def money_moves_once(found: BothBooks) -> Iterator[str]:
    """M-02: a payment is sent once."""
    for (endpoint, number), times in found.left.items():
        if endpoint in ("pay", "WECHAT_PreOrder") and times > 1:
            yield f"M-02: {endpoint} {number} was sent {times} times"


def refunds_are_true(found: BothBooks) -> Iterator[str]:
    """M-25: what is told of a refund is true, and no more is given back than was wanted."""
    later = found.clock.now() + timedelta(hours=1)
    for word in found.words:
        if word.told is not Told.REFUND:
            continue
        refund = found.ledger.refunds.get((found.mch_id, word.number))
        state = None if refund is None else refund.state_at(later)
        made = state is RefundState.SUCCESS
        if word.status == "REFUNDED" and not made:
            yield f"M-25: {word.number} was told REFUNDED, and the books say {state}"
        never = word.status == "REFUND_FAILED" or word.status.endswith("never made")
        if never and made:
            yield f"M-25: {word.number} was told {word.status}, and the money went back"
    for sale in found.sales:
        order = found.ledger.orders.get((found.mch_id, sale.number))
        made_of_it = [] if order is None else found.ledger.live_refunds(order, later)
        if sum(each.base for each in made_of_it) > sale.gives_back:
            yield f"M-25: more was given back of {sale.number} than was wanted"


def nothing_leaks(found: BothBooks) -> Iterator[str]:
    """M-17: a process that ends leaves nothing behind."""
    for what in found.left_over:
        yield f"M-17: {what} is left over"


def nothing_hangs(found: BothBooks) -> Iterator[str]:
    """M-17: everything comes to an end."""
    for what in found.hanging:
        yield f"M-17: {what} does not end"


#: So many deaths tell what is wrong.
_ENOUGH = 3


def no_program_dies(found: BothBooks) -> Iterator[str]:
    """Where its files work the library raises nothing that ends a program."""
    for what in found.died[:_ENOUGH]:
        if not found.weather.disk:
            yield f"a program died: {what}"


def no_secret_is_logged(found: BothBooks) -> Iterator[str]:
    """M-27: no key and no payment code stands in a log."""
    for line in found.logged:
        if any(secret in line for secret in found.secrets):
            yield f"M-27: a secret is logged in {line[:40]!r}..."


#: Every check; a world is sound when none of them yields anything.
CHECKS: Sequence[Callable[[BothBooks], Iterator[str]]] = (
    effect_exactly_once,
    nothing_is_lost,
    no_end_is_wrong,
    no_two_ends,
    every_till_is_told,
    what_is_tracked_is_told,
    no_cancel_is_early,
    nothing_is_paid_earlier,
    a_calm_day_is_plain,
    money_moves_once,
    refunds_are_true,
    nothing_leaks,
    nothing_hangs,
    no_program_dies,
    no_secret_is_logged,
)
