"""What ``chaoying watch`` shows while it waits: a display on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import attrs

from chaoying_async.cli import output
from chaoying_async.cli.watchends import amount_of, end_of, number_of, record
from chaoying_async.polling import PollOutcome, PollStats
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.values import Fen

if TYPE_CHECKING:
    from rich.console import RenderableType


@attrs.define
class Tally:
    """What ended so far."""

    counts: Counter[PollStatus] = attrs.field(factory=Counter)
    #: Fen, by status, as far as amounts are known.
    amounts: Counter[PollStatus] = attrs.field(factory=Counter)
    says: dict[PollStatus, str] = attrs.field(factory=dict)

    def add(self, outcome: PollOutcome[Any]) -> None:
        """One more."""
        self.counts[outcome.status] += 1
        self.amounts[outcome.status] += amount_of(outcome) or 0
        self.says[outcome.status] = end_of(outcome).then

    def show(self) -> None:
        """The table at the end."""
        if not self.counts:
            return
        rows = [
            (status, f"{count:,}", self._amount(status), self.says[status])
            for status, count in sorted(self.counts.items())
        ]
        columns = ("status", "orders", "amount", "what to do")
        output.show_table("How they ended", columns, rows, wraps=("what to do",))

    def _amount(self, status: PollStatus) -> str:
        fen = self.amounts[status]
        return f"{Fen(fen).yuan:,} yuan" if fen else ""


class Lines:
    """A line an outcome: JSON for programs, else plain, with a remark now and then on stderr."""

    #: Seconds between two looks at ``stats``.
    every = 10.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def ended(self, outcome: PollOutcome[Any]) -> None:
        """One order ended."""
        if output.as_json():
            output.tell(record(outcome))
        else:
            output.say(line(outcome))

    def going(self, stats: PollStats, ended: int) -> None:
        """How it goes now."""
        told = "  ".join(f"{name} {value}" for name, value in figures(stats))
        output.remark(f"{ended:,} ended  {told}")


class Display:
    """A bar and figures that stay at the bottom of the terminal; outcomes pass above them."""

    every = 0.25

    def __init__(self) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

        self._console = output.console()
        self._bar = Progress(
            "ended", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=self._console
        )
        self._task = self._bar.add_task("ended", total=None)
        # Not by rich's own thread: the poller is looked at where it runs, or it would change
        # under the look.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._waiting: list[PollOutcome[Any]] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._passed()
        self._live.stop()

    def ended(self, outcome: PollOutcome[Any]) -> None:
        """See :class:`Lines`; many are printed at once, since each print draws everything anew."""
        self._waiting.append(outcome)

    def going(self, stats: PollStats, ended: int) -> None:
        """See :class:`Lines`."""
        self._passed()
        self._bar.update(self._task, completed=ended, total=ended + stats.pending)
        self._live.update(self._renderable(stats), refresh=True)

    def _passed(self) -> None:
        if self._waiting:
            from rich.text import Text

            lines = (Text(line(each), style=end_of(each).style) for each in self._waiting)
            self._console.print(Text("\n").join(lines), soft_wrap=True)
            self._waiting.clear()

    def _renderable(self, stats: PollStats) -> RenderableType:
        from rich.console import Group
        from rich.table import Table

        names, values = zip(*figures(stats), strict=True)
        shown = Table(*names, box=None, pad_edge=False)
        for column in shown.columns:
            column.justify = "right"
        shown.add_row(*values, style="bold red" if stats.breaker_open else "")
        return Group(self._bar.get_renderable(), shown)


#: Somebody who is told how it goes.
Shown = Display | Lines


def figures(stats: PollStats) -> list[tuple[str, str]]:
    """``Poller.stats()`` in words."""
    return [
        ("pending", f"{stats.pending:,}"),
        ("in flight", f"{stats.in_flight:,}"),
        ("due", f"{stats.due:,}"),
        ("lag", f"{stats.lag:.1f} s"),
        ("polls", f"{stats.polls:,}"),
        ("errors", f"{stats.errors:,}"),
        ("breaker", "OPEN" if stats.breaker_open else "closed"),
    ]


def line(outcome: PollOutcome[Any]) -> str:
    """One outcome, for a person."""
    fen, end = amount_of(outcome), end_of(outcome)
    yuan = f"{Fen(fen).yuan:,} yuan" if fen is not None else ""
    queries = "query" if outcome.attempts == 1 else "queries"
    asked = f"{outcome.attempts} {queries}, {outcome.elapsed:.0f} s"
    why = f"{type(outcome.error).__name__}: {outcome.error}" if outcome.error is not None else ""
    parts = (f"{outcome.status:<13}", number_of(outcome.query), yuan, asked, why, end.then)
    return output.printable("  ".join(part for part in parts if part))
