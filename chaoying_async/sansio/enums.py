"""The document's code tables (编码表), as :class:`~enum.StrEnum`.

Every set is closed when sending and open when reading: a value outside its table is refused in a
request unless wrapped in :class:`Undocumented`, and stays a plain ``str`` in a reply (C 29).
"""

from __future__ import annotations

import re
from enum import StrEnum


class Undocumented(str):
    """A value of a code table that the document does not list, sent as it is.

    ``Undocumented("ECNY")`` says: the gateway told me that it accepts this value.
    """

    __slots__ = ()


class State(StrEnum):
    """通讯状态: communication status: whether the gateway accepted and handled the call."""

    SUCCESS = "SUCCESS"
    """The call was accepted and handled; what became of the order is another field.
    （成功，仅指通讯，订单结果看其他字段）
    """
    FAIL = "FAIL"
    """The call was refused, or its outcome is unknown: the code says which (C 37).
    （失败，被拒绝还是结果未知，看状态码）
    """
    VER = "VER"
    """Refused: the caller's version is too low (C 28).（版本过低）"""


class Code(StrEnum):
    """状态码: status code of a response (a decimal string).

    10001 to 10006 describe an order, 20xxx a refused call, 30001 trouble behind the gateway.
    """

    SUCCESS = "10000"
    """Success.（成功）"""
    PAYING = "10001"
    """The customer is paying: ask again.（支付中，须继续查询）"""
    REFUND = "10002"
    """The order has gone into refund; under state FAIL most likely a bad signature (C 19).
    （转入退款；state 为 FAIL 时多半是签名错误）
    """
    NOT_PAID = "10003"
    """Not paid yet: ask again.（未支付，须继续查询）"""
    CLOSED = "10004"
    """Closed without payment.（已关闭，没有支付）"""
    REVOKED = "10005"
    """Revoked without payment.（已撤销，没有支付）"""
    PAY_ERROR = "10006"
    """The payment failed.（支付错误）"""
    SIGNATURE_ERROR = "20002"
    """The request's signature is wrong.（签名错误）"""
    RESULT_SIGNATURE_ERROR = "20003"
    """Behind the gateway a result was signed wrongly: the outcome is unknown (C 37).
    （响应结果签名错误，结果未知，不能当作失败）
    """
    PARAMETER_ERROR = "20004"
    """A parameter is wrong; on a payment it may mean "number already used" (M-09).
    （参数错误，支付时可能表示单号已被用过）
    """
    MERCHANT_ERROR = "20005"
    """The merchant number is unknown or disabled.（商户错误）"""
    SYSTEM_ERROR = "20006"
    """Trouble inside the gateway: the outcome is unknown.（系统错误，结果未知，不能当作失败）"""
    ORDER_NOT_FOUND = "20007"
    """No such order *yet*; never "failed" by itself (C 38).
    （订单不存在，只是还查不到，绝不等于失败）
    """
    REFUND_ERROR = "20008"
    """The refund was refused; query it with the same number (M-09).
    （退款错误，须用同一退款单号查询）
    """
    QUERY_ERROR = "20009"
    """The query failed, which says nothing of the order.（交易查询错误，不说明订单的结果）"""
    REFUND_QUERY_ERROR = "20010"
    """The query failed, which says nothing of the refund.（退款查询错误，不说明退款的结果）"""
    CANCEL_ERROR = "20011"
    """The cancel was refused; query the order (M-09).（交易撤销错误，须查询订单）"""
    AGENT_ERROR = "20012"
    """The agent number is unknown or disabled.（代理商错误）"""
    MERCHANT_CONFIG_ERROR = "20013"
    """The merchant is not set up for this kind of payment.（商户交易配置错误）"""
    NETWORK_ERROR = "30001"
    """The network failed behind the gateway: the outcome is unknown (C 37).
    （网络异常，结果未知，不能当作失败）
    """


class Scene(StrEnum):
    """支付场景: payment scene."""

    MICROPAY = "1"
    """Customer shows a code, merchant scans it (micropay).（被扫支付）"""
    OFFICIAL_ACCOUNT = "2"
    """Official account / Alipay service window.（公众号/服务窗支付）"""
    APP = "3"
    """In-app payment.（APP支付）"""
    NATIVE = "4"
    """Native QR code scanned by the customer.（原生扫码支付）"""


