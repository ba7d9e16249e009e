"""The sandbox's own reading of the document, held against the specification's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from chaoying_async.sandbox.bank.ledger import HANDLERS
from chaoying_async.sandbox.document import requirements as rules
from chaoying_async.sandbox.document.draft_reply import REFUSALS
from chaoying_async.sandbox.document.endpoints import METHODS, ROUTES
from chaoying_async.sandbox.document.http_messages import MAX_BODY, HttpRequest, written_form
from chaoying_async.sandbox.document.signature import signature, string_to_sign
from chaoying_async.sansio.credentials import Credentials, SignAlgorithm, SortOrder
from tests.pure import spec
from tests.sandbox_calls import (
    CLOSED,
    FAILED,
    PAID,
    REFUNDED,
    VALID,
    WAITING,
    Till,
    parsed,
    refused,
    said,
    sign,
)
from tests.table import table

ENDPOINTS = sorted(rules.ROWS)

_MARKS = {"yes": "*", "no": "-", "conditional": "?"}
_KINDS = {"integer-fen": "fen", "datetime": "time", "ip": "ip", "url": "notify-url"}
_PATTERNS = {"^[A-Za-z0-9_]{5,32}$": "order", "^[A-Za-z0-9]{5,32}$": "plain-order"}

#: Values that break a kind, and values that only just do not.
BAD: Mapping[str, tuple[str, ...]] = {
    "fen": ("0", "-1", "1.0", "1e3", "١", " 1", "1" * 16),
    "order": ("A123", "A" * 33, "A-100011", "Ä100011", "A100011\n"),
    "plain-order": ("A123", "A" * 33, "A_100011"),
    "refund-number": ("A" * 33,),
    "time": (
        *("2026", "20261301000000", "2026-01-01 00:00:00", "20260101240000"),
        *("20270229120000", "20260631120000", "21000101000000"),
    ),
    "ip": ("1.2.3", "256.1.1.1", "fe80::1%eth0", "localhost"),
    "notify-url": (
        "ftp://a.b/c",
        "http://a.b/c?d=e",
        "http://a.b/c#d",
        "/notify",
        "http://",
        "httpſ://a.b",
    ),
    "appid": ("wx1,wx2", "wx1;wx2", "wx1 wx2"),
    "urls": ("a.com/pay", "http://a.com/;/b", ";", "ftp://a.com"),
    "goods": (
        *("{}", "[1]", "nonsense"),
        '[{"goods_id":"a b","quantity":1,"price":1}]',
        '[{"goods_id":"a","quantity":0,"price":1}]',
        '[{"goods_id":"a","quantity":1,"price":-1}]',
    ),
    **dict.fromkeys(rules.CODES, ("NONSENSE", "wechat")),
}
GOOD: Mapping[str, tuple[str, ...]] = {
    "fen": ("1", "9" * 15),
    "order": ("A_123", "a" * 32),
    "plain-order": ("A1234", "a" * 32),
    "refund-number": ("TK-1497769914931-01", "a" * 32),
    "time": ("20260101235959", "20280229000000"),
    "ip": ("114.114.114.114", "2001:db8::1"),
    "notify-url": ("http://127.0.0.1:8000/notify", "https://shop.example", "HTTPS://Shop.example"),
    "appid": ("wx8888888888888888",),
    "urls": ("http://a.com/pay/", "HTTP://a.com/pay/;https://b.com"),
    "goods": (
        '[{"goods_id":"CY-1_a","quantity":1,"price":100,"goods_name":"纸巾"}]',
        '[{"goods_id":"gift","quantity":1,"price":0}]',
        "[]",
    ),
    **rules.CODES,
}


@pytest.fixture
def till() -> Till:
    return Till()


def _kind(row: Mapping[str, Any]) -> str:
    constraints, printed = row.get("constraints", {}), str(row["type"])
    if printed.startswith("enum:"):
        return "trade_type" if printed == "enum:trade_type_request" else printed[5:]
    if printed.startswith("json-array:"):
        return "goods"
    if constraints.get("separator") == ";":
        return "urls"
    if "pattern" in constraints:
        return _PATTERNS[constraints["pattern"]]
    if constraints.get("max_length") == 32:
        return "refund-number"
    return "appid" if "one per call" in row.get("desc", "") else _KINDS.get(printed, "text")


class TestTheTables:
    @pytest.mark.parametrize("endpoint", ENDPOINTS)
    def test_every_parameter_is_as_the_document_has_it(self, endpoint: str) -> None:
        """Name, mark and kind of each parameter, no more and no less."""
        document = spec.ENDPOINTS[endpoint]
        common = {row.name for row in rules.COMMON} | {"method"}
        printed = {
            row["name"]: (_MARKS[row["required"]], _kind(row))
            for row in (*document["common"], *document["request"])
            if row["name"] not in common and row["type"] != "undocumented"
        }
        ours = {row.name: (row.mark, row.kind) for row in rules.ROWS[endpoint]}
        assert ours == printed

    def test_common_parameters_are_required_everywhere(self) -> None:
        """agent_id, pid, version, sign: as on every page."""
        for endpoint in ENDPOINTS:
            common = {row["name"] for row in spec.ENDPOINTS[endpoint]["common"]}
            assert common - {"method", "nonce_str"} == {row.name for row in rules.COMMON}

    def test_code_tables_are_the_documents(self) -> None:
        """The values that a parameter may take, and the words of every refusal."""
        for name, values in rules.CODES.items():
            table = {"trade_type": "trade_type_request"}.get(name, name)
            printed = [row["value"] for row in spec.CODE_TABLES[table]["values"]]
            assert list(values) == printed
        words = {row["value"]: row["zh"] for row in spec.CODE_TABLES["code"]["values"]}
        assert REFUSALS.items() <= words.items()

    def test_every_path_and_method_is_the_documents(self) -> None:
        """Addresses as printed, capitals included (C 92); every endpoint has its handler."""
        routed = {path for _, path in ROUTES}
        for endpoint in ENDPOINTS:
            document = spec.ENDPOINTS[endpoint]
            scanned = not document["url_fixed"]
            assert scanned or any(document["url"].endswith(path) for path in routed)
            assert (document["method_param"] in METHODS) == bool(document["method_param"])
        assert set(HANDLERS) == set(ENDPOINTS)

    @pytest.mark.parametrize("vector", spec.load("vectors.toml")["vector"], ids=lambda v: v["name"])
    def test_signatures_agree_with_vectors_made_outside(self, vector: Mapping[str, Any]) -> None:
        """Four algorithms, and the string to sign; none of it is the client's code."""
        params = dict(vector["params"])
        key = vector.get("key", spec.load("vectors.toml")["key"])
        order = SortOrder.IGNORE_CASE if vector.get("order") == "ignore_case" else SortOrder.ASCII
        assert string_to_sign(params, order) == vector["canonical"]
        for algorithm in SignAlgorithm:
            field = algorithm.name.lower()
            if field in vector:
                credentials = Credentials(
                    agent_id="1", key=key, pid="p", algorithm=algorithm, sort_order=order
                )
                assert signature(params, credentials) == vector[field]


