"""One exchange with the gateway, without the I/O: what to send, and what came back.

::

    outgoing = build_request(request, credentials, hosts=Hosts.document())
    # send outgoing.method, .url, .headers, .body with whatever HTTP client there is
    reply = read_reply(outgoing, status, body, credentials, now=datetime.now(UTC))

A synchronous program needs nothing else. What it must do by itself: never send a request that moves
money twice, and treat every failure of its HTTP client after a byte left as "outcome unknown"
(M-01, M-02), which :func:`outcome_unknown` phrases.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Generic, TypeVar

import attrs

from chaoying_async.exceptions import (
    GATEWAY_ERRORS,
    AmbiguousSignatureError,
    ChaoyingError,
    GatewayError,
    GatewayUnavailableError,
    MalformedMessageError,
    MissingSignatureError,
    OutcomeUnknownError,
    ParameterError,
    ProtocolError,
    VersionTooLowError,
)
from chaoying_async.sansio.api.endpoint import Endpoint, Reply, Request, check_request, order_of
from chaoying_async.sansio.api.field_rules import text_problem
from chaoying_async.sansio.api.terminal import QrConfGet
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.enums import Code, PayType, State, TradeState
from chaoying_async.sansio.hosts import Hosts, host_and_port, is_trusted
from chaoying_async.sansio.matching import advise, check_answers
from chaoying_async.sansio.meaning import Family, Meaning, classify, may_be_unsigned
from chaoying_async.sansio.printable import LONGEST_MESSAGE, one_line, unclean
from chaoying_async.sansio.redact import hide_keys, masked_message
from chaoying_async.sansio.scanned_link import read_link
from chaoying_async.sansio.sealed import SealedMap, sealing, shy
from chaoying_async.sansio.signing import ambiguity, sign_for, verify_for
from chaoying_async.sansio.values import parse_http_date
from chaoying_async.sansio.wire.forms import encode_form
from chaoying_async.sansio.wire.jsontext import MAX_REPLY, parse_reply
from chaoying_async.sansio.wire.structure import structure

T = TypeVar("T")

_FORM = ("Content-Type", "application/x-www-form-urlencoded")
_DOCUMENT = Hosts.document()


@attrs.frozen(kw_only=True)
class Defaults:
    """What a session fills in where a request says nothing, before it leaves (M-18)."""

    mch_id: str | None = None
    """The merchant's number."""
    op_user_id: str | None = None
    """The cashier's account."""
    device_info: str | None = None
    """The number of the terminal, or its kind."""

    def __attrs_post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("mch_id", "op_user_id", "device_info")}
        rules = {name: unclean(text) for name, text in given.items() if isinstance(text, str)}
        if problems := {name: rule for name, rule in rules.items() if rule}:
            raise ParameterError(problems)


@attrs.frozen(kw_only=True, repr=False)
@sealing(("url", "body", "fields"))
class Outgoing(Generic[T]):
    """One signed request, to be sent once; ``fields`` is what was signed *and* sent (M-03)."""

    request: Request[T]
    """The request that was signed."""
    endpoint: Endpoint
    """What is called."""
    method: str
    """POST, or GET with the parameters in the query."""
    url: str
    """The whole address; with the query for a GET."""
    headers: tuple[tuple[str, str], ...]
    """Headers to send, beside the HTTP client's own."""
    body: bytes
    """The form to send; empty for a GET."""
    fields: Mapping[str, str]
    """What was signed *and* is sent, as one map (M-03)."""
    trusted: bool
    """Whether an unsigned refusal from this address can be believed (M-09)."""

    def __repr__(self) -> str:
        return f"Outgoing({self.endpoint.name}, order={self.order!r})"

    @property
    def order(self) -> str:
        """The number that a person would look this request up by."""
        return order_of(self.request)


def build_request(
    request: Request[T],
    credentials: Credentials,
    *,
    defaults: Defaults = Defaults(),
    hosts: Hosts = _DOCUMENT,
    verify: bool = True,
    direct: bool = True,
) -> Outgoing[T]:
    """Sign a request and say where it goes; nothing is sent here.

    ``verify``: the server's certificate is checked; ``direct``: no proxy is asked for addresses of
    this machine. Both decide what an unsigned refusal proves (M-09).

    What depends on more than the request is checked now, with a
    :class:`~chaoying_async.exceptions.ParameterError` that names every problem: a merchant number
    that neither the request nor ``defaults`` has, a scanned link that is not allowed (M-05).
    """
    check_request(request)
    try:
        fields = resolved_fields(request, defaults)
        url, text, fields = _signed(request, fields, credentials, hosts)
    except ParameterError as error:
        error.about(request.endpoint.name, order_of(request))
        raise
    trusted = is_trusted(url, verify=verify, direct=direct)
    return _outgoing(request, url, text, fields, trusted=trusted)


