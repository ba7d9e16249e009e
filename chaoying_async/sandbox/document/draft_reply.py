"""How a reply says that a call was carried out, or why not: the document's status fields."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class DraftReply:
    """A reply before it is signed and written: the four status fields, then all other fields."""

    state: str = "SUCCESS"
    code: str = "10000"
    trade_state: str = ""
    msg: str = "SUCCESS"
    fields: Mapping[str, str | int] = attrs.field(factory=dict)
    complete: bool = True
    """False: carried out, but without what was asked for (a terminal without a merchant)."""
    lost: bool = False
    """True: the connection is cut before the reply reaches the client."""

    @property
    def succeeded(self) -> bool:
        """Whether this is a business success, which the later document signs in every case."""
        return self.complete and self.state == "SUCCESS" and self.trade_state in ("SUCCESS", "")


#: Codes of calls that were not carried out, as the document names them.
REFUSALS: Mapping[str, str] = {
    "20002": "签名错误",
    "20003": "响应结果签名错误",
    "20004": "参数错误",
    "20005": "商户错误",
    "20006": "系统错误",
    "20007": "订单不存在",
    "20008": "退款错误",
    "20009": "交易查询错误",
    "20010": "退款查询错误",
    "20011": "交易撤销错误",
    "20012": "代理商错误",
    "20013": "商户交易配置错误",
    "30001": "网络异常",
}


def success(fields: Mapping[str, str | int]) -> DraftReply:
    """The answer to a trade call that did what was asked."""
    return DraftReply(trade_state="SUCCESS", fields=fields)


def refusal(code: str, why: str = "") -> DraftReply:
    """``state`` FAIL with a code of the document, the document's words for it, and a reason."""
    words = REFUSALS[code]
    return DraftReply(state="FAIL", code=code, msg=f"{words}: {why}" if why else words)
