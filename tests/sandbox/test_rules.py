"""Each rule of the document that a server can check is broken here, and gets its code.

The rules are derived from the document's data (``tests/data/spec/v2.9.0.toml``): every required
parameter, every type, pattern, length and condition, every sentence under ``rules``. One that
nothing here breaks, and that :data:`UNCHECKED` gives no reason for, fails the suite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from chaoying_async.sandbox.document.http_messages import HttpRequest
from tests.pure import spec
from tests.sandbox.test_strict import BAD
from tests.sandbox_calls import KEY, Till, http_request, parsed, sign
from tests.table import table

ENDPOINTS = {
    name: row for name, row in spec.ENDPOINTS.items() if row["direction"] == "client to platform"
}


@attrs.frozen(order=True)
class Rule:
    """One thing that the document demands of an endpoint, a parameter, or an item inside one.

    ``what`` is the data's own word for it.
    """

    endpoint: str
    field: str
    what: str

    def __str__(self) -> str:
        return " ".join(filter(None, (self.endpoint, self.field, self.what)))


def _of_row(row: Mapping[str, Any]) -> Iterator[str]:
    """The data's words for what one parameter must be."""
    if row["required"] == "yes":
        yield "required"
    if row["type"] != "string":
        yield f"type {row['type']}"
    yield from row.get("constraints", ())
    yield from (word for word in ("when", "one_of", "together") if word in row)


def rules() -> Iterator[Rule]:
    """Every rule of the document about what a client sends."""
    for name, row in ENDPOINTS.items():
        for word in ("http_method", "url", "parameters_in", "signature_checked", "method_param"):
            if row.get(word):
                yield Rule(name, "", word)
        yield from (Rule(name, header, "header") for header in row["headers"])
        for field in (*row["common"], *row["request"]):
            if field["type"] == "undocumented":
                continue
            yield from (Rule(name, field["name"], what) for what in _of_row(field))
            kind, _, structure = field["type"].partition(":")
            if kind == "json-array":
                for item in spec.DOCUMENT["structures"][structure]["fields"]:
                    inner = f"{field['name']}.{item['name']}"
                    yield from (Rule(name, inner, what) for what in _of_row(item))
        yield from (Rule(name, "", f"rule {rule['id']}") for rule in row.get("rules", ()))


RULES = list(rules())

# ------------------------------------------------------------------------------ how to break them

#: A way to break a rule: what is done to a gateway; the code, or the HTTP status, of its answer.
Break = Callable[[Till, str], str]


def _code(reply: Mapping[str, Any]) -> str:
    return str(reply.get("code", ""))


def given(**changes: str | None) -> Break:
    """A request with these changes; None leaves a parameter out."""
    return lambda till, endpoint: _code(till.call(endpoint, **changes))


def raw(**changes: Any) -> Break:
    """A right request, carried wrongly: its HTTP status, or the code of the answer."""

    def act(till: Till, endpoint: str) -> str:
        right = http_request(endpoint, till.signed(endpoint))
        reply = till.gateway.answer(attrs.evolve(right, **changes))
        return _code(parsed(reply)) if reply.status == 200 else str(reply.status)

    return act


def after(*calls: tuple[str, Mapping[str, str | None]], **changes: str | None) -> Break:
    """The last of several calls, each of the earlier ones carried out."""

    def act(till: Till, endpoint: str) -> str:
        for earlier, more in calls:
            assert till.call(earlier, **more)["state"] == "SUCCESS", earlier
        return _code(till.call(endpoint, **changes))

    return act


def later(seconds: float, *calls: tuple[str, Mapping[str, str | None]], **changes: str) -> Break:
    """The same, so many seconds afterwards."""

    def act(till: Till, endpoint: str) -> str:
        for earlier, more in calls:
            till.call(earlier, **more)
        till.later(seconds=seconds)
        return _code(till.call(endpoint, **changes))

    return act


def unsigned_link(till: Till, endpoint: str) -> str:
    """A scanned link's own parameter left out of the signature."""
    fields = till.signed(endpoint)
    signed = {name: fields[name] for name in fields if name not in ("op_shop_id", "sign")}
    sent = {**fields, "sign": sign(signed, KEY)}
    return _code(parsed(till.post(endpoint, sent)))


