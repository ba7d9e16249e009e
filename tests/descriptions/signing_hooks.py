"""What schemathesis is told about this gateway: how to sign, and who is known to it.

Named by ``SCHEMATHESIS_HOOKS``. Of the calls that it makes, most are signed with the sandbox's key
and speak of a merchant, orders and terminals that exist, so that they come past the first checks;
some keep what was made up, and some are sent as they are, unsigned.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Mapping
from typing import Any

import schemathesis

KEY, AGENT = "CHAOYING_KEY", "CHAOYING_AGENT_ID"
#: Fields whose made-up values nobody would know, and a few that somebody does.
_KNOWN: Mapping[str, tuple[str, ...]] = {
    "mch_id": ("00000001", "00000002", "00000013", "00000030"),
    "code_number": ("00000001",),
    "out_trade_no": ("A100011", "A100012", "A100013"),
    "out_refund_no": ("R1", "R2"),
    "paytype": ("WECHAT", "ALIPAY"),
    "total_fee": ("1000", "1405", "1406", "1409", "1412", "1413", "1422", "1430"),
    "refund_fee": ("1000", "10", "1502", "1503", "1506"),
    "auth_code": ("130000000000001111", "280000000000001111"),
    "mobile": ("13800000000",),
    "username": ("13800000000",),
    "valid": ("0000",),
    "password": ("12345678",),
    "notify_url": ("http://127.0.0.1:9/notify",),
    "op_device_id": ("T1", "T0405"),
}


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Make a call known and sign it, or leave it as it came."""
    body = isinstance(case.body, dict)
    fields = case.body if body else case.query
    if not isinstance(fields, dict) or not fields:
        return
    lots = random.Random(repr(sorted(fields.items(), key=repr)))
    if lots.random() < 0.15:
        return  # as it came
    texts = {str(name): _text(value) for name, value in fields.items()}
    for name, values in _KNOWN.items():
        if name in texts and lots.random() < 0.8:
            texts[name] = lots.choice(values)
    if lots.random() < 0.95:
        texts["agent_id"] = os.environ[AGENT]
    texts["sign"] = signed(texts, os.environ[KEY])
    if body:
        case.body = texts
    else:
        case.query = texts


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)


def signed(fields: Mapping[str, str], key: str) -> str:
    """The document's rule, written here once more."""
    names = sorted(name for name, text in fields.items() if text and name != "sign")
    text = "&".join(f"{name}={fields[name]}" for name in names)
    return hashlib.md5(f"{text}&key={key}".encode(errors="replace")).hexdigest().upper()


@schemathesis.check
def no_undocumented_field(_context: Any, response: Any, case: Any) -> None:
    """The gateway may add fields to a reply, and the description says so; the sandbox has none."""
    if response.status_code != 200:
        return
    schemas = case.operation.schema.raw_schema["components"]["schemas"]
    known = schemas[f"{case.operation.definition.raw['operationId']}_reply"]["properties"]
    unknown = sorted(set(response.json()) - set(known))
    assert not unknown, f"in no schema: {', '.join(unknown)}"
