"""The page of all calls and notifications: what they take and bring back, and the descriptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from starlette.responses import Response

from chaoying_async.descriptions.message_schemas import (
    DescribedField,
    notification_fields,
    reply_fields,
    request_fields,
)
from chaoying_async.descriptions.openapi import NOTIFICATIONS, path_of
from chaoying_async.sandbox.console.visit import Visit
from chaoying_async.sandbox.serving.description_pages import ASYNCAPI, OPENAPI
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Request


@attrs.frozen(kw_only=True)
class FieldRow:
    """One field, and what is said about it in the visitor's language."""

    name: str
    needed: bool
    words: str


@attrs.frozen(kw_only=True)
class CallRow:
    """One call."""

    name: str
    title: str
    address: str
    moves_money: bool
    repeatable: bool
    request: list[FieldRow]
    reply: list[FieldRow]


@attrs.frozen(kw_only=True)
class NotificationRow:
    """One notification."""

    name: str
    fields: list[FieldRow]


async def show(visit: Visit) -> Response:
    """Show the page."""
    chinese = visit.words.language == "zh"
    return visit.page(
        "api.html",
        openapi=OPENAPI,
        asyncapi=ASYNCAPI,
        calls=[_call(request, chinese=chinese) for request in REQUESTS],
        notifications=[
            NotificationRow(
                name=name, fields=list(_rows(notification_fields(kind), chinese=chinese))
            )
            for name, kind in NOTIFICATIONS.items()
        ],
    )


def _call(request: type[Request[Any]], *, chinese: bool) -> CallRow:
    endpoint = request.endpoint
    return CallRow(
        name=endpoint.name,
        title=endpoint.title,
        address=f"{endpoint.http_method} {path_of(request).partition('#')[0]}",
        moves_money=endpoint.moves_money,
        repeatable=endpoint.repeatable,
        request=list(_rows(request_fields(request), chinese=chinese)),
        reply=list(_rows(reply_fields(request), chinese=chinese)),
    )


def _rows(fields: Mapping[str, DescribedField], *, chinese: bool) -> Iterator[FieldRow]:
    for name, field in fields.items():
        words = field.words.chinese if chinese else ""
        yield FieldRow(name=name, needed=field.needed, words=words or field.words.english)
