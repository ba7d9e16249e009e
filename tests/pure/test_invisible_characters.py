"""Numbers and addresses with something in them that nobody sees are named, never sent."""

from __future__ import annotations

from typing import Any

import pytest

from chaoying_async import Hosts, OrderQuery, ParameterError, Pay, PayType, WechatPreOrder
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Request, field_specs
from chaoying_async.sansio.api.field_rules import IdentifierRule, TextRule
from tests.pure.spec import full_request, full_values
from tests.table import table

#: What a file, a scanner or a web page leaves in a copied number, and what is said about it.
INVISIBLE = {
    "carriage return": ("{}\r", "a carriage return"),
    "line end": ("{}\n", "has blanks or a line end at an end"),
    "Windows line end": ("{}\r\n", "a carriage return"),
    "tab": ("{}\t", "has blanks or a line end at an end"),
    "blank": ("{} ", "has blanks or a line end at an end"),
    "leading blank": (" {}", "has blanks or a line end at an end"),
    "full-width blank": ("{}\u3000", "has blanks or a line end at an end"),
    "non-breaking blank": ("\xa0{}", "has blanks or a line end at an end"),
    "byte order mark": ("\ufeff{}", "byte order mark"),
    "zero-width": ("{}\u200b", "cannot be printed"),
    "right-to-left mark": ("\u200e{}", "cannot be printed"),
    "Hangul filler": ("{}\u3164", "cannot be printed"),
    "Braille blank": ("\u2800{}", "cannot be printed"),
    "NUL": ("{}\0", "cannot be printed"),
    "line separator": ("1\u2028{}", "cannot be printed"),
    "paragraph separator": ("1\u2029{}", "cannot be printed"),
}
#: Texts that people write, which may hold anything, and what only looks like one.
FREE = {
    *("attach", "body", "goods_tag", "nonce_str", "password", "profit_sharing"),
    *("profit_sharing_receiver", "rawdata", "store_name"),
}
IDENTIFIERS = [
    (cls, spec.name)
    for cls in REQUESTS
    for spec in field_specs(cls)
    if isinstance(spec.rule, IdentifierRule)
]


def problems(cls: type[Request[Any]], name: str, value: str) -> dict[str, str]:
    try:
        full_request(cls, **{name: value})
    except ParameterError as error:
        return dict(error.problems)
    return {}


@table("cls, name", IDENTIFIERS)
def test_every_number_of_every_request_is_looked_at(cls: type[Request[Any]], name: str) -> None:
    """By its name, with what is wrong, and without its value (M-27)."""
    clean = str(full_values(cls).get(name, "1234567"))
    assert name not in problems(cls, name, clean)
    for form, says in INVISIBLE.values():
        told = problems(cls, name, form.format(clean))
        assert says in told[name]
        assert clean not in told[name]


def test_only_what_people_write_may_hold_anything() -> None:
    """A new field is a number unless somebody says that it is not."""
    free = {
        spec.name
        for cls in REQUESTS
        for spec in field_specs(cls)
        if isinstance(spec.rule, TextRule) and spec.name not in {"out_trade_no", "out_refund_no"}
    }
    assert free - {"appid", "receipt_appid", "subscribe_appid"} == FREE


@table("form", [form for form, _ in INVISIBLE.values()])
def test_an_address_of_the_shop_or_of_the_gateway_too(form: str) -> None:
    """``notify_url`` and each host; the gateway would never reach the one, nor we the other."""
    url = form.format("https://shop.example/paid")
    assert "notify_url" in problems(WechatPreOrder, "notify_url", url)
    for name in ("pay", "api", "qrpay"):
        hosts: Any = dict.fromkeys(("pay", "api", "qrpay"), "https://gateway.example")
        with pytest.raises(ParameterError) as caught:
            Hosts(**hosts | {name: url})
        assert list(caught.value.problems) == [name]
    with pytest.raises(ParameterError):
        Hosts.single(url)


@pytest.mark.parametrize("blank", [" ", "\t\r\n", "\u3000"])
def test_a_required_text_of_blanks_is_none(blank: str) -> None:
    """The gateway would answer 20004 for it, which on a payment means "unknown"."""
    with pytest.raises(ParameterError) as caught:
        Pay(out_trade_no="A100011", body=blank, total_fee=1, auth_code="130000000000000001")
    assert dict(caught.value.problems) == {"body": "is required, and holds nothing but blanks"}


@pytest.mark.parametrize(
    "number",
    ["门店\u3000一", "till 1", "\ue815伟", "\U000323b0", "收银\u200d台", "a@shop.example"],
    ids=["wide blank", "blank", "private use", "newer than Python", "joined", "address"],
)
def test_what_can_be_seen_may_stand_in_a_number(number: str) -> None:
    """Rare names and wide blanks come from real tills; a payment is not refused for them."""
    assert problems(Pay, "op_user_id", number) == {}


def test_all_of_them_are_named_at_once() -> None:
    """As every ParameterError does."""
    with pytest.raises(ParameterError) as caught:
        OrderQuery(paytype=PayType.WECHAT, mch_id="1\r", out_trade_no="A100011 ")
    assert set(caught.value.problems) == {"mch_id", "out_trade_no"}


def test_a_carriage_return_is_named_only_where_one_is() -> None:
    """It is what files made on Windows leave, and nobody sees it."""
    for text, named in (("1\r", True), ("1\r\n", True), ("1\n", False), (" 1", False)):
        which = ", a carriage return" if named else ""
        rule = f"has blanks or a line end at an end{which}; they are not part of it"
        assert problems(OrderQuery, "mch_id", text) == {"mch_id": rule}
