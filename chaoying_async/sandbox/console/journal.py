"""The latest requests and replies, as they went over the wire; and keeping them over a restart.

They are held raw, and masked when they are shown or kept: looking on costs the gateway next to
nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from functools import cached_property

import attrs
from anyio import to_thread

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sandbox.bank.entities import Key, Ledger
from chaoying_async.sandbox.document.http_messages import HttpRequest, HttpResponse
from chaoying_async.sandbox.document.signature import is_signed
from chaoying_async.sandbox.serving import masked
from chaoying_async.sandbox.serving.faults import Fault
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.sandbox.serving.sandbox_file import Chronicle
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.doctor.lenient_reader import read_message

#: How many exchanges are remembered.
KEPT = 500
#: Seconds of the sandbox's clock until a message is written down.
SOON = 0.2
#: Messages with more bytes, answer included, are masked in a thread; a shop's are smaller.
_LARGE = 4096
#: How many waiting messages are written down at the end; more wait only in a flood.
_AT_THE_END = 50


class Signature(StrEnum):
    """The state of a message's sign, in a word."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    """There is no message that could have one."""


@attrs.define(kw_only=True, slots=False, repr=False, eq=False)
class JournalEntry:
    """One exchange. Its repr shows nothing of what was said (M-27)."""

    number: int
    at: datetime
    request: HttpRequest
    response: HttpResponse
    fault: Fault | None
    verdicts: tuple[Signature, Signature] | None = None
    """Of an earlier run: what was the matter with both signs, for what is kept of the messages has
    neither signs nor personal values any more.
    """

    def __repr__(self) -> str:
        return f"<JournalEntry {self.number}>"

    @cached_property
    def endpoint(self) -> str:
        """The endpoint that the request was meant for; empty if nobody can tell."""
        return self.request.endpoint

    @cached_property
    def fields(self) -> Mapping[str, str]:
        """The request's fields, read as leniently as can be."""
        return _fields(self.request.parameters)

    @cached_property
    def answer(self) -> Mapping[str, str]:
        """The reply's members as texts; none if it is not one of the gateway's."""
        return _fields(self.response.body)

    @property
    def is_refused(self) -> bool:
        """Whether the call was refused (codes from 20000 on), or its reply is lost or no reply.

        The codes below 20000 say how an order stands: one that failed answers a query well.
        """
        return self.response.cut is not None or not self.answer.get("code", "").startswith("1")

    @property
    def key(self) -> Key:
        """The key of the order that the request names; empty texts where it names none."""
        return self.fields.get("mch_id", ""), self.fields.get("out_trade_no", "")

    def order_in(self, ledger: Ledger) -> Key:
        """The key of the order that the request is about, by whichever number it names.

        A refund's number leads to the refund's order; a number that nobody knows is left as it is.
        """
        mch_id, number = self.key
        if number:
            return self.key
        known = (mch_id, self.fields.get("out_refund_no", ""))
        for name in ("refund_id", "transaction_id"):
            known = ledger.numbers.get(self.fields.get(name, ""), known)
        refund = ledger.refunds.get(known)
        found = (refund.mch_id, refund.out_trade_no) if refund else known
        return found if found in ledger.orders and found[0] == mch_id else self.key

    def signed(self, credentials: Credentials) -> Signature:
        """The state of the request's sign."""
        if self.verdicts is not None:
            return self.verdicts[0]
        found = _signature(self.fields, credentials)
        if found is Signature.WRONG and self.endpoint == "QrConfGet":
            number = self.request.path.rstrip("/").rpartition("/")[2]
            return _signature({"code_number": number, **self.fields}, credentials)
        return found

    def answer_signed(self, credentials: Credentials) -> Signature:
        """The state of the reply's sign."""
        if self.verdicts is not None:
            return self.verdicts[1]
        return _signature(self.answer, credentials)

    def masked(self, credentials: Credentials) -> JournalEntry:
        """The exchange as it may be kept over a restart (M-27)."""
        request, response = self.request, self.response
        return attrs.evolve(
            self,
            request=attrs.evolve(
                request,
                path=masked.text_of(request.path, (), credentials),
                query=masked.wire(request.query.encode(), credentials) if request.query else "",
                body=masked.wire(request.body, credentials).encode(),
            ),
            response=attrs.evolve(response, body=masked.wire(response.body, credentials).encode()),
            verdicts=(self.signed(credentials), self.answer_signed(credentials)),
        )


