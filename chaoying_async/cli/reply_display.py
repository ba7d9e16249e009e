"""Shows a reply on a terminal or as JSON, with personal values as ``***`` (M-27)."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import click

from chaoying_async.cli import output, reply_status, streams
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.language import shown
from chaoying_async.cli.reply_status import RefundRow, ReplyStatus
from chaoying_async.sansio.api.endpoint import Reply, Request, order_of
from chaoying_async.sansio.currency import fee_type_in, is_yuan, shown_code
from chaoying_async.sansio.polling.status import UNASKED, PollStatus, Standing
from chaoying_async.sansio.redact import masked_fields

_STATUS = frozenset({"state", "code", "msg", "trade_state", "sign", "nonce_str"})


def show(
    request: Request[Any],
    reply: Reply[Any],
    *,
    before: Standing = UNASKED,
    qr: bool | None = None,
) -> Exit:
    """Show a reply; returns the exit code. ``qr``: draw ``code_url``; None: on a terminal only.

    ``before`` is what earlier replies to the same request said. The exit code follows the reply,
    even if showing the reply fails.
    """
    told = reply_status.said(request, reply, before)
    try:
        if output.as_json():
            fields = masked_fields(reply.raw, request.wire_fields())
            output.tell(_record(reply, told, fields, reply_status.refunds(request, reply)))
        else:
            _show(request, reply, told, qr=qr)
    except Exception as error:  # noqa: BLE001 - no error may hide what became of the money
        trouble = shown(f"the reply cannot be shown: {type(error).__name__}")
        click.echo(output.printable(f"{_headline(request, told)}; {trouble}"), err=True)
    return told.end.exit


def _headline(request: Request[Any], told: ReplyStatus) -> str:
    """In the user's language, but for what the gateway says."""
    name = f"{request.endpoint.name} {request.endpoint.title}"
    parts = (name, shown(told.line), told.msg)
    return f"{': '.join(filter(None, parts))}  {order_of(request)}".rstrip()


def _show(request: Request[Any], reply: Reply[Any], told: ReplyStatus, *, qr: bool | None) -> None:
    output.say_as_is(_headline(request, told), style=told.end.style)
    if told.end.then:
        output.say(told.end.then)
    fields = masked_fields(reply.raw, request.wire_fields())
    rows = reply_status.refunds(request, reply)
    if rows:
        output.show_table(
            "refunds", _REFUND_COLUMNS, _cells(rows, told.fee_type), wraps=("what to do",)
        )
    output.show_pairs("", _rows(reply, fields, leave_out={"refund_list"} if rows else set()))
    if (url := fields.get("code_url")) and (sys.stdout.isatty() if qr is None else qr):
        draw(str(url))


_REFUND_COLUMNS = (
    *("out_refund_no", "status", "refund_status", "applied for", "returned", "refund_id"),
    *("refund_time", "asked", "what to do"),
)


def _cells(rows: Iterable[RefundRow], fee_type: str | None) -> Iterator[tuple[object, ...]]:
    for row in rows:
        item, came = row.item, row.status == PollStatus.REFUNDED
        yield (
            item.out_refund_no,
            row.status,
            item.refund_status,
            output.money(item.base_refund_fee, fee_type),
            output.money(item.refund_fee, fee_type) if came else None,
            item.refund_id,
            item.refund_time and item.refund_time.isoformat(sep=" "),
            shown("yes") if row.asked else "",
            row.end.then,
        )


def draw(text: str) -> None:
    """Draw a QR code of half-height blocks, for a customer to scan from the terminal."""
    if not streams.takes("▀▄█"):
        return
    import segno

    segno.make(text, error="m").terminal(out=sys.stdout, compact=True)


def _record(
    reply: Reply[Any], told: ReplyStatus, fields: Mapping[str, Any], rows: Iterable[RefundRow]
) -> dict[str, Any]:
    record = {
        "ok": told.end.exit is Exit.OK,
        "endpoint": reply.endpoint.name,
        "status": told.status or None,
        "payable": told.amount,
        "fee_type": None if told.amount is None else told.fee_type or "CNY",
        "meaning": reply.meaning.name,
        "state": reply.state,
        "code": reply.code,
        "trade_state": reply.trade_state,
        "msg": reply.msg and fields.get("msg"),
        "signed": reply.signed,
        "exit": int(told.end.exit),
        "next": told.end.then,
        "fields": fields,
    }
    listed = [_refund(row) for row in rows]
    return record | ({"refunds": listed} if listed else {})


def _refund(row: RefundRow) -> dict[str, Any]:
    item = row.item
    names = ("out_refund_no", "refund_id", "refund_status", "base_refund_fee", "refund_fee")
    end = {"exit": int(row.end.exit), "next": row.end.then}
    named = {name: getattr(item, name) for name in names}
    ok = row.end.exit is Exit.OK
    return {"ok": ok, "status": row.status, "asked": row.asked, **named, **end}


def _rows(
    reply: Reply[Any], fields: Mapping[str, Any], leave_out: Collection[str]
) -> Iterator[tuple[str, object]]:
    yield "state", f"{reply.state} {reply.code or ''} {reply.trade_state or ''}".strip()
    yield "msg", fields.get("msg")
    yield shown("signed"), shown("yes, and verified" if reply.signed else "no")
    for name, value in fields.items():
        if name not in _STATUS and name not in leave_out:
            yield name, readable(name, value, fee_type_in(reply.raw))


def readable(name: str, value: Any, fee_type: str | None = None) -> object:
    """The value for a person: an amount in yuan too, and JSON as a text.

    An amount of another currency, which ``fee_type`` names, is told with that.
    """
    if name.endswith("_fee") and isinstance(value, str) and value.isascii() and value.isdigit():
        if not is_yuan(fee_type):
            return shown(f"{value} (fee_type {shown_code(fee_type)})")
        return shown(f"{value} fen = {int(value) // 100}.{int(value) % 100:02d} yuan")
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value