def dropped_link(till: Till, endpoint: str) -> str:
    """A scanned link's own parameter signed, and not sent."""
    fields = till.signed(endpoint)
    sent = {name: fields[name] for name in fields if name != "op_shop_id"}
    return _code(parsed(till.post(endpoint, sent)))


def other_path(till: Till, endpoint: str) -> str:
    """The address in other capitals (C 92)."""
    right = http_request(endpoint, till.signed(endpoint))
    wrong: HttpRequest = attrs.evolve(right, path=right.path.swapcase())
    return str(till.gateway.answer(wrong).status)


def other_method(till: Till, endpoint: str) -> str:
    """GET for POST, and the reverse."""
    right = http_request(endpoint, till.signed(endpoint))
    method = {"GET": "POST", "POST": "GET"}[right.method]
    return str(till.gateway.answer(attrs.evolve(right, method=method)).status)


def other_place(till: Till, endpoint: str) -> str:
    """Parameters in the body for the query, and the reverse: nothing signed arrives."""
    right = http_request(endpoint, till.signed(endpoint))
    moved = attrs.evolve(right, query=right.body.decode(), body=right.query.encode())
    return _code(parsed(till.gateway.answer(moved)))


def missing(field: str) -> list[tuple[Break, str]]:
    """Left out, and empty."""
    code = {"agent_id": "20012", "sign": "20002"}.get(field, "20004")
    if field == "sign":
        return [(_without_sign, code)]
    return [(given(**{field: None}), code), (given(**{field: ""}), code)]


def _without_sign(till: Till, endpoint: str) -> str:
    fields = till.signed(endpoint)
    del fields["sign"]
    return _code(parsed(till.post(endpoint, fields)))


def values(field: str, *texts: str) -> list[tuple[Break, str]]:
    return [(given(**{field: text}), "20004") for text in texts]


def items(name: str, *texts: str) -> list[tuple[Break, str]]:
    """Goods that lack a member, or hold a wrong one; ``*`` is where its value stands."""
    right = {"goods_id": '"CY1"', "quantity": "1", "price": "1"}
    made = []
    for text in texts:
        members = {**right, name: text}
        inner = ",".join(f'"{key}":{value}' for key, value in members.items() if value)
        made.append((given(goods_detail=f"[{{{inner}}}]"), "20004"))
    return made


WRONG_SIGN = given(sign="0" * 32)
PAID: tuple[str, Mapping[str, str | None]] = ("pay", {})
REFUND_IN_PARTS: tuple[str, Mapping[str, str | None]] = ("refund", {"refund_fee": "600"})


def _posts(rule: Rule) -> bool:
    return bool(ENDPOINTS[rule.endpoint]["http_method"] == "POST")


#: What a rule says, whatever the endpoint.
BY_WORD: Mapping[str, Callable[[Rule], list[tuple[Break, str]]]] = {
    "http_method": lambda _: [(other_method, "404")],
    "url": lambda rule: [] if rule.endpoint == "QrConfGet" else [(other_path, "404")],
    "parameters_in": lambda rule: [
        *([(raw(content_type="application/json"), "415")] if _posts(rule) else []),
        (other_place, "20002"),
    ],
    "signature_checked": lambda _: [(WRONG_SIGN, "20002")],
    "method_param": lambda _: [(given(method="payout"), "20004")],
    "header": lambda _: [(raw(user_agent="Mozilla/5.0"), "20004"), (raw(user_agent=""), "20004")],
    "required": lambda rule: missing(rule.field),
    "type enum:method": lambda rule: values(rule.field, "PAY", "nonsense"),
    "type md5-hex": lambda _: [(WRONG_SIGN, "20002"), (given(sign="ab"), "20002")],
    "type integer-fen": lambda rule: values(rule.field, *BAD["fen"]),
    "type datetime": lambda rule: values(rule.field, *BAD["time"]),
    "type ip": lambda rule: values(rule.field, *BAD["ip"]),
    "type url": lambda rule: values(rule.field, *BAD["notify-url"]),
    "type json-array:goods_detail_item": lambda rule: values(rule.field, *BAD["goods"]),
    "whole_number": lambda rule: values(rule.field, "1.0", "0.5", "1e3"),
    "min_length": lambda rule: values(rule.field, "A123"),
    "max_length": lambda rule: values(rule.field, "A" * 33),
    "pattern": lambda rule: values(rule.field, "A-100011", "Ä100011", "A100011\n"),
    "no_query": lambda rule: values(rule.field, "http://a.b/c?d=e", "http://a.b/c?"),
    "format": lambda rule: values(rule.field, "a.com/pay", "ftp://a.com"),
    "separator": lambda rule: values(rule.field, "http://a.com/ http://b.com/", "http://a.com/;x"),
    **{
        f"type enum:{table}": lambda rule: values(rule.field, "NONSENSE", "wechat", "2")
        for table in ("paytype", "is_minipg", "limit_pay", "trade_type_request")
    },
}

