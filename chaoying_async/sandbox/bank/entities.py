"""What the books hold: orders, refunds, merchants, the ledger; and what a step of it gives.

These are values without rules: the rules are in ``order_life`` and ``refund_life``. Amounts are in
fen, times are aware.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import attrs

from chaoying_async.sandbox.bank.table import Table
from chaoying_async.sandbox.document.draft_reply import DraftReply

#: A merchant's number and one of its own numbers (of an order or of a refund).
Key = tuple[str, str]


class OrderKind(StrEnum):
    """Which call made an order."""

    PAY = "pay"
    FACEPAY = "facepay"
    WECHAT_PREORDER = "WECHAT_PreOrder"
    ALIPAY_PREORDER = "ALIPAY_PreOrder"


class Status(StrEnum):
    """How an order stands. Only OPEN moves by itself, and CLOSED where a payment comes late."""

    OPEN = "OPEN"
    """The order can be paid."""
    PAID = "PAID"
    """The customer paid."""
    CLOSED = "CLOSED"
    """Over without payment: cancelled in time, expired, or closed by the gateway (10004)."""
    REVOKED = "REVOKED"
    """Paid, and given back by a cancel (10005)."""
    FAILED = "FAILED"
    """The payment failed (10006)."""


@attrs.frozen(kw_only=True)
class Order:
    """One order. ``payable`` - ``coupon`` is what the customer pays in cash."""

    serial: int
    """Its running number among everything that was made."""
    kind: OrderKind
    """Which call made it."""
    mch_id: str
    """The merchant's number."""
    out_trade_no: str
    """The shop's number for it."""
    paytype: str
    """The wallet that pays."""
    payable: int
    """The order amount in fen."""
    coupon: int
    """The coupons' part of it, in fen; the rest is paid in cash."""
    transaction_id: str
    """The platform's number for it."""
    out_transaction_id: str
    """The wallet's number for it."""
    scenario: int
    """Number of its scenario."""
    created: datetime
    """When it was made; aware."""
    asked: Mapping[str, str] = attrs.field(hash=False, repr=False)
    """Every field of the request that made it, but for secrets."""
    status: Status = Status.OPEN
    """How it stands."""
    ended: datetime | None = None
    """When it reached that status; for a paid one ``time_end``."""
    ends_at: datetime | None = None
    """When it will end by itself; None: not by itself."""
    ends_as: Status = Status.PAID
    """How it will end by itself."""
    at_query: int | None = None
    """The query at which it ends; None: no query ends it."""
    queries: int = 0
    """How often it was queried."""
    cancels: int = 0
    """How often it was cancelled."""
    expires: datetime | None = None
    """When it stops being payable; None: never."""
    paid_at: datetime | None = None
    """When its payment went through, whatever became of the order later; None: never."""
    refunds: tuple[str, ...] = ()
    """Numbers of its refunds, oldest first."""
    told: bool = False
    """Whether its notification was accepted, or given up."""

    @property
    def key(self) -> Key:
        """The number that identifies it: a merchant's own (M-18)."""
        return self.mch_id, self.out_trade_no

    @property
    def paid(self) -> int:
        """Cash that the customer pays, in fen."""
        return self.payable - self.coupon


class RefundState(StrEnum):
    """``refund_status`` as the document lists it."""

    SUCCESS = "SUCCESS"
    """Refunded.（退款成功）"""
    FAIL = "FAIL"
    """The refund failed.（退款失败）"""
    PROCESSING = "PROCESSING"
    """In progress.（退款处理中）"""
    NOTSURE = "NOTSURE"
    """Not determined: to be sent again with the same number.（未确定，须用原退款单号重新发起）"""
    CHANGE = "CHANGE"
    """The bank could not return it: a person pays it out.（转入代发，需人工退款）"""


@attrs.frozen(kw_only=True)
class BookedRefund:
    """One refund: ``base`` is applied for, ``cash`` returned, ``coupon`` the rest."""

    serial: int
    """Its running number among everything that was made."""
    mch_id: str
    """The merchant's number."""
    out_refund_no: str
    """The shop's number for it."""
    out_trade_no: str
    """The order that it gives back."""
    refund_id: str
    """The platform's number for it."""
    out_refund_id: str
    """The wallet's number for it."""
    base: int
    """What was applied for, in fen."""
    cash: int
    """What is returned, in fen."""
    coupon: int
    """The rest of it, in fen: coupons are not returned."""
    scenario: int
    """Number of its scenario."""
    created: datetime
    """When it was made; aware."""
    state: RefundState = RefundState.PROCESSING
    """How it stands."""
    becomes: RefundState | None = None
    """What it becomes by itself; None: it stays as it is."""
    becomes_at: datetime | None = None
    """When it becomes that."""
    queried: bool = False
    """Whether it was asked about."""

    @property
    def key(self) -> Key:
        """The number that identifies it, never the order's (C 52)."""
        return self.mch_id, self.out_refund_no

    def state_at(self, now: datetime) -> RefundState:
        """The ``refund_status`` at a moment."""
        if self.becomes is not None and self.becomes_at is not None and self.becomes_at <= now:
            return self.becomes
        return self.state


