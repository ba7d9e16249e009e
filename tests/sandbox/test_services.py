"""Everything around payments: merchants, logins, faces, buyer ids, sessions, terminals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaoying_async import (
    AuthCodeToOpenId,
    GetFaceAuth,
    GetMchId,
    GetMchInfo,
    GetMchSmsValid,
    GetPartnerId,
    Hosts,
    MchReg,
    NotConfiguredYetError,
    PayBoxConfGet,
    PayType,
    QrConfGet,
    Request,
    SortOrder,
    SystemClock,
    WxaCode2Session,
    WxAddSubDevConfig,
)
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.document.http_messages import HttpRequest
from tests.sandbox_calls import (
    DONE,
    FAILED,
    PAID,
    Till,
    http_request,
    parsed,
    refused,
    said,
    session_with,
)

OK = ("SUCCESS", None, "10000")
CODE = "130000000000001111"


@pytest.fixture
def till() -> Till:
    return Till()


class TestCustomers:
    def test_a_looked_up_code_belongs_to_one_merchant(self, till: Till) -> None:
        """Only who asked can charge the code (C 41); the others are refused."""
        assert said(till.call("authcodetoopenid")) == DONE
        assert said(till.call("authcodetoopenid")) == DONE
        assert said(till.call("authcodetoopenid", mch_id="00000002")) == refused("20004")
        assert said(till.call("pay", auth_code=CODE, mch_id="00000002")) == refused("20004")
        assert said(till.call("pay", auth_code=CODE)) == PAID

    def test_a_buyer_keeps_an_id(self, till: Till) -> None:
        """The same code is the same buyer, another code another one."""
        first, again = (till.call("authcodetoopenid")["sub_openid"] for _ in range(2))
        other = till.call("authcodetoopenid", auth_code="280000000000001111")
        assert first == again != other["sub_openid"]
        assert other["paytype"] == "ALIPAY"

    def test_a_face_credential_lasts_its_hour(self, till: Till) -> None:
        """The same for the same terminal until expires_in is over, then another."""
        first = till.call("getfaceauth")
        till.later(seconds=int(first["expires_in"]) - 1)
        last = till.call("getfaceauth")
        assert (last["authinfo"], last["expires_in"]) == (first["authinfo"], "1")
        assert till.call("getfaceauth", device_id="2")["authinfo"] != first["authinfo"]
        till.later(seconds=1)
        assert till.call("getfaceauth")["authinfo"] != first["authinfo"]

    def test_a_mini_programs_code_is_good_once(self, till: Till) -> None:
        """The session comes unsigned, expires_in as a JSON number (C 4, C 9)."""
        reply = till.call("WXA_Code2Session")
        assert (reply["expires_in"], "sign" in reply) == (7200, False)
        assert said(till.call("WXA_Code2Session")) == refused("20004")

    def test_a_face_pays_like_a_code(self, till: Till) -> None:
        """The face code chooses the scenario as a payment code does."""
        assert said(till.call("facepay", face_code="120061098820000406")) == FAILED


class TestMerchants:
    def test_a_new_merchant_is_reviewed_and_then_trades(self, till: Till) -> None:
        """Awaiting review (20005) for a minute, then enabled."""
        number = till.call("Mch_Reg")["mch_id"]
        assert till.call("GetMchInfo", mch_id=number)["FullName"] == "新商户有限公司"
        assert said(till.call("pay", mch_id=number)) == refused("20005")
        till.later(minutes=1)
        assert said(till.call("pay", mch_id=number)) == PAID

    def test_an_sms_code_is_good_for_twenty_minutes(self, till: Till) -> None:
        """``code`` is the minutes (C 26); afterwards, or unasked for, the code is refused."""
        login: dict[str, Any] = {"username": None, "password": None, "mobile": "13800000000"}
        assert said(till.call("GetMchId", **login, valid="0000")) == refused("20004")
        assert till.call("GetMchSMSValid")["code"] == "20"
        assert said(till.call("GetMchId", **login, valid="1234")) == refused("20004")
        assert till.call("GetMchId", **login, valid="0000")["mch_id"] == "00000001"
        till.later(minutes=20)
        assert said(till.call("GetMchId", **login, valid="0000")) == refused("20004")

    @pytest.mark.parametrize(
        ("changes", "code"), [({"password": "wrong"}, "20004"), ({"username": "1"}, "20005")]
    )
    def test_a_login_must_be_right(self, till: Till, changes: dict[str, str], code: str) -> None:
        """Wrong password 20004, unknown login 20005."""
        assert said(till.call("GetMchId", **changes)) == refused(code)

    def test_partners_come_as_json_inside_json(self, till: Till) -> None:
        """One channel is in no table (C 103), one has no number yet."""
        partners = json.loads(till.call("GetPartnerId")["partner_list"])
        assert [each["pay_channel"] for each in partners] == ["CEB", "CCB", "WECHAT"]
        assert partners[2]["partner_id"] == ""

    def test_configuration_is_only_added_and_bounded(self, till: Till) -> None:
        """Two directories, accounts, recommendations; the third is 20004 and changes nothing."""
        add = "wx_addsubdevconfig"
        assert said(till.call(add, jsapi_path="http://a.com/;http://b.com/")) == OK
        assert said(till.call(add, jsapi_path="http://a.com/")) == OK
        assert said(till.call(add, jsapi_path="http://c.com/")) == refused("20004")
        for number in ("wx1", "wx2"):
            recommended = till.call(add, jsapi_path=None, appid=number, subscribe_appid=number)
            assert said(recommended) == OK
        assert said(till.call(add, jsapi_path=None, appid="wx3")) == refused("20004")
        receipt = till.call(add, jsapi_path=None, receipt_appid="wx3")
        assert said(receipt) == refused("20004")
        assert till.gateway.ledger.merchants["00000001"].appids == ("wx1", "wx2")

    def test_names_with_capitals_show_the_order(self) -> None:
        """GetMchInfo is the reply whose signature depends on the world's name order (C 1)."""
        tills = [Till(order=order) for order in SortOrder]
        bodies = [till.post("GetMchInfo", till.signed("GetMchInfo")).body for till in tills]
        ascii_order, ignoring_case = (json.loads(body) for body in bodies)
        assert ascii_order["FullName"] == ignoring_case["FullName"]
        assert ascii_order["sign"] != ignoring_case["sign"]


