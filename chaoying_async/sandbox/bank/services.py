"""Calls that prepare payments: face credentials, buyer ids, mini-program sessions, terminals."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime

import attrs

from chaoying_async.sandbox.bank.entities import Ledger, Step, Terminal
from chaoying_async.sandbox.bank.merchants import identity
from chaoying_async.sandbox.bank.reply_fields import WX_NUMBERS, stamp
from chaoying_async.sandbox.document.draft_reply import DraftReply, refusal, success
from chaoying_async.sandbox.document.requirements import wallet_of

#: Lifetime of face credentials and mini-program sessions, in seconds.
FACE_SECONDS = 3600
SESSION_SECONDS = 7200
#: The poll that finds a new terminal configured, as by somebody in the back office.
CONFIGURED_AT = 3
#: A terminal whose number ends so is never configured by itself.
NEVER_CONFIGURED = "0405"

Fields = Mapping[str, str]


def _text(*parts: str) -> str:
    """Letters and digits that look random and depend on these parts alone."""
    digest = hashlib.sha256("\n".join(parts).encode()).digest()
    return base64.b64encode(digest, altchars=b"Aa").decode().rstrip("=")


def _given(fields: Fields, name: str) -> dict[str, str]:
    return {name: fields[name]} if fields.get(name) else {}


def getfaceauth(ledger: Ledger, fields: Fields, now: datetime) -> Step:
    """``getfaceauth``: the same credential for the same terminal until its hour is over."""
    terminal = [fields[name] for name in ("mch_id", "store_id", "device_id", "rawdata")]
    told: dict[str, str | int] = {
        "mch_id": fields["mch_id"],
        "appid": "wx2b029c08a6232582",
        "channel_mch_id": "1900007071",
        "authinfo": _text(*terminal, stamp(now)[:10]),
        "expires_in": str(FACE_SECONDS - (now.minute * 60 + now.second)),
        **_given(fields, "sub_appid"),
        **WX_NUMBERS,
    }
    return Step(ledger, success(told))


def authcodetoopenid(ledger: Ledger, fields: Fields, _now: datetime) -> Step:
    """``authcodetoopenid``: who stands behind a code, which is bound to this merchant (C 41)."""
    code, mch_id = fields["auth_code"], fields["mch_id"]
    if ledger.bound.get(code, mch_id) != mch_id:
        return Step(ledger, refusal("20004", "auth_code belongs to another merchant (C 41)"))
    told: dict[str, str | int] = {
        "mch_id": mch_id,
        "paytype": wallet_of(code),
        "auth_code": code,
        **_given(fields, "sub_appid"),
        "sub_openid": f"o{_text(code)[:27]}",
        **WX_NUMBERS,
    }
    return Step(attrs.evolve(ledger, bound=ledger.bound.put(code, mch_id)), success(told))


def wxa_code2session(ledger: Ledger, fields: Fields, _now: datetime) -> Step:
    """``WXA_Code2Session``: a mini-program session; a ``js_code`` is good once, and not signed."""
    code, appid = fields["js_code"], fields["appid"]
    if code in ledger.js_codes:
        return Step(ledger, refusal("20004", "js_code was used before"))
    told: dict[str, str | int] = {
        "openid": f"o{_text(appid, code[:4])[:27]}",
        "session_key": f"{_text(code)[:22]}==",
        "expires_in": SESSION_SECONDS,  # a JSON number, as the document prints it (C 9)
    }
    return Step(
        attrs.evolve(ledger, js_codes=ledger.js_codes.put(code, appid)), DraftReply(fields=told)
    )


def payboxconfget(ledger: Ledger, fields: Fields, now: datetime) -> Step:
    """``PayBoxConfGet``: a terminal polls for its merchant; the third poll finds one."""
    terminal = _terminal(ledger, fields)
    terminal = attrs.evolve(terminal, polls=terminal.polls + 1)
    ready = terminal.polls >= CONFIGURED_AT and not terminal.op_device_id.endswith(NEVER_CONFIGURED)
    if ready and not terminal.mch_id:
        terminal = attrs.evolve(terminal, mch_id=min(ledger.merchants))
    return _configured(ledger, terminal, fields, now)


def qrconfget(ledger: Ledger, fields: Fields, now: datetime) -> Step:
    """``QrConfGet``: the merchant of the scanned code; ``code_number`` is its number."""
    if fields["code_number"] not in ledger.merchants:
        return Step(ledger, refusal("20005", "no merchant has that code"))
    terminal = attrs.evolve(_terminal(ledger, fields), mch_id=fields["code_number"])
    return _configured(ledger, terminal, fields, now)


def _terminal(ledger: Ledger, fields: Fields) -> Terminal:
    number = fields["op_device_id"]
    return ledger.terminals.get(number) or Terminal(op_device_id=number)


def _configured(ledger: Ledger, terminal: Terminal, fields: Fields, now: datetime) -> Step:
    """The answer about the terminal's merchant: no such answer has a code (C 27)."""
    ledger = attrs.evolve(ledger, terminals=ledger.terminals.put(terminal.op_device_id, terminal))
    if not terminal.mch_id:
        return Step(ledger, DraftReply(code="", msg="", complete=False))
    merchant = ledger.merchants[terminal.mch_id]
    told = identity(merchant, now) | {
        "device_info": fields["device_info"],
        "op_device_id": terminal.op_device_id,
    }
    return Step(ledger, DraftReply(code="", msg="", fields=told))
