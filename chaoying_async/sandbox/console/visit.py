"""What the function of a page is given of a browser's request, and how it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import attrs
from anyio import CapacityLimiter
from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from chaoying_async.sandbox.bank.entities import Order
from chaoying_async.sandbox.console import display
from chaoying_async.sandbox.console.journal import Journal, JournalEntry
from chaoying_async.sandbox.console.words import Words
from chaoying_async.sandbox.document.http_messages import Cut
from chaoying_async.sandbox.serving import masked
from chaoying_async.sandbox.serving.notifier import Delivery
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.sandbox.serving.security import AccessGuard
from chaoying_async.sansio.credentials import Credentials

#: The page that a visitor begins at.
HOME = "/console/"
#: Address to the name of its title, in the order of the navigation.
NAVIGATION: Mapping[str, str] = {
    HOME: "orders.title",
    "/console/messages": "messages.title",
    "/console/notifications": "notifications.title",
    "/console/faults": "faults.title",
    "/console/doctor": "doctor.title",
    "/console/api": "api.title",
}

#: Pages that the navigation does not name, and where they belong.
_SECTIONS = {
    "/console/order": "/console/",
    "/console/order/explained": "/console/",
    "/console/message": "/console/messages",
}


class RefusedError(Exception):
    """There is no such page for this request: becomes an HTTP status and a page that says so."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@attrs.frozen
class Said:
    """The sentence at the top of a page about what was just done; red if it went wrong."""

    text: str
    is_bad: bool = False


@attrs.frozen(kw_only=True)
class PageContext:
    """The objects that all pages share."""

    runtime: Runtime
    guard: AccessGuard
    journal: Journal
    templates: Environment
    threads: CapacityLimiter = attrs.field(factory=lambda: CapacityLimiter(4))
    """How many threads work for pages at the same time; with more, the gateway answers late."""


@attrs.frozen(kw_only=True, repr=False)
class Visit:
    """A request from a browser, with its language; ``form`` is a post's, already checked."""

    context: PageContext
    request: Request
    words: Words
    form: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def credentials(self) -> Credentials:
        """The sandbox's own credentials."""
        return self.context.runtime.gateway.world.credentials

    @property
    def latest(self) -> JournalEntry:
        """The exchange that was noted last: a call that the page itself made just now."""
        return next(self.context.journal.newest_first())

    def asked(self, name: str) -> str:
        """A parameter of the address, trimmed; empty if it is absent."""
        return self.request.query_params.get(name, "").strip()

    @property
    def is_readable(self) -> bool:
        """Whether the number of a message that the page is to speak of can be read."""
        message = self.asked("message")
        return not (self.asked("said") and message) or whole(message) is not None

    def order(self, source: Mapping[str, str]) -> Order:
        """The order that an address or a form names, as it stands now."""
        key = (source.get("mch_id", ""), source.get("out_trade_no", ""))
        order = self.context.runtime.gateway.ledger.orders.get(key)
        if order is None:
            raise RefusedError(404)
        return display.as_of(order, self.context.runtime.clock.now())

    def page(
        self,
        template: str,
        *,
        status: int | None = None,
        problem: str = "",
        address: str = "",
        **context: Any,
    ) -> Response:
        """The page that a template makes; with a ``problem``, which it shows in red, status 422.

        A page that answers a post needs the ``address`` under which it can be read again.
        """
        runtime, words = self.context.runtime, self.words
        now, scope = runtime.clock.now(), self.request.scope
        # Not request.url: that is made of the Host header, in which anything may stand.
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        if address:
            path, _, query = address.partition("?")
        html = self.context.templates.get_template(template).render(
            t=words,
            section=_SECTIONS.get(path, path),
            back=f"{path}?{query}" if query else path,
            navigation=NAVIGATION,
            guard=self.context.guard,
            now=now,
            speed=getattr(runtime.clock, "speed", 1),
            said=Said(problem, is_bad=True) if problem else self._said(),
            address=address,
            **context,
        )
        return HTMLResponse(html, status_code=status or (422 if problem else 200))

    def to(self, address: str, said: str = "", **more: str) -> Response:
        """Send the browser to another page, which shows the text named ``said``."""
        query = urlencode({"said": said, **more} if said else more)
        sign = ("&" if "?" in address else "?") if query else ""
        return RedirectResponse(f"{address}{sign}{query}", status_code=303)

    def answer_of(self, entry: JournalEntry) -> str:
        """The gateway's answer in a line."""
        response = entry.response
        if response.cut in (Cut.REFUSED, Cut.RESET):
            return self.words("answer.cut")
        members = entry.answer
        if not members:
            return f"HTTP {response.status}"
        status = members.get("trade_state") or members.get("state", "")
        msg = members.get("msg", "")
        pieces = (status, members.get("code", ""), "" if msg == "SUCCESS" else msg)
        return masked.text_of(" ".join(filter(None, pieces)), (), self.credentials)

    def outcome_of(self, delivery: Delivery) -> str:
        """The result of an attempt to notify, in a line."""
        if delivery.accepted:
            name = "answer.fooled" if delivery.forged else "answer.accepted"
            return self.words(name, status=delivery.status)
        if delivery.status is None:
            return self.words("answer.problem", problem=delivery.problem)
        return self.words("answer.refused", status=delivery.status)

    def answered(self, entry: JournalEntry) -> Said:
        """What the gateway answered to a button."""
        text = self.words("said.answered", endpoint=entry.endpoint, answer=self.answer_of(entry))
        return Said(text, is_bad=entry.is_refused)

    def _said(self) -> Said | None:
        """The sentence about the button that led to this page."""
        match self.asked("said"):
            case "done":
                return Said(self.words("said.done"))
            case "answered":
                number = whole(self.asked("message"))
                entry = None if number is None else self.context.journal.find(number)
                return self.answered(entry) if entry else None
            case "delivered":
                deliveries = reversed(self.context.runtime.notifier.deliveries)
                last = next((each for each in deliveries if not each.attempt), None)
                return self._delivered(last) if last else None
            case _:
                return None

    def _delivered(self, delivery: Delivery) -> Said:
        text = self.words("said.delivered", answer=self.outcome_of(delivery))
        return Said(text, is_bad=delivery.accepted == delivery.forged)


Handler = Callable[[Visit], Awaitable[Response]]
_DIGITS = 18


def whole(text: str) -> int | None:
    """The whole number in a text from outside; None for any other text, and for a long one.

    ``int`` takes other digits, blanks and underscores too, and raises from 4,301 digits on.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None
