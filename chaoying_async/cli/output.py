"""Prints what a command says: a table where a person reads, one JSON line where a program does.

Results go to stdout, errors and remarks to stderr. With ``--json`` every end is one JSON object on
stdout with ``ok``: an error too, and a command that is itself wrong (exit code 2); ``error``,
``message``, ``exit`` and ``next`` say why not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from chaoying_async import exceptions
from chaoying_async.cli import exits, interrupts, streams
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.language import shown
from chaoying_async.exceptions import ChaoyingError, GatewayError, OutcomeUnknownError, StoreError
from chaoying_async.sansio.currency import amount_in_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

F = TypeVar("F", bound=Callable[..., Any])

_JSON = "chaoying_async.cli.json"
#: The width of output that goes into a file or a pipe: so wide that no line is broken.
_WIDE = 10_000


def _remember(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        expect_json(ctx)


def json_option(command: F) -> F:
    """``--json``, the same for every command."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_remember,
        help="One JSON line on stdout, for programs.",
    )(command)


def expect_json(ctx: click.Context) -> None:
    """Tell errors as JSON from here on; called before the command's options are understood."""
    ctx.find_root().meta[_JSON] = True


class ErrorAsJson(click.ClickException):
    """A usage error that is shown as one JSON line."""

    def __init__(self, error: click.ClickException) -> None:
        super().__init__(error.format_message())
        self.exit_code = error.exit_code  # type: ignore[misc]  # as click's own errors do
        self._kind = "UsageError" if isinstance(error, click.UsageError) else type(error).__name__
        ctx = getattr(error, "ctx", None)
        self._next = f"{ctx.command_path} --help" if ctx is not None else ""

    def show(self, file: IO[Any] | None = None) -> None:
        record = {"ok": False, "error": self._kind, "message": self.message}
        tell({**record, "exit": self.exit_code, "next": self._next})


def as_json() -> bool:
    """Whether a program reads."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.find_root().meta.get(_JSON))


def console(*, markup: bool = False) -> Console:
    """stdout for a person: with colours on a terminal, elsewhere plain and with unbroken lines."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() else _WIDE
    return Console(file=sys.stdout, width=wide, markup=markup, highlight=False, emoji=False)


def tell(record: Mapping[str, Any]) -> None:
    """Print one JSON line; what the stream cannot encode is escaped."""
    line = json.dumps(record, ensure_ascii=False, default=str)
    click.echo(line if streams.takes(line) else json.dumps(record, default=str))


def result(record: Mapping[str, Any], words: str, style: str | None = None) -> None:
    """Print the record where a program reads, else the words."""
    if as_json():
        tell(record)
    else:
        console().print(printable(shown(words)), style=style)


def table(title: str, *columns: Column | str) -> Table:
    """An empty table, framed on a terminal only; a text too long for its cell is folded."""
    from rich import box
    from rich.table import Column, Table

    framed = sys.stdout.isatty()
    frame = box.ROUNDED if framed else None
    made = (Column(each, overflow="fold") if isinstance(each, str) else each for each in columns)
    return Table(
        *made, title=shown(title) if framed else None, box=frame, show_header=bool(columns)
    )


def say(*lines: str, style: str | None = None) -> None:
    """Print lines whole and unbroken: a terminal wraps them by itself."""
    say_as_is(*map(shown, lines), style=style)


def say_as_is(*lines: str, style: str | None = None) -> None:
    """As :func:`say`, for lines that hold what others said: nothing in them is translated."""
    console().print("\n".join(map(printable, lines)), style=style, soft_wrap=True)


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    wraps: Collection[str] = (),
) -> None:
    """Print rows as a table; where a terminal is too narrow for it, each row as a block of lines.

    Numbers and statuses are never cut or broken. The columns in ``wraps`` hold sentences, which
    may be broken.
    """
    told = [name in wraps for name in columns]
    cells = [list(map(_cell, row, told)) for row in rows]
    wraps = {shown(name) for name in wraps}
    columns = list(map(shown, columns))
    filled = table(title, *_columns(columns, cells, wraps))
    for row in cells:
        filled.add_row(*row)
    if not _fits(filled):
        for row in cells:
            named = zip(columns, row, strict=True)
            say(*(f"{name}: {cell}" for name, cell in named if cell), "")


