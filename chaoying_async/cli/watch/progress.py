"""Shows how ``chaoying watch`` goes: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import attrs

from chaoying_async.cli import output
from chaoying_async.cli.exits import Exit, after_outcome
from chaoying_async.cli.language import shown
from chaoying_async.polling import PollOutcome, PollStats
from chaoying_async.sansio.api.follow_up import RefundQuery
from chaoying_async.sansio.currency import fee_type_in, is_yuan
from chaoying_async.sansio.polling.status import PollStatus, Query

if TYPE_CHECKING:
    from rich.console import RenderableType


@attrs.define
class Tally:
    """Counts and amounts of the orders that have ended."""

    counts: Counter[PollStatus] = attrs.field(factory=Counter)
    amounts: Counter[tuple[PollStatus, str | None]] = attrs.field(factory=Counter)
    """Sums for each currency, in fen if it is CNY, as far as amounts are known."""
    says: dict[PollStatus, str] = attrs.field(factory=dict)

    def add(self, outcome: PollOutcome[Any]) -> None:
        self.counts[outcome.status] += 1
        self.amounts[outcome.status, currency_of(outcome)] += amount_of(outcome) or 0
        self.says[outcome.status] = after_outcome(outcome).then

    def show(self) -> None:
        """Print the table at the end."""
        if not self.counts:
            return
        rows = [
            (status, f"{count:,}", self._amount(status), self.says[status])
            for status, count in sorted(self.counts.items())
        ]
        columns = ("status", "orders", "amount", "what to do")
        output.show_table("How they ended", columns, rows, wraps=("what to do",))

    def _amount(self, status: PollStatus) -> str:
        sums = (each for each in self.amounts.items() if each[0][0] is status and each[1])
        return " + ".join(output.money(amount, of, ",") for (_status, of), amount in sums)


class PlainProgress:
    """One line for each outcome, as JSON for programs; now and then a remark on stderr."""

    every = 10.0
    """Seconds between two calls of :meth:`going`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def ended(self, outcome: PollOutcome[Any]) -> None:
        """Print that an order has ended."""
        if output.as_json():
            output.tell(record(outcome))
        else:
            output.say_as_is(line(outcome))

    def going(self, stats: PollStats, ended: int) -> None:
        """Print how it goes now."""
        told = "  ".join(f"{name} {value}" for name, value in figures(stats))
        output.remark(f"{shown(f'{ended:,} ended')}  {told}")


class LiveProgress:
    """A bar and figures at the bottom of the terminal; outcomes scroll by above them."""

    every = 0.25

    def __init__(self) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

        self._console = output.console()
        self._bar = Progress(
            shown("ended"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("ended", total=None)
        # No refresh by rich's own thread: the poller's figures are read in its own thread, or they
        # would change meanwhile.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._waiting: list[PollOutcome[Any]] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._passed()
        self._live.stop()

    def ended(self, outcome: PollOutcome[Any]) -> None:
        """Keep the outcome: each print draws everything anew, so many are printed together."""
        self._waiting.append(outcome)

    def going(self, stats: PollStats, ended: int) -> None:
        self._passed()
        self._bar.update(self._task, completed=ended, total=ended + stats.pending)
        self._live.update(self._renderable(stats), refresh=True)

    def _passed(self) -> None:
        if self._waiting:
            from rich.text import Text

            lines = (Text(line(each), style=after_outcome(each).style) for each in self._waiting)
            self._console.print(Text("\n").join(lines), soft_wrap=True)
            self._waiting.clear()

    def _renderable(self, stats: PollStats) -> RenderableType:
        from rich.console import Group
        from rich.table import Table

        names, values = zip(*figures(stats), strict=True)
        table = Table(*names, box=None, pad_edge=False)
        for column in table.columns:
            column.justify = "right"
        table.add_row(*values, style="bold red" if stats.breaker_open else "")
        return Group(self._bar.get_renderable(), table)


#: Either display.
ProgressView = LiveProgress | PlainProgress


def figures(stats: PollStats) -> list[tuple[str, str]]:
    """The figures of ``Poller.stats()``, with their names."""
    english = [
        ("pending", f"{stats.pending:,}"),
        ("in flight", f"{stats.in_flight:,}"),
        ("due", f"{stats.due:,}"),
        ("lag", f"{stats.lag:.1f} s"),
        ("polls", f"{stats.polls:,}"),
        ("errors", f"{stats.errors:,}"),
        ("breaker", "OPEN" if stats.breaker_open else "closed"),
    ]
    return [(shown(name), shown(value)) for name, value in english]


def line(outcome: PollOutcome[Any]) -> str:
    """One outcome in one line, for a person."""
    end = after_outcome(outcome)
    money = output.money(amount_of(outcome), currency_of(outcome), ",")
    queries = "query" if outcome.attempts == 1 else "queries"
    asked = shown(f"{outcome.attempts} {queries}, {outcome.elapsed:.0f} s")
    why, error = outcome.msg or "", outcome.error
    if error is not None:
        why = shown(f"{type(error).__name__}: {error}", getattr(error, "quoted", ""))
    parts = (f"{outcome.status:<13}", number_of(outcome.query), money, asked, why, shown(end.then))
    return output.printable("  ".join(part for part in parts if part))


def number_of(query: Query) -> str:
    """The number under which an order or refund is watched."""
    if isinstance(query, RefundQuery):
        return query.out_refund_no or query.refund_id or ""
    return query.out_trade_no or query.transaction_id or ""


def amount_of(outcome: PollOutcome[Any]) -> int | None:
    """The amount of the order, or of the refund, in fen; None: unknown."""
    if outcome.refund is not None:
        return outcome.refund.base_refund_fee
    return outcome.paid.payable if outcome.paid is not None else None


def currency_of(outcome: PollOutcome[Any]) -> str | None:
    """The currency of that amount, where it is not CNY."""
    if outcome.paid is not None:
        named = outcome.paid.fee_type
    else:
        named = None if outcome.reply is None else fee_type_in(outcome.reply.raw)
    return None if is_yuan(named) else named


def record(outcome: PollOutcome[Any]) -> dict[str, Any]:
    """One outcome as a record, for programs."""
    query, end, reply = outcome.query, after_outcome(outcome), outcome.reply
    names = ("out_trade_no", "transaction_id", "out_refund_no", "refund_id", "mch_id", "paytype")
    named = {name: value for name in names if (value := getattr(query, name, None))}
    error = outcome.error
    return {
        "ok": end.exit is Exit.OK,
        "exit": int(end.exit),
        "status": outcome.status,
        **named,
        "payable": amount_of(outcome),
        "fee_type": None if amount_of(outcome) is None else currency_of(outcome) or "CNY",
        "refunded": outcome.refunded,
        "code": reply.code if reply is not None else getattr(error, "code", None),
        "error": type(error).__name__ if error is not None else None,
        "message": str(error) if error is not None else None,
        "msg": outcome.msg,
        "attempts": outcome.attempts,
        "elapsed": round(outcome.elapsed, 3),
        "next": end.then,
    }
