"""Finds a command by its name, runs it, and turns its errors into exit codes."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, cast

import click

from chaoying_async.cli import interrupts, output, stores
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.interrupts import Interrupts
from chaoying_async.cli.language import help_pages, language
from chaoying_async.cli.streams import never_failing
from chaoying_async.environment import plain_from_env
from chaoying_async.exceptions import ChaoyingError, ChaoyingWarning

#: Command -> module in ``commands/``; a command is loaded when it is used.
_FILES = {
    "sandbox": "sandbox",
    "demo": "demo",
    "trigger": "trigger",
    "resend": "trigger",
    "listen": "listen",
    "check": "check",
    "query": "query",
    "refund-query": "query",
    "explain": "explain",
    "watch": "watch",
    "poller": "poller",
    "send": "send",
    "sign": "sign",
    "verify": "sign",
    "inbox": "inbox",
    "doctor": "doctor",
    "describe": "describe",
}
#: Package -> the extra that brings it.
_EXTRAS = {
    **dict.fromkeys(("rich", "segno"), "cli"),
    **dict.fromkeys(("uvicorn", "starlette", "jinja2"), "sandbox"),
    **dict.fromkeys(("sqlalchemy", "aiosqlite"), "sql"),
    "redis": "redis",
    "celery": "celery",
    "pgqueuer": "pgqueuer",
    "prometheus_client": "prometheus",
}


#: What SQLAlchemy's asyncio part cannot do without.
_COMPILED = "greenlet"
_NO_GREENLET = (
    "a database needs greenlet, a compiled module, which Python does not import from a zip archive:"
    " ship this command with shiv or PyInstaller, or install it with pip"
)


class Commands(help_pages.Group):
    """The commands by name, in the order of the table above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_FILES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _FILES:
            return None
        module = import_module(f"chaoying_async.cli.commands.{_FILES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return help_pages.localised(command)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the words before the command's name; ``--json`` anywhere makes errors JSON."""
        as_json = "--json" in itertools.takewhile(lambda word: word != "--", args)
        if plain_from_env():
            extra["color"] = False  # on stderr too, where click writes; rich looks by itself
        try:
            ctx = super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            raise _in_the_users_words(error, as_json=as_json) from error
        except KeyboardInterrupt:
            raise click.exceptions.Exit(Exit.INTERRUPTED) from None
        if as_json:
            output.expect_json(ctx)
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours ends in a sentence and an exit code."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", ChaoyingWarning)
                warnings.showwarning = cast("Any", output.warned)
                return super().invoke(ctx)
        except click.ClickException as error:
            raise _in_the_users_words(error, as_json=output.as_json()) from error
        except click.exceptions.Exit:
            raise
        except KeyboardInterrupt:
            ctx.exit(output.interrupted("interrupted"))
        except Exception as error:
            ending = _told(error)
            if ending is None:
                raise
            ctx.exit(ending)


def _in_the_users_words(error: click.ClickException, *, as_json: bool) -> click.ClickException:
    """A usage error as a program reads it, or as the user does."""
    if as_json:
        return output.ErrorAsJson(error)
    return help_pages.ErrorInChinese(error) if language() == "zh" else error


def _told(error: Exception) -> Exit | None:
    """Print what went wrong; returns None for a defect of ours, whose traceback is needed."""
    if isinstance(error, ChaoyingError):
        return output.failed(error)
    if isinstance(error, click.Abort):
        if interrupts.of_command().came:
            return output.interrupted("interrupted, not confirmed: nothing was done")
        return output.refused("Aborted", "not confirmed: nothing was done", Exit.USAGE)
    if isinstance(error, ModuleNotFoundError):
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        words = extra and f"this needs the extra [{extra}]: pip install 'chaoying-async[{extra}]'"
        return output.refused("MissingExtra", words, Exit.USAGE) if words else None
    if isinstance(error, ImportError) and _COMPILED in str(error):
        return output.refused("MissingExtra", _NO_GREENLET, Exit.USAGE)
    words = stores.trouble(error)
    return None if words is None else output.refused(type(error).__name__, words, Exit.USAGE)


_HELP = """\
The 超赢 payment gateway from a terminal: a sandbox of it, and calls to the real one.

As whom: CHAOYING_AGENT_ID, CHAOYING_KEY, CHAOYING_PID, and optionally CHAOYING_VERSION,
CHAOYING_ALGORITHM, CHAOYING_MCH_ID, CHAOYING_OP_USER_ID, CHAOYING_URL, from the environment. A key
that is not there is asked for, and not shown; it is never an option.

\b
Exit codes:
  0    it went well
  1    refused, or failed
  2    the command is wrong, or something is missing; nothing was sent
  3    outcome unknown: money may have moved; query before anything else
  4    no usable answer
  5    an answer that cannot be read or trusted
  6    not decided yet: ask again
  7    paid, and nobody compared the amount with what the order costs
  130  interrupted
"""


@click.command(
    cls=Commands,
    name="chaoying",
    help=_HELP,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),
    },
)
@click.version_option(package_name="chaoying-async", prog_name="chaoying")
def chaoying() -> None:
    """The 超赢 payment gateway from a terminal."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code."""
    # Warnings of the library are printed by the command: not by logging's last resort too.
    logging.getLogger("chaoying_async").addHandler(logging.NullHandler())
    signals = Interrupts()
    with never_failing(signals), signals:
        code = _ended(None if arguments is None else list(arguments), signals)
        if arguments is None:
            signals.ignore()
    return code


def _ended(arguments: list[str] | None, signals: Interrupts) -> int:
    try:
        chaoying.main(arguments, prog_name="chaoying", obj=signals)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(Exit.REFUSED)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    return int(Exit.OK)
