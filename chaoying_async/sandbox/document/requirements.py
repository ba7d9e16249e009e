"""The parameters of each endpoint and the rules that they must keep, as tables.

The tables are written from the document and never from the client's request classes: a rule that
both shared could be wrong in both. A test holds the tables against the specification's data.

A row is ``name mark kind``: ``*`` is required, ``-`` optional, ``?`` depends on other fields, which
the checks below the tables know.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import attrs

Fields = Mapping[str, str]
#: Says what is wrong with one value; None if nothing is.
Check = Callable[[str], str | None]


@attrs.frozen
class Parameter:
    """One parameter of an endpoint."""

    name: str
    mark: str
    kind: str


def _rows(text: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(*line.split()) for line in text.splitlines() if line.strip())


COMMON = _rows("""
    agent_id * text
    pid * text
    version * text
    sign * text
""")

_ORDER_OPTIONS = """
    sub_appid - text
    mch_id * text
    device_info ? text
    body * text
    attach - text
    total_fee * fen
    mch_create_ip - ip
    op_user_id - text
    op_shop_id - text
    op_device_id - text
    goods_tag - text
    goods_detail - goods
    profit_sharing - text
    profit_sharing_receiver - text
    out_trade_no * order
"""

_PREORDER = """
    nonce_str - text
    mch_id * text
    device_info - text
    body * text
    attach - text
    out_trade_no * plain-order
    total_fee * fen
    mch_create_ip - ip
    notify_url - notify-url
    op_user_id - text
    op_shop_id - text
    limit_pay - limit_pay
    trade_type * trade_type
    goods_tag - text
    product_id ? text
"""

_TERMINAL = """
    device_info * text
    op_device_id * text
