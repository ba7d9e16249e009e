from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, get_args, get_type_hints

import attrs

from chaoying_async.sansio import enums
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.details import Promotion, PromotionGoods
from chaoying_async.sansio.api.endpoint import Reply, Request, field_specs
from chaoying_async.sansio.api.field_rules import (
    AmountRule,
    CodeRule,
    GoodsRule,
    IdentifierRule,
    IpRule,
    TextRule,
    TimeRule,
    UrlListRule,
    UrlRule,
)
from chaoying_async.sansio.exchange import build_request
from chaoying_async.sansio.fieldnames import DOCUMENTED, SHOWN, TOP_LEVEL
from chaoying_async.sansio.hosts import Hosts
from chaoying_async.sansio.meaning import RESULT_RULES
from chaoying_async.sansio.values import Fen
from tests.pure.factories import CREDENTIALS
from tests.pure.spec import (
    CLASSES,
    CODE_TABLES,
    DOCUMENT,
    ENDPOINTS,
    NOTIFICATIONS,
    STRUCTURES,
    TABLES,
    Row,
    full_request,
    load,
    top_level_rows,
    wire_names,
)
from tests.table import table

requests = table("name", CLASSES)
notifications = table("name", NOTIFICATIONS)

#: Fields whose rule says more than their printed type.
_SPECIAL_RULES: Mapping[str, type[Any]] = {"jsapi_path": UrlListRule}
_RULES: Mapping[str, type[Any]] = {
    "string": TextRule,
    "integer-fen": AmountRule,
    "ip": IpRule,
    "datetime": TimeRule,
    "url": UrlRule,
    "json-array:goods_detail_item": GoodsRule,
}
_TYPES: Mapping[str, Any] = {
    "string": str,
    "integer": int,
    "integer-fen": Fen,
    "datetime": datetime,
    "url": str,
    "json-object:pay_info": str,  # handed through unchanged (C 106)
    "json-object:promotion_detail": tuple[Promotion, ...],
    "array:promotion_goods": tuple[PromotionGoods, ...],
}


def _rows(endpoint: str, part: str) -> dict[str, Row]:
    return {row["name"]: row for row in ENDPOINTS[endpoint].get(part, ()) if row["name"] != "-"}


def _type(row: Row) -> Any:
    kind, _, name = row["type"].partition(":")
    if kind == "enum":
        return TABLES[name]
    if kind == "json-array":
        return tuple[STRUCTURES[name], ...]  # type: ignore[valid-type]
    return _TYPES[row["type"]]


def _offers(hint: Any, wanted: Any) -> bool:
    return wanted in (hint, *get_args(hint))


def _extra(endpoint: str, where: str) -> set[str]:
    return {
        row["name"]
        for row in ENDPOINTS[endpoint].get("example_extra_fields", ())
        if row["where"] == where
    }


def test_every_endpoint_of_the_document_has_its_class_and_no_other() -> None:
    """The 19 calls and both notifications of v2.9.0, nothing more and nothing less."""
    assert set(CLASSES) | set(NOTIFICATIONS) == set(ENDPOINTS)
    assert len(CLASSES) == len(REQUESTS) == 19


@requests
def test_a_request_goes_where_the_document_says(name: str) -> None:
    """Address, HTTP method, `method` parameter and headers are the printed ones (C 90 to C 94)."""
    row = ENDPOINTS[name]
    endpoint = CLASSES[name].endpoint
    outgoing = build_request(full_request(CLASSES[name]), CREDENTIALS)
    fixed = (
        {"Content-Type": "application/x-www-form-urlencoded"}
        if row["http_method"] == "POST"
        else {}
    )

    assert outgoing.method == row["http_method"]
    assert endpoint.gateway_method == row["method_param"]
    assert outgoing.fields.get("method", "") == row["method_param"]
    assert dict(outgoing.headers) == fixed | row["headers"]
    assert endpoint.title == row["title"]
    if row["url_fixed"]:
        assert outgoing.url.partition("?")[0] == row["url"]
        assert Hosts.document().url_of(CLASSES[name]) == row["url"]
    assert bool(outgoing.body) == (row["parameters_in"] == "form body")


def test_the_later_addresses_are_those_of_the_last_public_document() -> None:
    """`Hosts.v3_2()` moves what moved by v3.2.1 and nothing else (C 90, C 91)."""
    later = load("later_hosts.toml")["hosts"]
    wanted = {
        name: later.get(name, row["url"]) for name, row in ENDPOINTS.items() if row["url_fixed"]
    }
    assert {name: Hosts.v3_2().url_of(CLASSES[name]) for name in wanted} == wanted


