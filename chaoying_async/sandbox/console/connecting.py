"""The lines that connect a program with this sandbox, to be pasted into a terminal."""

from __future__ import annotations

import re
import shlex

import attrs
from starlette.requests import Request

from chaoying_async.sandbox.console.visit import Visit
from chaoying_async.sandbox.serving.exports import exports

#: What may stand in a shell's line and on a page: a name or an address, and maybe a port.
_HOST = re.compile(
    r"(?:[a-z0-9][a-z0-9.-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?",
    re.ASCII | re.IGNORECASE,
).fullmatch


@attrs.frozen
class Lines:
    """The same settings for two kinds of shells."""

    posix: str
    powershell: str
    with_key: bool
    """Whether the key is in them: one that the sandbox was given may be worth something (M-27)."""


def lines_for(visit: Visit) -> Lines:
    """The lines for whoever uses the address that the browser itself used."""
    world = visit.context.runtime.gateway.world
    given = dict(exports(world.credentials, _url(visit.request)))
    if not world.invented:
        given["CHAOYING_KEY"] = "..."
    return Lines(
        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in given.items()),
        "".join(f"$env:{name} = {_quoted(value)}\n" for name, value in given.items()),
        world.invented,
    )


def _url(request: Request) -> str:
    """By the Host header if it is nothing but a host, else by where the connection arrived."""
    host = request.headers.get("host", "")
    if not _HOST(host):
        address, port = request.scope.get("server") or ("127.0.0.1", None)
        name = f"[{address}]" if ":" in address else address
        host = f"{name}:{port}" if port else name
    return f"{request.scope['scheme']}://{host}"


def _quoted(value: str) -> str:
    """As PowerShell takes it literally."""
    return "'" + value.replace("'", "''") + "'"