@attrs.frozen(kw_only=True)
class Merchant:
    """A merchant of the agent, as the document's merchant calls show it."""

    mch_id: str
    full_name: str = "沙箱测试商户有限公司"
    short_name: str = "沙箱商户"
    trade_code: str = "SandBox01"
    mobile: str = ""
    """Its login: this number with an SMS code, or as user name with the password."""
    state: str = "20"
    """``mch_state``: 0 awaiting review, 20 enabled, 30 disabled."""
    enabled_at: datetime | None = None
    """When a merchant that awaits review is enabled."""
    can_trade: bool = True
    """False: every trade is answered 20013."""
    paths: tuple[str, ...] = ()
    """What wx_addsubdevconfig added: payment directories, paying accounts, and which account each
    of those recommends to follow.
    """
    appids: tuple[str, ...] = ()
    follows: tuple[tuple[str, str], ...] = ()

    def state_at(self, now: datetime) -> str:
        """The ``mch_state`` at a moment."""
        return "20" if self.enabled_at is not None and self.enabled_at <= now else self.state


@attrs.frozen(kw_only=True)
class SmsCode:
    """A code that was sent to a mobile number, and until when it is good."""

    valid: str
    until: datetime


@attrs.frozen(kw_only=True)
class Terminal:
    """A payment terminal that asks for its configuration."""

    op_device_id: str
    polls: int = 0
    mch_id: str = ""
    """Its merchant; empty while nobody has configured it."""


@attrs.frozen
class Wake:
    """The order has to be brought up to date at that moment, though nobody may ask."""

    at: datetime
    key: Key


@attrs.frozen
class Notify:
    """The merchant is to be told how the order ended."""

    key: Key


@attrs.frozen
class Noted:
    """Something happened to an order; for people who look on."""

    at: datetime
    key: Key
    what: str


#: What follows from a step.
Consequence = Wake | Notify | Noted


@attrs.frozen(kw_only=True)
class Ledger:
    """The sandbox's whole memory. A ledger never changes: every step gives a new one."""

    orders: Table[Key, Order] = attrs.field(factory=Table)
    """Every order, by merchant and number."""
    refunds: Table[Key, BookedRefund] = attrs.field(factory=Table)
    """Every refund, by merchant and refund number."""
    numbers: Table[str, Key] = attrs.field(factory=Table)
    """``transaction_id`` and ``out_transaction_id`` to order, ``refund_id`` to refund."""
    merchants: Table[str, Merchant] = attrs.field(factory=Table)
    """Every merchant, by number."""
    bound: Table[str, str] = attrs.field(factory=Table)
    """Payment codes that were looked up, and the one merchant who may charge them (C 41)."""
    sms: Table[str, SmsCode] = attrs.field(factory=Table)
    """Codes that were sent, by mobile number."""
    js_codes: Table[str, str] = attrs.field(factory=Table)
    """``js_code`` values that were used; each is good once."""
    terminals: Table[str, Terminal] = attrs.field(factory=Table)
    """Terminals that asked for their configuration, by ``op_device_id``."""
    serial: int = 0
    """The running number of what was made last."""

    def order(self, out_trade_no: str, mch_id: str | None = None) -> Order:
        """The order of that number, at the first merchant who has one; KeyError if nobody has."""
        merchants = [mch_id] if mch_id else sorted(self.merchants)
        for merchant in merchants:
            if (merchant, out_trade_no) in self.orders:
                return self.orders[merchant, out_trade_no]
        raise KeyError(out_trade_no)

    def first_enabled(self, now: datetime) -> str | None:
        """The number of the first merchant who may trade; None: there is none."""
        merchants = sorted(self.merchants.values(), key=lambda each: each.mch_id)
        able = (each.mch_id for each in merchants if each.can_trade and each.state_at(now) == "20")
        return next(able, None)

    def refunds_of(self, order: Order) -> list[BookedRefund]:
        """The refunds of an order, oldest first."""
        return [self.refunds[order.mch_id, number] for number in order.refunds]

    def live_refunds(self, order: Order, now: datetime) -> list[BookedRefund]:
        """The refunds of an order that did not fail by now: their money is spoken for."""
        made = self.refunds_of(order)
        return [each for each in made if each.state_at(now) is not RefundState.FAIL]

    def with_order(self, order: Order) -> Ledger:
        """A ledger in which this is how the order stands."""
        return attrs.evolve(self, orders=self.orders.put(order.key, order))

    def with_refund(self, refund: BookedRefund) -> Ledger:
        """A ledger in which this is how the refund stands."""
        return attrs.evolve(self, refunds=self.refunds.put(refund.key, refund))


class Step(NamedTuple):
    """The result of one request, or of time passing."""

    ledger: Ledger
    """The books after the step."""
    answer: DraftReply = DraftReply()
    """The answer; without meaning where only time passed."""
    events: tuple[Consequence, ...] = ()
    """What follows from the step: wake-ups, notifications, entries of the journal."""
