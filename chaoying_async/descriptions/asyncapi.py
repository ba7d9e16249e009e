"""Both notifications as an AsyncAPI 3.0 document, from the side of a shop that receives them."""

from __future__ import annotations

from typing import Any

from chaoying_async.descriptions.field_schemas import COMPONENTS
from chaoying_async.descriptions.message_schemas import (
    notification_hints,
    notification_schema,
    packed_schemas,
)
from chaoying_async.descriptions.openapi import DOCUMENT, FORM, NOTIFICATIONS, TITLE
from chaoying_async.descriptions.plain_words import call_words, title_of
from chaoying_async.descriptions.signing_guide import signing_guide

#: Seconds that the gateway waits for an answer, and the waits between its attempts.
PATIENCE = 3
ATTEMPTS = "0/15s/15s/15s/30s/3m/3m/30m/30m/30m/30m/1h"

_ABOUT = f"""\
What the gateway posts to the `notify_url` of a pre-order when the order is paid, or has failed. Not
the gateway's own description: made from the classes of chaoying-async, which follow the gateway's
document v{DOCUMENT}.

**Answer** exactly `success` (text/plain, status 200, no line end) within {PATIENCE} seconds, and
only when the effect is durable. Anything else, or nothing, has the gateway notify again, after
{ATTEMPTS}, and then never: keep asking with `orderquery` too. The same notification may come
several times, also after you have answered: take effect once for each order.

**Believe nothing before the signature**, and compare the amount with your own order after it. The
sender is not named anywhere, so the signature is all that tells the gateway from a forger.

"""
_ANSWERS = {
    "success": "The effect is durable: the redelivery ends.（处理成功，不再通知）",
    "fail": "Anything else: the gateway notifies again.（处理失败，网关会再次通知）",
}
_HTTP = {"bindingVersion": "0.3.0"}


def asyncapi() -> dict[str, Any]:
    """The document; where a shop listens is its own ``notify_url``, so no address is given."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": TITLE, "version": DOCUMENT, "description": _ABOUT + signing_guide()},
        "defaultContentType": FORM,
        "channels": {
            **{name: _channel(name) for name in NOTIFICATIONS},
            "answer": {
                "address": None,
                "title": "应答",
                "description": "The HTTP response to a notification.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _ANSWERS},
            },
        },
        "operations": {f"receive_{name}": _operation(name) for name in NOTIFICATIONS},
        "components": {
            "messages": {
                **{name: _notification(name) for name in NOTIFICATIONS},
                **{name: _answer(name) for name in _ANSWERS},
            },
            "schemas": {
                **{name: notification_schema(kind) for name, kind in NOTIFICATIONS.items()},
                **packed_schemas(
                    hint
                    for kind in NOTIFICATIONS.values()
                    for hint in notification_hints(kind).values()
                ),
            },
        },
    }


def _channel(name: str) -> dict[str, Any]:
    return {
        "address": None,
        "title": title_of(NOTIFICATIONS[name]),
        "description": "The `notify_url` that the pre-order named: an absolute address without a"
        " query, which the gateway can reach.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }


def _operation(name: str) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{name}"},
        "title": title_of(NOTIFICATIONS[name]),
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        "bindings": {"http": {"method": "POST", **_HTTP}},
        "reply": {
            "channel": {"$ref": "#/channels/answer"},
            "messages": [{"$ref": f"#/channels/answer/messages/{each}"} for each in _ANSWERS],
        },
    }


def _notification(name: str) -> dict[str, Any]:
    kind = NOTIFICATIONS[name]
    return {
        "name": name,
        "title": title_of(kind),
        "description": call_words(kind),
        "contentType": FORM,
        "payload": {"$ref": f"{COMPONENTS}{name}"},
    }


def _answer(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "summary": _ANSWERS[name],
        "contentType": "text/plain",
        "payload": {"type": "string", "const": name},
        "bindings": {"http": {"statusCode": 200, **_HTTP}},
    }