def _signed(
    request: Request[Any], fields: dict[str, str], credentials: Credentials, hosts: Hosts
) -> tuple[str, str, dict[str, str]]:
    """Where it goes, the form that is sent, and what was signed."""
    if isinstance(request, QrConfGet):
        return _signed_scan(request, fields, credentials, hosts)
    fields |= common_fields(request, credentials)
    sign = _sign(credentials, fields)
    # In the order that is signed, which the gateway does not need.
    text = encode_form([*sorted(fields.items()), ("sign", sign)])
    return hosts.url_of(type(request)), text, fields | {"sign": sign}


def _sign(credentials: Credentials, fields: Mapping[str, str]) -> str:
    """Sign; what cannot be signed is a mistake in the call, named by field (M-04)."""
    try:
        return sign_for(credentials, fields)
    except (AmbiguousSignatureError, MalformedMessageError):
        problems = {
            name: problem
            for name, value in fields.items()
            if (problem := text_problem(value) or ambiguity(name, value, fields))
        }
        raise ParameterError(problems) from None


def _outgoing(
    request: Request[T], url: str, text: str, fields: Mapping[str, str], *, trusted: bool
) -> Outgoing[T]:
    endpoint = request.endpoint
    post = endpoint.http_method == "POST"
    if not post:
        url = f"{url}{'&' if '?' in url else '?'}{text}"
    return Outgoing(
        request=request,
        endpoint=endpoint,
        method=endpoint.http_method,
        url=url,
        headers=(_FORM, *endpoint.headers) if post else endpoint.headers,
        body=text.encode() if post else b"",
        fields=dict(fields),
        trusted=trusted,
    )


def resolved_fields(request: Request[Any], defaults: Defaults) -> dict[str, str]:
    """The request's own parameters with the session's defaults filled in."""
    fields = request.wire_fields()
    names = request.names
    problems: dict[str, str] = {}
    for name in ("mch_id", "op_user_id", "device_info"):
        default = getattr(defaults, name)
        if default and name in names and name not in fields:
            fields[name] = default
            if problem := text_problem(default):
                problems[name] = f"the session's default {problem}"
    for name in request.needed:
        if name not in fields:
            problems[name] = "is required: name it in the request or give the session a default"
    qq_wallet = request.endpoint.family is Family.PAY and fields.get("paytype") == PayType.QQ
    if qq_wallet and "device_info" not in fields:
        problems["device_info"] = "is required for QQ Wallet (C 69)"
    if problems:
        raise ParameterError(problems)
    if "device_info" not in fields and _shows_qq_wallet(request):
        advise(
            f"{request.endpoint.name}: device_info is required for QQ Wallet, whose code this seems"
            " to be: name it in the request or give the session a default (C 69)"
        )
    return fields


def _shows_qq_wallet(request: Request[Any]) -> bool:
    """A prefix is a guess (C 32), so nothing is refused for it."""
    code = getattr(request, "auth_code", None)
    if request.endpoint.family is not Family.PAY or not isinstance(code, str):
        return False
    return PayType.from_auth_code(code) is PayType.QQ


def common_fields(request: Request[Any], credentials: Credentials) -> dict[str, str]:
    """The parameters that every request carries; a terminal names its own ``pid``."""
    common = {"agent_id": credentials.agent_id, "version": credentials.version}
    if "pid" not in request.names:
        common["pid"] = credentials.pid
    if method := request.endpoint.gateway_method:
        common["method"] = method
    return common


def _signed_scan(
    request: QrConfGet,
    fields: dict[str, str],
    credentials: Credentials,
    hosts: Hosts,
) -> tuple[str, str, dict[str, str]]:
    """A scanned link keeps its own query's bytes; what it brought is signed along (C 96)."""
    link = read_link(request.url, hosts, request.allow)
    own = fields | common_fields(request, credentials)
    if twice := own.keys() & link.fields.keys():
        raise ParameterError(dict.fromkeys(sorted(twice), "stands in the scanned link already"))
    signed = link.fields | own
    if request.code_number_from_path:
        signed = {"code_number": link.code_number} | signed
    sign = _sign(credentials, signed)
    appended = encode_form([*sorted(own.items()), ("sign", sign)])
    url = f"{link.base}?{link.query}" if link.query else link.base
    return url, appended, signed | {"sign": sign}


