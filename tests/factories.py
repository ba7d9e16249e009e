"""One valid request of every kind, and credentials whose key would be noticed anywhere (M-27)."""

from __future__ import annotations

import json
from typing import Any, Final

from chaoying_async import (
    AlipayPreOrder,
    AuthCodeToOpenId,
    Cancel,
    Credentials,
    FacePay,
    GetFaceAuth,
    GetMchId,
    GetMchInfo,
    GetMchSmsValid,
    GetPartnerId,
    MchReg,
    OrderQuery,
    Pay,
    PayBoxConfGet,
    PayType,
    QrConfGet,
    Refund,
    RefundQuery,
    TradeType,
    WechatPreOrder,
    WxaCode2Session,
    WxAddSubDevConfig,
)
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.signing import sign_for, texts

#: Values that occur nowhere else: found in a log, a repr or an error, they got out (M-27).
KEY: Final = "canaryKEY94b1c07e5d"
AUTH_CODE: Final = "134907215563381924"
OPENID: Final = "oCANARYopenid3f72a9"
CANARIES: Final = (KEY, AUTH_CODE, OPENID)

MCH_ID: Final = "00000001"
ORDER: Final = "A100011"
REFUND: Final = "R-100011"
TRANSACTION: Final = "4200000334201905246610520000"
REFUND_ID: Final = "50000000482019052409653860000"

CREDENTIALS: Final = Credentials(agent_id="95272019032500001", key=KEY, pid="test_pid")

SCANNED_URL: Final = "https://qrpay.storepos.cn/qrpay/0000000100?op_shop_id=1"


def every_request(mch_id: str | None = MCH_ID) -> dict[str, Request[Any]]:
    """A valid request for each of the 19 endpoints, by the document's own name."""
    wechat: dict[str, Any] = {"paytype": PayType.WECHAT, "mch_id": mch_id}
    requests: list[Request[Any]] = [
        GetFaceAuth(
            **wechat, store_id="s1", store_name="shop", device_id="d1", rawdata="raw-of-the-face"
        ),
        FacePay(
            **wechat,
            openid=OPENID,
            face_code="face-code-0001",
            out_trade_no=ORDER,
            body="tea",
            total_fee=100,
        ),
        Pay(mch_id=mch_id, out_trade_no=ORDER, body="tea", total_fee=100, auth_code=AUTH_CODE),
        OrderQuery(**wechat, out_trade_no=ORDER),
        Refund(
            **wechat,
            out_trade_no=ORDER,
            out_refund_no=REFUND,
            total_fee=100,
            refund_fee=40,
            op_user_id="op1",
        ),
        RefundQuery(**wechat, out_refund_no=REFUND),
        Cancel(**wechat, out_trade_no=ORDER, op_user_id="op1"),
        AuthCodeToOpenId(mch_id=mch_id, sub_appid="wx1", auth_code=AUTH_CODE),
        WechatPreOrder(
            mch_id=mch_id,
            body="tea",
            out_trade_no=ORDER,
            total_fee=100,
            trade_type=TradeType.JSPAY,
            sub_appid="wx1",
            buyer_id=OPENID,
        ),
        AlipayPreOrder(
            mch_id=mch_id,
            body="tea",
            out_trade_no=ORDER,
            total_fee=100,
            trade_type=TradeType.NATIVE,
        ),
        MchReg(extra={"registration": "1"}),
        GetMchSmsValid(mobile="13800000000"),
        GetMchId(mobile="13800000000", valid="493817"),
        GetPartnerId(mch_id=mch_id),
        GetMchInfo(mch_id=mch_id),
        WxaCode2Session(appid="wx1", js_code="js-code-0001"),
        WxAddSubDevConfig(mch_id=mch_id, appid="wx1"),
        PayBoxConfGet(device_info="d1", op_device_id="od1"),
        QrConfGet(url=SCANNED_URL, device_info="d1", op_device_id="od1"),
    ]
    return {request.endpoint.name: request for request in requests}


#: Those that change what somebody owns: sent once, whatever happens (M-02).
MONEY: Final = ("pay", "facepay", "refund", "cancel", "WECHAT_PreOrder", "ALIPAY_PreOrder")


def answer_fields(name: str, **changes: Any) -> dict[str, str]:
    """The fields of a full success of this endpoint; ``changes`` with None take one out."""
    fields: dict[str, Any] = {"state": "SUCCESS", "code": "10000", "trade_state": "SUCCESS"}
    fields |= _ANSWERS.get(name, {}) | changes
    return texts({key: value for key, value in fields.items() if value is not None})


_ORDER: dict[str, str | None] = {
    "mch_id": MCH_ID,
    "out_trade_no": ORDER,
    "transaction_id": TRANSACTION,
}
_PAID: dict[str, str | None] = _ORDER | {
    "base_fee": "100",
    "total_fee": "100",
    "time_end": "20260101080000",
}
_REFUND_LIST = json.dumps(
    [{"out_refund_no": REFUND, "refund_id": REFUND_ID, "refund_status": "SUCCESS"}]
)
_CONFIG = {"mch_id": MCH_ID, "mch_trade_code": "8888", "trade_state": None}
_ANSWERS: dict[str, dict[str, str | None]] = {
    "pay": _PAID | {"openid": OPENID},
    "facepay": _PAID | {"openid": OPENID},
    "orderquery": _PAID | {"openid": OPENID, "paytype": "WECHAT"},
    "refund": _ORDER | {"out_refund_no": REFUND, "refund_id": REFUND_ID, "refund_fee": "40"},
    "refundquery": _ORDER | {"refund_list": _REFUND_LIST},
    "cancel": {"mch_id": MCH_ID, "out_trade_no": ORDER},
    "authcodetoopenid": {"mch_id": MCH_ID, "auth_code": AUTH_CODE, "sub_openid": OPENID},
    "WECHAT_PreOrder": {"mch_id": MCH_ID, "out_trade_no": ORDER, "sub_openid": OPENID},
    "ALIPAY_PreOrder": {"mch_id": MCH_ID, "out_trade_no": ORDER},
    "Mch_Reg": {"mch_id": MCH_ID, "trade_state": None},
    "GetMchSMSValid": {"code": "10", "trade_state": None},
    "GetMchId": {"mch_id": MCH_ID, "trade_state": None},
    "GetPartnerId": {"mch_id": MCH_ID, "partner_list": "[]", "trade_state": None},
    "GetMchInfo": {"mch_id": MCH_ID, "FullName": "shop", "trade_state": None},
    "WXA_Code2Session": {"openid": OPENID, "session_key": "session-key-1", "trade_state": None},
    "wx_addsubdevconfig": {"trade_state": None},
    "PayBoxConfGet": _CONFIG,
    "QrConfGet": _CONFIG,
}


def body_of(fields: dict[str, str], *, signed: bool = True) -> bytes:
    """A reply's bytes, signed by :data:`CREDENTIALS` unless told otherwise."""
    message = dict(fields)
    if signed:
        message["sign"] = sign_for(CREDENTIALS, message)
    return json.dumps(message, ensure_ascii=False).encode()
