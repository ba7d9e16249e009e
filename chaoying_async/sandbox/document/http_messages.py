"""What goes over the wire: a request, its form parameters, a response, and how one is cut off."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Self
from urllib.parse import unquote_plus

import attrs

from chaoying_async.sandbox.document.endpoints import BY_METHOD, endpoint_at, endpoint_named
from chaoying_async.sansio.wire.forms import encode_form

#: Larger bodies are not read; the document's largest request has some 2 KiB.
MAX_BODY = 64 * 1024
#: The content type of every request.
FORM = "application/x-www-form-urlencoded"
_MAX_FIELDS = 200


class NotAFormError(ValueError):
    """The parameters cannot be read; the error's text says why."""


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A request as it came over the wire."""

    method: str
    path: str
    query: str = ""
    content_type: str = ""
    user_agent: str = ""
    body: bytes = b""

    @classmethod
    def of(
        cls, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Self:
        """The request with these headers, whose names are in lower case."""
        return cls(
            method=method,
            path=path,
            query=query,
            content_type=headers.get("content-type", ""),
            user_agent=headers.get("user-agent", ""),
            body=body,
        )

    @property
    def parameters(self) -> bytes:
        """The form parameters, from where this HTTP method carries them: the body or the query."""
        return self.body if self.method == "POST" else self.query.encode("ascii", "replace")

    @property
    def is_form(self) -> bool:
        """Whether the content type says that the body is a form."""
        return self.content_type.partition(";")[0].strip().lower() == FORM

    @property
    def endpoint(self) -> str:
        """The endpoint that the request is for; empty if nobody can tell."""
        try:
            address = endpoint_at(self.method, self.path) or BY_METHOD
            return endpoint_named(address, read_form(self.parameters))
        except NotAFormError:
            return ""


class Cut(Enum):
    """How a connection ends before the reply is complete."""

    REFUSED = "it is refused"
    RESET = "it is cut without a byte of the reply"
    HALF = "it is cut in the middle of the reply"


@attrs.frozen
class HttpResponse:
    """A response as it goes over the wire, unless the connection is ``cut``."""

    status: int
    content_type: str
    body: bytes
    cut: Cut | None = None


def plain_page(status: int, text: str) -> HttpResponse:
    """A response of plain text, for what is no message of the gateway."""
    return HttpResponse(status, "text/plain; charset=utf-8", text.encode())


def read_form(body: bytes) -> dict[str, str]:
    """The parameters of a form, or :class:`NotAFormError`.

    Simple programs may write it: UTF-8 without escapes, an ampersand too many. This is not the
    client's parser, so that a mistake in one of them shows.
    """
    try:
        pieces = [piece for piece in body.decode().split("&") if piece]
        if len(pieces) > _MAX_FIELDS:
            raise NotAFormError(f"a form has at most {_MAX_FIELDS} parameters")
        pairs = [piece.partition("=") for piece in pieces]
        if not all(equals for _, equals, _ in pairs):
            raise NotAFormError("the body is not a form")
        fields = {_decoded(name): _decoded(value) for name, _, value in pairs}
    except UnicodeError:
        raise NotAFormError("the body is not a form in UTF-8") from None
    if len(fields) != len(pieces):
        raise NotAFormError("a parameter comes twice")
    return fields


def _decoded(text: str) -> str:
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text


def written_form(fields: Mapping[str, str]) -> bytes:
    """A form as the vendor's samples look: sorted names, ``%5B`` written as ``%5b`` (C 15)."""
    head, *rest = encode_form(sorted(fields.items())).split("%")
    return (head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)).encode()
