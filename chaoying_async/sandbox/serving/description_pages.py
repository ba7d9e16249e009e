"""``/openapi.json`` and ``/asyncapi.json``: what the gateway takes and says, for other languages.

Nothing in them is this sandbox's own, so anybody who reaches the gateway may read them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from chaoying_async.descriptions.asyncapi import asyncapi
from chaoying_async.descriptions.openapi import openapi
from chaoying_async.sandbox.document.http_messages import HttpResponse

OPENAPI, ASYNCAPI = "/openapi.json", "/asyncapi.json"
_MADE: Mapping[str, Callable[[], dict[str, Any]]] = {OPENAPI: openapi, ASYNCAPI: asyncapi}


def description_at(method: str, path: str) -> HttpResponse | None:
    """The description at an address; None where there is none."""
    return _page(path) if method == "GET" and path in _MADE else None


@cache
def _page(path: str) -> HttpResponse:
    """Made when somebody asks for it: it takes a tenth of a second."""
    body = json.dumps(_MADE[path](), ensure_ascii=False).encode()
    return HttpResponse(200, "application/json; charset=utf-8", body)