class TradeState(StrEnum):
    """交易状态: trade status of the call.

    About the *call*: only for pay, facepay and orderquery does SUCCESS mean paid (C 24).
    """

    SUCCESS = "SUCCESS"
    """The call did what was asked; *paid* for pay, facepay and orderquery only (C 24).
    （成功，仅 pay、facepay、orderquery 中表示已支付）
    """
    FAIL = "FAIL"
    """The call failed.（失败）"""
    PROCESSING = "PROCESSING"
    """In progress: wait, then query (C 30).（处理中，稍后查询）"""
    NEED_QUERY = "NEED_QUERY"
    """The outcome is unknown: wait, then query (C 30).（需要查询，结果未知，稍后查询）"""
    REFUND = "REFUND"
    """The order has gone into refund.（转入退款）"""


class PayType(StrEnum):
    """支付方式: wallet / payment method."""

    WECHAT = "WECHAT"
    """WeChat Pay.（微信）"""
    ALIPAY = "ALIPAY"
    """Alipay.（支付宝）"""
    JDPAY = "JDPAY"
    """JD Pay.（京东支付）"""
    QQ = "QQ"
    """QQ Wallet.（QQ钱包）"""
    UNIONPAY = "UNIONPAY"
    """UnionPay QuickPass.（云闪付）"""
    BESTPAY = "BESTPAY"
    """China Telecom BestPay.（翼支付）"""

    @classmethod
    def from_auth_code(cls, auth_code: str) -> PayType | None:
        """The wallet behind a scanned payment code, by its published prefix and length.

        None when unsure: the prefixes are the wallets' own and not in the document, so never guess
        a refund or a cancel from them alone (C 32).
        """
        return next((wallet for wallet, fits in _AUTH_CODES if fits(auth_code)), None)


class PicType(StrEnum):
    """进件图片类型: picture type in merchant onboarding."""

    ID_CARD = "1"
    """Second-generation identity card.（二代身份证）"""
    BUSINESS_LICENCE = "2"
    """Business licence.（营业执照）"""
    ORGANISATION_CERTIFICATE = "3"
    """Organisation certificate photo.（组织机构证件照）"""
    MERCHANT_AGREEMENT = "4"
    """Merchant agreement photo.（商户协议照）"""


class TypeId(StrEnum):
    """图像识别类型: image recognition type."""

    ID_CARD_FRONT = "2"
    """Second-generation identity card, front.（二代身份证正面）"""
    ID_CARD_BACK = "3"
    """Second-generation identity card, back.（二代身份证背面）"""
    BANK_CARD = "17"
    """Bank card.（银行卡）"""
    BUSINESS_LICENCE = "2008"
    """Business licence.（营业执照）"""


class DealType(StrEnum):
    """经营类型: kind of business."""

    PHYSICAL = "0"
    """Physical.（实体）"""
    VIRTUAL = "1"
    """Virtual.（虚拟）"""


class LegalPersonType(StrEnum):
    """营业执照持有人类型: holder of the business licence."""

    INDIVIDUAL = "0"
    """Individual.（个人）"""
    ENTERPRISE = "1"
    """Enterprise.（企业）"""


class LegalPersonCertType(StrEnum):
    """法人证件类型: identity document of the legal person.

    Beware: counts from 0, :class:`IdCardType` from 1 (C 104).
    """

    ID_CARD = "0"
    """Identity card.（身份证）"""
    PASSPORT = "1"
    """Passport.（护照）"""


class FlagType(StrEnum):
    """商户类型: merchant type (QrCodeMchApply onboarding)."""

    INDIVIDUAL_BUSINESS = "0"
    """Individual business.（个体户）"""
    ENTERPRISE = "1"
    """Enterprise.（企业）"""
    PUBLIC_INSTITUTION = "2"
    """Government or public institution.（政府及事业单位）"""


class AccountType(StrEnum):
    """结算账户类型: settlement account type."""

    CORPORATE = "1"
    """Corporate account.（企业）"""
    PERSONAL = "2"
    """Personal account.（个人）"""


class IdCardType(StrEnum):
    """结算账户银行卡持卡人证件类型: identity document of the settlement card holder.

    Beware: counts from 1, :class:`LegalPersonCertType` from 0 (C 104).
    """

    ID_CARD = "1"
    """Identity card.（身份证）"""
    PASSPORT = "2"
    """Passport.（护照）"""