def read_reply(
    outgoing: Outgoing[T],
    status: int,
    body: bytes,
    credentials: Credentials,
    *,
    now: datetime | None,
    require_signed: bool = False,
    max_bytes: int = MAX_REPLY,
    date: datetime | None = None,
) -> Reply[T]:
    """What came back, verified and typed; or the error that says what to do next.

    Returns a :class:`Reply` whenever the gateway carried the call out (state SUCCESS). Refusals
    raise, and where money was asked to move, everything that does not prove that it did not is an
    :class:`~chaoying_async.exceptions.OutcomeUnknownError` (M-09, M-10). ``now`` (aware) decides
    which previous keys still count; without it none does (M-21). More than ``max_bytes`` is
    refused. ``date`` is the moment in its ``Date`` header (:func:`date_in`), and goes with the
    reply or the error.
    """
    body = shy(body)
    try:
        _check_status(outgoing, status)
        return _verified(
            outgoing, body, credentials, now, max_bytes, require_signed=require_signed, date=date
        )
    except ChaoyingError as error:
        # Without the frames that read it: whoever reports an error shows their locals (M-27).
        error.about(outgoing.endpoint.name, outgoing.order).with_traceback(None)
        error.date = date
        if isinstance(error, OutcomeUnknownError) and error.refusal is not None:
            error.refusal.date = date
            error.number_used = _speaks_of_a_used_number(body)
        unclear = (ProtocolError, GatewayUnavailableError, ParameterError)
        if outgoing.endpoint.moves_money and isinstance(error, unclear):
            unknown = outcome_unknown(outgoing, error)
            unknown.date, unknown.number_used = date, _speaks_of_a_used_number(body)
            raise unknown from error
        raise error  # noqa: TRY201 - a bare raise would put the frames back


_CODE_20004 = re.compile(rb'"code"\s*:[\s"]*20004(?![0-9])').search


def _speaks_of_a_used_number(body: bytes) -> bool:
    """Whether an answer that cannot be believed says 20004: enough to leave a cancel out (M-24)."""
    return _CODE_20004(body) is not None


def _verified(
    outgoing: Outgoing[T],
    body: bytes,
    credentials: Credentials,
    now: datetime | None,
    max_bytes: int,
    *,
    require_signed: bool,
    date: datetime | None,
) -> Reply[T]:
    members, fields = parse_reply(body, max_bytes)
    if fields.get("sign"):
        verify_for(credentials, fields, now)
    return _typed(outgoing, members, fields, credentials, require_signed=require_signed, date=date)


def date_in(headers: Iterable[tuple[str, str]]) -> datetime | None:
    """The moment in a reply's ``Date`` header; of several the last, which is the application's."""
    dates = [value for name, value in headers if name.lower() == "date"]
    return parse_http_date(dates[-1]) if dates else None


def _check_status(outgoing: Outgoing[Any], status: int) -> None:
    if status != HTTPStatus.OK:
        where = host_and_port(outgoing.url)
        raise GatewayUnavailableError(f"{where} answered with HTTP status {status}", status=status)


def outcome_unknown(outgoing: Outgoing[Any], why: ChaoyingError) -> OutcomeUnknownError:
    """The error for a request that moves money and got no answer that can be used (M-02, M-10)."""
    return OutcomeUnknownError(
        f"it may have been carried out ({why.args[0] if why.args else type(why).__name__}): "
        "query it under the same number before anything else"
    ).about(outgoing.endpoint.name, outgoing.order)


