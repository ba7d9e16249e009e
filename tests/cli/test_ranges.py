"""Options that are numbers: what is too large, negative or no number is a usage error (2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest

from chaoying_async.cli.command_line import chaoying
from chaoying_async.cli.exits import Exit
from tests.cli_calls import call

#: Options that are numbers and have no ends, and why.
ENDLESS = {"seed": "any whole number is a seed"}
#: Of at least as much, or as little, as what a calendar, a timer or a database can hold.
WHOLE = ("1" + "0" * 40, "-1" + "0" * 40, "-1", "9" * 5000)
BROKEN = (*WHOLE, "inf", "-inf", "nan", "1e300", "1e999")


def commands(
    command: click.Command, ctx: click.Context, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of the program, and the words that name it; the requests of `send` once."""
    yield path, command
    if isinstance(command, click.Group) and command.name != "send":
        for name in command.list_commands(ctx):
            sub = command.get_command(ctx, name)
            assert sub is not None
            yield from commands(sub, click.Context(sub, parent=ctx), (*path, name))


def numbers() -> list[Any]:
    """Every parameter that is a number, with the words that lead to it."""
    return [
        pytest.param(path, parameter, id=" ".join((*path, parameter.opts[0])))
        for path, command in commands(chaoying, click.Context(chaoying))
        for parameter in command.params
        if isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType)
        and parameter.name not in ENDLESS
    ]


@pytest.mark.parametrize(("path", "parameter"), numbers())
def test_what_no_number_can_be_is_refused_by_name(
    path: tuple[str, ...], parameter: click.Parameter
) -> None:
    """Exit code 2 with the option's name, before anything is done, and no traceback."""
    fraction = isinstance(parameter.type, click.types.FloatParamType)
    for number in BROKEN if fraction else WHOLE:
        option = isinstance(parameter, click.Option)
        words = (f"{parameter.opts[0]}={number}",) if option else ("--", number)
        result = call(*path, *words)
        assert (result.exit_code, result.stdout) == (Exit.USAGE, ""), number
        name = parameter.opts[0] if option else parameter.make_metavar(click.Context(chaoying))
        assert f"Invalid value for '{name}'" in result.stderr
