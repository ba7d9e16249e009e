"""M-07 to M-11 of rules.md and the errors of design.md once more: what the code is held against.

Nothing here imports the library's own tables.
"""

from __future__ import annotations

from typing import Final

#: Every code of the document, two that it does not have, and none at all.
CODES: Final = (
    *("10000", "10001", "10002", "10003", "10004", "10005", "10006"),
    *("20002", "20003", "20004", "20005", "20006", "20007", "20008"),
    *("20009", "20010", "20011", "20012", "20013", "30001"),
    *("99999", "SUCCESS"),
    None,
)
STATES: Final = ("SUCCESS", "FAIL", "VER", "success", "WAT", None)
TRADE_STATES: Final = (
    *("SUCCESS", "FAIL", "PROCESSING", "NEED_QUERY", "REFUND"),
    "WAT",
    None,
)

TRADES: Final = (
    *("pay", "facepay", "orderquery", "refund", "refundquery", "cancel"),
    *("getfaceauth", "authcodetoopenid", "WECHAT_PreOrder", "ALIPAY_PreOrder"),
)
OPERATIONS: Final = ("Mch_Reg", "GetMchId", "GetPartnerId", "GetMchInfo", "WXA_Code2Session")
SMS: Final = "GetMchSMSValid"
SETTING: Final = "wx_addsubdevconfig"
TERMINALS: Final = ("PayBoxConfGet", "QrConfGet")
ENDPOINTS: Final = (*TRADES, *OPERATIONS, SMS, SETTING, *TERMINALS)

PRE_ORDERS: Final = ("WECHAT_PreOrder", "ALIPAY_PreOrder")
MONEY: Final = ("pay", "facepay", "refund", "cancel", *PRE_ORDERS)
PRINTED_UNSIGNED: Final = (*PRE_ORDERS, "WXA_Code2Session")

#: M-09, left column: this call moved nothing.
NOTHING_MOVED: Final = {
    "pay": ("20002", "20005", "20012", "20013"),
    "facepay": ("20002", "20005", "20012", "20013"),
    "refund": ("20002", "20005", "20012", "20013", "20007"),
    "cancel": ("20002", "20005", "20012", "20013"),
}
#: M-09, right column of the pre-orders.
PRE_ORDER_UNCLEAR: Final = ("20003", "20006", "30001", None)

#: The tree of design.md: each error under the one that it is a kind of.
ERROR_TREE: Final = """
ChaoyingError
  ParameterError
  TransportError
    RequestNotSentError
    OutcomeUnknownError
    GatewayUnavailableError
  ProtocolError
    MalformedMessageError
    ReplyMismatchError
    SignatureVerificationError
      MissingSignatureError
      AmbiguousSignatureError
  GatewayError
    SignatureRefusedError
    InvalidRequestError
    MerchantError
    SystemRefusedError
    OrderNotFoundError
    RefundRefusedError
    QueryRefusedError
    CancelRefusedError
    AgentError
    MerchantConfigError
    VersionTooLowError
  TradePendingError
  TradeFailedError
  TradeRefundedError
  NotConfiguredYetError
  PollTimeoutError
  StoreError
  UsageError
    WrongEventLoopError
    SessionClosedError
    BodyAlreadyConsumedError
    StoreInUseError
    AttemptInProgressError
    HandlerMisuseError
"""
#: Which of them a code becomes.
REFUSALS: Final = {
    "20002": "SignatureRefusedError",
    "20004": "InvalidRequestError",
    "20005": "MerchantError",
    "20006": "SystemRefusedError",
    "20007": "OrderNotFoundError",
    "20008": "RefundRefusedError",
    "20009": "QueryRefusedError",
    "20010": "QueryRefusedError",
    "20011": "CancelRefusedError",
    "20012": "AgentError",
    "20013": "MerchantConfigError",
}


def has_result(name: str, code: str | None, trade_state: str | None) -> bool:
    """M-07 under state SUCCESS, for a terminal that is configured; C 23 for what contradicts."""
    if name in TRADES:
        return trade_state == "SUCCESS" and code in ("10000", None)
    if trade_state not in ("SUCCESS", None):
        return False
    if name in OPERATIONS:
        return code == "10000"
    return name == SMS or code in ("10000", None)


def unwrap_raises(name: str, code: str | None, trade_state: str | None) -> str:
    """M-07's last sentence; the code of GetMchSMSValid is minutes and says nothing (C 26)."""
    if name in TERMINALS:
        return "NotConfiguredYetError"
    status = None if name == SMS else code
    if trade_state == "REFUND" or status == "10002":
        return "TradeRefundedError"
    about_the_payment = name not in ("refund", "refundquery", "cancel")
    if about_the_payment and trade_state == "FAIL" and status in ("10004", "10005", "10006"):
        return "TradeFailedError"
    return "TradePendingError"


def refused(name: str, state: str, code: str | None) -> str:
    """The GatewayError of a refusal."""
    if state == "VER":
        return "VersionTooLowError"
    return "GatewayError" if name == SMS else REFUSALS.get(code or "", "GatewayError")


def nothing_moved(name: str, state: str, code: str | None) -> bool:
    """M-09: the refusal is final for this call."""
    if name not in MONEY:
        return True
    if state == "VER":
        return False
    if name in PRE_ORDERS:
        return code not in PRE_ORDER_UNCLEAR
    return code in NOTHING_MOVED[name]


def verdict(  # noqa: PLR0911 - one line for each row of the rules
    name: str,
    state: str | None,
    code: str | None,
    trade_state: str | None,
    *,
    signed: bool,
    trusted: bool,
    require_signed: bool,
) -> tuple[str, ...]:
    """What read_reply does: ("result",), (error of unwrap,), or ("raises", class, refusal)."""

    def unusable(error: str) -> tuple[str, ...]:
        return ("raises", "OutcomeUnknownError", "") if name in MONEY else ("raises", error, "")

    final_counts = signed or (trusted and not require_signed)  # M-08's last half, M-09's "on https"
    if state in ("FAIL", "VER"):
        refusal = refused(name, state, code)
        if final_counts and nothing_moved(name, state, code):
            return "raises", refusal, ""
        if name in MONEY:
            return "raises", "OutcomeUnknownError", refusal
        return unusable("MissingSignatureError")
    if state != "SUCCESS":
        return unusable("MalformedMessageError")
    if has_result(name, code, trade_state):
        fine = signed or (name in PRINTED_UNSIGNED and not require_signed)
        return ("result",) if fine else unusable("MissingSignatureError")
    if require_signed and not signed:  # "refuses all of these"
        return unusable("MissingSignatureError")
    error = unwrap_raises(name, code, trade_state)
    if error == "TradeRefundedError" and not signed:
        return unusable("MissingSignatureError")
    if error == "TradeFailedError" and not final_counts:
        return unusable("MissingSignatureError")
    return (error,)