@requests
def test_a_request_has_every_documented_field_and_no_other(name: str) -> None:
    """Common and own parameters, by name; what no table lists goes through `extra`."""
    cls = CLASSES[name]
    built = build_request(full_request(cls), CREDENTIALS).fields
    common, own = _rows(name, "common"), _rows(name, "request")
    fields = {spec.name for spec in field_specs(cls)}

    assert fields | set(common) == set(own) | set(common)
    assert set(common) - {"nonce_str"} <= set(built)  # nonce_str is the caller's to give (C 18)
    assert set(built) <= set(own) | set(common) | _extra(name, "url")


@requests
def test_required_means_required(name: str) -> None:
    """A field marked required is refused when absent, unless the session may have it."""
    cls = CLASSES[name]
    specs = {spec.name: spec for spec in field_specs(cls)}
    must = {field for field, row in _rows(name, "request").items() if row["required"] == "yes"}

    assert {field for field, spec in specs.items() if spec.required} | set(cls.needed) == must
    assert set(cls.needed) <= {"mch_id", "op_user_id", "device_info"}


@requests
def test_every_field_has_the_rule_of_its_printed_type(name: str) -> None:
    """Amounts are whole fen, codes come from their table, times are datetimes, patterns hold."""
    specs = {spec.name: spec.rule for spec in field_specs(CLASSES[name])}
    for field, row in _rows(name, "request").items():
        kind, _, table = row["type"].partition(":")
        rule = specs[field]
        if kind == "enum":
            assert isinstance(rule, CodeRule), field
            assert rule.table is TABLES[table], field
        else:
            # A text that somebody gave out, and nobody writes, is a number or a code.
            kind_of_rule = TextRule if isinstance(rule, IdentifierRule) else type(rule)
            assert kind_of_rule is _SPECIAL_RULES.get(field, _RULES[row["type"]]), field
        pattern = row.get("constraints", {}).get("pattern")
        if pattern:
            assert rule.problem("x" * 40) is not None, field
            assert isinstance(rule, TextRule)
            assert f"^{rule.pattern}$" == pattern, field


@requests
def test_the_printed_example_value_of_every_field_is_accepted(name: str) -> None:
    """What the example column shows passes the field's rule; placeholders do not (C 72)."""
    for spec in field_specs(CLASSES[name]):
        row = _rows(name, "request").get(spec.name)
        if row is None or "example" not in row:
            continue
        value = row["example"]
        if isinstance(spec.rule, AmountRule):
            value = int(value)
        elif isinstance(spec.rule, CodeRule):
            value = spec.rule.table(value)
        elif isinstance(spec.rule, (TimeRule, GoodsRule)):
            continue  # typed values: the whole examples are built in test_examples.py
        problem = spec.rule.problem(value)
        assert (problem is not None) == bool(row.get("example_is_placeholder")), (
            spec.name,
            problem,
        )


@requests
def test_a_result_has_every_documented_field_in_its_type(name: str) -> None:
    """Response tables and what only the example shows (C 57): same names, typed as printed."""
    model = CLASSES[name].result_type
    hints = get_type_hints(model)
    rows = _rows(name, "response")
    sms = {"code"} if name == "GetMchSMSValid" else set()  # C 26

    assert set(wire_names(model)) == set(rows) | _extra(name, "response") | sms
    for field, row in rows.items():
        assert _offers(hints[field], _type(row)), field


@requests
def test_a_reply_has_the_whole_envelope(name: str) -> None:
    """state, code, msg, trade_state, and whether `sign` was there and right."""
    ours = {field.alias for field in attrs.fields(Reply)}
    envelope = {row["name"] for row in ENDPOINTS[name]["envelope"]}
    general = {row["name"] for row in DOCUMENT["response_envelope"]["fields"]}

    assert {"signed" if field == "sign" else field for field in envelope | general} <= ours
    assert envelope - {"sign"} <= general


@requests
def test_only_answers_that_the_document_prints_unsigned_may_be_unsigned(name: str) -> None:
    """Both pre-orders and WXA_Code2Session, nobody else (C 4, M-08)."""
    assert CLASSES[name].endpoint.must_sign == ENDPOINTS[name]["response_signed_example"]


