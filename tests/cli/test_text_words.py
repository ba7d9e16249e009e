"""Arguments whose bytes are no UTF-8, which the shell hands over as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
import pytest

from chaoying_async.cli.command_line import chaoying
from chaoying_async.cli.text_words import text
from tests.cli_calls import call

#: What the shell's ``$'A\xff1'`` becomes.
BAD = "A\udcff1"
#: Words that reach a database, wherever a command has them.
NAMES = {"store", "inbox", "prefix", "store_prefix", "inbox_prefix"}
KEYS = {"mch_id", "out_trade_no", "order_no"}


def _commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield from _commands(found, (*path, name))


def _texts() -> Iterator[tuple[str, click.Command, click.Parameter]]:
    for path, command in _commands(chaoying):
        for parameter in command.params:
            if parameter.callback is text:
                yield path, command, parameter


def _words(command: click.Command, bad: click.Parameter) -> list[str]:
    """A command line that has everything it needs, one part of which is no text."""
    options, arguments = [], []
    for parameter in command.params:
        value = BAD if parameter is bad else "1"
        if isinstance(parameter, click.Argument):
            arguments.append(value)
        elif parameter is bad or parameter.required:
            options += [parameter.opts[0], value]
    return [*options, *arguments]


@pytest.mark.parametrize(
    ("path", "command", "parameter"),
    [pytest.param(*each, id=f"{each[0]} {each[2].name}") for each in _texts()],
)
def test_what_is_no_text_is_refused_by_its_name(
    path: str, command: click.Command, parameter: click.Parameter
) -> None:
    """A usage error that names the argument; nothing is opened, and no database says it."""
    result = call(*path.split(), *_words(command, parameter))
    assert result.exit_code == 2
    name = parameter.get_error_hint(click.Context(command))
    assert f"Invalid value for {name}: holds bytes that are no UTF-8" in result.stderr


def test_what_goes_to_a_database_has_to_be_text() -> None:
    """No command forgets it: an argument of such a name goes to a database as it is."""
    loose = [
        f"{path} {parameter.name}"
        for path, command in _commands(chaoying)
        for parameter in command.params
        if (
            parameter.name in NAMES
            or (parameter.name in KEYS and path.startswith(("inbox", "poller ")))
        )
        and parameter.callback is not text
    ]
    assert loose == []


@pytest.mark.parametrize("host", [BAD, "ü..", "a..b"])
@pytest.mark.parametrize("command", [("sandbox",), ("listen",)])
def test_a_host_that_no_resolver_takes(command: Sequence[str], host: str) -> None:
    """Python says TypeError, UnicodeError or OSError for such a name."""
    env = {f"CHAOYING_{name}": "1" for name in ("AGENT_ID", "KEY", "PID")}
    result = call(*command, "--host", host, env=env)
    assert result.exit_code == 2
    assert "is no address of this machine" in result.stderr
