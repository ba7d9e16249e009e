"""Which course a payment or a refund takes: chosen by its amount, or by the payment code.

The last three digits of ``total_fee`` (fen) choose: 4.03 yuan, or 14.03, is "paid at the second
query". A payment code, face code or buyer number that ends in ``0000`` and the three digits
(``...0000403``) wins over the amount. Refunds go by the last three digits of ``refund_fee``.
Any other payment is paid at once, any other refund is made after two seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from chaoying_async.sandbox.bank.entities import RefundState, Status

#: How long the customer of a pre-order takes, where the scenario says "at once". Seconds.
PREORDER_DELAY = 2.0
#: How long an ordinary refund is PROCESSING. Seconds.
REFUND_DELAY = 2.0


@attrs.frozen(kw_only=True)
class Scenario:
    """One course that a payment can take. Seconds count from when the order was made."""

    number: int
    name: str
    says: str
    ends: Status = Status.PAID
    """How it ends when nobody interferes."""
    after: float | None = 0.0
    """After how many seconds; 0 is at once, None is never by itself."""
    at_query: int | None = None
    """The query that finds the order ended (1 is the first); None: no query ends it."""
    msg: str = ""
    """What the answer says of a failure."""
    coupon_part: int = 0
    """One n-th of the amount comes off by a coupon; 0: none."""
    refused: str = ""
    """The code that the call itself is refused with; empty: it is not refused."""
    booked: bool = True
    """Whether the order is made although the call is refused."""
    lost: bool = False
    """The order is made, and the connection cut before the reply."""
    after_cancel: float | None = None
    """Seconds after a cancel at which the customer's payment comes through all the same."""
    off_by: int = 0
    """Added to the amount that replies and notifications name, in fen."""
    strays: bool = False
    """Replies name another order."""
    cancel_refused: str = ""
    """The code that the first cancel is refused with, carried out or not; empty: not refused."""
    cancel_carried_out: bool = False
    query_refused: str = ""
    """The code that the first query is refused with; empty: not refused."""
    notified: int = 1
    """How many times a result is notified although it was answered; 0: never."""
    notified_late: float = 0.0
    """Seconds that the first notification is late."""


_PAID = Scenario(number=0, name="paid", says="paid at once; a pre-order after 2 seconds")

_ALL = (
    _PAID,
    Scenario(number=401, name="password", says="the customer types a password for 10 s", after=10),
    Scenario(
        number=402, name="slow-password", says="the customer types a password for 40 s", after=40
    ),
    Scenario(
        number=403,
        name="second-query",
        says="the second query finds it paid",
        after=None,
        at_query=2,
    ),
    Scenario(
        number=404,
        name="fourth-query",
        says="the fourth query finds it paid",
        after=None,
        at_query=4,
    ),
    Scenario(
        number=405, name="never-paid", says="the customer walks away and never pays", after=None
    ),
    Scenario(
        number=406,
        name="balance-too-low",
        says="fails at once: balance too low",
        ends=Status.FAILED,
        msg="余额不足",
    ),
    Scenario(
        number=407,
        name="code-expired",
        says="fails at once: the payment code is stale",
        ends=Status.FAILED,
        msg="付款码已过期",
    ),
    Scenario(
        number=408,
        name="wrong-password",
        says="a password is typed for 8 s, and wrong",
        ends=Status.FAILED,
        after=8,
        msg="支付密码错误",
    ),
    Scenario(number=409, name="coupon", says="paid at once, a quarter by a coupon", coupon_part=4),
    Scenario(
        number=410,
        name="coupon-later",
        says="the second query finds it paid, a quarter by a coupon",
        after=None,
        at_query=2,
        coupon_part=4,
    ),
    Scenario(
        number=411,
        name="paid-after-cancel",
        says="never paid; once cancelled it is closed, and paid 20 s later",
        after=None,
        after_cancel=20,
    ),
    Scenario(
        number=412,
        name="wrong-amount",
        says="paid at once; every message about it names 1 fen more",
        off_by=1,
    ),
    Scenario(
        number=413,
        name="error-but-paid",
        says="answered 20006, and paid all the same",
        refused="20006",
    ),
    Scenario(
        number=414,
        name="error-nothing-done",
        says="answered 20006, and no order was made",
        refused="20006",
        booked=False,
    ),
    Scenario(
        number=415,
        name="network-error",
        says="answered 30001, and paid after 10 s",
        refused="30001",
        after=10,
    ),
    Scenario(
        number=416,
        name="not-configured",
        says="answered 20013: the merchant cannot take this wallet",
        refused="20013",
        booked=False,
    ),
    Scenario(
        number=417,
        name="closed",
        says="closed by the gateway after 10 s",
        ends=Status.CLOSED,
        after=10,
        msg="订单已关闭",
    ),
    Scenario(
        number=418,
        name="wrong-order",
        says="paid at once; every reply about it names another order",
        strays=True,
    ),
    Scenario(
        number=419,
        name="bad-result-signature",
        says="answered 20003, and paid all the same",
        refused="20003",
    ),
    Scenario(
        number=420,
        name="cancel-refused",
        says="never paid; the first cancel is answered 20006 and not carried out",
        after=None,
        cancel_refused="20006",
    ),
    Scenario(
        number=421,
        name="cancel-unclear",
        says="never paid; the first cancel is answered 30001 although it was carried out",
        after=None,
        cancel_refused="30001",
        cancel_carried_out=True,
    ),
    Scenario(number=422, name="reply-lost", says="paid, and the reply is lost", lost=True),
    Scenario(
        number=423,
        name="query-error",
        says="paid at once; the first query is answered 20009",
        query_refused="20009",
    ),
    Scenario(number=430, name="notified-twice", says="notified twice, answered or not", notified=2),
    Scenario(number=431, name="never-notified", says="paid, and never notified", notified=0),
    Scenario(number=432, name="notified-late", says="notified a minute late", notified_late=60),
)