_NEITHER_NUMBER = [(given(out_trade_no=None), "20004")]
_NO_DEVICE = {
    "pay": [(given(auth_code="910000000000001111"), "20004")],
    "facepay": [(given(paytype="QQ"), "20004")],
}
_LONG_DEVICE = [
    (given(auth_code="6200000000000001111", op_device_id="device_01"), "20004"),
]
_USED = [
    (after(("pay", {"total_fee": "406"})), "20004"),
    (after(("pay", {"total_fee": "405"}), ("cancel", {})), "20004"),
]
_JSPAY: Mapping[str, str] = {"trade_type": "JSPAY"}
_PARTLY = after(PAID, REFUND_IN_PARTS, out_refund_no="TK-2", refund_fee="401")
_LOGINS = [
    (given(password=None), "20004"),
    (given(username=None), "20004"),
    (given(username=None, password=None, valid="1234"), "20004"),
    (given(username=None, password=None, mobile="13800000000"), "20004"),
]
_FOLLOWS: Mapping[str, str | None] = {"jsapi_path": None, "appid": "wx1", "subscribe_appid": "wx2"}
_FOLLOWS_OTHER = {**_FOLLOWS, "subscribe_appid": "wx3"}
_TWO_ACCOUNTS = [(given(subscribe_appid="wx1", receipt_appid="wx2"), "20004")]
_NO_QUERY = [(given(notify_url="http://a.b/c?d=e"), "20004")]
_FOR_JSPAY = [(given(**_JSPAY, sub_appid="wx1"), "20004")]
_IN_WALLET = [(given(trade_type=kind), "20004") for kind in ("JSPAY", "APP", "APP_BANK")]

