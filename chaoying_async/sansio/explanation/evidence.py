"""Everything that was gathered about one order, before anybody judges it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import attrs

from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.explanation.from_audit_log import (
    AuditLog,
    LoggedExchange,
    logged_bearing,
)
from chaoying_async.sansio.explanation.from_gateway import AskedQuery, GatewaySays, gateway_says
from chaoying_async.sansio.explanation.from_inbox import InboxHolds
from chaoying_async.sansio.explanation.from_store import KeptRecord
from chaoying_async.sansio.explanation.told import PAID_ONCE, Bearing, Witness
from chaoying_async.sansio.notifications.inbox_values import SeenState
from chaoying_async.sansio.payments.moves import CheckoutStatus


class Inquiry(StrEnum):
    """How asking one witness ended."""

    NOT_GIVEN = "NOT_GIVEN"
    """Nobody said where it is."""
    NOTHING = "NOTHING"
    """It knows nothing of the order."""
    FOUND = "FOUND"
    """It told something."""
    FAILED = "FAILED"
    """It could not be read."""


@attrs.frozen(kw_only=True)
class OrderEvidence:
    """What was gathered about one order of one merchant."""

    mch_id: str
    """The merchant that was asked about (M-18)."""
    out_trade_no: str
    """The order's number."""
    now: datetime
    """When it was gathered (aware)."""
    asked: tuple[AskedQuery, ...] = ()
    """Every query of the gateway, in the order in which they were sent."""
    kept: tuple[KeptRecord, ...] = ()
    """What stores and fleets hold of the order."""
    inbox: InboxHolds | None = None
    """What the inbox holds; None where it was not given or not read."""
    log: AuditLog | None = None
    """The lines of an audit log; None where it was not given or not read."""
    inquiries: Mapping[Witness, Inquiry] = attrs.field(factory=dict)
    """How asking each witness ended; one that is missing was not given."""
    troubles: Mapping[Witness, str] = attrs.field(factory=dict)
    """Why one could not be read, in a sentence without a password."""
    wanted: int | None = None
    """The amount that somebody said the order has, in fen; it wins over what was recorded."""

    @property
    def logged(self) -> tuple[LoggedExchange, ...]:
        """The exchanges in the audit log; none where there is no log."""
        return self.log.exchanges if self.log else ()

    @property
    def took_effect(self) -> bool:
        """Whether the inbox has it that the order's effect is durable."""
        return self.inbox is not None and self.inbox.state is SeenState.DONE

    @property
    def expected(self) -> int | None:
        """The order's amount in fen: as told, or as a store, a log or the inbox has it."""
        if self.wanted is not None:
            return self.wanted
        return next(iter(self.amounts), None)

    @property
    def amount_compared(self) -> bool:
        """Whether what was paid is held against what the order costs, here or by a handler."""
        return self.expected is not None or (self.inbox is not None and self.inbox.was_compared)

    @property
    def says(self) -> GatewaySays:
        """What the gateway said, taken together."""
        return gateway_says(self.asked, self.out_trade_no, self.mch_id, self.expected)

    @property
    def cancelled(self) -> bool:
        """Whether a cancel may have left."""
        return (
            any(k.cancelled for k in self.kept)
            or self._ended_as(CheckoutStatus.PAID_AFTER_CANCEL)
            or any(e.call == "cancel" for e in self.logged)
        )

    @property
    def paid_earlier(self) -> bool:
        """Whether a record says that the payment was not made by the call that it is about."""
        return self._ended_as(CheckoutStatus.PAID_EARLIER)

    def _ended_as(self, status: CheckoutStatus) -> bool:
        return any(k.status == status and k.bearing is Bearing.PAID for k in self.kept)

    @property
    def amounts(self) -> Mapping[int, Witness]:
        """Every amount that somebody wrote down for the order, in fen, and who did so first."""
        mine = [(k.expected, k.witness) for k in self.kept if k.refund is None]
        logged = [(each.charged, Witness.AUDIT_LOG) for each in self.logged]
        held = [] if self.inbox is None else [(self.inbox.expected, Witness.INBOX)]
        found: dict[int, Witness] = {}
        for amount, witness in (*mine, *logged, *held):
            if amount is not None:
                found.setdefault(amount, witness)
        return found

    @property
    def unread(self) -> tuple[Witness, ...]:
        """Whom the shop keeps, and could not be read, or not all of it: it may hide anything."""
        own = (each for each in Witness if each is not Witness.GATEWAY)
        failed = [each for each in own if self.inquiry(each) is Inquiry.FAILED]
        if self.log is not None and self.log.unreadable:
            failed.append(Witness.AUDIT_LOG)
        return tuple(dict.fromkeys(failed))

    @property
    def unresolved(self) -> bool:
        """Whether a payment was sent, and nobody wrote down what became of it."""
        ends = [k for k in self.kept if k.kind in ("checkout", "outcome") and k.refund is None]
        if any(k.ended and k.bearing is not Bearing.OPEN for k in ends):
            return False
        sent = [each for each in self.logged if each.charged is not None]
        answered = {logged_bearing(each) for each in sent if each.meaning is not None}
        return (
            bool(ends)
            or any(each.is_open for each in sent)
            or bool(answered & {*PAID_ONCE, Bearing.OPEN})
        )

    @property
    def charged(self) -> bool:
        """Whether somebody says that a payment was sent."""
        checkouts = any(k.kind == "checkout" for k in self.kept)
        return checkouts or any(each.charged is not None for each in self.logged)

    def with_asked(self, asked: Iterable[AskedQuery]) -> OrderEvidence:
        """The same evidence with these queries of the gateway."""
        return attrs.evolve(self, asked=tuple(asked))

    def noted(self, inquiries: Mapping[Witness, Inquiry]) -> OrderEvidence:
        """The same evidence with how asking these witnesses ended."""
        return attrs.evolve(self, inquiries={**self.inquiries, **inquiries})

    def inquiry(self, witness: Witness) -> Inquiry:
        """How asking this witness ended."""
        return self.inquiries.get(witness, Inquiry.NOT_GIVEN)

    def wallets(self, only: str | None = None) -> tuple[str, ...]:
        """The wallets to ask under: those that somebody named come first."""
        if only is not None:
            return (only,)
        named = [k.paytype for k in self.kept] + [each.paytype for each in self.logged]
        known = [str(each) for each in named if each in PayType._value2member_map_]
        return tuple(dict.fromkeys([*known, *map(str, PayType)]))

    def refund_numbers(self, more: Iterable[str] = ()) -> tuple[str, ...]:
        """The refunds that somebody named; one answer lists them all."""
        kept, logged = (k.refund for k in self.kept), (each.refund for each in self.logged)
        return tuple(dict.fromkeys(each for each in (*more, *kept, *logged) if each))