class PaymentChannelId(StrEnum):
    """支付通道编码: payment channel.

    ``CCB`` stands in an example only (C 103); the set is open.
    """

    SPDB = "SPDB"
    """Shanghai Pudong Development Bank.（浦发）"""
    CEB = "CEB"
    """China Everbright Bank.（光大）"""
    BESTPAY = "BESTPAY"
    """China Telecom BestPay.（翼支付）"""
    TTG = "TTG"
    """Taotaogu (TTG).（淘淘谷）"""
    JDPAY = "JDPAY"
    """JD Pay.（京东支付）"""
    UNIONPAY = "UNIONPAY"
    """UnionPay QuickPass.（云闪付）"""
    WECHAT = "WECHAT"
    """WeChat Pay.（微信）"""
    ALIPAY = "ALIPAY"
    """Alipay.（支付宝）"""
    MUNITEDPASS = "MUNITEDPASS"
    """Huishang Tongying.（汇商通盈）"""
    SAND = "SAND"
    """Sand (Shande).（杉德）"""
    CCB = "CCB"
    """China Construction Bank; in an example only (C 103).（建行，仅见于示例）"""


class RefundStatus(StrEnum):
    """退款状态: status of one refund.

    Final are SUCCESS, FAIL and CHANGE; after NOTSURE the same number is sent again (M-25).
    """

    SUCCESS = "SUCCESS"
    """Refunded: the money is back, or on its way.（退款成功，款项已退回或在途）"""
    FAIL = "FAIL"
    """The refund failed: a new one needs a new number (M-25).（退款失败，再次退款须换新单号）"""
    PROCESSING = "PROCESSING"
    """In progress; banks take 1 to 3 working days.（退款处理中，银行需 1 到 3 个工作日）"""
    NOTSURE = "NOTSURE"
    """Not determined: send the refund again with the *same* number (M-25).
    （未确定，须用原退款单号重新发起）
    """
    CHANGE = "CHANGE"
    """The bank could not return it (card cancelled or frozen): a person has to pay it out (M-25).
    （转入代发，原路退款失败，需人工退款）
    """


class RefundChannel(StrEnum):
    """退款渠道: refund route."""

    ORIGINAL = "ORIGINAL"
    """Back to where the money came from; the default.（原路退款，默认）"""


class MchState(StrEnum):
    """商户状态: merchant status."""

    AWAITING_REVIEW = "0"
    """Awaiting review.（待审核）"""
    ENABLED = "20"
    """Enabled.（启用）"""
    DISABLED = "30"
    """Disabled.（停用）"""


class TradeType(StrEnum):
    """``trade_type_request`` 交易类型（请求）: trade type asked for in a pre-order."""

    JSPAY = "JSPAY"
    """Inside the wallet: an official account, a mini program or an Alipay service window.
    （服务窗支付）
    """
    NATIVE = "NATIVE"
    """Native QR code.（原生扫码支付）"""
    APP = "APP"
    """In-app payment.（APP支付）"""
    APP_BANK = "APP_BANK"
    """In-app payment, bank mode.（APP支付银行模式）"""


class TradeTypeResult(StrEnum):
    """交易类型（结果）: trade type reported in results and notifications.

    Open: WeChat is spelled both weixin and wechat (C 82).
    """

    ALIPAY_NATIVE = "pay.alipay.native"
    """Native QR code payment.（原生扫码支付）"""
    ALIPAY_JSPAY = "pay.alipay.jspay"
    """Service window payment.（服务窗支付）"""
    WEIXIN_NATIVE = "pay.weixin.native"
    """A QR code paid in WeChat; seen only in the WeChat notification's example.
    （微信原生扫码支付，仅见于示例）
    """
    WECHAT_MICROPAY = "pay.wechat.micropay"
    """A code scanned in WeChat; seen only in the orderquery example.（微信被扫支付，仅见于示例）"""


class IsSubscribe(StrEnum):
    """是否关注: whether the payer follows the official account."""

    YES = "Y"
    """Follows.（关注）"""
    NO = "N"
    """Does not follow.（未关注）"""