@requests
def test_the_condition_for_a_result_is_the_documents(name: str) -> None:
    """One condition per endpoint, taken from the fact table (C 25)."""
    rule = RESULT_RULES[CLASSES[name].endpoint.family]
    condition = ENDPOINTS[name]["success_condition"]
    assert ("trade_state=SUCCESS" in condition) == (None not in rule.trade_state)
    if "code=10000" in condition:
        assert rule.code is not None
        assert "10000" in rule.code
    if name == "GetMchSMSValid":
        assert rule.code is None  # minutes


@notifications
def test_a_notification_has_every_documented_field_in_its_type(name: str) -> None:
    """Both notification tables, their envelope, and gmt_create of the example (C 57, C 89)."""
    model = NOTIFICATIONS[name]
    rows = _rows(name, "request")
    envelope = {row["name"] for row in ENDPOINTS[name]["envelope"]} - {"sign"}
    shared = {"coupon_fee"}  # one tolerant model: Alipay's table has none (C 89)

    assert set(wire_names(model)) == set(rows) | envelope | _extra(name, "request") | shared
    for field, row in rows.items():
        hint = getattr(model, field).hint
        if row["type"] == "enum:pay_result":
            assert hint == str | None  # every other value is a failure: text, compared with "0"
        else:
            assert _offers(hint, _type(row)), field


@table("name", STRUCTURES)
def test_every_nested_structure_is_there_in_its_types(name: str) -> None:
    """goods_detail, refund_list, partner_list, promotion_detail, fund_bill_list: every member."""
    model = STRUCTURES[name]
    hints = get_type_hints(model)
    rows = {row["name"]: row for row in DOCUMENT["structures"][name]["fields"]}
    assert set(wire_names(model)) == set(rows)
    for field, row in rows.items():
        hint = hints[field]
        match name, field:
            case "refund_list_item", "serial_no":
                assert hint == str | None  # C 102
            case "fund_bill_item", "amount":
                assert hint.__args__[0].__name__ == "Decimal"  # yuan (C 46)
            case "promotion", _ if row["type"] == "integer":
                assert _offers(hint, Fen)  # amounts, by the look of the example
            case "promotion_goods", "price" | "discount_amount":
                assert _offers(hint, Fen)
            case "goods_detail_item", "price":
                assert hint is int
            case _:
                assert _offers(hint, _type(row)), field


def test_every_structure_of_the_document_is_accounted_for() -> None:
    """A model each, but for the wrapper (C 101) and what goes to the wallet unread (C 106)."""
    assert set(DOCUMENT["structures"]) - set(STRUCTURES) == {"promotion_detail", "pay_info"}


def test_every_code_table_of_the_document_has_its_enum() -> None:
    """Each [enums.NAME] is a class of ours; the User-Agent is a header and no code."""
    assert set(CODE_TABLES) - set(TABLES) == {"user_agent"}
    ours = {
        value
        for value in vars(enums).values()
        if isinstance(value, type) and issubclass(value, StrEnum) and value is not StrEnum
    }
    assert ours == set(TABLES.values())


@table("name", TABLES)
def test_a_code_table_holds_exactly_the_printed_values(name: str) -> None:
    """Same values, as text; CCB, which only an example shows, is the one extra (C 29, C 103)."""
    printed = {row["value"] for row in CODE_TABLES[name]["values"]}
    extra = {"CCB", *printed} if name == "PaymentChannelId" else printed
    if name == "pay_channel_observed":
        assert printed <= set(TABLES[name])
    else:
        assert set(TABLES[name]) == extra
    assert all(isinstance(member, str) for member in TABLES[name])


def test_the_names_of_the_ambiguity_rule_are_the_documents() -> None:
    """M-04 stands on this list: every top-level name, those only examples show, and `key`."""
    shown = {
        row["name"]
        for endpoint in ENDPOINTS.values()
        for row in endpoint.get("example_extra_fields", ())
    }
    assert {row["name"] for row in top_level_rows()} == DOCUMENTED
    assert (shown - DOCUMENTED) | {"code_number"} == SHOWN  # code_number: M-05, C 97
    assert DOCUMENTED | SHOWN | {"key"} == TOP_LEVEL


def test_every_request_says_what_it_is() -> None:
    """A class without its document name in the first line of its docstring is hard to find."""
    silent = [
        cls.__name__ for cls in REQUESTS if f"``{cls.endpoint.name}``" not in (cls.__doc__ or "")
    ]
    assert silent == []
    assert all(issubclass(cls, Request) for cls in REQUESTS)
