"""The asyncio library for the 超赢 (Chaoying) aggregated-payment gateway.

Where to look:

- :class:`GatewaySession` sends any request of the document, signed, and returns a verified, typed
  :class:`Reply`; :class:`Credentials` and :class:`Hosts` say as whom and where to.
- The requests are named after the gateway's own: :class:`Pay`, :class:`OrderQuery` ...
- :class:`Poller` asks about thousands of orders until each has ended; :class:`PollSchedule` says
  when.
- :func:`checkout` takes a payment to an honest end, :func:`refund_and_track` a refund.
- :class:`NotificationHandler` makes each paid order take effect once, whatever arrives at a
  ``notify_url``; :func:`parse_notification` verifies, and :func:`decide` decides.
- :class:`Fen` and :func:`fen` are amounts; ``sansio.enums`` has every code table.
- ``exceptions`` draws the tree of errors, split by what to do next.
- ``sansio`` is the pure part, which decides everything and does no I/O.

Nothing here loads an HTTP engine, a web framework or a database before it is used.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING

from chaoying_async.abc import Clock, Gateway, Inbox, PollStore
from chaoying_async.clock import SystemClock
from chaoying_async.environment import credentials_from_env
from chaoying_async.exceptions import (
    AgentError,
    AmbiguousSignatureError,
    AttemptInProgressError,
    BodyAlreadyConsumedError,
    CancelRefusedError,
    ChaoyingError,
    ChaoyingWarning,
    GatewayError,
    GatewayUnavailableError,
    HandlerMisuseError,
    InvalidRequestError,
    MalformedMessageError,
    MerchantConfigError,
    MerchantError,
    MissingSignatureError,
    NotConfiguredYetError,
    OrderNotFoundError,
    OutcomeUnknownError,
    ParameterError,
    PollTimeoutError,
    ProtocolError,
    QueryRefusedError,
    RefundRefusedError,
    ReplyMismatchError,
    RequestNotSentError,
    SessionClosedError,
    SignatureRefusedError,
    SignatureVerificationError,
    StoreError,
    StoreInUseError,
    StoreTrouble,
    SystemRefusedError,
    TradeFailedError,
    TradePendingError,
    TradeRefundedError,
    TransportError,
    UsageError,
    VersionTooLowError,
    WrongEventLoopError,
)
from chaoying_async.poller import (
    FaceAuthCache,
    Poller,
    PollOutcome,
    PollStats,
    wait_for_terminal,
)
from chaoying_async.sansio.api.barcode import (
    AuthCodeToOpenId,
    AuthCodeToOpenIdResult,
    Cancel,
    CancelResult,
    OrderQuery,
    OrderQueryResult,
    Pay,
    PayResult,
    Refund,
    RefundQuery,
    RefundQueryResult,
    RefundResult,
)
from chaoying_async.sansio.api.details import (
    FundBill,
    Partner,
    Promotion,
    PromotionGoods,
    RefundItem,
)
from chaoying_async.sansio.api.face import FacePay, FacePayResult, GetFaceAuth, GetFaceAuthResult
from chaoying_async.sansio.api.merchant import (
    GetMchId,
    GetMchIdResult,
    GetMchInfo,
    GetMchInfoResult,
    GetMchSmsValid,
    GetMchSmsValidResult,
    GetPartnerId,
    GetPartnerIdResult,
    MchReg,
    MchRegResult,
    WxaCode2Session,
    WxaCode2SessionResult,
    WxAddSubDevConfig,
    WxAddSubDevConfigResult,
)
from chaoying_async.sansio.api.preorder import (
    AlipayPreOrder,
    AlipayPreOrderResult,
    WechatPreOrder,
    WechatPreOrderResult,
)
from chaoying_async.sansio.api.terminal import (
    PayBoxConfGet,
    PayBoxConfGetResult,
    QrConfGet,
    QrConfGetResult,
)
from chaoying_async.sansio.audit import Exchange
from chaoying_async.sansio.credentials import Credentials, PreviousKey, SignAlgorithm, SortOrder
from chaoying_async.sansio.enums import (
    Code,
    IsMinipg,
    LimitPay,
    MchState,
    PayType,
    RefundChannel,
    RefundStatus,
    State,
    TradeState,
    TradeType,
    Undocumented,
)
from chaoying_async.sansio.hosts import Hosts
from chaoying_async.sansio.notifications import (
    AlipayNotification,
    Notification,
    Wallet,
    WechatNotification,
    parse_notification,
    peek_mch_id,
)
from chaoying_async.sansio.outcome import Meaning, NotificationOutcome, PaidOrder, PaidSource
from chaoying_async.sansio.pollstatus import PollStatus
from chaoying_async.sansio.refundedorder import RefundedOrder
from chaoying_async.sansio.request import Reply, Request
from chaoying_async.sansio.rules import GoodsDetail
from chaoying_async.sansio.schedule import PollSchedule
from chaoying_async.sansio.values import Fen, fen
from chaoying_async.session import GatewaySession

if TYPE_CHECKING:
    from chaoying_async.checkout import (
        AttemptNumber,
        AttemptState,
        CheckoutOutcome,
        CheckoutReason,
        CheckoutStatus,
        OpenAttempt,
        OpenRefund,
        OrderNumbers,
        RefundOutcome,
        attempts_so_far,
        checkout,
        open_attempts,
        open_refunds,
        prune_orders,
        refund_and_track,
        release_order,
        resume,
        resume_refunds,
    )
    from chaoying_async.handler import HandlerStats, NotificationHandler
    from chaoying_async.inbox import MemoryInbox
    from chaoying_async.pollstore import MemoryPollStore
    from chaoying_async.sansio.decisions import (
        NO_AMOUNT_CHECK,
        Decision,
        ExpectedOrder,
        NotificationAnswer,
        Seen,
        SetAside,
    )
    from chaoying_async.sansio.inboxvalues import Mark, SeenState
    from chaoying_async.sansio.judging import decide
    from chaoying_async.sansio.suggested import suggested_refund

__all__ = [
    "NO_AMOUNT_CHECK",
    "AgentError",
    "AlipayNotification",
    "AlipayPreOrder",
    "AlipayPreOrderResult",
    "AmbiguousSignatureError",
    "AttemptInProgressError",
    "AttemptNumber",
    "AttemptState",
    "AuthCodeToOpenId",
    "AuthCodeToOpenIdResult",
    "BodyAlreadyConsumedError",
    "Cancel",
    "CancelRefusedError",
    "CancelResult",
    "ChaoyingError",
    "ChaoyingWarning",
    "CheckoutOutcome",
    "CheckoutReason",
    "CheckoutStatus",
    "Clock",
    "Code",
    "Credentials",
    "Decision",
    "Exchange",
    "ExpectedOrder",
    "FaceAuthCache",
    "FacePay",
    "FacePayResult",
    "Fen",
    "FundBill",
    "Gateway",
    "GatewayError",
    "GatewaySession",
    "GatewayUnavailableError",
    "GetFaceAuth",
    "GetFaceAuthResult",
    "GetMchId",
    "GetMchIdResult",
    "GetMchInfo",
    "GetMchInfoResult",
    "GetMchSmsValid",
    "GetMchSmsValidResult",
    "GetPartnerId",
    "GetPartnerIdResult",
    "GoodsDetail",
    "HandlerMisuseError",
    "HandlerStats",
    "Hosts",
    "Inbox",
    "InvalidRequestError",
    "IsMinipg",
    "LimitPay",
    "MalformedMessageError",
    "Mark",
    "MchReg",
    "MchRegResult",
    "MchState",
    "Meaning",
    "MemoryInbox",
    "MemoryPollStore",
    "MerchantConfigError",
    "MerchantError",
    "MissingSignatureError",
    "NotConfiguredYetError",
    "Notification",
    "NotificationAnswer",
    "NotificationHandler",
    "NotificationOutcome",
    "OpenAttempt",
    "OpenRefund",
    "OrderNotFoundError",
    "OrderNumbers",
    "OrderQuery",
    "OrderQueryResult",
    "OutcomeUnknownError",
    "PaidOrder",
    "PaidSource",
    "ParameterError",
    "Partner",
    "Pay",
    "PayBoxConfGet",
    "PayBoxConfGetResult",
    "PayResult",
    "PayType",
    "PollOutcome",
    "PollSchedule",
    "PollStats",
    "PollStatus",
    "PollStore",
    "PollTimeoutError",
    "Poller",
    "PreviousKey",
    "Promotion",
    "PromotionGoods",
    "ProtocolError",
    "QrConfGet",
    "QrConfGetResult",
    "QueryRefusedError",
    "Refund",
    "RefundChannel",
    "RefundItem",
    "RefundOutcome",
    "RefundQuery",
    "RefundQueryResult",
    "RefundRefusedError",
    "RefundResult",
    "RefundStatus",
    "RefundedOrder",
    "Reply",
    "ReplyMismatchError",
    "Request",
    "RequestNotSentError",
    "Seen",
    "SeenState",
    "SessionClosedError",
    "SetAside",
    "SignAlgorithm",
    "SignatureRefusedError",
    "SignatureVerificationError",
    "SortOrder",
    "State",
    "StoreError",
    "StoreInUseError",
    "StoreTrouble",
    "SystemClock",
    "SystemRefusedError",
    "TradeFailedError",
    "TradePendingError",
    "TradeRefundedError",
    "TradeState",
    "TradeType",
    "TransportError",
    "Undocumented",
    "UsageError",
    "VersionTooLowError",
    "Wallet",
    "WechatNotification",
    "WechatPreOrder",
    "WechatPreOrderResult",
    "WrongEventLoopError",
    "WxAddSubDevConfig",
    "WxAddSubDevConfigResult",
    "WxaCode2Session",
    "WxaCode2SessionResult",
    "attempts_so_far",
    "checkout",
    "credentials_from_env",
    "decide",
    "fen",
    "open_attempts",
    "open_refunds",
    "parse_notification",
    "peek_mch_id",
    "prune_orders",
    "refund_and_track",
    "release_order",
    "resume",
    "resume_refunds",
    "suggested_refund",
    "wait_for_terminal",
]

#: Loaded when they are used: a program that sends requests does not pay for receiving them.
_LATER = {
    **dict.fromkeys(
        (
            "AttemptNumber",
            "AttemptState",
            "CheckoutOutcome",
            "CheckoutReason",
            "CheckoutStatus",
            "OpenAttempt",
            "OpenRefund",
            "OrderNumbers",
            "RefundOutcome",
            "attempts_so_far",
            "checkout",
            "open_attempts",
            "open_refunds",
            "prune_orders",
            "refund_and_track",
            "release_order",
            "resume",
            "resume_refunds",
        ),
        "chaoying_async.checkout",
    ),
    **dict.fromkeys(
        ("HandlerStats", "NotificationHandler"),
        "chaoying_async.handler",
    ),
    **dict.fromkeys(
        ("MemoryInbox",),
        "chaoying_async.inbox",
    ),
    **dict.fromkeys(
        ("MemoryPollStore",),
        "chaoying_async.pollstore",
    ),
    **dict.fromkeys(
        ("NO_AMOUNT_CHECK", "Decision", "ExpectedOrder", "NotificationAnswer", "Seen", "SetAside"),
        "chaoying_async.sansio.decisions",
    ),
    **dict.fromkeys(
        ("Mark", "SeenState"),
        "chaoying_async.sansio.inboxvalues",
    ),
    **dict.fromkeys(
        ("decide",),
        "chaoying_async.sansio.judging",
    ),
    **dict.fromkeys(
        ("suggested_refund",),
        "chaoying_async.sansio.suggested",
    ),
}


_DOUBLE = "_checkout"


class _FrontPage(types.ModuleType):
    """Loads names when they are used. ``checkout`` is the function, not the package beside it.

    The import system puts every submodule that was loaded onto its package, and there is one of
    that name; a property is stronger than that.
    """

    def __getattr__(self, name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = vars(self)[name] = getattr(importlib.import_module(_LATER[name]), name)
        return value

    def __dir__(self) -> list[str]:
        return __all__

    @property
    def checkout(self) -> object:
        """See ``chaoying_async.checkout.checkout``."""
        return vars(self).get(_DOUBLE) or importlib.import_module(_LATER["checkout"]).checkout

    @checkout.setter
    def checkout(self, value: object) -> None:
        if not isinstance(value, types.ModuleType):  # a test's double
            vars(self)[_DOUBLE] = value


sys.modules[__name__].__class__ = _FrontPage
