"""The latest requests and replies, and one of them with its bytes and signatures."""

from __future__ import annotations

import attrs
from anyio import to_thread
from starlette.responses import Response

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sandbox.bank.entities import Key
from chaoying_async.sandbox.bank.ledger import HANDLERS
from chaoying_async.sandbox.console import display
from chaoying_async.sandbox.console.journal import KEPT, JournalEntry, Signature
from chaoying_async.sandbox.console.paging import Pages, filters_of
from chaoying_async.sandbox.console.visit import RefusedError, Visit, whole
from chaoying_async.sandbox.document.http_messages import Cut
from chaoying_async.sandbox.serving import masked
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.doctor.verdict import diagnose
from chaoying_async.sansio.redact import shown_urls

_BAD = (Signature.WRONG, Signature.MISSING)


@attrs.frozen(kw_only=True)
class MessageRow:
    """One line of the list."""

    entry: JournalEntry
    out_trade_no: str
    """The order's number, as it may be shown."""
    order: Key | None
    """The order, if there is one."""
    signature: Signature
    answer: str


async def show_all(visit: Visit) -> Response:
    """Show the list, newest first."""
    filters = filters_of(visit, "q", "endpoint", "bad")
    q, endpoint, bad = filters["q"].lower(), filters["endpoint"], filters["bad"]
    ledger = visit.context.runtime.gateway.ledger

    def fits(entry: JournalEntry) -> bool:
        shown_endpoint = entry.endpoint if entry.endpoint in HANDLERS else "?"
        return (
            endpoint in ("", shown_endpoint)
            and (not q or q in entry.order_in(ledger)[1].lower())
            and (not bad or entry.signed(visit.credentials) in _BAD)
        )

    found = list(filter(fits, visit.context.journal.newest_first()))
    pages = Pages.of("/console/messages", filters, visit.asked("page"), len(found))
    return visit.page(
        "messages.html",
        rows=[_row(visit, entry) for entry in found[pages.part]],
        pages=pages,
        all=len(visit.context.journal),
        kept=KEPT,
        endpoints=sorted(HANDLERS),
        filters=filters,
    )


def _row(visit: Visit, entry: JournalEntry) -> MessageRow:
    ledger = visit.context.runtime.gateway.ledger
    key = entry.order_in(ledger)
    return MessageRow(
        entry=entry,
        out_trade_no=masked.text_of(key[1], (), visit.credentials),
        order=key if key in ledger.orders else None,
        signature=entry.signed(visit.credentials),
        answer=visit.answer_of(entry),
    )


async def show(visit: Visit) -> Response:
    """Show one request and its reply."""
    entry = entry_of(visit)
    credentials, journal = visit.credentials, visit.context.journal
    request, response = entry.request, entry.response
    canonicals = await to_thread.run_sync(
        lambda: [
            shown_urls(_canonical(body, credentials), fields.values())
            for body, fields in ((request.parameters, entry.fields), (response.body, entry.answer))
        ],
        limiter=visit.context.threads,
    )
    cut, ledger = response.cut, visit.context.runtime.gateway.ledger
    return visit.page(
        "message.html",
        entry=entry,
        target=masked.text_of(request.path, (), credentials),
        request=masked.wire(request.parameters, credentials),
        fields=display.asked_fields(
            entry.fields, entry.endpoint, visit.words.language, credentials
        ),
        signature=entry.signed(credentials),
        canonical=canonicals[0],
        reply="" if cut in (Cut.REFUSED, Cut.RESET) else masked.wire(_sent(entry), credentials),
        answer=display.answered_fields(
            entry.answer, entry.endpoint, visit.words.language, credentials
        ),
        answer_signature=entry.answer_signed(credentials),
        answer_canonical=canonicals[1],
        cut=cut.name if cut else "",
        order=ledger.orders.get(entry.order_in(ledger)),
        older=journal.find(entry.number - 1),
        newer=journal.find(entry.number + 1),
    )


def entry_of(visit: Visit, name: str = "id") -> JournalEntry:
    """The exchange that an address names."""
    number = whole(visit.asked(name))
    entry = None if number is None else visit.context.journal.find(number)
    if entry is None:
        raise RefusedError(404)
    return entry


def _sent(entry: JournalEntry) -> bytes:
    body = entry.response.body
    return body[: len(body) // 2] if entry.response.cut is Cut.HALF else body


def _canonical(body: bytes, credentials: Credentials) -> str:
    try:
        return diagnose(body, credentials, strict=True).canonical
    except MalformedMessageError:
        return ""
