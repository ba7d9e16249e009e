"""What every call is made of: its endpoint, its request with checked fields, its reply.

The other modules of this folder have one class for each call of the document.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin, get_type_hints

import attrs

from chaoying_async.exceptions import (
    ChaoyingWarning,
    GatewayError,
    OutcomeUnknownError,
    ParameterError,
    TradeRefundedError,
)
from chaoying_async.sansio.api.combined_rules import Problems
from chaoying_async.sansio.api.field_rules import Rule, is_absent, text_problem
from chaoying_async.sansio.enums import Code, State, TradeState
from chaoying_async.sansio.fieldnames import DOCUMENTED
from chaoying_async.sansio.meaning import WITHOUT_RESULT, Family, Meaning
from chaoying_async.sansio.model import Model, fields_of, model, name_of
from chaoying_async.sansio.paid import refunded_order
from chaoying_async.sansio.printable import one_line
from chaoying_async.sansio.sealed import SealedMap, sealing
from chaoying_async.sansio.signing import ambiguity

T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R", bound="Request[Any]")


class Host(StrEnum):
    """Which address of :class:`~chaoying_async.sansio.hosts.Hosts` an endpoint lives at (C 90)."""

    PAY = "pay"
    """Where payments are taken, queried, refunded and cancelled."""
    API = "api"
    """Where merchants and terminals are looked after."""
    QRPAY = "qrpay"
    """Where pre-orders are made."""
    SCANNED = "scanned"
    """Wherever the scanned link leads."""


@attrs.frozen(kw_only=True)
class Endpoint:
    """One endpoint as the document describes it."""

    name: str
    """The document's own key: ``orderquery``, ``WECHAT_PreOrder``."""
    title: str
    """The document's Chinese title."""
    family: Family
    """Which endpoints' answers are read like this one's."""
    host: Host
    """Which address it lives at."""
    path: str = ""
    """The path as printed, capitals included (C 92); empty for a scanned link."""
    http_method: str = "POST"
    """POST, or GET with the parameters in the query."""
    gateway_method: str = ""
    """Value of the ``method`` parameter; empty for endpoints with an address of their own."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers that the document fixes."""
    must_sign: bool = True
    """False where a result without a signature is believed, since the document prints it so (M-08).
    """
    repeatable: bool = False
    """Whether asking again does no harm: the session may repeat it after a transport error (M-02).
    """

    @property
    def moves_money(self) -> bool:
        """Whether it is sent once per call, and has to be queried after a failure (M-02)."""
        return self.family.moves_money


@attrs.frozen
class FieldSpec:
    """What is known of one field of a request."""

    name: str
    """The document's name."""
    rule: Rule
    """What it may hold."""
    required: bool
    """Whether a request cannot be made without it."""


#: What was worked out already, by request class. (mypy knows no class as the key of a ``cache``.)
_SPECS: dict[Any, tuple[FieldSpec, ...]] = {}
_NAMES: dict[Any, frozenset[str]] = {}


def field_specs(cls: type[Request[Any]]) -> tuple[FieldSpec, ...]:
    """The fields of a request class with their rules, in the document's order.

    Worked out when a class is first used: evaluating 200 annotations would slow the import.
    """
    specs = _SPECS.get(cls)
    if specs is None:
        hints = get_type_hints(cls, include_extras=True)
        specs = _SPECS[cls] = tuple(
            FieldSpec(name_of(field), _rule_in(hints[field.name]), field.default is attrs.NOTHING)
            for field in fields_of(cls)
            if name_of(field) not in cls.not_sent
        )
        _NAMES[cls] = frozenset(spec.name for spec in specs)
    return specs


def _rule_in(hint: Any) -> Rule:
    """The rule in ``Annotated[X, rule]``, also inside ``Annotated[X, rule] | None``."""
    for part in (hint, *get_args(hint)):
        if get_origin(part) is Annotated:
            for extra in part.__metadata__:
                if isinstance(extra, Rule):
                    return extra
    raise TypeError(f"{hint} has no rule")


#: What nearly every request has; one for each would be half of what a query weighs.
_NO_EXTRA = SealedMap({})


def _own_copy(extra: Mapping[str, str]) -> Mapping[str, str]:
    # `converter=dict` would make pyright refuse {"name": "text"}: it reads dict's last overload.
    members = dict(extra)
    return SealedMap(members) if members else _NO_EXTRA


