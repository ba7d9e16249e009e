"""Where a command's requests go, and whether real money could move there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs
import click

from chaoying_async.cli import gateway_options
from chaoying_async.cli.gateway_options import Given
from chaoying_async.sansio.audit import Exchange
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.hosts import Hosts, is_loopback
from chaoying_async.sansio.redact import is_certain, shown_address
from chaoying_async.session import GatewaySession

F = TypeVar("F", bound=Callable[..., Any])

_GENERATIONS = {"document": Hosts.document, "v3.2": Hosts.v3_2}


@attrs.frozen(kw_only=True)
class Target:
    """One gateway. ``real``: not on this machine, so that what moves there may be real money."""

    hosts: Hosts
    name: str
    real: bool


def target_options(command: F) -> F:
    """``--url`` and ``--hosts``, and who speaks."""
    for decorate in (
        click.option(
            "--hosts",
            type=click.Choice(tuple(_GENERATIONS)),
            default="document",
            show_default=True,
            help="Addresses of production: as printed in v2.9.0, or as printed last.",
        ),
        click.option(
            "--url",
            envvar="CHAOYING_URL",
            help="A sandbox, or a gateway behind a proxy of yours; default: production.",
        ),
    ):
        command = decorate(command)
    return gateway_options.who_options(command)


def target(url: str | None, hosts: str) -> Target:
    """The gateway that the options name."""
    if url is None:
        return Target(hosts=_GENERATIONS[hosts](), name=f"production ({hosts})", real=True)
    try:
        real = not is_loopback(urlsplit(url).hostname)
    except ValueError:
        raise click.UsageError("--url is not an address") from None
    name = url if is_certain(url) else shown_address(url)
    return Target(hosts=Hosts.single(url), name=name, real=real)


def session(
    where: Target,
    who: Credentials,
    *,
    mch_id: str | None = None,
    op_user_id: str | None = None,
    on_exchange: Callable[[Exchange], None] | None = None,
    **more: Any,
) -> GatewaySession:
    """A session with that gateway, to be opened with ``async with``."""
    return GatewaySession(
        who,
        mch_id=mch_id,
        op_user_id=op_user_id,
        hosts=where.hosts,
        on_exchange=on_exchange,
        **more,
    )


def given_from(options: dict[str, Any]) -> Given:
    """Take who speaks out of a command's options."""
    names = [field.name for field in attrs.fields(Given)]
    return Given(**{name: options.pop(name) for name in names if name in options})
