"""Asks all sources about one order, one after the other, and puts together what they told.

A source that is not there, or cannot be read, is said to be so: it hides nothing of the others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.cli import stores
from chaoying_async.cli.inquiry.audit_lines import lines_of_log
from chaoying_async.cli.inquiry.gateway_queries import with_answers
from chaoying_async.cli.inquiry.stored_records import records_about
from chaoying_async.exceptions import StoreError
from chaoying_async.sansio.explanation.evidence import Inquiry, OrderEvidence
from chaoying_async.sansio.explanation.from_audit_log import read_audit_log
from chaoying_async.sansio.explanation.from_inbox import InboxHolds
from chaoying_async.sansio.explanation.told import Bearing, Witness
from chaoying_async.sansio.notifications.inbox_values import OrderKey
from chaoying_async.sansio.notifications.unreadable import InboxMissingError, UnreadableRecordError


@attrs.frozen(kw_only=True)
class Sources:
    """Where to look, and what somebody said of the order."""

    store: str | None = None
    store_prefix: str = stores.SHOP_PREFIX
    inbox: str | None = None
    inbox_prefix: str | None = None
    audit_log: str | None = None
    paytype: str | None = None
    refunds: tuple[str, ...] = ()


async def gathered(
    gateway: Gateway | None, evidence: OrderEvidence, sources: Sources, clock: Clock
) -> OrderEvidence:
    """The evidence with what every source tells; without a gateway it is not asked.

    The gateway comes last, since others know what to ask it about.
    """
    for witness, given, read in (
        (Witness.STORE, sources.store, _stores),
        (Witness.INBOX, sources.inbox, _inbox),
        (Witness.AUDIT_LOG, sources.audit_log, _log),
    ):
        if given:
            evidence = await _or_its_trouble(witness, evidence, read, sources)
    if gateway is None:
        return evidence
    evidence = await with_answers(
        gateway, evidence, clock=clock, paytype=sources.paytype, refunds=sources.refunds
    )
    return evidence.noted({Witness.GATEWAY: _how_the_gateway_answered(evidence)})


def _how_the_gateway_answered(evidence: OrderEvidence) -> Inquiry:
    bearing = evidence.says.bearing
    if bearing is Bearing.NONE:
        return Inquiry.FAILED
    return Inquiry.NOTHING if bearing is Bearing.ABSENT else Inquiry.FOUND


async def _or_its_trouble(
    witness: Witness,
    evidence: OrderEvidence,
    read: Callable[[OrderEvidence, Sources], Awaitable[OrderEvidence]],
    sources: Sources,
) -> OrderEvidence:
    """What a source tells, or why it cannot be read; a mistake of the user's is raised."""
    try:
        return await read(evidence, sources)
    except Exception as error:
        why = _why(error)
        if why is None:
            raise
    troubles = {**evidence.troubles, witness: why}
    return attrs.evolve(evidence.noted({witness: Inquiry.FAILED}), troubles=troubles)


def _why(error: Exception) -> str | None:
    """Why a source cannot be read, without a password; None for every other error."""
    if isinstance(error, StoreError | InboxMissingError | UnreadableRecordError):
        return "; ".join((str(error), *getattr(error, "__notes__", ())))
    return stores.trouble(error)


async def _stores(evidence: OrderEvidence, sources: Sources) -> OrderEvidence:
    url, advice = stores.existing_database(str(sources.store))
    with stores.named(f"the poll store {advice}"):
        found = await records_about(
            url, sources.store_prefix, mch_id=evidence.mch_id, number=evidence.out_trade_no
        )
    kept = tuple(each for records in found.values() for each in records)
    told = {w: Inquiry.FOUND if records else Inquiry.NOTHING for w, records in found.items()}
    return attrs.evolve(evidence, kept=kept).noted(told)


async def _inbox(evidence: OrderEvidence, sources: Sources) -> OrderEvidence:
    key = OrderKey(evidence.mch_id, evidence.out_trade_no)
    async with stores.opened_inbox(str(sources.inbox), sources.inbox_prefix) as box:
        holds = InboxHolds(record=await box.look(key), asides=tuple(await box.asides(key)))
    told = holds.record is not None or holds.asides
    inquiry = Inquiry.FOUND if told else Inquiry.NOTHING
    return attrs.evolve(evidence, inbox=holds).noted({Witness.INBOX: inquiry})


async def _log(evidence: OrderEvidence, sources: Sources) -> OrderEvidence:
    lines = lines_of_log(str(sources.audit_log))
    log = read_audit_log(lines, evidence.out_trade_no, evidence.mch_id)
    inquiry = Inquiry.FOUND if log.exchanges else Inquiry.NOTHING
    return attrs.evolve(evidence, log=log).noted({Witness.AUDIT_LOG: inquiry})
