"""As whom a command speaks: the key is from the environment or from a prompt (M-27)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import attrs
import click

from chaoying_async.environment import key_from_env, settings_from_env
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.credentials import (
    Credentials,
    SignAlgorithm,
    SortOrder,
    credentials_from,
    environment_problems,
)

F = TypeVar("F", bound=Callable[..., Any])

_KEY = "CHAOYING_KEY"
_NO_OPTION = (
    "a key is never an option, since the shell would remember it: "
    f"set {_KEY} in the environment, or leave it out and be asked"
)
_ORDERS = {"ascii": SortOrder.ASCII, "ignore-case": SortOrder.IGNORE_CASE}


@attrs.frozen(kw_only=True)
class Given:
    """What the options say about who signs; None: as the environment has it."""

    agent_id: str | None = None
    pid: str | None = None
    algorithm: str | None = None
    order: str = "ascii"


def _refuse(_ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(_NO_OPTION)


def key_refused(command: F) -> F:
    """``--key`` exists to be refused, with the reason."""
    return click.option("--key", hidden=True, expose_value=False, callback=_refuse, metavar="...")(
        command
    )


def how_options(command: F) -> F:
    """``--algorithm`` and ``--order``: how a message is signed."""
    for decorate in (
        click.option(
            "--order",
            type=click.Choice(tuple(_ORDERS)),
            default="ascii",
            show_default=True,
            help="How names are sorted before signing (签名排序).",
        ),
        click.option(
            "--algorithm",
            type=click.Choice(tuple(SignAlgorithm)),
            envvar="CHAOYING_ALGORITHM",
            help="签名算法; default: CHAOYING_ALGORITHM, else MD5.",
        ),
    ):
        command = decorate(command)
    return key_refused(command)


def who_options(command: F) -> F:
    """``--agent-id`` and ``--pid`` as well."""
    for decorate in (
        click.option("--pid", help="产品名称; default: CHAOYING_PID."),
        click.option("--agent-id", help="代理商号; default: CHAOYING_AGENT_ID."),
    ):
        command = decorate(command)
    return how_options(command)


def credentials(given: Given) -> Credentials:
    """Who signs; a key that is not in the environment is asked for."""
    said = {"CHAOYING_AGENT_ID": given.agent_id, "CHAOYING_PID": given.pid}
    if given.algorithm:
        said["CHAOYING_ALGORITHM"] = given.algorithm
    rest = settings_from_env() | {name: value for name, value in said.items() if value}
    # Before a key is asked for; and raised here, where no local holds one (M-27).
    if problems := environment_problems({**rest, _KEY: key_from_env() or "asked for"}):
        raise ParameterError(problems)
    made = credentials_from({**rest, _KEY: key()})
    return attrs.evolve(made, sort_order=_ORDERS[given.order])


def signer(given: Given) -> Credentials | None:
    """As :func:`credentials`; None where no agent is named, and only a key is known."""
    known = settings_from_env()
    agent, pid = given.agent_id or known.get("CHAOYING_AGENT_ID"), known.get("CHAOYING_PID")
    return credentials(given) if agent and (given.pid or pid) else None


def sort_order(given: Given) -> SortOrder:
    """The order that the option names."""
    return _ORDERS[given.order]


def defaults() -> tuple[str | None, str | None]:
    """The merchant and the operator of a request that names none."""
    known = settings_from_env()
    return known.get("CHAOYING_MCH_ID"), known.get("CHAOYING_OP_USER_ID")


def key() -> str:
    """The key, from the environment or from somebody who types it."""
    return key_from_env() or _asked()


def _asked() -> str:
    if not can_ask():
        _nobody_there()
    answer: str = click.prompt("Key 密钥 (not shown)", hide_input=True, err=True)
    return answer.strip()


def can_ask() -> bool:
    """Whether there is a terminal to ask on."""
    return sys.stdin.isatty() or sys.stderr.isatty()


def _nobody_there() -> NoReturn:
    raise click.UsageError(f"{_KEY} is not set, and there is no terminal to ask on")
