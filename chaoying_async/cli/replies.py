"""A reply of the gateway, on a terminal or as JSON: everything personal as ``***`` (M-27)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from chaoying_async.cli import output
from chaoying_async.cli.exits import Exit, ending
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sansio.fieldnames import SECRET
from chaoying_async.sansio.masking import MASK, masked_body
from chaoying_async.sansio.outcome import Meaning
from chaoying_async.sansio.request import Reply, Request

_HIDDEN = SECRET | {"sign", "key"}
_STATUS = frozenset({"state", "code", "msg", "trade_state", "sign", "nonce_str"})


def show(request: Request[Any], reply: Reply[Any], *, qr: bool | None = None) -> Exit:
    """Show a reply; the exit code. ``qr``: draw ``code_url``; None: on a terminal."""
    code, then = _ending(reply)
    fields = masked(reply.raw, request.wire_fields())
    if output.as_json():
        output.tell(_record(reply, fields, code, then))
        return code
    said = output.console()
    said.print(
        f"{request.endpoint.name} {request.endpoint.title}: {reply.meaning.says}",
        style="bold green" if code is Exit.OK else "bold yellow",
    )
    output.show_pairs("", _rows(reply, fields))
    if then:
        said.print(then)
    if (url := fields.get("code_url")) and (sys.stdout.isatty() if qr is None else qr):
        draw(str(url))
    return code


def draw(text: str) -> None:
    """A QR code of half-height blocks, for a customer to scan from the terminal."""
    import segno

    segno.make(text, error="m").terminal(out=sys.stdout, compact=True)


def masked(fields: Mapping[str, Any], sent: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a reply; personal values, and what the request sent of them, as ``***``."""
    return {name: _masked(name, value, sent) for name, value in fields.items()}


def _masked(name: str, value: Any, sent: Mapping[str, str]) -> Any:
    if name in _HIDDEN:
        return MASK if value else value
    if isinstance(value, str):
        return masked_body(value.encode(), sent).decode()
    if isinstance(value, dict | list):
        return json.loads(masked_body(json.dumps(value, ensure_ascii=False).encode(), sent))
    return value


def _ending(reply: Reply[Any]) -> tuple[Exit, str]:
    if reply.meaning is Meaning.RESULT:
        return Exit.OK, ""
    try:
        reply.unwrap()
    except ChaoyingError as error:
        return ending(error)
    return Exit.OK, ""


def _record(reply: Reply[Any], fields: Mapping[str, Any], code: Exit, then: str) -> dict[str, Any]:
    return {
        "ok": code is Exit.OK,
        "endpoint": reply.endpoint.name,
        "meaning": reply.meaning.name,
        "state": reply.state,
        "code": reply.code,
        "trade_state": reply.trade_state,
        "msg": reply.msg and fields.get("msg"),
        "signed": reply.signed,
        "exit": int(code),
        "next": then,
        "fields": fields,
    }


def _rows(reply: Reply[Any], fields: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "state", f"{reply.state} {reply.code or ''} {reply.trade_state or ''}".strip()
    yield "msg", fields.get("msg")
    yield "signed", "yes, and verified" if reply.signed else "no"
    for name, value in fields.items():
        if name not in _STATUS:
            yield name, readable(name, value)


def readable(name: str, value: Any) -> object:
    """Amounts in yuan as well."""
    if name.endswith("_fee") and isinstance(value, str) and value.isascii() and value.isdigit():
        return f"{value} fen = {int(value) // 100}.{int(value) % 100:02d} yuan"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value