class Journal:
    """The last ``kept`` exchanges; those of an earlier run come first, with their numbers."""

    def __init__(self, kept: int = KEPT, earlier: Iterable[JournalEntry] = ()) -> None:
        self._entries: deque[JournalEntry] = deque(earlier, maxlen=kept)
        self._count = self._entries[-1].number if self._entries else 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[JournalEntry]:
        """Oldest first."""
        return iter(self._entries)

    def newest_first(self) -> Iterator[JournalEntry]:
        """The exchanges, newest first."""
        return reversed(self._entries)

    def add(
        self, at: datetime, request: HttpRequest, response: HttpResponse, fault: Fault | None
    ) -> JournalEntry:
        """Note an exchange; the oldest is deleted when there is no room."""
        self._count += 1
        entry = JournalEntry(
            number=self._count, at=at, request=request, response=response, fault=fault
        )
        self._entries.append(entry)
        return entry

    def find(self, number: int) -> JournalEntry | None:
        """The exchange of that number; None if there is none, or none any more."""
        at = number - (self._count - len(self._entries)) - 1
        return self._entries[at] if 0 <= at < len(self._entries) else None


class MessageKeeper:
    """Writes the last ``kept`` messages into the sandbox's file, masked and a little later.

    Masking a message takes longer than answering it, and of a burst only the latest are kept
    anyway, so no client waits for it; a crash may lose the messages of the last moment. Masking a
    large message, such as a stranger's of 64 kB, takes up to a third of a second: that is done in
    a thread.
    """

    def __init__(self, runtime: Runtime, chronicle: Chronicle, kept: int) -> None:
        self._runtime = runtime
        self._chronicle = chronicle
        self._kept = kept
        self._credentials = runtime.gateway.world.credentials
        self._waiting: deque[JournalEntry] = deque(maxlen=kept)

    def load(self) -> list[JournalEntry]:
        """The messages of earlier runs, oldest first."""
        return self._chronicle.load(JournalEntry, self._kept)

    def add(self, entry: JournalEntry) -> None:
        """Write one more message down soon."""
        if not self._waiting:
            self._runtime.spawn(self._write_soon())
        self._waiting.append(entry)

    def flush(self) -> None:
        """Write down the latest messages that still wait."""
        for entry in list(self._waiting)[-_AT_THE_END:]:
            self._chronicle.add(entry.masked(self._credentials), self._kept)
        self._waiting.clear()

    async def _write_soon(self) -> None:
        await self._runtime.clock.sleep(SOON)
        while self._waiting:
            entry = self._waiting[0]
            if _size(entry) > _LARGE:
                masked = await to_thread.run_sync(entry.masked, self._credentials)
            else:
                masked = entry.masked(self._credentials)
                await self._runtime.clock.sleep(0)  # others come first
            if self._waiting and self._waiting[0] is entry:  # else it was pushed out meanwhile
                self._waiting.popleft()
                self._chronicle.add(masked, self._kept)


def _size(entry: JournalEntry) -> int:
    request = entry.request
    return len(request.path) + len(request.parameters) + len(entry.response.body)


def _fields(body: bytes) -> Mapping[str, str]:
    try:
        return dict(read_message(body).pairs)
    except MalformedMessageError:
        return {}


def _signature(fields: Mapping[str, str], credentials: Credentials) -> Signature:
    if not fields:
        return Signature.UNREADABLE
    if not fields.get("sign"):
        return Signature.MISSING
    return Signature.RIGHT if is_signed(fields, credentials) else Signature.WRONG