def _typed(
    outgoing: Outgoing[T],
    members: Mapping[str, Any],
    fields: Mapping[str, str],
    credentials: Credentials,
    *,
    require_signed: bool,
    date: datetime | None,
) -> Reply[T]:
    """Make the reply of fields whose signature, if they have one, was verified."""
    endpoint = outgoing.endpoint
    signed = bool(fields.get("sign"))
    state, code, trade_state = (
        fields.get(name) or None for name in ("state", "code", "trade_state")
    )
    meaning = classify(
        endpoint.family,
        state,
        code,
        trade_state,
        configured=bool(fields.get("mch_id") and fields.get("mch_trade_code")),
    )
    if meaning is Meaning.UNREADABLE:
        raise MalformedMessageError("the reply has no known state (SUCCESS, FAIL or VER)")
    believed = signed or may_be_unsigned(
        meaning,
        must_sign=endpoint.must_sign,
        trusted=outgoing.trusted,
        require_signed=require_signed,
    )
    check_answers(outgoing.request, outgoing.fields, fields, meaning)
    if meaning in (Meaning.REFUSED, Meaning.UNCLEAR_REFUSAL):
        raise _refusal(outgoing, fields, members, meaning, credentials, believed=believed)
    if not believed:
        raise MissingSignatureError(f"{meaning.says}, says a reply without a signature")
    return Reply(
        endpoint=endpoint,
        meaning=meaning,
        state=State.SUCCESS,
        # GetMchSMSValid's code is a number of minutes and stays text (C 26).
        code=code if endpoint.family is Family.SMS else _CODES.get(code, code),
        msg=_message(fields["msg"], credentials, outgoing.fields, fields)
        if fields.get("msg")
        else None,
        trade_state=_TRADE_STATES.get(trade_state, trade_state),
        result=_result(outgoing.request, fields) if meaning is Meaning.RESULT else None,
        signed=signed,
        raw=members,
        date=date,
    )


_CODES: Mapping[str | None, Code] = {code.value: code for code in Code}
_TRADE_STATES: Mapping[str | None, TradeState] = {state.value: state for state in TradeState}


def _result(request: Request[T], fields: Mapping[str, str]) -> T:
    result: T = structure(fields, request.result_type)
    payable, coupon = getattr(result, "base_fee", None), getattr(result, "coupon_fee", None)
    if payable is not None and coupon is not None and coupon > payable:
        advise(f"{request.endpoint.name}: coupon_fee is above base_fee (C 48)")
    return result


def _refusal(
    outgoing: Outgoing[Any],
    fields: Mapping[str, str],
    members: Mapping[str, Any],
    meaning: Meaning,
    credentials: Credentials,
    *,
    believed: bool,
) -> ChaoyingError:
    """The error of a refusal: the refusal itself, or one that says why it proves nothing (M-09)."""
    refusal = _gateway_error(outgoing, fields, members, credentials)
    if meaning is Meaning.REFUSED and believed:
        return refusal
    if not outgoing.endpoint.moves_money:
        unsigned = MissingSignatureError(f"a refusal without a signature: {refusal.args[0]}")
        unsigned.quoted = refusal.quoted
        return unsigned
    return OutcomeUnknownError(
        f"refused ({refusal.args[0]}), which does not prove that nothing moved: "
        "query it under the same number before anything else",
        refusal=refusal,
    )


def _gateway_error(
    outgoing: Outgoing[Any],
    fields: Mapping[str, str],
    members: Mapping[str, Any],
    credentials: Credentials,
) -> GatewayError:
    state, code, msg = (fields.get(name) or None for name in ("state", "code", "msg"))
    code = None if code is None else one_line(code)
    if state == State.VER:
        error: type[GatewayError] = VersionTooLowError
    elif outgoing.endpoint.family is Family.SMS:
        error = GatewayError
    else:
        error = GATEWAY_ERRORS.get(code or "", GatewayError)
    shown = _message(msg or "no message", credentials, outgoing.fields, fields)
    hint = " (10002 under FAIL most likely is a wrong signature, C 19)" if code == "10002" else ""
    return error(
        f"state {state}, code {code or '-'}: {shown}{hint}",
        state=state or "",
        code=code,
        msg=shown if msg else None,
        raw=SealedMap(_without_keys(members, credentials)),
    ).about(outgoing.endpoint.name, outgoing.order)


def _without_keys(value: Any, credentials: Credentials) -> Any:
    """A value of a refusal, with every key that it echoes masked, however deep it stands (M-27)."""
    if isinstance(value, str):
        return hide_keys(value, credentials)
    if isinstance(value, Mapping):
        return {
            _without_keys(name, credentials): _without_keys(each, credentials)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_without_keys(each, credentials) for each in value]
    return value


def _message(
    text: str, credentials: Credentials, sent: Mapping[str, str], received: Mapping[str, str]
) -> str:
    """A gateway's message, fit for a log line: nothing personal, no key (M-27), bounded."""
    text = masked_message(text.encode("utf-8", "replace").decode(), sent, received)
    return one_line(hide_keys(text, credentials), LONGEST_MESSAGE)
