"""Every call of the gateway as an OpenAPI 3.1 document.

Eight calls share one address, where the parameter ``method`` chooses between them. OpenAPI has one
operation for an address and an HTTP method, so their paths end in ``#`` and the name of the call:
a fragment, which no HTTP client sends, and which keeps eight calls, their parameters and their
replies apart. Signing is no security scheme that OpenAPI knows, and is described in words.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from chaoying_async.descriptions.field_schemas import COMPONENTS, Schema
from chaoying_async.descriptions.message_schemas import (
    goods_schema,
    notification_hints,
    notification_schema,
    packed_schemas,
    reply_schema,
    request_schema,
    result_hints,
    rules_in_words,
)
from chaoying_async.descriptions.plain_words import call_words, title_of
from chaoying_async.descriptions.signing_guide import signing_guide
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Host, Request
from chaoying_async.sansio.api.terminal import TERMINAL, QrConfGet
from chaoying_async.sansio.hosts import Hosts
from chaoying_async.sansio.notifications.message import (
    AlipayNotification,
    Notification,
    WechatNotification,
)

TITLE = "超赢聚合支付 API (Chaoying payment gateway)"
#: The version of the gateway's own document.
DOCUMENT = "2.9.0"
FORM = "application/x-www-form-urlencoded"
#: Name in the document to the class, for both notifications.
NOTIFICATIONS: Mapping[str, type[Notification]] = {
    "WECHAT_Notify": WechatNotification,
    "ALIPAY_Notify": AlipayNotification,
}

_ABOUT = """\
Not the gateway's own description: made from the request and result classes of chaoying-async, which
follow the gateway's document v2.9.0 (2022-03-01).

**Calls.** Parameters are a form, replies are JSON. Eight calls share the address
`/UnifiedPay/Gateway`, where the parameter `method` chooses between them; their paths end in `#` and
the name of the call here, since OpenAPI has one operation for an address. The fragment is not sent.

**Money.** Amounts are whole numbers of fen (分, 1/100 CNY). What `state` SUCCESS says is that the
call was handled; only for pay, facepay and orderquery does `trade_state` SUCCESS mean *paid*. When
an answer is missing or unclear, the payment may have happened: query, and never pay again under
another number before you know. Calls with `x-moves-money` are never repeated by themselves; those
with `x-safe-to-repeat` may be.

**Times** are `yyyyMMddHHmmss` in GMT+8.

"""
_QR = {
    "op_shop_id": "As the scanned link has it: the store's number.（门店编号）",
    "op_user_id": "As the scanned link has it: the cashier's account.（操作员帐号）",
}
_CODE_NUMBER = (
    "The number of the scanned code; the whole link stands in the QR code. Later documents sign it"
    " as a parameter of this name.（二维码编号，取自链接路径的最后一段）"
)
_NOT_EMPTY: Schema = {"type": "string", "minLength": 1}
_PLAIN = {"text/plain": {"schema": {"type": "string"}}}
#: What the sandbox answers to what is no message of the gateway: HTTP status to its words.
_NO_MESSAGE = {
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
}
_NO_FORM = {"415": f"The body is not `{FORM}`."}
#: Of the gateway's own servers nothing is known but what its document prints.
_ANY_STATUS = {"default": {"description": "No answer of the gateway: the outcome is unknown."}}


def openapi(hosts: Hosts | None = None) -> dict[str, Any]:
    """The document for the gateway at these addresses; without any, for a sandbox that serves it.

    Only a sandbox's says which HTTP statuses there are beside 200: the gateway's document is silent
    about them, so there every other status is an unknown outcome.
    """
    paths: dict[str, Any] = {}
    for request in REQUESTS:
        path = paths.setdefault(path_of(request), _servers(request, hosts))
        path[request.endpoint.http_method.lower()] = _operation(request, sandbox=hosts is None)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": DOCUMENT,
            "description": _ABOUT + signing_guide(),
        },
        "servers": [{"url": "/"} if hosts is None else {"url": hosts.pay}],
        "tags": _tags(),
        "paths": paths,
        "webhooks": {name: _webhook(name) for name in NOTIFICATIONS},
        "components": {"schemas": _schemas()},
    }


def path_of(request: type[Request[Any]]) -> str:
    """The path of a call in the document: its own, or the shared one with the call behind ``#``."""
    endpoint = request.endpoint
    if endpoint.host is Host.SCANNED:
        return "/qrpay/{code_number}"
    return f"{endpoint.path}#{endpoint.name}" if endpoint.gateway_method else endpoint.path


