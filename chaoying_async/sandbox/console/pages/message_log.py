"""The latest requests and replies, and one of them with its bytes and signatures."""

from __future__ import annotations

from itertools import islice

import attrs
from anyio import to_thread
from starlette.responses import Response

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sandbox.bank.ledger import HANDLERS
from chaoying_async.sandbox.console import display
from chaoying_async.sandbox.console.journal import KEPT, JournalEntry, Signature
from chaoying_async.sandbox.console.visit import RefusedError, Visit, whole
from chaoying_async.sandbox.document.http_messages import Cut
from chaoying_async.sandbox.serving import masked
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.doctor.verdict import diagnose
from chaoying_async.sansio.redact import shown_urls

LISTED = 100
_BAD = (Signature.WRONG, Signature.MISSING)


@attrs.frozen(kw_only=True)
class MessageRow:
    """One line of the list."""

    entry: JournalEntry
    out_trade_no: str
    signature: Signature
    answer: str


async def show_all(visit: Visit) -> Response:
    """Show the list, newest first."""
    q, endpoint, bad = visit.asked("q").lower(), visit.asked("endpoint"), visit.asked("bad")

    def fits(entry: JournalEntry) -> bool:
        shown_endpoint = entry.endpoint if entry.endpoint in HANDLERS else "?"
        return (
            endpoint in ("", shown_endpoint)
            and q in entry.key[1].lower()
            and (not bad or entry.signed(visit.credentials) in _BAD)
        )

    found = islice(filter(fits, visit.context.journal.newest_first()), LISTED)
    return visit.page(
        "messages.html",
        rows=[_row(visit, entry) for entry in found],
        all=len(visit.context.journal),
        kept=KEPT,
        endpoints=sorted(HANDLERS),
        q=visit.asked("q"),
        endpoint=endpoint,
        bad=bad,
    )


def _row(visit: Visit, entry: JournalEntry) -> MessageRow:
    return MessageRow(
        entry=entry,
        out_trade_no=masked.text_of(entry.key[1], (), visit.credentials),
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
    cut = response.cut
    return visit.page(
        "message.html",
        entry=entry,
        target=masked.text_of(request.path, (), credentials),
        request=masked.wire(request.parameters, credentials),
        fields=display.asked_fields(entry.fields, entry.endpoint, visit.words.language),
        signature=entry.signed(credentials),
        canonical=canonicals[0],
        reply="" if cut in (Cut.REFUSED, Cut.RESET) else masked.wire(_sent(entry), credentials),
        answer=display.answered_fields(entry.answer, entry.endpoint, visit.words.language),
        answer_signature=entry.answer_signed(credentials),
        answer_canonical=canonicals[1],
        cut=cut.name if cut else "",
        order=visit.context.runtime.gateway.ledger.orders.get(entry.key),
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
