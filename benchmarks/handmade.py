"""What somebody without the library would write: the scheme in a few lines, and two clients."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import httpx

KEY = "0123456789abcdef0123456789abcdef"
AGENT_ID = "a20170519135901860000"
PID = "CySoftPay"
MCH_ID = "f20170519135901860000"
OUT_TRADE_NO = "T0020190524102840000"


def sign(params: Mapping[str, str], key: str) -> str:
    """The document's signature, MD5."""
    text = "&".join(f"{k}={v}" for k, v in sorted(params.items()) if v != "" and k != "sign")
    return hashlib.md5(f"{text}&key={key}".encode()).hexdigest().upper()


def verified(params: dict[str, str], key: str) -> dict[str, str]:
    """``params``, or ValueError when the signature is wrong."""
    if not hmac.compare_digest(sign(params, key), params.get("sign", "").upper()):
        raise ValueError("wrong signature")
    return params


def order_query() -> dict[str, str]:
    """The same parameters that ``OrderQuery`` sends."""
    params = {
        "agent_id": AGENT_ID,
        "mch_id": MCH_ID,
        "method": "orderquery",
        "out_trade_no": OUT_TRADE_NO,
        "paytype": "WECHAT",
        "pid": PID,
        "version": "1.0",
    }
    params["sign"] = sign(params, KEY)
    return params


async def query_with_aiohttp(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """One signed and verified query, as aiohttp's manual posts a form and reads JSON."""
    async with session.post(url, data=order_query()) as response:
        response.raise_for_status()
        return verified(await response.json(), KEY)


async def query_with_httpx(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """The same, as httpx's manual does it."""
    response = await client.post(url, data=order_query())
    response.raise_for_status()
    return verified(response.json(), KEY)


def notification(body: str) -> dict[str, str]:
    """A verified notification as a dict."""
    return verified(dict(parse_qsl(body, keep_blank_values=True)), KEY)


def signed_reply() -> bytes:
    """The document's own orderquery reply, signed with the key above."""
    params = {
        "state": "SUCCESS",
        "code": "10000",
        "trade_state": "SUCCESS",
        "msg": "SUCCESS",
        "mch_id": MCH_ID,
        "buyer_user_id": "o4he1jo7fA1rIWTOOA3hDbGWc29w",
        "out_trade_no": OUT_TRADE_NO,
        "transaction_id": "4200000334201905246610520000",
        "out_transaction_id": "4200000334201905246610520000",
        "base_fee": "4",
        "total_fee": "2",
        "coupon_fee": "2",
        "time_end": "20190524103044",
        "nonce_str": "a849df6660cb4354b6fe5b23120a73ce",
        "trade_type": "pay.wechat.micropay",
        "paytype": "WECHAT",
        "wx_mch_id": "1264300000",
        "wx_sub_mch_id": "1266500000",
    }
    params["sign"] = sign(params, KEY)
    return json.dumps(params, ensure_ascii=False).encode()
