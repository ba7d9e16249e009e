"""``chaoying demo``: takes payments against a sandbox of its own and compares the sums."""

from __future__ import annotations

import click

from chaoying_async.cli import interrupts, output, ranges
from chaoying_async.cli.language import shown


@click.command(name="demo")
@click.option("--payments", type=ranges.COUNT, default=200, show_default=True, help="How many.")
@output.json_option
@click.pass_context
def demo(ctx: click.Context, payments: int) -> None:
    """Take payments against a sandbox in its own process, and compare the books.

    Exit code 0 when everything adds up, to the fen, and 1 when it does not.
    """
    from rich.console import Console

    from chaoying_async.sandbox.demo.command import run

    if output.as_json():
        ctx.exit(interrupts.run(run(payments, console=Console(quiet=True), tell=output.tell)))
    ctx.exit(interrupts.run(run(payments, said=shown)))