def _servers(request: type[Request[Any]], hosts: Hosts | None) -> dict[str, Any]:
    """The address of a call that is not at the first one."""
    endpoint = request.endpoint
    if hosts is None:
        return {}
    if endpoint.host is Host.SCANNED:
        return {"servers": [{"url": _origin(host)} for host in hosts.scanned]}
    url = hosts.url_of(request).removesuffix(endpoint.path)
    return {} if url == hosts.pay else {"servers": [{"url": url}]}


def _origin(host: str) -> str:
    return host if "/" in host else f"https://{host}"


def _operation(request: type[Request[Any]], *, sandbox: bool) -> dict[str, Any]:
    endpoint = request.endpoint
    reply = {"schema": {"$ref": f"{COMPONENTS}{reply_name(request)}"}}
    posts = endpoint.http_method == "POST"
    others = _NO_MESSAGE | (_NO_FORM if posts else {}) if sandbox else {}
    responses = {
        "200": {
            "description": "The reply, also where the call was refused: see `state` and `code`.",
            "content": {"application/json": reply},
        },
        **{status: {"description": words, "content": _PLAIN} for status, words in others.items()},
        **({} if sandbox else _ANY_STATUS),
    }
    words = (call_words(request), rules_in_words(request))
    return {
        "operationId": endpoint.name,
        "summary": title_of(request),
        "description": "\n\n".join(filter(None, words)),
        "tags": [_chapter(request)],
        **(_form_body(request) if posts else _query(request)),
        "responses": responses,
        "x-moves-money": endpoint.moves_money,
        "x-safe-to-repeat": endpoint.repeatable,
        "x-signed-reply": endpoint.must_sign,
    }


def _form_body(request: type[Request[Any]]) -> dict[str, Any]:
    schema = {"$ref": f"{COMPONENTS}{request_name(request)}"}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


def _query(request: type[Request[Any]]) -> dict[str, Any]:
    """A terminal's call: a GET whose parameters are signed and travel in the query."""
    schema = request_schema(request)
    parameters = [
        _parameter(
            name,
            "query",
            what.get("description", ""),
            {key: value for key, value in what.items() if key != "description"},
            required=name in schema["required"],
        )
        for name, what in schema["properties"].items()
    ]
    if request is QrConfGet:
        parameters += [
            _parameter(name, "query", words, _NOT_EMPTY, required=False)
            for name, words in _QR.items()
        ]
        parameters.append(_parameter("code_number", "path", _CODE_NUMBER, _NOT_EMPTY))
    says = "What terminals call themselves."
    parameters.append(_parameter("User-Agent", "header", says, {"const": TERMINAL}))
    return {"parameters": parameters}


def _parameter(
    name: str, where: str, words: str, schema: Schema, *, required: bool = True
) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "required": required,
        "description": words,
        "schema": schema,
    }


def _webhook(name: str) -> dict[str, Any]:
    schema = {"$ref": f"{COMPONENTS}{name}"}
    return {
        "post": {
            "operationId": name,
            "summary": title_of(NOTIFICATIONS[name]),
            "description": "What the gateway posts to the `notify_url` of a pre-order. Verify it,"
            " compare the amount, and answer `success` once the effect is durable.",
            "requestBody": {"required": True, "content": {FORM: {"schema": schema}}},
            "responses": {
                "200": {
                    "description": "`success` ends the redelivery; any other text asks for another"
                    " delivery.",
                    "content": {"text/plain": {"schema": {"enum": ["success", "fail"]}}},
                }
            },
        }
    }


def request_name(request: type[Request[Any]]) -> str:
    """The name of a request's schema."""
    return f"{request.endpoint.name}_request"


def reply_name(request: type[Request[Any]]) -> str:
    """The name of a reply's schema."""
    return f"{request.endpoint.name}_reply"


def _schemas() -> dict[str, Schema]:
    posted = [each for each in REQUESTS if each.endpoint.http_method == "POST"]
    kinds = NOTIFICATIONS.values()
    hints = [hint for request in REQUESTS for hint in result_hints(request)]
    hints += [hint for kind in kinds for hint in notification_hints(kind).values()]
    return {
        **{request_name(each): request_schema(each) for each in posted},
        **{reply_name(each): reply_schema(each) for each in REQUESTS},
        **{name: notification_schema(kind) for name, kind in NOTIFICATIONS.items()},
        **goods_schema(),
        **packed_schemas(hints),
    }


def _chapter(request: type[Request[Any]]) -> str:
    return request.__module__.rpartition(".")[2]


def _tags() -> list[dict[str, str]]:
    """The chapters of the document: the modules that the requests stand in."""
    modules = {_chapter(request): sys.modules[request.__module__] for request in REQUESTS}
    return [
        {"name": name, "description": (module.__doc__ or "").partition("\n")[0]}
        for name, module in modules.items()
    ]