@attrs.frozen(kw_only=True)
class RefundScenario:
    """One course that a refund can take."""

    number: int
    name: str
    says: str
    becomes: RefundState | None = RefundState.SUCCESS
    """What it becomes, and after how many seconds; None: it stays PROCESSING."""
    after: float = REFUND_DELAY
    refused: str = ""
    """The code that the call is refused with; empty: it is not refused."""
    booked: bool = True
    """Whether the refund is made although the call is refused."""
    query_refused: str = ""
    """The code that the first refundquery is refused with; empty: not refused."""


_REFUNDED = RefundScenario(number=0, name="refunded", says="PROCESSING for 2 s, then SUCCESS")

_ALL_REFUNDS = (
    _REFUNDED,
    RefundScenario(
        number=501, name="slow", says="PROCESSING for three days, then SUCCESS", after=3 * 86400
    ),
    RefundScenario(
        number=502, name="failed", says="FAIL after 5 s", becomes=RefundState.FAIL, after=5
    ),
    RefundScenario(
        number=503,
        name="notsure",
        says="NOTSURE after 5 s, until it is sent again with the same number",
        becomes=RefundState.NOTSURE,
        after=5,
    ),
    RefundScenario(
        number=504,
        name="change",
        says="CHANGE after 5 s: the money must be paid out by hand",
        becomes=RefundState.CHANGE,
        after=5,
    ),
    RefundScenario(number=505, name="stuck", says="PROCESSING for ever", becomes=None),
    RefundScenario(
        number=506,
        name="error-but-made",
        says="answered 20006, and made all the same",
        refused="20006",
    ),
    RefundScenario(
        number=507,
        name="refused",
        says="answered 20008: not enough money in the account",
        refused="20008",
        booked=False,
    ),
    RefundScenario(
        number=508,
        name="query-error",
        says="made; the first refundquery about it is answered 20010",
        query_refused="20010",
    ),
)

#: Number to scenario, of payments.
SCENARIOS: Mapping[int, Scenario] = {scenario.number: scenario for scenario in _ALL}
#: Number to scenario, of refunds.
REFUND_SCENARIOS: Mapping[int, RefundScenario] = {
    scenario.number: scenario for scenario in _ALL_REFUNDS
}


#: Where the gateway puts the number of a scenario that somebody chose for every payment, or for
#: every refund. No request can hold it: the gateway takes it out of what arrives.
CHOSEN = "(scenario)"


#: Scenarios by the digits that name one, with zeros in front or without.
_NUMBERED = {
    f"{number:0{width}d}": each for number, each in SCENARIOS.items() for width in (1, 2, 3)
}


def scenario_for(fields: Mapping[str, str]) -> Scenario:
    """The scenario that a payment code or buyer names, or else the amount."""
    if CHOSEN in fields:
        return SCENARIOS[int(fields[CHOSEN])]
    for name in ("auth_code", "face_code", "buyer_id", "buyer_logon_id"):
        head, triggered, number = fields.get(name, "").rpartition("0000")
        del head
        if triggered and (named := _NUMBERED.get(number)) is not None:
            return named
    return SCENARIOS.get(int(fields["total_fee"]) % 1000, _PAID)


def refund_scenario_for(fields: Mapping[str, str]) -> RefundScenario:
    """The scenario that the amount of a refund names."""
    if CHOSEN in fields:
        return REFUND_SCENARIOS[int(fields[CHOSEN])]
    return REFUND_SCENARIOS.get(int(fields["refund_fee"]) % 1000, _REFUNDED)