"""

#: Endpoint to its own parameters.
ROWS: Mapping[str, tuple[Parameter, ...]] = {
    "pay": _rows(_ORDER_OPTIONS + "auth_code * text"),
    "facepay": _rows(_ORDER_OPTIONS + "paytype * paytype\n openid * text\n face_code * text"),
    "orderquery": _rows("""
        paytype * paytype
        mch_id * text
        out_trade_no ? text
        transaction_id ? text
    """),
    "refund": _rows("""
        paytype * paytype
        mch_id * text
        out_trade_no ? text
        transaction_id ? text
        out_refund_no * refund-number
        total_fee * fen
        refund_fee * fen
        op_user_id * text
    """),
    "refundquery": _rows("""
        paytype * paytype
        mch_id * text
        out_refund_no ? refund-number
        refund_id ? text
    """),
    "cancel": _rows("""
        paytype * paytype
        mch_id * text
        out_trade_no * order
        op_user_id * text
    """),
    "WECHAT_PreOrder": _rows(
        _PREORDER
        + """
        sub_appid ? text
        is_minipg - is_minipg
        buyer_id ? text
        time_start - time
        time_expire - time
        goods_detail - goods
        profit_sharing - text
        profit_sharing_receiver - text
        """
    ),
    "ALIPAY_PreOrder": _rows(
        _PREORDER
        + """
        time_start ? time
        time_expire ? time
        buyer_logon_id ? text
        buyer_id ? text
        """
    ),
    "getfaceauth": _rows("""
        paytype * paytype
        sub_appid - text
        mch_id * text
        store_id * text
        store_name * text
        device_id * text
        rawdata * text
    """),
    "authcodetoopenid": _rows("""
        mch_id * text
        sub_appid - text
        auth_code * text
    """),
    "WXA_Code2Session": _rows("""
        appid * text
        js_code * text
    """),
    "Mch_Reg": (),  # support hands out its parameters; the document has none
    "GetMchSMSValid": _rows("mobile * text"),
    "GetMchId": _rows("""
        mobile ? text
        valid ? text
        username ? text
        password ? text
    """),
    "GetPartnerId": _rows("mch_id * text"),
    "GetMchInfo": _rows("mch_id * text"),
    "wx_addsubdevconfig": _rows("""
        mch_id * text
        appid - appid
        jsapi_path - urls
        subscribe_appid ? appid
        receipt_appid ? appid
    """),
    "PayBoxConfGet": _rows(_TERMINAL),
    "QrConfGet": _rows(_TERMINAL),
}

#: Code tables that a parameter must keep to.
CODES: Mapping[str, tuple[str, ...]] = {
    "paytype": ("WECHAT", "ALIPAY", "JDPAY", "QQ", "UNIONPAY", "BESTPAY"),
    "trade_type": ("JSPAY", "NATIVE", "APP", "APP_BANK"),
    "is_minipg": ("1", "0"),
    "limit_pay": ("NO_CREDIT", "no_credit"),
}


def _matching(pattern: str, says: str) -> Check:
    fits = re.compile(pattern, re.ASCII).fullmatch
    return lambda value: None if fits(value) else says


def _one_of(values: tuple[str, ...]) -> Check:
    return lambda value: None if value in values else f"must be one of {', '.join(values)}"


def _time(value: str) -> str | None:
    if not _DIGITS(value):
        return "must be a time as yyyyMMddHHmmss"
    try:
        date.fromisoformat(value[:8])
    except ValueError:
        return "must be a day that exists"
    return None


def _ip(value: str) -> str | None:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return "must be an IP address"
    return "must be an IP address without a zone" if "%" in value else None


def _goods(value: str) -> str | None:
    try:
        items = json.loads(value)
    except (ValueError, RecursionError):
        return "must be JSON"
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return "must be a JSON list of objects"
    wrong = [index for index, item in enumerate(items) if not _good(item)]
    return f"items {wrong} lack goods_id, quantity or price, or hold wrong ones" if wrong else None


def _urls(value: str) -> str | None:
    wrong = any(_ADDRESS(each) is None for each in value.split(";"))
    return "must be absolute addresses, separated by semicolons" if wrong else None


def _notify_url(value: str) -> str | None:
    try:
        fits = bool(_PLAIN_ADDRESS(value)) and urlsplit(value).port != 0
    except ValueError:  # half an IPv6 address, or an impossible port
        fits = False
    return None if fits else "must be an absolute address without parameters"


_PLAIN_ADDRESS = re.compile(r"(?ai:https?)://[^\s?#/\\]+(/[^\s?#\\]*)?").fullmatch
_ADDRESS = re.compile(r"(?ai:https?)://[^\s/\\;]+(/[^\s\\;]*)?").fullmatch


_DIGITS = re.compile(r"20[0-9]{6}([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]", re.ASCII).fullmatch


def _good(item: Mapping[str, Any]) -> bool:
    goods_id = item.get("goods_id")
    return (
        isinstance(goods_id, str)
        and re.fullmatch(r"[A-Za-z0-9_-]+", goods_id) is not None
        and all(type(item.get(name)) is int for name in ("quantity", "price"))
        and item["quantity"] >= 1
        and item["price"] >= 0
    )


KINDS: Mapping[str, Check] = {
    "text": lambda _: None,
    "appid": _matching(r"[^\s,;|/，；、]+", "must be one APPID"),
    "fen": _matching(r"[1-9][0-9]{0,14}", "must be a whole number of fen, at least 1"),
    "order": _matching(r"[A-Za-z0-9_]{5,32}", "must be 5 to 32 letters, digits or underscores"),
    "plain-order": _matching(
        r"[A-Za-z0-9]{5,32}", "must be 5 to 32 letters or digits, without underscores"
    ),
    "refund-number": _matching(r".{1,32}", "must have at most 32 characters"),
    "time": _time,
    "notify-url": _notify_url,
    "ip": _ip,
    "goods": _goods,
    "urls": _urls,
    **{name: _one_of(values) for name, values in CODES.items()},
}


# Rules over several fields: each gives field to problem.
Rule = Callable[[Fields], Mapping[str, str]]


def _at_least_one(*names: str) -> Rule:
    words = f"one of {' and '.join(names)} is required"
    return lambda fields: {} if any(fields.get(name) for name in names) else {names[0]: words}


def _needed_for(trade_types: tuple[str, ...], *needed: str) -> Rule:
    words = f"is required when trade_type is {' or '.join(trade_types)}"

    def rule(fields: Fields) -> Mapping[str, str]:
        given = any(fields.get(name) for name in needed)
        return {needed[0]: words} if fields.get("trade_type") in trade_types and not given else {}

    return rule


def _both_times_or_none(fields: Fields) -> Mapping[str, str]:
    missing = [name for name in ("time_start", "time_expire") if not fields.get(name)]
    return {missing[0]: "only takes effect with the other one"} if len(missing) == 1 else {}


def _refund_within_total(fields: Fields) -> Mapping[str, str]:
    refund, total = fields.get("refund_fee", ""), fields.get("total_fee", "")
    above = _AMOUNT(refund) and _AMOUNT(total) and int(refund) > int(total)
    return {"refund_fee": "must not be above total_fee"} if above else {}


_AMOUNT = re.compile(r"[0-9]{1,15}").fullmatch


def _in_order(fields: Fields) -> Mapping[str, str]:
    start, end = fields.get("time_start", ""), fields.get("time_expire", "")
    return {"time_expire": "must be after time_start"} if start and end and end <= start else {}


_UNIONPAY_DEVICE = 8


def _short_for_unionpay(fields: Fields) -> Mapping[str, str]:
    wallet = fields.get("paytype") or wallet_of(fields.get("auth_code", ""))
    if wallet == "UNIONPAY" and len(fields.get("op_device_id", "")) > _UNIONPAY_DEVICE:
        return {"op_device_id": f"may have at most {_UNIONPAY_DEVICE} characters for UNIONPAY"}
    return {}


def _device_for_qq(fields: Fields) -> Mapping[str, str]:
    wallet = fields.get("paytype") or wallet_of(fields.get("auth_code", ""))
    if wallet == "QQ" and not fields.get("device_info"):
        return {"device_info": "is required for QQ"}
    return {}


def _login_pair(fields: Fields) -> Mapping[str, str]:
    pairs = (("mobile", "valid"), ("username", "password"))
    if any(all(fields.get(name) for name in pair) for pair in pairs):
        return {}
    return {"mobile": "with valid, or username with password, is required"}


def _one_recommendation(fields: Fields) -> Mapping[str, str]:
    both = fields.get("subscribe_appid") and fields.get("receipt_appid")
    return {"receipt_appid": "cannot be sent with subscribe_appid"} if both else {}


#: What a terminal calls itself in its User-Agent.
TERMINAL = "CySoftPayBox"

_IN_WALLET = ("JSPAY", "APP", "APP_BANK")
_ORDER_NUMBER = _at_least_one("out_trade_no", "transaction_id")

RULES: Mapping[str, tuple[Rule, ...]] = {
    "pay": (_device_for_qq, _short_for_unionpay),
    "facepay": (_device_for_qq,),
    "orderquery": (_ORDER_NUMBER,),
    "refund": (_ORDER_NUMBER, _refund_within_total),
    "refundquery": (_at_least_one("out_refund_no", "refund_id"),),
    "WECHAT_PreOrder": (
        _needed_for(_IN_WALLET, "sub_appid"),
        _needed_for(("JSPAY",), "buyer_id"),
        _in_order,
    ),
    "ALIPAY_PreOrder": (
        _needed_for(("JSPAY",), "buyer_id", "buyer_logon_id"),
        _both_times_or_none,
        _in_order,
    ),
    "GetMchId": (_login_pair,),
    "wx_addsubdevconfig": (_one_recommendation,),
}

#: The wallets' published prefixes, since pay names no paytype (C 32).
_PREFIXES = (
    ("ALIPAY", re.compile(r"(2[5-9]|30)[0-9]{14,22}", re.ASCII)),
    ("UNIONPAY", re.compile(r"62[0-9]{17}", re.ASCII)),
    ("QQ", re.compile(r"91[0-9]{16}", re.ASCII)),
    ("BESTPAY", re.compile(r"51[0-9]{16}", re.ASCII)),
    ("JDPAY", re.compile(r"18[0-9]{16}", re.ASCII)),
)


def wallet_of(auth_code: str) -> str:
    """The wallet that shows such a payment code; WECHAT for an unknown prefix."""
    fitting = (wallet for wallet, pattern in _PREFIXES if pattern.fullmatch(auth_code))
    return next(fitting, "WECHAT")


def _compiled(rows: tuple[Parameter, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, Check], ...]]:
    required = tuple(row.name for row in rows if row.mark == "*")
    return required, tuple((row.name, KINDS[row.kind]) for row in rows if row.kind != "text")


#: Required names, and checks of form, for each endpoint; taken from the tables once.
_CHECKS = {endpoint: _compiled((*COMMON, *rows)) for endpoint, rows in ROWS.items()}


def problems(endpoint: str, fields: Fields) -> dict[str, str]:
    """Every parameter that breaks a rule, with the rule; the values are not repeated."""
    required, checks = _CHECKS[endpoint]
    found = {name: "is required" for name in required if not fields.get(name)}
    for name, check in checks:
        value = fields.get(name)
        if value and (problem := check(value)):
            found[name] = problem
    for rule in RULES.get(endpoint, ()):
        for name, words in rule(fields).items():
            found.setdefault(name, words)
    return found
