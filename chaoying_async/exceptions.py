"""Every error this library raises, split by what the caller should do next.

::

    ChaoyingError
      ParameterError                 nothing was sent: fix the call        .problems
      TransportError                 no usable answer came
        RequestNotSentError            it never left: safe to repeat (M-01)
        OutcomeUnknownError            it may have been carried out: query first   .refusal
        GatewayUnavailableError        HTTP status other than 200          .status
      ProtocolError                  bytes came that cannot be read or trusted
        MalformedMessageError
        ReplyMismatchError
        SignatureVerificationError
          MissingSignatureError
          AmbiguousSignatureError
      GatewayError                   the gateway refused   .state .code .msg .raw
        SignatureRefusedError          20002
        InvalidRequestError            20004
        MerchantError                  20005
        SystemRefusedError             20006
        OrderNotFoundError             20007
        RefundRefusedError             20008
        QueryRefusedError              20009, 20010
        CancelRefusedError             20011
        AgentError                     20012
        MerchantConfigError            20013
        VersionTooLowError             state VER
      TradePendingError              ask again                             .reply
      TradeFailedError               over, and not paid                    .reply
      TradeRefundedError             paid, and in refund, or a part of it  .reply .paid
      NotConfiguredYetError          the terminal has no merchant yet      .reply
      PollTimeoutError               still undecided at the deadline       .last
      StoreError                     the poll store failed: mend it        .kind .sent
      UsageError                     the library was used in a way that cannot work
        WrongEventLoopError  SessionClosedError  BodyAlreadyConsumedError
        StoreInUseError  AttemptInProgressError  HandlerMisuseError

Every error says what was being done and for which order (``.doing``, ``.order``). None of them
carries a key, and none prints a payment code or anything about the buyer (M-27).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

#: What an error leaves behind when it is pickled: messages from the gateway hold buyer ids.
_NEVER_PICKLED = frozenset({"raw", "reply", "last", "refusal"})


#: What an error's text adds about the money call that it interrupted.
_SENT: Mapping[bool | None, str] = {
    None: "",
    False: "; nothing was sent: the same call may be made again",
    True: (
        "; it may have been sent: neither repeat it under another number nor deliver before "
        "resume(), or resume_refunds(), says how it ended"
    ),
}


class ChaoyingError(Exception):
    """Any failure this library reports."""

    doing: str = ""
    """The document's name of the call (``orderquery``); empty where there was none."""
    order: str = ""
    """The number that the call was about; empty where it had none."""
    date: datetime | None = None
    """The moment in the ``Date`` header of the answer that was an error; None where it had none."""
    sent: bool | None = None
    """Where a store failed or was lost around a money call: False when nothing was sent, True when
    it may have been sent. None where no money call was concerned.
    """
    quoted: str = ""
    """The gateway's own words, where the text of the error repeats some: these are not ours, and
    the command line translates everything else.
    """

    def about(self, doing: str, order: str = "") -> Self:
        """Add what was being done, unless code nearer to the cause already said so."""
        self.doing = self.doing or doing
        self.order = self.order or order
        return self

    def __str__(self) -> str:
        what = " ".join(part for part in (self.doing, self.order) if part)
        text = super().__str__() + _SENT[self.sent]
        return f"{what}: {text}" if what else text

    def __reduce__(self) -> tuple[Any, ...]:
        kept = {name: value for name, value in vars(self).items() if name not in _NEVER_PICKLED}
        return _rebuild, (type(self), self.args, kept)


def _rebuild(
    cls: type[ChaoyingError], args: tuple[Any, ...], kept: dict[str, Any]
) -> ChaoyingError:
    error = cls.__new__(cls, *args)
    error.args = args
    vars(error).update(dict.fromkeys(_NEVER_PICKLED), **kept)
    return error


class ChaoyingWarning(UserWarning):
    """The document advises against this call, or an answer is odd but harmless."""