class TestTerminals:
    def test_a_terminal_polls_until_somebody_configured_it(self, till: Till) -> None:
        """Twice SUCCESS without a merchant, then the merchant; no answer has a code (C 27)."""
        for _ in range(2):
            reply = till.call("PayBoxConfGet")
            assert (reply["state"], "mch_id" in reply, "code" in reply) == ("SUCCESS", False, False)
        assert till.call("PayBoxConfGet")["mch_id"] == "00000001"

    def test_some_terminals_wait_for_ever(self, till: Till) -> None:
        """A number that ends in 0405 is configured by nobody."""
        replies = [till.call("PayBoxConfGet", op_device_id="0405") for _ in range(5)]
        assert not any("mch_id" in reply for reply in replies)

    def test_a_scanned_code_configures_at_once(self, till: Till) -> None:
        """Its number is the merchant's; the terminal keeps it from then on."""
        assert till.call("QrConfGet")["mch_trade_code"] == "SandBox01"
        assert till.call("PayBoxConfGet")["mch_id"] == "00000001"

    def test_both_rules_of_signing_the_codes_number_are_taken(self, till: Till) -> None:
        """Unsigned as in v2.9.0, signed as later, or already in the link's query (C 97)."""
        fields = till.signed("QrConfGet", code_number="00000001")
        sent = {name: value for name, value in fields.items() if name != "code_number"}
        assert parsed(till.post("QrConfGet", sent))["mch_id"] == "00000001"
        assert parsed(till.post("QrConfGet", fields))["mch_id"] == "00000001"
        assert said(parsed(till.post("QrConfGet", {**sent, "sign": "0" * 32}))) == refused("20002")

    def test_an_unknown_code_is_a_merchant_error(self, till: Till) -> None:
        """20005, and the terminal stays without a merchant."""
        reply = till.call("QrConfGet", code_number="nobody")
        assert said(reply) == refused("20005")
        assert len(till.gateway.ledger.terminals) == 0

    @pytest.mark.parametrize("endpoint", ["PayBoxConfGet", "QrConfGet"])
    def test_terminals_name_themselves_in_the_header(self, till: Till, endpoint: str) -> None:
        """User-Agent exactly CySoftPayBox, on these two calls (C 94)."""
        right = http_request(endpoint, till.signed(endpoint))
        wrong = HttpRequest(method="GET", path=right.path, query=right.query, user_agent="curl")
        assert said(parsed(till.gateway.answer(wrong))) == refused("20004")


LINK = "https://qrpay.storepos.cn/qrpay/00000001?op_shop_id=id_shop&op_user_id=id_user"
#: One of each remaining call, as the library's users type it.
REQUESTS: list[Request[Any]] = [
    GetFaceAuth(
        paytype=PayType.WECHAT, store_id="s1", store_name="门店", device_id="d1", rawdata="r1"
    ),
    AuthCodeToOpenId(auth_code=CODE),
    WxaCode2Session(appid="wx1", js_code="once"),
    MchReg(extra={"DealType": "1", "aName": "b"}),
    GetMchSmsValid(mobile="13800000000"),
    GetMchId(username="13800000000", password="12345678"),
    GetPartnerId(),
    GetMchInfo(),
    WxAddSubDevConfig(appid="wx1"),
    QrConfGet(url=LINK, device_info="box", op_device_id="1"),
    QrConfGet(url=LINK, device_info="box", op_device_id="2", code_number_from_path=True),
]


@pytest.mark.parametrize("order", list(SortOrder))
@pytest.mark.parametrize("sign_failures", [True, False])
async def test_the_client_understands_every_reply(order: SortOrder, *, sign_failures: bool) -> None:
    """Each remaining endpoint gives a result, in every world."""
    async with (
        Sandbox(sign_failures=sign_failures, sort_order=order) as sandbox,
        session_with(sandbox) as session,
    ):
        for request in REQUESTS:
            assert (await session.send(request)).unwrap() is not None
        poll = PayBoxConfGet(device_info="box", op_device_id="3")
        for _ in range(2):
            with pytest.raises(NotConfiguredYetError):
                (await session.send(poll)).unwrap()
        assert (await session.send(poll)).unwrap().mch_id == "00000001"


async def test_a_terminal_scans_a_code_of_the_served_sandbox() -> None:
    """Over real HTTP, at a loopback address that Hosts.single allows (M-05)."""
    async with Sandbox(clock=SystemClock()) as sandbox, sandbox.serve() as url:
        options = {"transport": None, "hosts": Hosts.single(url), "clock": None}
        async with session_with(sandbox, **options) as session:
            link = f"{url}/qrpay/00000002?op_shop_id=1"
            scanned = QrConfGet(url=link, device_info="box", op_device_id="1")
            assert (await session.send(scanned)).unwrap().mch_id == "00000002"
