"""The calls as OpenAPI: valid, whole, and of one mind with the document and with the sandbox."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from chaoying_async import Hosts
from chaoying_async.descriptions.openapi import openapi, path_of, reply_name
from chaoying_async.descriptions.plain_words import plain
from chaoying_async.descriptions.signing_guide import signing_guide
from chaoying_async.fieldwords import FieldWords
from chaoying_async.sandbox.document.endpoints import endpoint_at
from chaoying_async.sandbox.document.requirements import CODES, COMMON, ROWS
from chaoying_async.sansio.api import REQUESTS
from tests.descriptions.validity import (
    CALLS,
    POSTED,
    calls,
    operations,
    packed_problems,
    parameters_of,
    reply_problems,
    request_problems,
)
from tests.pure.spec import EXAMPLES, INDEX
from tests.sandbox_calls import Till
from tests.sandbox_calls import path_of as sandbox_path
from tests.sizes import cases
from tests.table import table

HAN = re.compile("[\u4e00-\u9fff]")


@pytest.mark.parametrize(
    "hosts",
    cases([None, Hosts.document()], more=[Hosts.v3_2(), Hosts.single("http://127.0.0.1:8080")]),
    ids=cases(["sandbox", "document"], more=["v3.2", "single"]),
)
def test_it_is_openapi_by_the_rules(hosts: Hosts | None) -> None:
    """OpenAPI 3.1, by the validator that others use."""
    validate(openapi(hosts))


def test_it_has_every_call_and_both_notifications() -> None:
    """Each once, under the document's own name."""
    names = [operation["operationId"] for _, operation in operations(calls())]
    assert names == [request.endpoint.name for request in REQUESTS]
    assert len(names) == 19
    assert set(calls()["webhooks"]) == {"WECHAT_Notify", "ALIPAY_Notify"}


@table("name", list(CALLS))
def test_a_call_is_at_the_documents_address(name: str) -> None:
    """By the sandbox's own table of addresses; the fragment is not sent."""
    request = CALLS[name]
    path = path_of(request).replace("{code_number}", "00000001")
    sent, _, fragment = path.partition("#")
    assert sent == sandbox_path(name)
    assert endpoint_at(request.endpoint.http_method, sent) == ("" if fragment else name)
    assert fragment in ("", name)


def test_hosts_are_the_documents() -> None:
    """A call that lives elsewhere says so."""
    document = openapi(Hosts.document())
    where = {
        operation["operationId"]: document["paths"][path].get("servers", document["servers"])
        for path, operation in operations(document)
    }
    assert where["pay"] == [{"url": "https://pay.storepos.cn"}]
    assert where["getfaceauth"] == [{"url": "https://api.storepos.cn"}]
    assert where["WECHAT_PreOrder"] == [{"url": "https://qrpay.pos.cn"}]
    assert where["QrConfGet"] == [{"url": "https://qrpay.storepos.cn"}]
    assert calls()["servers"] == [{"url": "/"}]
    assert not any("servers" in item for item in calls()["paths"].values())


@table("name", list(CALLS))
def test_required_parameters_are_the_sandboxs(name: str) -> None:
    """The sandbox's table was written from the document, apart from the request classes."""
    needed = {each for each, what in parameters_of(name).items() if what["required"]}
    table_of_sandbox = {row.name for row in (*COMMON, *ROWS[name]) if row.mark == "*"}
    rest = needed - {"method", "User-Agent", "code_number"}
    assert rest == table_of_sandbox
    known = {row.name for row in (*COMMON, *ROWS[name])}
    scanned = {"op_shop_id", "op_user_id"} if name == "QrConfGet" else set()
    assert set(parameters_of(name)) - {"method", "User-Agent", "code_number"} == known | scanned


@table("name", list(CALLS))
def test_code_tables_are_the_sandboxs(name: str) -> None:
    """The values that a request may hold, and one sentence for each."""
    parameters = parameters_of(name)
    for row in ROWS[name]:
        schema = parameters[row.name]["schema"]
        assert ("enum" in schema) == (row.kind in CODES), row.name
        if "enum" in schema:
            assert sorted(schema["enum"]) == sorted(CODES[row.kind])
            assert len(schema["x-enum-descriptions"]) == len(schema["enum"])


@table("name", POSTED)
def test_what_the_sandbox_accepts_is_described(name: str) -> None:
    """A request that is right in every way, as a program without this library writes it."""
    assert request_problems(name, Till().signed(name)) == []