class ParameterError(ChaoyingError, ValueError):
    """Nothing was sent: the call itself breaks a rule of the document."""

    problems: Mapping[str, str]
    """Every bad field, and the rule that it breaks; it holds rules, never values."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{name}: {rule}" for name, rule in self.problems.items()))


class TransportError(ChaoyingError):
    """No usable answer came. A read can safely be made again."""


class RequestNotSentError(TransportError):
    """No byte of the request reached a connected socket: safe to repeat, money or not (M-01)."""


class OutcomeUnknownError(TransportError):
    """The request may have been carried out: ask the gateway before anything else (M-02).

    Never repeat the call under another number.
    """

    refusal: GatewayError | None
    """The refusal, when the gateway did answer, in words that do not prove that nothing moved
    (M-09).
    """
    number_used: bool = False
    """Whether an answer spoke of 20004, believed or not: it may be another sale's number (M-24)."""

    def __init__(self, message: str, *, refusal: GatewayError | None = None) -> None:
        self.refusal = refusal
        self.quoted = "" if refusal is None else refusal.quoted
        super().__init__(message)


class GatewayUnavailableError(TransportError):
    """The gateway, or something before it, answered with an HTTP status other than 200 (M-10)."""

    status: int
    """The HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


class ProtocolError(ChaoyingError):
    """A reply or a notification came that cannot be read or must not be trusted."""


class MalformedMessageError(ProtocolError):
    """The message cannot be read: not the documented form, over a limit, or a field is missing."""


class ReplyMismatchError(ProtocolError):
    """The reply is about another order, amount or merchant than the request (M-06)."""


class SignatureVerificationError(ProtocolError):
    """The signature is wrong, or is no signature at all. Believe nothing in the message."""


class MissingSignatureError(SignatureVerificationError):
    """A message that must be signed carries no signature (M-08)."""


class AmbiguousSignatureError(SignatureVerificationError):
    """Our key signed the message, yet its text can be cut into fields in two ways (M-04)."""


class GatewayError(ChaoyingError):
    """The gateway refused the call, and this call moved nothing (M-09).

    A refused *query* says nothing about the order it asked for. For payments and refunds "this
    call" is meant literally: an earlier call with the same number may have been carried out.
    """

    state: str
    """FAIL or VER.（通讯状态）"""
    code: str | None
    """The status code; None where the answer had none.（状态码）"""
    msg: str | None
    """The gateway's reason, in its own words.（返回信息）"""
    raw: Mapping[str, Any]
    """Every field as received; a key that the gateway echoes is ``***`` in it."""

    def __init__(
        self,
        message: str,
        *,
        state: str,
        code: str | None = None,
        msg: str | None = None,
        raw: Mapping[str, Any] | None = None,
    ) -> None:
        self.state = state
        self.code = code
        self.msg = msg
        self.raw = {} if raw is None else raw
        self.quoted = msg or ""
        super().__init__(message)


class SignatureRefusedError(GatewayError):
    """20002 签名错误: the gateway computes another signature: wrong key, or wrong name order."""


class InvalidRequestError(GatewayError):
    """20004 参数错误: a parameter is wrong; on a payment it may mean "number already used"."""


class MerchantError(GatewayError):
    """20005 商户错误: the merchant number is unknown or disabled."""


class SystemRefusedError(GatewayError):
    """20006 系统错误: something failed inside the gateway."""


class OrderNotFoundError(GatewayError):
    """20007 订单不存在: no such order *yet*; never "failed" by itself (M-11)."""


class RefundRefusedError(GatewayError):
    """20008 退款错误: the refund was refused; query it under the same number next."""


class QueryRefusedError(GatewayError):
    """20009 交易查询错误, 20010 退款查询错误: the query failed, which says nothing of the order."""


class CancelRefusedError(GatewayError):
    """20011 交易撤销错误: the cancel was refused; query the order next."""


class AgentError(GatewayError):
    """20012 代理商错误: the agent number is unknown or disabled."""


class MerchantConfigError(GatewayError):
    """20013 商户交易配置错误: the merchant is not set up for this kind of payment."""


class VersionTooLowError(GatewayError):
    """State VER 版本过低: the gateway wants a newer ``version``."""


