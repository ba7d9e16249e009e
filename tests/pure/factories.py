"""Messages as the gateway would send them, signed with a key made up here, and the credentials."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

from chaoying_async import OrderQuery
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.exchange import Outgoing, build_request, read_reply
from tests.pure.spec import full_request

KEY = "8934e7d15453e97507ef794cf7b0519d"
CREDENTIALS = Credentials("13000000000000000", KEY, "yunpos")

#: A request of every class, every field filled in.
FULL_REQUESTS = tuple(full_request(cls) for cls in REQUESTS)
QUERY = OrderQuery(paytype=PayType.WECHAT, mch_id="00000001", out_trade_no="1497769914931")


def naive_canonical(fields: Mapping[str, str]) -> str:
    """The document's rule and nothing else, written out a second time."""
    return "&".join(
        f"{name}={fields[name]}" for name in sorted(fields) if fields[name] and name != "sign"
    )


def naive_sign(fields: Mapping[str, str], key: str = KEY) -> str:
    return hashlib.md5(f"{naive_canonical(fields)}&key={key}".encode()).hexdigest().upper()


def signed(fields: Mapping[str, str], key: str = KEY) -> dict[str, str]:
    """The fields with a right signature, whatever ours would think of them."""
    bare = {name: value for name, value in fields.items() if name != "sign"}
    return bare | {"sign": naive_sign(bare, key)}


def form(fields: Mapping[str, str]) -> bytes:
    """Encoded as a form, names too."""
    return "&".join(
        f"{quote_plus(name)}={quote_plus(value)}" for name, value in fields.items()
    ).encode()


def notification(**changes: str) -> dict[str, str]:
    """A paid WeChat notification; an empty change leaves a field out."""
    fields = {
        "bank_type": "CFT",
        "fee_type": "CNY",
        "mch_id": "00000001",
        "nonce_str": "1523929649387",
        "out_trade_no": "A100011",
        "out_transaction_id": "2018041721001004870537670226",
        "pay_result": "0",
        "result_code": "SUCCESS",
        "state": "SUCCESS",
        "time_end": "20180417094729",
        "total_fee": "1",
        "trade_type": "pay.weixin.native",
        "transaction_id": "199520439266201804177199552446",
    } | changes
    return {name: value for name, value in fields.items() if value}


def paid(**changes: Any) -> dict[str, Any]:
    """The members of a paid answer to ``QUERY``; None leaves one out."""
    members: dict[str, Any] = {
        "state": "SUCCESS",
        "code": "10000",
        "msg": "SUCCESS",
        "trade_state": "SUCCESS",
        "mch_id": "00000001",
        "out_trade_no": "1497769914931",
        "transaction_id": "4200000334201905246610520000",
        "base_fee": "4",
        "total_fee": "2",
        "time_end": "20190524103044",
        "paytype": "WECHAT",
    } | changes
    return {name: value for name, value in members.items() if value is not None}


def reply_body(members: Mapping[str, Any], key: str = KEY) -> bytes:
    """A signed reply; every member must be text."""
    return json.dumps(signed(dict(members), key), ensure_ascii=False).encode()


def read(
    request: Request[Any],
    body: bytes,
    credentials: Credentials = CREDENTIALS,
    *,
    require_signed: bool = False,
) -> Reply[Any]:
    """What a reply to ``request`` means, over https and with no time."""
    sent: Outgoing[Any] = build_request(request, credentials)
    return read_reply(sent, 200, body, credentials, now=None, require_signed=require_signed)