def _breaking() -> Iterator[Any]:
    """Every rule about one parameter, broken: endpoint, parameter, value."""
    for endpoint in ENDPOINTS:
        for row in (*rules.COMMON[:-1], *rules.ROWS[endpoint]):
            values = [*BAD.get(row.kind, ())] + [None, ""] * (row.mark == "*")
            for value in values:
                if row.name != "agent_id":  # then it is another agent: 20012
                    yield endpoint, row.name, value


class TestFields:
    @table(("endpoint", "name", "value"), _breaking())
    def test_each_rule_is_kept(self, endpoint: str, name: str, value: str) -> None:
        """A parameter that is missing or malformed is 20004, and the message names it."""
        till = Till()
        reply = till.call(endpoint, **{name: value})
        assert said(reply) == refused("20004")
        assert f" {name} " in reply["msg"]
        assert len(till.gateway.ledger.orders) == 0

    @pytest.mark.parametrize("kind", sorted(GOOD))
    def test_no_rule_asks_for_more_than_the_document(self, kind: str) -> None:
        """Values at the edge of what is allowed are let through."""
        assert [rules.KINDS[kind](value) for value in GOOD[kind]] == [None] * len(GOOD[kind])

    @pytest.mark.parametrize("endpoint", ["PayBoxConfGet", "QrConfGet"])
    def test_a_terminal_may_have_a_product_name_of_its_own(self, endpoint: str) -> None:
        """The document prescribes their User-Agent, and gives no value of ``pid`` (C 94)."""
        assert said(Till().call(endpoint, pid="yunpos")) == said(Till().call(endpoint))

    def test_all_bad_fields_are_named_at_once(self, till: Till) -> None:
        """One answer tells everything that is wrong."""
        reply = till.call("pay", out_trade_no="x", total_fee="1.5", body=None, mch_create_ip="no")
        for name in ("out_trade_no", "total_fee", "body", "mch_create_ip"):
            assert f"{name} " in reply["msg"]

    def test_unknown_fields_take_part_in_the_signature(self, till: Till) -> None:
        """The document may gain parameters: they are signed, and do no harm (C 7)."""
        assert said(till.call("pay", some_new_name="数值 & more")) == PAID

    def test_a_value_may_hold_what_the_client_would_call_ambiguous(self, till: Till) -> None:
        """Another program may have sent it; the sandbox answers, and the client decides (M-04)."""
        reply = till.call("pay", attach="uid=5&total_fee=2")
        assert reply["attach"] == "uid=5&total_fee=2"

    @pytest.mark.parametrize(
        ("endpoint", "changes", "named"),
        [
            ("pay", {"auth_code": "910000000000001111"}, "device_info"),
            (
                "pay",
                {"auth_code": "6200000000000001111", "op_device_id": "device_01"},
                "op_device_id",
            ),
            ("facepay", {"paytype": "QQ"}, "device_info"),
            ("orderquery", {"out_trade_no": None}, "out_trade_no"),
            ("refund", {"out_trade_no": None}, "out_trade_no"),
            ("refund", {"refund_fee": "1001"}, "refund_fee"),
            ("refundquery", {"out_refund_no": None}, "out_refund_no"),
            ("WECHAT_PreOrder", {"trade_type": "APP"}, "sub_appid"),
            ("WECHAT_PreOrder", {"trade_type": "JSPAY", "sub_appid": "wx1"}, "buyer_id"),
            (
                "WECHAT_PreOrder",
                {"time_start": "20300101000000", "time_expire": "20300101000000"},
                "time_expire",
            ),
            ("ALIPAY_PreOrder", {"trade_type": "JSPAY"}, "buyer_id"),
            ("ALIPAY_PreOrder", {"time_start": "20300101000000"}, "time_expire"),
            ("ALIPAY_PreOrder", {"time_expire": "20300101000000"}, "time_start"),
            ("GetMchId", {"password": None}, "mobile"),
            ("GetMchId", {"username": None, "password": None, "valid": "1"}, "mobile"),
            (
                "wx_addsubdevconfig",
                {"subscribe_appid": "wx1", "receipt_appid": "wx2"},
                "receipt_appid",
            ),
        ],
    )
    def test_rules_over_several_fields_are_kept(
        self, till: Till, endpoint: str, changes: dict[str, str | None], named: str
    ) -> None:
        """One of two, one when the other, both or none: 20004, and the message names the field."""
        reply = till.call(endpoint, **changes)
        assert said(reply) == refused("20004")
        assert f"{named} " in reply["msg"]