@pytest.mark.parametrize(
    ("call", "changes", "wrong"),
    [
        ("pay", {"out_trade_no": "A-1"}, "does not match"),
        ("pay", {"total_fee": "0"}, "less than the minimum"),
        ("pay", {"total_fee": "12.30"}, "is not of type 'integer'"),
        ("pay", {"mch_id": None}, "'mch_id' is a required property"),
        ("pay", {"body": ""}, "should be non-empty"),
        ("facepay", {"paytype": "wechat"}, "is not one of"),
        ("facepay", {"mch_create_ip": "1.2.3"}, ""),
        ("orderquery", {"out_trade_no": None}, "is not valid under any of the given schemas"),
        ("refundquery", {"out_refund_no": None}, "is not valid under any of the given schemas"),
        ("WECHAT_PreOrder", {"out_trade_no": "A_1234"}, "does not match"),
        ("WECHAT_PreOrder", {"trade_type": "JSPAY", "sub_appid": "wx1"}, "'buyer_id'"),
        ("WECHAT_PreOrder", {"trade_type": "APP"}, "'sub_appid'"),
        ("WECHAT_PreOrder", {"notify_url": "http://shop.invalid/?a=1"}, "does not match"),
        ("WECHAT_PreOrder", {"time_start": "2026-01-01"}, "does not match"),
        ("ALIPAY_PreOrder", {"trade_type": "JSPAY"}, "is not valid under any"),
        ("ALIPAY_PreOrder", {"time_start": "20260101000000"}, "is a dependency of"),
        ("GetMchId", {"password": None}, "is a dependency of"),
        ("wx_addsubdevconfig", {"subscribe_appid": "a", "receipt_appid": "b"}, "should not be"),
        ("wx_addsubdevconfig", {"appid": "a;b"}, "does not match"),
        ("wx_addsubdevconfig", {"jsapi_path": "ftp://a"}, "does not match"),
    ],
)
def test_what_the_sandbox_refuses_is_described(
    call: str, changes: dict[str, str | None], wrong: str
) -> None:
    """Rules over one field and over several; the sandbox has them from the document."""
    till = Till()
    assert till.call(call, **changes)["code"] == "20004"
    if wrong:  # an address is a format, which validators check where they are asked to
        assert any(wrong in each for each in request_problems(call, till.signed(call, **changes)))


def _replies() -> list[str]:
    rows = [(file, row) for file, row in INDEX.items() if row["kind"] == "response"]
    return [file for file, row in rows if row["valid"] and row["endpoint"] in CALLS]


@table("file", _replies)
def test_the_documents_own_replies_are_described(file: str) -> None:
    """Status, fields, their types, and the JSON inside of fields."""
    call = INDEX[file]["endpoint"]
    members = json.loads((EXAMPLES / file).read_text("utf-8"))
    if "sign" in members:  # a row of zeros, here and there too short
        members["sign"] = "0" * 32
    assert reply_problems(call, members) == []
    assert packed_problems(calls(), reply_name(CALLS[call]), members) == []


def test_a_result_without_its_amount_is_no_result() -> None:
    """What is always there beside a success, and only beside a success."""
    paid = {"state": "SUCCESS", "code": "10000", "trade_state": "SUCCESS", "sign": "A" * 32}
    assert "'base_fee' is a required property" in reply_problems("orderquery", paid)
    assert reply_problems("orderquery", {**paid, "trade_state": "FAIL", "code": "10004"}) == []
    assert reply_problems("orderquery", {"state": "FAIL", "code": "20007"}) == []
    assert reply_problems("orderquery", {"code": "20007"}) == ["'state' is a required property"]
    assert reply_problems("PayBoxConfGet", {"state": "SUCCESS"}) == []


def _described(schema: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every property, with its words."""
    for name, what in schema.get("properties", {}).items():
        yield f"{where}.{name}", what.get("description", "")


def _all_words() -> Iterator[tuple[str, str]]:
    for name, schema in calls()["components"]["schemas"].items():
        yield from _described(schema, name)
    for _, operation in operations(calls()):
        yield from (
            (f"{operation['operationId']}.{each['name']}", each["description"])
            for each in operation.get("parameters", ())
        )


@table(("where", "words"), lambda: list(_all_words()))
def test_every_field_has_words_in_both_languages(where: str, words: str) -> None:
    """A sentence in English, then the document's term in Chinese."""
    english, _, chinese = words.removesuffix("）").partition("（")
    assert re.fullmatch(r"[A-Z\"0-9].*[.]", english), words
    assert HAN.search(chinese) or where.endswith(".User-Agent"), words


#: What means nothing to who uses another library.
_OURS = re.compile(
    r"[Ss]ession's|command line|unwrap|[A-Z]\w+Error\b|from_auth_code|\bextra\b(?! )"
    r"|ChaoyingWarning|\bReply\b|\baware\b|repr\b|C \d+\b|M-\d+"
    r"|:class:|``|a warning is all|本库|会话补"
)


def test_nothing_speaks_of_this_library() -> None:
    """Its classes, sessions, commands and rules mean nothing to a reader in another language."""
    document = {**calls(), "info": {}}
    found = _OURS.findall(json.dumps(document, ensure_ascii=False))
    assert found == []


def test_what_a_session_does_is_left_out() -> None:
    """And what is true on the wire stays."""
    words = FieldWords(
        "The cashier's account. If it is left out, the session's is sent (on the command line:"
        " X); without that one, the merchant number counts.",
        "操作员",
    )
    assert plain(words).english == "The cashier's account. Without it, the merchant number counts."


def test_calls_that_move_money_say_so() -> None:
    """And none of them is safe to repeat."""
    told = {
        operation["operationId"]: (operation["x-moves-money"], operation["x-safe-to-repeat"])
        for _, operation in operations(calls())
    }
    money = {name for name, (moves, _) in told.items() if moves}
    assert money == {"pay", "facepay", "refund", "cancel", "WECHAT_PreOrder", "ALIPAY_PreOrder"}
    assert not any(repeatable for moves, repeatable in told.values() if moves)


def test_the_signing_example_is_right() -> None:
    """Computed by hand: whoever tries a client on it must not be misled."""
    text, key, sign = re.findall(r"^    (\S+)$|`([0-9a-f]{32})`", signing_guide(), re.MULTILINE)
    digest = hashlib.md5(f"{text[0]}&key={key[1]}".encode()).hexdigest().upper()
    assert sign[0] == digest
    assert text[0].split("&") == sorted(text[0].split("&"))
