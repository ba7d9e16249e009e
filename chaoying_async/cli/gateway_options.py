"""Options that say which gateway a command asks, and as whom; reads the key.

A key comes from the environment, or from a prompt that does not show it (M-27).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import click

from chaoying_async.cli.field_option import FieldOption
from chaoying_async.cli.language import shown
from chaoying_async.environment import key_from_env, plain_http_from_env, settings_from_env
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.credentials import (
    Credentials,
    SignAlgorithm,
    SortOrder,
    credentials_from,
    environment_problems,
)
from chaoying_async.sansio.hosts import Hosts, is_loopback
from chaoying_async.sansio.printable import unclean
from chaoying_async.sansio.redact import is_certain, shown_address
from chaoying_async.session import GatewaySession

F = TypeVar("F", bound=Callable[..., Any])

_KEY = "CHAOYING_KEY"
_NO_OPTION = (
    "a key is never an option, since the shell would remember it: "
    f"set {_KEY} in the environment, or leave it out and be asked"
)
_ORDERS = {"ascii": SortOrder.ASCII, "ignore-case": SortOrder.IGNORE_CASE}
_GENERATIONS = {"document": Hosts.document, "v3.2": Hosts.v3_2}


def stacked(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """One decorator for several; the help shows their options in this order."""

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _refuse(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(_NO_OPTION)


#: ``--algorithm`` and ``--order``: how a message is signed. ``--key`` exists to be refused.
how_options = stacked(
    click.option("--key", hidden=True, expose_value=False, callback=_refuse, metavar="..."),
    click.option(
        "--algorithm",
        type=click.Choice(tuple(SignAlgorithm)),
        envvar="CHAOYING_ALGORITHM",
        cls=FieldOption,
        of=Credentials,
        help="Default: CHAOYING_ALGORITHM.",
    ),
    click.option(
        "--order",
        type=click.Choice(tuple(_ORDERS)),
        default="ascii",
        show_default=True,
        cls=FieldOption,
        of=Credentials,
        named="sort_order",
    ),
)
#: Also ``--agent-id`` and ``--pid``: who signs.
who_options = stacked(
    how_options,
    click.option("--agent-id", cls=FieldOption, of=Credentials, help="Default: CHAOYING_AGENT_ID."),
    click.option("--pid", cls=FieldOption, of=Credentials, help="Default: CHAOYING_PID."),
)
#: ``--url`` and ``--hosts``: which gateway.
where_options = stacked(
    click.option(
        "--url",
        envvar="CHAOYING_URL",
        help="A sandbox, or a gateway behind a proxy of yours; default: production. Plain http"
        " only to this machine, or with CHAOYING_ALLOW_HTTP=1 (a container's name).",
    ),
    click.option(
        "--hosts",
        type=click.Choice(tuple(_GENERATIONS)),
        default="document",
        show_default=True,
        help="Addresses of production: as printed in v2.9.0, or as printed last.",
    ),
)
#: Who signs, and which gateway.
target_options = stacked(who_options, where_options)


@attrs.frozen(kw_only=True)
class SignerOptions:
    """The options of who signs, and how; None: take it from the environment."""

    agent_id: str | None = None
    pid: str | None = None
    algorithm: str | None = None
    order: str = "ascii"

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> SignerOptions:
        """Remove these options from the options of a command."""
        names = [field.name for field in attrs.fields(cls) if field.name in options]
        return cls(**{name: options.pop(name) for name in names})

    @property
    def sort_order(self) -> SortOrder:
        return _ORDERS[self.order]


def credentials(
    given: SignerOptions, *, also: Mapping[str, str | None] = MappingProxyType({})
) -> Credentials:
    """The credentials of who signs; a key that is not in the environment is asked for.

    ``also``: what else the command cannot do without, by the variable that it may come from. All
    that is missing or wrong is named in one :class:`~chaoying_async.exceptions.ParameterError`.
    """
    rest = _settings(given)
    # Checked before a key is asked for, and raised here, where no local variable holds one (M-27).
    if problems := problems_with(given, also=also):
        raise ParameterError(problems)
    return attrs.evolve(credentials_from({**rest, _KEY: key()}), sort_order=given.sort_order)


def problems_with(
    given: SignerOptions, *, also: Mapping[str, str | None] = MappingProxyType({})
) -> dict[str, str]:
    """All that is missing or wrong before a message can be signed, by variable."""
    known = key_from_env() or ("asked for" if can_ask() else "")
    problems = environment_problems({**_settings(given), _KEY: known})
    problems |= {name: "is not set" for name, value in also.items() if not value}
    return problems | {
        name: rule for name, value in also.items() if value and (rule := unclean(value))
    }


def _settings(given: SignerOptions) -> dict[str, str]:
    said = {
        "CHAOYING_AGENT_ID": given.agent_id,
        "CHAOYING_PID": given.pid,
        "CHAOYING_ALGORITHM": given.algorithm,
    }
    return settings_from_env() | {name: value for name, value in said.items() if value}


def signer(given: SignerOptions) -> Credentials | None:
    """As :func:`credentials`; None where no agent is named, so that only a key is known."""
    known = settings_from_env()
    agent, pid = given.agent_id or known.get("CHAOYING_AGENT_ID"), known.get("CHAOYING_PID")
    return credentials(given) if agent and (given.pid or pid) else None


def key() -> str:
    """The key, from the environment or from somebody who types it."""
    if found := key_from_env():
        return found
    if not can_ask():
        raise click.UsageError(f"{_KEY} is not set, and there is no terminal to ask on")
    answer: str = click.prompt(shown("Key 密钥 (not shown)"), hide_input=True, err=True)
    return answer.strip()


def can_ask() -> bool:
    """Whether there is a terminal to ask on."""
    return sys.stdin.isatty() or sys.stderr.isatty()


@attrs.frozen(kw_only=True)
class Target:
    """One gateway. ``real``: it is not on this machine, so real money may move there."""

    hosts: Hosts
    name: str
    real: bool


def target(url: str | None, hosts: str) -> Target:
    """The gateway that the options name."""
    if url is None:
        return Target(hosts=_GENERATIONS[hosts](), name=f"production ({hosts})", real=True)
    try:
        real = not is_loopback(urlsplit(url).hostname)
    except ValueError:
        raise click.UsageError("--url is not an address") from None
    name = url if is_certain(url) else shown_address(url)
    return Target(
        hosts=Hosts.single(url, dangerous_allow_http=plain_http_from_env()), name=name, real=real
    )


def session(where: Target, who: Credentials, **more: Any) -> GatewaySession:
    """A session with that gateway, to be opened with ``async with``."""
    return GatewaySession(who, hosts=where.hosts, **more)