@model
class Request(Model, Generic[T_co]):
    """Base of all requests: checked when made, frozen, safe to share and to send again.

    A request that breaks a rule of the document raises a
    :class:`~chaoying_async.exceptions.ParameterError` that names every bad field. A required field
    that is not named at all is Python's ``TypeError``; an empty one is a bad field. An optional
    field that is empty or None is left out.
    """

    endpoint: ClassVar[Endpoint]
    """What is called."""
    result_type: ClassVar[type[Any]]
    """What ``Reply.result`` is."""
    needed: ClassVar[tuple[str, ...]] = ()
    """Fields that may be left to the session; what it does not have either fails in ``send``."""
    checks: ClassVar[tuple[Problems, ...]] = ()
    """Rules over several fields; a request that breaks one is refused."""
    advice: ClassVar[tuple[Problems, ...]] = ()
    """Rules that the document contradicts itself about: a :class:`ChaoyingWarning` is all."""
    not_sent: ClassVar[frozenset[str]] = frozenset({"extra"})
    """Fields that steer the call and are no parameters of it."""
    extra_takes: ClassVar[frozenset[str]] = frozenset()
    """Names of the document's other calls that ``extra`` may hold all the same."""

    extra: Mapping[str, str] = attrs.field(factory=dict, converter=_own_copy, hash=False)
    """Parameters that the document does not list, as text; a documented name is refused,
    but for those by which :class:`MchReg` may describe a merchant and for ``goods_detail`` of
    :class:`AlipayPreOrder`, which came after v2.9.0.
    （文档未列出的参数）
    """

    def __attrs_post_init__(self) -> None:
        problems = self._field_problems()
        for check in self.checks:
            problems.update(check(self))
        if self.extra:
            problems.update(_extra_problems(self.extra, self.extra_takes))
            problems.update(self._problems_beside_extra(problems))
        if problems:
            raise ParameterError(problems).about(self.endpoint.name, order_of(self))
        for advise in self.advice:
            for name, words in advise(self).items():
                text = f"{self.endpoint.name}: {name}: {words}"
                warnings.warn(text, ChaoyingWarning, stacklevel=4)

    def _field_problems(self) -> dict[str, str]:
        problems: dict[str, str] = {}
        for spec in field_specs(type(self)):
            value = getattr(self, spec.name)
            if is_absent(value):
                if spec.required:
                    problems[spec.name] = "is required"
            elif spec.required and isinstance(value, str) and not value.strip():
                problems[spec.name] = "is required, and holds nothing but blanks"
            elif (problem := spec.rule.problem(value)) is not None:
                problems[spec.name] = problem
        return problems

    def _problems_beside_extra(self, known: Mapping[str, str]) -> dict[str, str]:
        """Fields whose text holds the beginning of an extra parameter (M-04)."""
        problems: dict[str, str] = {}
        for spec in field_specs(type(self)):
            value = getattr(self, spec.name)
            if is_absent(value) or spec.name in known:
                continue
            if why := ambiguity(spec.name, spec.rule.wire(value), self.extra):
                problems[spec.name] = why
        return problems

    @property
    def names(self) -> frozenset[str]:
        """Every parameter that this kind of request may carry."""
        return _NAMES[type(self)]  # there since it was made, when its fields were checked

    def wire_fields(self) -> dict[str, str]:
        """Every parameter that is not empty, as the text that is signed and sent (M-03)."""
        fields: dict[str, str] = {}
        for spec in field_specs(type(self)):
            value = getattr(self, spec.name)
            if not is_absent(value) and (text := spec.rule.wire(value)):
                fields[spec.name] = text
        if self.extra:
            fields.update((name, text) for name, text in self.extra.items() if text)
        return fields


def _extra_problems(extra: Mapping[str, str], taken: frozenset[str]) -> dict[str, str]:
    problems: dict[str, str] = {}
    refused = DOCUMENTED - taken | {"key"}
    for name, value in extra.items():
        if not isinstance(name, str) or not isinstance(value, str):
            problems[str(name)] = "an extra parameter has a name and a value of text"
        elif name in refused:
            problems[name] = "is a documented name; extra is for undocumented ones"
        elif why := text_problem(value) or ambiguity(name, value, extra):
            problems[name] = why
    return problems


def check_request(request: object) -> None:
    """A TypeError for what is no request at all."""
    if not isinstance(request, Request):
        raise TypeError(f"send takes a request such as Pay(...), not {_kind_of(request)}")