class TestAdmission:
    def test_the_signature_comes_first(self, till: Till) -> None:
        """A wrong, missing, short or lower-case sign is 20002 whatever else is wrong."""
        right = till.signed("pay")
        for bad in ("0" * 32, "", right["sign"][:-1], right["sign"].lower()):
            fields = {**right, "sign": bad, "total_fee": "nonsense", "agent_id": "nobody"}
            assert said(parsed(till.post("pay", fields))) == refused("20002")
        assert said(parsed(till.post("pay", {**right, "total_fee": "9"}))) == refused("20002")

    def test_a_sign_over_empty_values_is_wrong(self, till: Till) -> None:
        """Empty parameters take no part in the signature, present or not (C 8)."""
        fields = {name: value for name, value in till.signed("pay").items() if name != "sign"}
        assert said(till.call("pay", attach="")) == PAID
        text = "&".join(
            f"{name}={value}" for name, value in sorted({**fields, "attach": ""}.items())
        )
        forged = {**fields, "attach": "", "sign": sign({"x": text})}
        assert said(parsed(till.post("pay", forged))) == refused("20002")

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"agent_id": "99999999999999999"}, "20012"),
            ({"agent_id": None}, "20012"),
            ({"mch_id": "99999999"}, "20005"),
            ({"mch_id": "00000030"}, "20005"),
            ({"mch_id": "00000013"}, "20013"),
            ({"total_fee": "416"}, "20013"),
        ],
    )
    def test_strangers_do_not_come_in(
        self, till: Till, changes: dict[str, str | None], code: str
    ) -> None:
        """Unknown agent, unknown or disabled merchant, merchant without configuration."""
        assert said(till.call("pay", **changes)) == refused(code)
        assert len(till.gateway.ledger.orders) == 0

    def test_a_caller_can_be_too_old(self, till: Till) -> None:
        """state VER, without a code (C 28)."""
        assert said(till.call("pay", version="0.0")) == ("VER", None, None)

    @pytest.mark.parametrize("method", ["payout", "", "GetMchInfo", "Mch_Reg"])
    def test_an_unknown_method_is_a_bad_parameter(self, till: Till, method: str) -> None:
        """20004 after the signature; calls with an address of their own are none of them."""
        assert said(till.call("pay", method=method)) == refused("20004")
        assert said(till.call("pay", method=method, sign="0" * 32)) == refused("20002")

    @pytest.mark.parametrize("sign_failures", [True, False])
    def test_the_world_decides_what_failures_carry(self, *, sign_failures: bool) -> None:
        """sign_failures=False: only a success is signed, and pre-orders never are (M-08)."""
        till = Till(sign_failures=sign_failures)
        assert "sign" in till.call("pay")
        assert "sign" not in till.call("WECHAT_PreOrder", out_trade_no="P100011")
        assert "sign" not in till.call("WECHAT_PreOrder")
        for reply in (
            till.call("pay"),
            till.call("pay", sign="0" * 32),
            till.call("pay", out_trade_no="B100011", total_fee="405"),
            till.call("pay", out_trade_no="C100011", total_fee="406"),
        ):
            assert ("sign" in reply) is sign_failures

    @pytest.mark.parametrize("sign_failures", [True, False])
    def test_a_success_is_signed_and_nothing_else_need_be(self, *, sign_failures: bool) -> None:
        """M-08, last sentence: every kind of answer that is no success, REFUND among them."""
        till = Till(sign_failures=sign_failures)
        refunded = {"out_trade_no": "E100011"}
        till.call("pay", **refunded)
        assert "sign" in till.call("refund", **refunded)
        assert "sign" in till.call("refundquery")
        others = {
            REFUNDED: till.call("orderquery", **refunded),
            WAITING: till.call("pay", out_trade_no="B100011", total_fee="405"),
            FAILED: till.call("pay", out_trade_no="C100011", total_fee="406"),
            CLOSED: _closed(till, "D100011"),
            refused("20007"): till.call("orderquery", out_trade_no="NOSUCH1"),
            ("VER", None, None): till.call("pay", version="0.0"),
            ("SUCCESS", None, None): till.call("PayBoxConfGet"),
        }
        for wanted, reply in others.items():
            assert said(reply) == wanted
            assert ("sign" in reply) is sign_failures