#: Every code of the document to the error that a refusal with it raises (enums.toml, ``code``).
GATEWAY_ERRORS: Mapping[str, type[GatewayError]] = {
    "10000": GatewayError,
    "10001": GatewayError,
    "10002": GatewayError,  # under FAIL most likely a bad signature (C 19)
    "10003": GatewayError,
    "10004": GatewayError,
    "10005": GatewayError,
    "10006": GatewayError,
    "20002": SignatureRefusedError,
    "20003": GatewayError,  # trouble behind the gateway, not with our signature (C 37)
    "20004": InvalidRequestError,
    "20005": MerchantError,
    "20006": SystemRefusedError,
    "20007": OrderNotFoundError,
    "20008": RefundRefusedError,
    "20009": QueryRefusedError,
    "20010": QueryRefusedError,
    "20011": CancelRefusedError,
    "20012": AgentError,
    "20013": MerchantConfigError,
    "30001": GatewayError,
}


class _TradeError(ChaoyingError):
    """What :meth:`Reply.unwrap` raises when there is no result."""

    reply: Any
    """The :class:`~chaoying_async.Reply` that came; ``Any`` here, since errors import nothing."""

    def __init__(self, message: str, *, reply: Any) -> None:
        self.reply = reply
        super().__init__(message)


class TradePendingError(_TradeError):
    """The outcome is not decided, or was not understood: ask again, pay nothing again (M-11).

    ``unwrap()`` of a checkout raises it too for what was paid by another call, or after a cancel:
    look at ``outcome.status`` and ``advice`` then, do not just query and deliver.
    """


class TradeFailedError(_TradeError):
    """The order is over and was not paid: closed, cancelled or failed (M-07).

    The answer to a refund, its query or a cancel never says so.
    """


class TradeRefundedError(_TradeError):
    """The order was paid, and all of it or a part was refunded. Look before you deliver."""

    paid: Any = None
    """A :class:`~chaoying_async.RefundedOrder`: what is known of the order, how much came back
    included. None where the answer does not name the order.
    """


class NotConfiguredYetError(_TradeError):
    """The terminal has no merchant yet: poll on (C 27)."""


class PollTimeoutError(ChaoyingError):
    """The outcome was still undecided at the deadline."""

    last: Any
    """The last reply or error; None where none came."""

    def __init__(self, message: str, *, last: Any = None) -> None:
        self.last = last
        super().__init__(message)


class StoreTrouble(StrEnum):
    """What is wrong with a poll store, as far as its database said so."""

    LOCKED = "LOCKED"
    """Somebody else holds a lock for too long."""
    DISK_FULL = "DISK_FULL"
    """The disk, or the quota of the database, is full."""
    READ_ONLY = "READ_ONLY"
    """The database, or its file, may only be read."""
    CONNECTION = "CONNECTION"
    """The connection was refused, lost or timed out."""
    ACCESS = "ACCESS"
    """User, password, rights, or the name of the database are wrong."""
    TABLE_MISSING = "TABLE_MISSING"
    """The table is missing, or was made by another program."""
    POOL_TIMEOUT = "POOL_TIMEOUT"
    """All connections of the pool are taken."""
    CORRUPT = "CORRUPT"
    """The file is damaged, or is no database at all."""
    OTHER = "OTHER"
    """Anything else: see the ``__cause__``."""


class StoreError(ChaoyingError):
    """A poll store failed: ``kind`` says what to mend, ``sent`` whether the money call had left.

    The database's own error is the ``__cause__``. It is not known whether the store has what was
    being written; calling again does no harm where ``sent`` is False or None.
    """

    kind: StoreTrouble
    """What is wrong with the store."""

    def __init__(self, message: str, *, kind: StoreTrouble = StoreTrouble.OTHER) -> None:
        self.kind = kind
        super().__init__(message)


class UsageError(ChaoyingError):
    """The library was used in a way that cannot work; the message says how to do it instead."""


class WrongEventLoopError(UsageError):
    """A session belongs to the event loop that opened it; open one per loop."""


class SessionClosedError(UsageError):
    """The session is not open: use it inside its ``async with`` block."""


class BodyAlreadyConsumedError(UsageError):
    """A framework or middleware read the request's body first, so no signature can be checked."""


class StoreInUseError(UsageError):
    """Another process owns this store: one at a time may use it."""


class AttemptInProgressError(UsageError):
    """An earlier attempt for the same order is not yet known to be unpaid."""


class HandlerMisuseError(UsageError):
    """``on_paid`` ended the transaction that was lent to it: leave commit and rollback to us."""
