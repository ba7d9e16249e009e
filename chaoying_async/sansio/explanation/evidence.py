"""Everything that was gathered about one order, before anybody judges it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

import attrs

from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.explanation.from_audit_log import AuditLog
from chaoying_async.sansio.explanation.from_gateway import AskedQuery, GatewaySays, gateway_says
from chaoying_async.sansio.explanation.from_inbox import InboxHolds
from chaoying_async.sansio.explanation.from_store import KeptRecord
from chaoying_async.sansio.explanation.told import Witness


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
    def expected(self) -> int | None:
        """The order's amount in fen: as told, as a store has it, or as a log says it was sent."""
        if self.wanted is not None:
            return self.wanted
        mine = [k.expected for k in self.kept if k.refund is None and k.expected is not None]
        logged = [each.charged for each in self.log.exchanges] if self.log else []
        return next(iter(mine), next((each for each in logged if each is not None), None))

    @property
    def says(self) -> GatewaySays:
        """What the gateway said, taken together."""
        return gateway_says(self.asked, self.out_trade_no, self.mch_id, self.expected)

    @property
    def cancelled(self) -> bool:
        """Whether a cancel may have left."""
        logged = self.log.exchanges if self.log else ()
        return any(k.cancelled for k in self.kept) or any(e.call == "cancel" for e in logged)

    @property
    def charged(self) -> bool:
        """Whether somebody says that a payment was sent."""
        logged = self.log.exchanges if self.log else ()
        checkouts = any(k.kind == "checkout" for k in self.kept)
        return checkouts or any(each.charged is not None for each in logged)

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
        logged = [each.paytype for each in self.log.exchanges] if self.log else []
        named = [each.paytype for each in self.kept] + logged
        known = [each for each in named if each in PayType._value2member_map_]
        return tuple(dict.fromkeys([*(str(each) for each in known if each), *map(str, PayType)]))

    def refund_numbers(self, more: Iterable[str] = ()) -> tuple[str, ...]:
        """The refunds that somebody named; one answer lists them all."""
        logged = [each.refund for each in self.log.exchanges] if self.log else []
        named = [*more, *(each.refund for each in self.kept), *logged]
        return tuple(dict.fromkeys(each for each in named if each))
