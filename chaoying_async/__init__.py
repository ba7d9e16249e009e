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
from chaoying_async.polling import (
    Poller,
    PollOutcome,
    PollStats,
)
from chaoying_async.sansio.api.barcode import (
    AuthCodeToOpenId,
    AuthCodeToOpenIdResult,
    Pay,
    PayResult,
)
from chaoying_async.sansio.api.details import (
    FundBill,
    Partner,
    Promotion,
    PromotionGoods,
    RefundItem,
)
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.api.face import FacePay, FacePayResult, GetFaceAuth, GetFaceAuthResult
from chaoying_async.sansio.api.field_rules import GoodsDetail
from chaoying_async.sansio.api.follow_up import (
    Cancel,
    CancelResult,
    OrderQuery,
    OrderQueryResult,
    Refund,
    RefundQuery,
    RefundQueryResult,
    RefundResult,
)
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
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.notifications.facts import NotificationOutcome, Wallet
from chaoying_async.sansio.notifications.message import (
    AlipayNotification,
    Notification,
    WechatNotification,
    parse_notification,
)
from chaoying_async.sansio.notifications.reading import peek_mch_id
from chaoying_async.sansio.paid import PaidOrder, PaidSource, RefundedOrder
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.values import Fen, fen
from chaoying_async.session import GatewaySession
from chaoying_async.terminals import FaceAuthCache, wait_for_terminal

if TYPE_CHECKING:
    from chaoying_async.inbox import MemoryInbox
    from chaoying_async.notifications import HandlerStats, NotificationHandler
    from chaoying_async.payments.checkout import checkout
    from chaoying_async.payments.orders import attempts_so_far, prune_orders, release_order
    from chaoying_async.payments.outcome import CheckoutOutcome, RefundOutcome
    from chaoying_async.payments.overview import (
        AttemptState,
        OpenAttempt,
        OpenRefund,
        open_attempts,
        open_refunds,
    )
    from chaoying_async.payments.refunds import refund_and_track, resume_refunds
    from chaoying_async.payments.resume import resume
    from chaoying_async.pollstore import MemoryPollStore
    from chaoying_async.sansio.notifications.callback_health import (
        CallbacksDark,
        MerchantCallbacks,
    )
    from chaoying_async.sansio.notifications.case import NO_AMOUNT_CHECK, ExpectedOrder, Seen
    from chaoying_async.sansio.notifications.decide import (
        Decision,
        NotificationAnswer,
        SetAside,
        decide,
    )
    from chaoying_async.sansio.notifications.inbox_values import Mark, SeenState
    from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
    from chaoying_async.sansio.payments.order_numbers import AttemptNumber, OrderNumbers
    from chaoying_async.sansio.payments.refunds import suggested_refund

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
    "CallbacksDark",
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
    "MerchantCallbacks",
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
_MODULES_OF_LATER_NAMES = {
    "chaoying_async.inbox": ("MemoryInbox",),
    "chaoying_async.notifications": ("HandlerStats", "NotificationHandler"),
    "chaoying_async.payments.checkout": ("checkout",),
    "chaoying_async.payments.overview": (
        "AttemptState",
        "OpenAttempt",
        "OpenRefund",
        "open_attempts",
        "open_refunds",
    ),
    "chaoying_async.payments.orders": ("attempts_so_far", "prune_orders", "release_order"),
    "chaoying_async.payments.outcome": ("CheckoutOutcome", "RefundOutcome"),
    "chaoying_async.payments.refunds": ("refund_and_track", "resume_refunds"),
    "chaoying_async.payments.resume": ("resume",),
    "chaoying_async.pollstore": ("MemoryPollStore",),
    "chaoying_async.sansio.notifications.callback_health": ("CallbacksDark", "MerchantCallbacks"),
    "chaoying_async.sansio.notifications.case": ("ExpectedOrder", "NO_AMOUNT_CHECK", "Seen"),
    "chaoying_async.sansio.notifications.decide": (
        "Decision",
        "NotificationAnswer",
        "SetAside",
        "decide",
    ),
    "chaoying_async.sansio.notifications.inbox_values": ("Mark", "SeenState"),
    "chaoying_async.sansio.payments.moves": ("CheckoutReason", "CheckoutStatus"),
    "chaoying_async.sansio.payments.order_numbers": ("AttemptNumber", "OrderNumbers"),
    "chaoying_async.sansio.payments.refunds": ("suggested_refund",),
}
_LATER = {name: module for module, names in _MODULES_OF_LATER_NAMES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