def check_kind(name: str, value: object, *kinds: type[Any]) -> None:
    """A ParameterError for ``name`` where the value is of none of these kinds."""
    if not isinstance(value, kinds):
        wanted = " or ".join(f"{kind.__name__}(...)" for kind in kinds)
        raise ParameterError({name: f"must be {wanted}, not {_kind_of(value)}"})


def _kind_of(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


#: Fields that hold the number by which a person would look a call up, best one first.
_ORDER_NAMES = ("out_trade_no", "out_refund_no", "transaction_id", "refund_id", "op_device_id")


_PLAIN_NUMBER = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch


def order_of(request: Request[Any]) -> str:
    """The number that a person would look this request up by; empty if it has none.

    The number stands in log lines and error texts, so anything but a plain one is left out.
    """
    numbers = (_plain_number(getattr(request, name, None)) for name in _ORDER_NAMES)
    return next(filter(None, numbers), "")


def _plain_number(value: object) -> str:
    return value if isinstance(value, str) and _PLAIN_NUMBER(value) else ""


@attrs.frozen(repr=False)
@sealing(("raw",), hash=False)
class Reply(Generic[T_co]):
    """One verified answer of the gateway.

    ``result`` is there exactly when the call did what was asked (M-07), which for a pre-order means
    that it exists and for a refund that it was accepted: only pay, facepay and orderquery say
    *paid* (C 24).
    """

    endpoint: Endpoint
    """The endpoint that answered.（接口）"""
    meaning: Meaning
    """What the reply says, all status fields read together.（响应的含义，由各状态字段综合判断）"""
    state: State
    """Whether the call was accepted and handled.（通讯状态）"""
    code: Code | str | None
    """The status code; plain text where the document does not list it.
    （状态码，未列入文档的为文本）
    """
    msg: str | None
    """The gateway's message; after a failure its reason.（返回信息，失败时为原因）"""
    trade_state: TradeState | str | None
    """What became of the call. SUCCESS means *paid* for pay, facepay and orderquery only (C 24).
    （交易状态，仅 pay、facepay、orderquery 的 SUCCESS 表示已支付）
    """
    result: T_co | None
    """What the call was made for; None where it did not do what was asked (M-07).
    （业务结果，没有成功时为 None）
    """
    signed: bool
    """Whether a signature was there; then it was verified.（响应是否带签名，带签名则已验证）"""
    raw: Mapping[str, Any]
    """Every field as received, unknown ones too, JSON numbers as their source text.
    （收到的全部字段）
    """
    date: datetime | None = attrs.field(default=None, eq=False)
    """The moment in the reply's ``Date`` header: the gateway's own clock; None where it had none.
    （响应 Date 头中的时间，即网关的时钟）
    """

    def __repr__(self) -> str:
        return (
            f"Reply({self.endpoint.name}, meaning={self.meaning.name}, state={self.state!s}, "
            f"code={_shown(self.code)}, trade_state={_shown(self.trade_state)}, "
            f"signed={self.signed}, result={self.result!r})"
        )

    def unwrap(self) -> T_co:
        """The result, or the error that says why there is none.

        :class:`TradeRefundedError`, :class:`TradeFailedError`, :class:`NotConfiguredYetError`, and
        :class:`TradePendingError` for everything that is not decided: it is never safe to read a
        missing result as "not paid".
        """
        if self.result is not None:
            return self.result
        error = WITHOUT_RESULT[self.meaning](
            f"{self.meaning.says} "
            f"(code {_shown(self.code)}, trade_state {_shown(self.trade_state)})",
            reply=self,
        )
        if isinstance(error, TradeRefundedError) and self.endpoint.family in _ORDERS:
            error.paid = refunded_order(self.raw)
        raise error.about(self.endpoint.name, _plain_number(self.raw.get("out_trade_no")))


def failure_words(said: Reply[Any] | Exception | None) -> str | None:
    """Why an order failed or a call was refused, in the gateway's words; None where it said none.

    ``msg`` says something about a failure only there: the document prints SUCCESS under nearly
    every reply, and an answer to a refund's query has the message of the query.
    """
    refusal = said.refusal if isinstance(said, OutcomeUnknownError) else said
    if isinstance(refusal, Reply):
        msg = refusal.msg if refusal.meaning is Meaning.FAILED else None
    else:
        msg = refusal.msg if isinstance(refusal, GatewayError) else None
    words = (msg or "").strip()
    return None if words.upper() in ("", "SUCCESS") else words


#: Endpoints whose answers are about an order.
_ORDERS = frozenset({Family.PAY, Family.QUERY})


def _shown(value: str | None) -> str:
    return "-" if value is None else one_line(value)
