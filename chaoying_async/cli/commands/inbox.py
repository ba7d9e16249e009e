"""``chaoying inbox``: lists what waits for a person, and records what that person decides."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import attrs
import click

from chaoying_async.abc import InboxForPeople
from chaoying_async.cli import error_lines, interrupts, output, ranges, stores
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.gateway_options import stacked
from chaoying_async.cli.interrupts import TrackedCall
from chaoying_async.cli.language import help_pages, shown
from chaoying_async.cli.text_words import text
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.currency import is_yuan, shown_code
from chaoying_async.sansio.notifications.decide import ToldAmount, amounts_in, merchant_in
from chaoying_async.sansio.notifications.inbox_values import (
    LONGEST_MCH_ID,
    LONGEST_NUMBER,
    Aside,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from chaoying_async.sansio.notifications.unreadable import UnreadableRecordError
from chaoying_async.sansio.redact import masked_fields

T = TypeVar("T")

#: How many digits of a fingerprint are shown; they are enough to name a message.
SHOWN = 10

_STORE = click.option(
    "--store",
    callback=text,
    envvar="CHAOYING_INBOX",
    show_envvar=True,
    required=True,
    metavar="FILE|URL",
    help="A SQLite file, a SQLAlchemy URL, or redis://...",
)
_PREFIX = click.option("--prefix", callback=text, help="Of the tables, or of the keys in Redis.")
_KEY = (click.argument("mch_id", callback=text), click.argument("out_trade_no", callback=text))
_REPRICE = (
    "Where another amount was paid, first let your own row say what was paid (reprice it): the "
    "WHERE of your on_paid still decides, and on_paid is tried again."
)
_CURRENCY = (
    "It was paid in another currency, and the WHERE of your on_paid does not see that where it "
    "compares numbers: apply it only if that much of that currency is what you want for it."
)


@click.group(name="inbox", cls=help_pages.Group)
def inbox() -> None:
    """What could not take effect: list it, and say what to do. A running handler then acts.

    Quarantined orders and messages that were set aside stay until somebody decides. `retry` decides
    again with what the shop knows today; `apply` runs on_paid without judging the amount again: its
    own WHERE still decides; `dismiss` leaves it at that.
    """


@inbox.command(name="list")
@_STORE
@_PREFIX
@click.option("--limit", type=ranges.COUNT, default=100, show_default=True)
@output.json_option
def list_(store: str, prefix: str | None, limit: int) -> None:
    """What waits: messages set aside, and orders quarantined or being worked on, oldest first."""
    found = _run(store, prefix, lambda box: box.listing(limit + 1))
    if len(found) > limit:
        found = found[:limit]
        words = f"more than {limit} wait: the oldest are shown, --limit shows more"
        click.echo(output.printable(shown(words)), err=True)
    for item in found:
        if _kept_or_none(item) is None:
            words = str(UnreadableRecordError(item.key))
            click.echo(output.printable(shown(words)), err=True)
    if output.as_json():
        for item in found:
            output.tell(_as_record(item) | {"kept": masked_fields(_kept(item), {})})
        return
    if not found:
        output.say("nothing waits")
        return
    output.show_table("inbox", _COLUMNS, map(_cells, found), wraps=("why",))


def _marking(name: str, mark: Mark, words: str) -> None:
    """Add the command that sets a mark; the commands differ in the mark alone."""

    @click.option("--message", "fingerprint", help="One message, by the digits that `list` shows.")
    # Only `apply` asks; scripts give all three the same options.
    @click.option("--yes", is_flag=True, help="Do not ask first.", hidden=mark is not Mark.APPLY)
    def command(
        store: str,
        prefix: str | None,
        mch_id: str,
        out_trade_no: str,
        fingerprint: str | None,
        *,
        yes: bool,
    ) -> None:
        if fingerprint is not None and not fingerprint.strip():
            raise click.UsageError("which message? --message is empty")
        key = OrderKey(mch_id, out_trade_no)
        found = _run(store, prefix, lambda box: _found(box, key, mark, fingerprint))
        if found.problem:
            output.end(output.refused("NothingMarked", found.problem, Exit.REFUSED))
        if mark is Mark.APPLY and not yes:
            if found.merchant is not None:
                output.remark(
                    f"The message is about merchant {mch_id}, and the shop knows the order as"
                    f" merchant {found.merchant}'s: on_paid is run for that one."
                )
            if found.advice:
                output.remark(found.advice)
            whose = mch_id if found.merchant is None else found.merchant
            output.confirm(f"run on_paid for {out_trade_no} of merchant {whose}, {found.amounts}?")
            if _run(store, prefix, lambda box: _found(box, key, mark, fingerprint)) != found:
                output.end(output.refused("NothingMarked", _CHANGED, Exit.REFUSED))
        if not _marked(store, prefix, lambda box: box.mark(key, mark, found.fingerprint)):
            output.end(output.refused("NothingMarked", _NOTHING, Exit.REFUSED))
        named = {"mch_id": mch_id, "out_trade_no": out_trade_no, "message": found.fingerprint}
        output.result(
            {"ok": True, "mark": mark, **named, **found.members},
            f"{out_trade_no} of merchant {mch_id}: {mark}, {found.amounts}; a running handler acts"
            " on it",
        )

    decorated = stacked(_STORE, _PREFIX, *_KEY, output.json_option)(command)
    inbox.command(name=name, help=words)(decorated)


_marking("retry", Mark.RETRY, "Decide again, with what the shop knows today.")
_marking(
    "apply",
    Mark.APPLY,
    f"Run on_paid for it, without judging the amount again; asks first. {_REPRICE}",
)
_marking("dismiss", Mark.DISMISS, "Nothing is to be done about it any more.")


@inbox.command(name="prune")
@_STORE
@_PREFIX
@click.option("--older-than", type=ranges.DAYS_AGO, required=True, metavar="DAYS")
@click.option("--keys", is_flag=True, help="Forget the orders too, none inside the window.")
@output.json_option
def prune(store: str, prefix: str | None, older_than: int, *, keys: bool) -> None:
    """Forget the bodies of what ended before then; with --keys the orders themselves.

    A redelivery of an order that was forgotten would take effect again.
    """
    before = SystemClock().now() - timedelta(days=older_than)
    count = _run(store, prefix, lambda box: box.prune(before, keys=keys))
    output.result({"ok": True, "forgotten": count}, f"{count} forgotten")


_NOTHING = "there is no such thing to decide about: see `chaoying inbox list`"
_CHANGED = "this has changed since it was shown, and nothing is marked: look at it again"
_DONE = (
    "this order took effect already, and on_paid is not run again: what still waits about it can "
    "only be dismissed"
)
_HELD = "a handler works on this order, or tries it again by itself: there is nothing to decide"


@attrs.frozen
class _MarkTarget:
    """The message that is marked, or with None the order; ``problem``: why nothing is."""

    fingerprint: str | None = None
    problem: str = ""
    expected: ToldAmount | None = None
    """As far as it is known."""
    paid: ToldAmount | None = None
    merchant: str | None = None
    """Whose order on_paid is run for, where the message is about another merchant."""

    @classmethod
    def of(cls, item: Record | Aside) -> _MarkTarget:
        """The target for one line of the list."""
        expected, paid = _amounts(item)
        fingerprint = item.fingerprint if isinstance(item, Aside) else None
        return cls(fingerprint, expected=expected, paid=paid, merchant=merchant_in(item.reason))

    @property
    def advice(self) -> str:
        """What to see to before it is applied; empty where nothing is known to differ."""
        wanted = None if self.expected is None else self.expected.fee_type
        if self.paid is not None and self.paid.fee_type != wanted:
            return _CURRENCY
        return _REPRICE if self.expected is not None and self.expected != self.paid else ""

    @property
    def amounts(self) -> str:
        """Both amounts in words, as far as they were written down."""
        paid = _money(self.paid) or "an amount that was not recorded"
        if self.expected is None:
            return f"{paid} paid"
        return f"{paid} paid, {_money(self.expected)} expected"

    @property
    def members(self) -> dict[str, Any]:
        """Both amounts as JSON has them."""
        return _members(self.expected, self.paid)


async def _found(
    box: InboxForPeople, key: OrderKey, mark: Mark, fingerprint: str | None
) -> _MarkTarget:
    """The message that is named, else the order, else its only message; changes nothing."""
    if len(key.mch_id) > LONGEST_MCH_ID or len(key.out_trade_no) > LONGEST_NUMBER:
        return _MarkTarget(problem=_NOTHING)
    record = await box.look(key)
    state = None if record is None else record.state
    if mark is not Mark.DISMISS and state is SeenState.DONE:
        return _MarkTarget(problem=_DONE)
    if fingerprint is None and record is not None and state is SeenState.QUARANTINED:
        return _MarkTarget.of(record)
    asides = [
        aside
        for aside in await box.asides(key)
        if fingerprint is None or aside.fingerprint.startswith(fingerprint.lower())
    ]
    if len(asides) > 1:
        raise click.UsageError("several messages wait for this order: name one with --message")
    if asides:
        return _MarkTarget.of(asides[0])
    return _MarkTarget(problem=_HELD if state is SeenState.HELD else _NOTHING)


def _run(
    store: str,
    prefix: str | None,
    work: Callable[[InboxForPeople], Awaitable[T]],
    *,
    last: bool = False,
) -> T:
    async def run() -> T:
        async with stores.opened_inbox(store, prefix) as box:
            return await work(box)

    with error_lines.on_stderr():
        return interrupts.run(run(), last=last)


def _marked(
    store: str, prefix: str | None, work: Callable[[InboxForPeople], Awaitable[bool]]
) -> bool:
    """Whether the mark was written; where nobody can know, the command ends."""
    errand: TrackedCall[bool] = TrackedCall()
    try:
        _run(store, prefix, lambda box: errand.send(work(box)), last=True)
    except BaseException as error:
        if errand.got is None and errand.begun:
            kind = "Interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
            words = f"{kind}: it may have been written down all the same"
            output.end(output.refused(kind, words, Exit.UNKNOWN, "see `chaoying inbox list`"))
        if errand.got is None:
            raise
    return bool(errand.got)


_COLUMNS = (
    *("what", "mch_id", "out_trade_no", "since", "expected", "paid", "transaction_id"),
    *("why", "mark", "message"),
)


def _cells(item: Record | Aside) -> list[object]:
    record = _as_record(item)
    expected, paid = map(_money, _amounts(item))
    amounts = {"expected": expected, "paid": paid}
    return [(record | amounts)[name] for name in _COLUMNS]


def _amounts(item: Record | Aside) -> tuple[ToldAmount | None, ToldAmount | None]:
    """The expected amount, as far as the reason names it, and the paid one."""
    expected, found = amounts_in(item.reason)
    kept = _kept(item)
    payable = item.entry.payable if isinstance(item, Record) else None
    named = kept.get("fee_type") or kept.get("raw", {}).get("fee_type")
    fee_type = None if is_yuan(named) else shown_code(named)
    numbers = (payable, *(kept.get(name) for name in ("payable", "total_fee", "paid")))
    known = (ToldAmount(each, fee_type) for each in numbers if isinstance(each, int))
    return expected, found or next(known, None)


def _money(amount: ToldAmount | None) -> str:
    return "" if amount is None else output.money(amount.number, amount.fee_type)


def _members(expected: ToldAmount | None, paid: ToldAmount | None) -> dict[str, Any]:
    """Numbers are fen where ``fee_type`` is CNY."""
    return {
        "expected": None if expected is None else expected.number,
        "expected_fee_type": None if expected is None else shown_code(expected.fee_type),
        "paid": None if paid is None else paid.number,
        "fee_type": None if paid is None else shown_code(paid.fee_type),
    }


def _kept(item: Record | Aside) -> dict[str, Any]:
    """What was kept of a message; nothing of one that cannot be read."""
    return _kept_or_none(item) or {}


def _kept_or_none(item: Record | Aside) -> dict[str, Any] | None:
    payload = item.entry.payload if isinstance(item, Record) else item.payload
    try:
        kept = json.loads(payload or "{}")
    except (ValueError, TypeError, RecursionError):
        return None
    raw = kept.get("raw", {}) if isinstance(kept, dict) else None
    if not isinstance(raw, dict):
        return None
    texts = (kept.get("fee_type"), raw.get("fee_type"))
    return kept if all(isinstance(each, str | None) for each in texts) else None


def _as_record(item: Record | Aside) -> dict[str, Any]:
    expected, paid = _amounts(item)
    common = {
        "mch_id": item.key.mch_id,
        "out_trade_no": item.key.out_trade_no,
        "expected_mch_id": merchant_in(item.reason),
        **_members(expected, paid),
        "fen": paid.number if paid is not None and is_yuan(paid.fee_type) else None,
        "transaction_id": _kept(item).get("transaction_id"),
    }
    if isinstance(item, Record):
        return common | {
            "what": item.state,
            "since": item.entry.first_seen.isoformat(timespec="seconds"),
            "why": item.reason or (f"on_paid failed {item.failures} times" * bool(item.failures)),
            "mark": None,
            "message": None,
        }
    return common | {
        "what": item.decision,
        "since": item.first_seen.isoformat(timespec="seconds"),
        "why": item.reason,
        "mark": item.mark,
        "message": item.fingerprint[:SHOWN],
    }
