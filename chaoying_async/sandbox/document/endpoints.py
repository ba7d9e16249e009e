"""Which address of the document is which endpoint, and what is special about some endpoints."""

from __future__ import annotations

from collections.abc import Mapping

#: The endpoint of an address where the parameter ``method`` names the call.
BY_METHOD = ""
#: HTTP method and path, as the document prints them, to endpoint.
ROUTES: Mapping[tuple[str, str], str] = {
    ("POST", "/UnifiedPay/Gateway"): BY_METHOD,
    ("POST", "/Open/WECHAT_PreOrder"): "WECHAT_PreOrder",
    ("POST", "/Open/ALIPAY_PreOrder"): "ALIPAY_PreOrder",
    ("POST", "/UnifiedPay/Mch_Reg"): "Mch_Reg",
    ("POST", "/Mch/GetMchSMSValid"): "GetMchSMSValid",
    ("POST", "/Mch/GetMchId"): "GetMchId",
    ("POST", "/Open/GetPartnerId"): "GetPartnerId",
    ("POST", "/Open/GetMchInfo"): "GetMchInfo",
    ("POST", "/Open/WXA_Code2Session"): "WXA_Code2Session",
    ("POST", "/open/wx_addsubdevconfig"): "wx_addsubdevconfig",
    ("GET", "/Mch/PayBoxConfGet"): "PayBoxConfGet",
}
#: Links in merchants' QR codes lead below this path; what follows is the code's number.
SCANNED = "/qrpay/"
#: Calls that the parameter ``method`` may name.
METHODS = frozenset(
    {
        *("pay", "facepay", "orderquery", "refund", "refundquery", "cancel"),
        *("getfaceauth", "authcodetoopenid"),
    }
)
PREORDERS = frozenset({"WECHAT_PreOrder", "ALIPAY_PreOrder"})
#: Endpoints that need a merchant who is enabled and has a trading configuration.
TRADES = METHODS | PREORDERS
#: Replies that the document prints without a signature (C 4).
UNSIGNED = PREORDERS | {"WXA_Code2Session"}
#: Replies that carry a ``nonce_str``.
NONCED = TRADES | {"Mch_Reg"}
#: Calls that only terminals make.
TERMINALS = frozenset({"PayBoxConfGet", "QrConfGet"})


def endpoint_at(method: str, path: str) -> str | None:
    """The endpoint of an address, :data:`BY_METHOD` if ``method`` decides; None without one."""
    if method == "GET" and path.startswith(SCANNED):
        return "QrConfGet"
    return ROUTES.get((method, path))


def endpoint_named(address: str, fields: Mapping[str, str]) -> str:
    """The endpoint at ``address``, by the parameter ``method`` where it decides; empty if none."""
    method = fields.get("method", "")
    return address or (method if method in METHODS else "")
