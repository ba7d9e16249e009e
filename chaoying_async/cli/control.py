"""Speaking to a running sandbox: its ``/_sandbox/`` endpoints over real HTTP."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import click
import httpx

from chaoying_async.cli import interrupts, output
from chaoying_async.cli.commands.sandbox import TOKEN
from chaoying_async.cli.exits import Exit
from chaoying_async.environment import settings_from_env
from chaoying_async.exceptions import RequestNotSentError, TransportError
from chaoying_async.sansio.redact import shown_address

#: A notification may take a receiver three seconds, and a sandbox makes several.
_PATIENCE = 30.0


def post(url: str, what: str, wish: dict[str, Any]) -> dict[str, Any]:
    """Ask for something to happen; its answer. What makes no sense is a usage error."""
    headers = {"X-Sandbox": "1"}
    if token := settings_from_env().get(TOKEN):
        headers["Authorization"] = f"Bearer {token}"
    address = f"{url.rstrip('/')}/_sandbox/{what}"
    try:
        with httpx.Client(trust_env=False, timeout=_PATIENCE) as client:
            reply = client.post(address, json=wish, headers=headers)
            answer = reply.json()
            interrupts.of_command().settle()
    except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise RequestNotSentError(
            f"no sandbox at {shown_address(url)}: start one with `chaoying sandbox`"
        ) from error
    except KeyboardInterrupt:
        words = f"interrupted; the sandbox may have done it: see {shown_address(url)}/console/"
        output.end(output.interrupted(words, Exit.UNKNOWN))
    except (httpx.HTTPError, ValueError) as error:
        raise TransportError(f"{shown_address(url)} does not answer like a sandbox") from error
    if not isinstance(answer, dict):
        raise TransportError(f"{shown_address(url)} does not answer like a sandbox")
    if reply.status_code != HTTPStatus.OK:
        raise click.UsageError(f"the sandbox says: {answer.get('problem', reply.status_code)}")
    return answer


def url_option(command: Any) -> Any:
    """``--url`` of the sandbox."""
    return click.option(
        "--url", envvar="CHAOYING_URL", required=True, help="The sandbox; default: CHAOYING_URL."
    )(command)