#: What a rule says on one endpoint; the key is "ENDPOINT FIELD WORD", as the rule is shown.
BY_NAME: Mapping[str, list[tuple[Break, str]]] = {
    "pay device_info when": _NO_DEVICE["pay"],
    "pay rule qq-device-info": _NO_DEVICE["pay"],
    "facepay device_info when": _NO_DEVICE["facepay"],
    "facepay rule qq-device-info": _NO_DEVICE["facepay"],
    "pay op_device_id max_length": _LONG_DEVICE,
    "pay op_device_id applies_when": _LONG_DEVICE,
    "pay rule unionpay-op-device-id": _LONG_DEVICE,
    **{
        f"{name} rule out-trade-no-per-attempt": _USED
        for name in ("pay", "facepay", "WECHAT_PreOrder", "ALIPAY_PreOrder")
    },
    **{
        f"{name} out_trade_no unique": [(after(PAID), "20004")]
        for name in ("pay", "facepay", "WECHAT_PreOrder", "ALIPAY_PreOrder")
    },
    **{
        f"{name} out_trade_no case_sensitive": [(after(PAID, out_trade_no="a100011"), "20007")]
        for name in ("orderquery", "refund", "cancel")
    },
    **{
        f"{name} {field} {word}": _NEITHER_NUMBER
        for name in ("orderquery", "refund")
        for field in ("out_trade_no", "transaction_id")
        for word in ("when", "one_of")
    },
    "orderquery rule one-order-number": _NEITHER_NUMBER,
    "refund rule one-order-number": _NEITHER_NUMBER,
    "orderquery rule paytype-required": missing("paytype"),
    "refund out_refund_no unique": [(after(PAID, REFUND_IN_PARTS, refund_fee="300"), "20008")],
    "refund rule sync-result": [
        (after(("pay", {"total_fee": "405"}), total_fee="405", refund_fee="405"), "20008")
    ],
    "refund rule partial-refund-numbers": [
        (after(PAID, REFUND_IN_PARTS, refund_fee="400"), "20008")
    ],
    "refund rule refund-cap-paid": [(_PARTLY, "20008")],
    "refund rule refund-cap-total": [(_PARTLY, "20008")],
    "refund rule refund-number-identity": [
        (
            after(
                PAID,
                ("pay", {"out_trade_no": "B200022"}),
                REFUND_IN_PARTS,
                out_trade_no="B200022",
                refund_fee="600",
            ),
            "20008",
        )
    ],
    "refund rule bank-limits": [(after(PAID, refund_fee="507"), "20008")],
    "refund rule new-number-after-failure": [
        (later(5, PAID, ("refund", {"refund_fee": "502"}), refund_fee="502"), "20008")
    ],
    **{
        f"refundquery {field} {word}": [(given(out_refund_no=None), "20004")]
        for field in ("out_refund_no", "refund_id")
        for word in ("when", "one_of")
    },
    "refundquery rule one-refund-number": [
        (after(PAID, REFUND_IN_PARTS, out_refund_no=None, out_trade_no="A100011"), "20004")
    ],
    "refundquery out_refund_no unique": [(after(PAID, out_refund_no="TK-9"), "20007")],
    "cancel out_trade_no unique": [(after(PAID, mch_id="00000002"), "20007")],
    "cancel rule cancel-purpose": [(after(PAID, REFUND_IN_PARTS), "20011")],
    "cancel rule cancel-window": [(later(301, PAID), "20011")],
    "authcodetoopenid rule code-bound": [
        (after(("authcodetoopenid", {}), mch_id="00000002"), "20004")
    ],
    "WECHAT_PreOrder sub_appid when": _IN_WALLET,
    "WECHAT_PreOrder rule sub-appid": _IN_WALLET,
    "WECHAT_PreOrder buyer_id when": _FOR_JSPAY,
    "WECHAT_PreOrder rule buyer-id": _FOR_JSPAY,
    **{
        f"{name} rule {rule}": made
        for name in ("WECHAT_PreOrder", "ALIPAY_PreOrder")
        for rule, made in (
            ("no-underscore", [(given(out_trade_no="A_100011"), "20004")]),
            ("notify-url", _NO_QUERY),
        )
    },
    **{
        f"ALIPAY_PreOrder {field} {word}": [(given(**_JSPAY), "20004")]
        for field in ("buyer_id", "buyer_logon_id")
        for word in ("when", "one_of")
    },
    "ALIPAY_PreOrder rule buyer": [(given(**_JSPAY), "20004")],
    **{
        f"ALIPAY_PreOrder {field} {word}": [(given(**{field: "20300101000000"}), "20004")]
        for field in ("time_start", "time_expire")
        for word in ("when", "together")
    },
    "ALIPAY_PreOrder rule validity-pair": [
        (given(time_start="20300101000000"), "20004"),
        (given(time_expire="20300101000000"), "20004"),
        (given(time_start="20300101000000", time_expire="20300101000000"), "20004"),
    ],
    **{
        f"GetMchId {field} {word}": _LOGINS
        for field in ("mobile", "valid", "username", "password")
        for word in ("when", "one_of")
    },
    "GetMchId rule login-pair": _LOGINS,
    **{
        f"wx_addsubdevconfig {field} {word}": _TWO_ACCOUNTS
        for field in ("subscribe_appid", "receipt_appid")
        for word in ("when", "one_of")
    },
    **{
        f"wx_addsubdevconfig rule {rule}": [
            (after(("wx_addsubdevconfig", _FOLLOWS), **_FOLLOWS_OTHER), "20004")
        ]
        for rule in ("add-only", "one-follow-per-appid", "thirty-days")
    },
    "wx_addsubdevconfig rule limits": [
        (after(("wx_addsubdevconfig", {"jsapi_path": "http://b.com/;http://c.com/"})), "20004")
    ],
    "PayBoxConfGet rule user-agent": [(raw(user_agent="Mozilla/5.0"), "20004")],
    "QrConfGet rule user-agent": [(raw(user_agent="Mozilla/5.0"), "20004")],
    "QrConfGet rule keep-query": [(dropped_link, "20002")],
    "QrConfGet rule sign-query": [(unsigned_link, "20002")],
    "goods_detail.goods_id required": items("goods_id", "", '""'),
    "goods_detail.goods_id pattern": items("goods_id", '"a b"', '"ä"', "1"),
    "goods_detail.quantity required": items("quantity", ""),
    "goods_detail.quantity type integer": items("quantity", '"1"', "1.5", "0", "true"),
    "goods_detail.price required": items("price", ""),
    "goods_detail.price type integer-fen": items("price", '"1"', "1.5", "-1", "true"),
}