def _closed(till: Till, number: str) -> dict[str, Any]:
    till.call("pay", out_trade_no=number, total_fee="405")
    assert "sign" in till.call("cancel", out_trade_no=number)
    return till.call("orderquery", out_trade_no=number)


class TestTheWire:
    def _post(self, till: Till, **changes: Any) -> Any:
        request: dict[str, Any] = {
            "method": "POST",
            "path": "/UnifiedPay/Gateway",
            "content_type": "application/x-www-form-urlencoded",
            "body": b"",
        }
        return till.gateway.answer(HttpRequest(**{**request, **changes}))

    @pytest.mark.parametrize(
        "content_type", ["", "application/json", "text/xml", "multipart/form-data; boundary=x"]
    )
    def test_only_forms_are_read(self, till: Till, content_type: str) -> None:
        """Everything else is 415 before it is parsed."""
        assert self._post(till, content_type=content_type, body=b"a=1").status == 415

    def test_sizes_are_bounded(self, till: Till) -> None:
        """A body beyond 64 KiB is 413."""
        assert self._post(till, body=b"a=" + b"x" * MAX_BODY).status == 413

    @pytest.mark.parametrize(
        "body", [b"a=1&a=2", b"\xff", b"a", b"a=%FF", b"&".join(b"a%d=1" % n for n in range(201))]
    )
    def test_unreadable_forms_are_bad_parameters(self, till: Till, body: bytes) -> None:
        """A name twice, bytes that are no UTF-8, too many fields: 20004."""
        assert said(parsed(self._post(till, body=body))) == refused("20004")

    def test_a_form_may_come_as_simple_programs_write_it(self, till: Till) -> None:
        """UTF-8 without escapes, and an ampersand too many: what is signed is what is read."""
        fields = till.signed("pay", body="图书 100", attach="é+ü")
        plain = "&".join(f"{name}={value}" for name, value in fields.items()).replace("+", "%2B")
        assert said(parsed(self._post(till, body=f"{plain}&".encode()))) == PAID
        order = till.gateway.ledger.order("A100011")
        assert (order.asked["body"], order.asked["attach"]) == ("图书 100", "é+ü")

    def test_other_addresses_do_not_exist(self, till: Till) -> None:
        """404 for a path or an HTTP method that the document does not have."""
        assert self._post(till, path="/Open/wechat_preorder").status == 404
        assert self._post(till, method="GET").status == 404

    def test_requests_are_counted(self, till: Till) -> None:
        """Every arrival counts under its endpoint, refused ones too."""
        till.call("pay")
        till.call("pay")
        till.call("pay", sign="0" * 32)
        till.call("orderquery")
        assert till.gateway.requests == {"pay": 3, "orderquery": 1}

    @pytest.mark.parametrize("endpoint", ENDPOINTS)
    def test_replies_carry_what_the_document_lists(self, till: Till, endpoint: str) -> None:
        """Every required field, no field of another page, every value text (C 9)."""
        if endpoint in {"orderquery", "refund", "refundquery", "cancel"}:
            till.call("pay")
        if endpoint == "refundquery":
            till.call("refund")
        for _ in range(2 if endpoint == "PayBoxConfGet" else 0):  # the third poll finds a merchant
            till.call(endpoint)
        reply = till.call(endpoint)
        assert reply["state"] == "SUCCESS"
        document = spec.ENDPOINTS[endpoint]
        listed = {row["name"]: row["required"] for row in document["response"]}
        shown = {row["name"] for row in document.get("example_extra_fields", ())}
        envelope = {row["name"] for row in document["envelope"]}
        assert set(reply) <= listed.keys() | envelope | shown
        assert {name for name, required in listed.items() if required == "yes"} <= set(reply)
        numbers = {row["name"] for row in document["response"] if row.get("json_type") == "number"}
        for name, value in reply.items():
            assert isinstance(value, int if name in numbers else str)
            assert value
        example = document["response_signed_example"]
        assert ("sign" in reply) is example

    def test_escapes_are_written_small(self) -> None:
        """As in the vendor's samples: %5b, not %5B (C 15)."""
        assert written_form({"b": "C3", "a": '["纸'}) == b"a=%5b%22%e7%ba%b8&b=C3"

    def test_every_endpoint_has_a_valid_request_here(self) -> None:
        """The tests above run over all of them."""
        assert sorted(VALID) == ENDPOINTS