class IsMinipg(StrEnum):
    """是否小程序支付: whether the payment runs in a mini program."""

    MINI_PROGRAM = "1"
    """Mini program.（小程序支付）"""
    OFFICIAL_ACCOUNT = "0"
    """Official account.（公众号支付）"""


class LimitPay(StrEnum):
    """指定支付方式: restriction on the funding source.

    One meaning, two spellings: the example column and the description (C 66).
    """

    NO_CREDIT = "NO_CREDIT"
    """No credit cards, as the example spells it.（不能使用信用卡支付）"""
    NO_CREDIT_LOWER = "no_credit"
    """No credit cards, as the description spells it.（不能使用信用卡支付）"""


class ResultCode(StrEnum):
    """状态码（通知）: business result in a notification."""

    SUCCESS = "SUCCESS"
    """Success; every other value is a failure.（成功，其他值均为失败）"""


class PayResultCode(StrEnum):
    """``pay_result`` 支付结果: payment result in a notification.

    ``0`` alone means paid.
    """

    PAID = "0"
    """Paid; every other value is a failure.（已支付，其他值均为失败）"""


class NotifyReply(StrEnum):
    """返回结果: what the merchant answers to a notification."""

    SUCCESS = "success"
    """Processed: the gateway stops notifying.（处理成功，网关不再通知）"""
    FAIL = "fail"
    """Not processed: the gateway notifies again, as after any other text.
    （处理不成功，网关会再次通知）
    """


class FeeType(StrEnum):
    """货币类型: currency, three-letter ISO 4217 code."""

    CNY = "CNY"
    """Renminbi; the default.（人民币）"""


class Method(StrEnum):
    """接口名称: value of the method parameter of the gateway."""

    getfaceauth = "getfaceauth"
    """Get face-payment SDK credential.（获取SDK调用凭证）"""
    facepay = "facepay"
    """Submit a face payment.（刷脸支付-提交支付）"""
    pay = "pay"
    """Submit a micropay.（被扫支付-提交支付）"""
    orderquery = "orderquery"
    """Query an order.（订单查询）"""
    refund = "refund"
    """Refund.（交易退款）"""
    refundquery = "refundquery"
    """Query refunds.（退款查询）"""
    cancel = "cancel"
    """Cancel an order.（交易撤销）"""
    authcodetoopenid = "authcodetoopenid"
    """Look up the buyer id behind a payment code.（付款码查询买家Id）"""


class ProfitSharing(StrEnum):
    """分账标识: profit sharing flag."""

    NO = "N"
    """Seen in the example; presumably "no".（不分账，仅见于示例）"""


class BankType(StrEnum):
    """付款银行: paying bank or account."""

    CFT = "CFT"
    """Tenpay, by the look of it; seen in the WeChat notification's example.
    （财付通，仅见于示例）
    """
    ALIPAYACCOUNT = "ALIPAYACCOUNT"
    """An Alipay account; seen in the Alipay notification's example.（支付宝账户，仅见于示例）"""


class FundChannel(StrEnum):
    """资金渠道: fundChannel of a fund_bill_list item."""

    ALIPAYACCOUNT = "ALIPAYACCOUNT"
    """An Alipay account; seen in the Alipay notification's example.（支付宝账户，仅见于示例）"""


class PromotionScope(StrEnum):
    """优惠范围: scope of a promotion_detail item."""

    SINGLE = "SINGLE"
    """One product; seen in examples.（单品优惠，仅见于示例）"""


class PromotionType(StrEnum):
    """优惠类型: type of a promotion_detail item."""

    DISCOUNT = "DISCOUNT"
    """A discount; seen in examples.（优惠，仅见于示例）"""


#: Payment codes as the wallets publish them; every pattern is of ASCII digits only.
_AUTH_CODES = tuple(
    (wallet, re.compile(pattern).fullmatch)
    for wallet, pattern in (
        (PayType.WECHAT, "1[0-5][0-9]{16}"),
        (PayType.ALIPAY, "(?:2[5-9]|30)[0-9]{14,22}"),
        (PayType.UNIONPAY, "62[0-9]{17}"),
        (PayType.QQ, "91[0-9]{16}"),
        (PayType.BESTPAY, "51[0-9]{16}"),
        (PayType.JDPAY, "18[0-9]{16}"),
    )
)