#: Rules that no server can check, or that ask nothing of the caller, and why.
UNCHECKED: Mapping[str, str] = {
    "pid terminal_value": "the column of examples; the text fixes the User-Agent alone (C 94)",
    "url": "QrConfGet only: the link is the code's own, whatever it says",
    "rule authinfo-reuse": "a promise to the caller: test_a_face_credential_lasts_its_hour",
    "rule wechat-face": "about the terminal and the customer",
    "rule no-paytype": "an unknown parameter is signed and does no harm (C 7)",
    "rule original-route-only": "no parameter chooses another route",
    "rule query-after-error": "what a caller does next",
    "rule no-second-refund-until-failed": "parts of one order run side by side; what a caller knows"
    " of the first one, no server can tell",
    "rule card-refund-delay": "how long banks take",
    "rule notsure-same-number": "what a caller does next: "
    "test_not_sure_is_sent_again_with_its_own_number",
    "rule change-manual": "what people do",
    "rule cancel-delay": "advice that the document gives no code to; M-24 keeps to it",
    "rule not-paid-yet": "what a reply means",
    "rule product-id": "the document's own examples break it (C 63)",
    "product_id when": "the document's own examples break it (C 63)",
    "rule parameters-from-support": "the document has no parameters",
    "rule code-is-minutes": "what a reply means",
    "rule bindable-appids": "whose an appid is, is known to WeChat alone",
    "rule merchant-account-only": "whose an account is, is known to WeChat alone",
    "rule recommendation-per-appid": "a permission",
    "rule follow-examples": "what to send for which wish; the examples contradict it (C 75)",
    "rule poll-interval": "advice that the document gives no code to",
    "notify_url reachable": "learnt by notifying: test_a_shop_that_is_not_there_is_tried_again",
    "out_trade_no case_sensitive": "nothing to break where the number is made: two numbers are two "
    "orders; broken where it is looked up",
}


def breaks(rule: Rule) -> list[tuple[Break, str]]:
    """The ways to break this rule that are known here."""
    inner = f"{rule.field} {rule.what}"
    for name in (str(rule), inner):
        if name in BY_NAME:
            return BY_NAME[name]
    made = BY_WORD.get(rule.what)
    return made(rule) if made is not None else []


def unchecked(rule: Rule) -> bool:
    return any(name in UNCHECKED for name in (str(rule), f"{rule.field} {rule.what}".strip()))


BROKEN = [(rule, act, code) for rule in RULES for act, code in breaks(rule)]


@table(("rule", "act", "code"), BROKEN, ids=str)
def test_a_broken_rule_gets_its_code(rule: Rule, act: Break, code: str) -> None:
    """The code that the document has for it, and no order, refund or merchant comes of it."""
    assert act(Till(), rule.endpoint) == code


def test_every_rule_is_broken_here_or_cannot_be() -> None:
    """The document's data decide what the rules are: a new one needs a test, or a reason."""
    assert [str(rule) for rule in RULES if not breaks(rule) and not unchecked(rule)] == []
    assert len(RULES) > 300


def test_no_reason_is_given_for_what_is_checked() -> None:
    """A reason that no rule needs any more is out of date."""
    reasons = {
        name
        for rule in RULES
        if not breaks(rule)
        for name in (str(rule), f"{rule.field} {rule.what}".strip())
    }
    assert sorted(UNCHECKED.keys() - reasons) == []