def show_pairs(title: str, pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values below each other, without the names that have no value."""
    rows = [(name, printable(value)) for name, value in pairs if value not in (None, "")]
    filled = table(title, *_columns(("", ""), rows, ()))
    filled.show_header = False
    for row in rows:
        filled.add_row(*row)
    if rows and not _fits(filled):
        say_as_is(*(f"{name}: {value}" for name, value in rows))


def _columns(
    names: Sequence[str], rows: Iterable[Sequence[str]], wraps: Collection[str]
) -> list[Column]:
    """Columns as wide as their widest cell, except for those that may be broken."""
    from rich.cells import cell_len
    from rich.table import Column

    widths = [max(map(cell_len, cells)) for cells in zip(names, *rows, strict=True)]
    return [
        Column(name, overflow="fold", no_wrap=True, min_width=width)
        if name not in wraps
        else Column(name, overflow="fold")
        for name, width in zip(names, widths, strict=True)
    ]


def _cell(value: object, sentence: bool) -> str:
    """A value in a table; sentences are told in the user's language, all else is as it came."""
    if value is None:
        return ""
    return printable(shown(str(value)) if sentence else value)


def _fits(filled: Table) -> bool:
    """Print the table if the terminal is wide enough for it; whether it was."""
    said = console()
    needed = said.measure(filled, options=said.options.update(max_width=_WIDE)).minimum
    if fits := needed <= said.width:
        said.print(filled)
    return fits


def printable(value: object) -> str:
    """A value from outside as text, without characters that could move a terminal's cursor."""
    return "".join(c if c.isprintable() or c == " " else "�" for c in str(value))


def money(amount: int | None, fee_type: str | None = None, spec: str = "") -> str:
    """An amount for a person; empty where there is none. ``spec`` formats the number."""
    return "" if amount is None else shown(amount_in_words(amount, fee_type, spec))


def remark(text: str, colour: str | None = None) -> None:
    """Print a remark on stderr, unless a program reads."""
    if not as_json():
        click.secho(printable(shown(text)), fg=colour, err=True)


def end(code: Exit) -> NoReturn:
    """End the command with this exit code."""
    click.get_current_context().exit(int(code))


def warned(message: Warning | str, *_where: Any, **_more: Any) -> None:
    """Print a warning of the library as a remark."""
    remark(f"warning: {message}", "yellow")


def failed(error: ChaoyingError) -> Exit:
    """Print what went wrong and what to do next; returns the exit code."""
    code, then = exits.after_error(error)
    refusal = error.refusal if isinstance(error, OutcomeUnknownError) else error
    more: dict[str, Any] = {}
    if isinstance(refusal, GatewayError):
        more = {"state": refusal.state, "code": refusal.code, "msg": refusal.msg}
    notes = getattr(error, "__notes__", ()) if isinstance(error, StoreError) else ()
    words = "; ".join((str(error), *notes))
    # A class that a user can look up and import, not one of ours below it.
    kind = next(each for each in type(error).__mro__ if each.__module__ == exceptions.__name__)
    return refused(kind.__name__, words, code, then, quoted=error.quoted, **more)


def interrupted(words: str, ending: Exit = Exit.INTERRUPTED) -> Exit:
    """Print that a signal came, and what may have happened all the same; returns the exit code."""
    interrupts.of_command().settle()
    return refused("Interrupted", words, ending)


def confirm(question: str) -> None:
    """Ask on stderr; without a yes the command ends before anything was done."""
    try:
        said_yes = click.confirm(printable(shown(question)), err=True)
    except (OSError, ValueError) as error:  # a stdin that cannot be read
        raise click.Abort from error
    if not said_yes or getattr(sys.stderr, "lost", False):
        raise click.Abort  # an answer does not count where nobody can see the question


def refused(
    kind: str, message: str, ending: Exit, then: str = "", *, quoted: str = "", **more: Any
) -> Exit:
    """Print why a command did not do what was asked; returns the exit code.

    What the message quotes of somebody else is not translated.
    """
    if as_json():
        record = {"ok": False, "error": kind, "message": message, "exit": int(ending), "next": then}
        tell(record | more)
        return ending
    words = printable(shown(message, quoted))
    click.secho(f"chaoying: {words}", fg="red", bold=True, err=True)
    if then:
        click.echo(f"  {shown(then)}", err=True)
    return ending
