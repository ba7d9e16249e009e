"""What a command says: a table where a person reads, one JSON line where a program does.

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

from chaoying_async.cli import exits, interrupts, streams
from chaoying_async.cli.exits import Exit
from chaoying_async.exceptions import ChaoyingError, GatewayError, OutcomeUnknownError, StoreError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Column, Table

F = TypeVar("F", bound=Callable[..., Any])

_JSON = "chaoying_async.cli.json"
#: Columns of output that goes into a file or a pipe: wide enough to break no line.
_WIDE = 10_000


def _remember(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta[_JSON] = True


def json_option(command: F) -> F:
    """``--json``, the same everywhere."""
    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_remember,
        help="One JSON line on stdout, for programs.",
    )(command)


def expect_json(ctx: click.Context) -> None:
    """A program reads, as far as its words tell: known before they are understood."""
    ctx.find_root().meta[_JSON] = True


class ToldAsJson(click.ClickException):
    """A command that is wrong, told to a program."""

    def __init__(self, error: click.ClickException) -> None:
        super().__init__(error.format_message())
        self.exit_code = error.exit_code  # type: ignore[misc]  # as click's own errors do
        self._kind = "UsageError" if isinstance(error, click.UsageError) else type(error).__name__
        ctx = getattr(error, "ctx", None)
        self._next = f"{ctx.command_path} --help" if ctx is not None else ""

    def show(self, file: IO[Any] | None = None) -> None:
        """One JSON line on stdout."""
        del file
        tell(
            {
                "ok": False,
                "error": self._kind,
                "message": self.message,
                "exit": self.exit_code,
                "next": self._next,
            }
        )


def as_json() -> bool:
    """Whether a program reads."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.find_root().meta.get(_JSON))


def console(*, markup: bool = False) -> Console:
    """Where a person reads: with colours on a terminal, plain and never broken elsewhere."""
    from rich.console import Console

    wide = None if sys.stdout.isatty() else _WIDE
    return Console(file=sys.stdout, width=wide, markup=markup, highlight=False, emoji=False)


def tell(record: Mapping[str, Any]) -> None:
    """One JSON line, in the characters that the stream has."""
    line = json.dumps(record, ensure_ascii=False, default=str)
    click.echo(line if streams.takes(line) else json.dumps(record, default=str))


def table(title: str, *columns: Column | str) -> Table:
    """An empty table, framed on a terminal only; what is too long for a cell is folded."""
    from rich import box
    from rich.table import Column, Table

    framed = sys.stdout.isatty()
    frame = box.ROUNDED if framed else None
    made = (Column(each, overflow="fold") if isinstance(each, str) else each for each in columns)
    return Table(*made, title=title if framed else None, box=frame, show_header=bool(columns))


def say(*lines: str, style: str | None = None) -> None:
    """Lines that nothing is cut off from, and that are not broken: a terminal wraps by itself."""
    console().print("\n".join(map(printable, lines)), style=style, soft_wrap=True)


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    wraps: Collection[str] = (),
) -> None:
    """Rows under each other; where a terminal is too narrow for them, a block of lines for each.

    Numbers and statuses are never cut nor broken. The columns in ``wraps`` hold sentences, which
    may be.
    """
    cells = [["" if cell is None else printable(cell) for cell in row] for row in rows]
    shown = table(title, *_columns(columns, cells, wraps))
    for row in cells:
        shown.add_row(*row)
    if not _shown(shown):
        for row in cells:
            named = zip(columns, row, strict=True)
            say(*(f"{name}: {cell}" for name, cell in named if cell), "")


def show_pairs(title: str, pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other; rows without a value are left out."""
    rows = [(name, printable(value)) for name, value in pairs if value not in (None, "")]
    shown = table(title, *_columns(("", ""), rows, ()))
    shown.show_header = False
    for row in rows:
        shown.add_row(*row)
    if rows and not _shown(shown):
        say(*(f"{name}: {value}" for name, value in rows))


def _columns(
    names: Sequence[str], rows: Iterable[Sequence[str]], wraps: Collection[str]
) -> list[Column]:
    """Columns that are as wide as what stands in them, but for those that may be broken."""
    from rich.cells import cell_len
    from rich.table import Column

    widths = [max(map(cell_len, cells)) for cells in zip(names, *rows, strict=True)]
    return [
        Column(name, overflow="fold", no_wrap=True, min_width=width)
        if name not in wraps
        else Column(name, overflow="fold")
        for name, width in zip(names, widths, strict=True)
    ]


def _shown(shown: Table) -> bool:
    """Show a table if the terminal is wide enough for it."""
    said = console()
    needed = said.measure(shown, options=said.options.update(max_width=_WIDE)).minimum
    if fits := needed <= said.width:
        said.print(shown)
    return fits


def printable(value: object) -> str:
    """A value that came from outside, without what could move a terminal's cursor."""
    return "".join(c if c.isprintable() or c == " " else "�" for c in str(value))


def remark(text: str, colour: str | None = None) -> None:
    """Something to know, on stderr; nothing where a program reads."""
    if not as_json():
        click.secho(printable(text), fg=colour, err=True)


def end(code: Exit) -> NoReturn:
    """End the command with this exit code."""
    click.get_current_context().exit(int(code))


def warned(message: Warning | str, *_where: Any, **_more: Any) -> None:
    """A warning of the library, as a remark."""
    remark(f"warning: {message}", "yellow")


def failed(error: ChaoyingError) -> Exit:
    """Say what went wrong and what to do next; the exit code."""
    code, then = exits.ending(error)
    refusal = error.refusal if isinstance(error, OutcomeUnknownError) else error
    more: dict[str, Any] = {}
    if isinstance(refusal, GatewayError):
        more = {"state": refusal.state, "code": refusal.code, "msg": refusal.msg}
    notes = getattr(error, "__notes__", ()) if isinstance(error, StoreError) else ()
    return refused(type(error).__name__, "; ".join((str(error), *notes)), code, then, **more)


def interrupted(words: str, ending: Exit = Exit.INTERRUPTED) -> Exit:
    """Say that a signal came, and what may have become of what was asked; the exit code."""
    interrupts.of_command().settle()
    return refused("Interrupted", words, ending)


def confirm(question: str) -> None:
    """Ask on stderr; without a yes the command ends, and nothing was done."""
    try:
        said_yes = click.confirm(printable(question), err=True)
    except (OSError, ValueError) as error:  # a stdin that cannot be read
        raise click.Abort from error
    if not said_yes or getattr(sys.stderr, "lost", False):
        raise click.Abort  # where nobody can see the question, no answer is one


def refused(kind: str, message: str, ending: Exit, then: str = "", **more: Any) -> Exit:
    """Say why a command did not do what was asked; the exit code."""
    if as_json():
        record = {"ok": False, "error": kind, "message": message, "exit": int(ending), "next": then}
        tell(record | more)
        return ending
    click.secho(f"chaoying: {printable(message)}", fg="red", bold=True, err=True)
    if then:
        click.echo(f"  {then}", err=True)
    return ending
