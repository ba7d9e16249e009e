"""``chaoying explain``: what is proven of one order, what is not, what to do next, and why."""

from __future__ import annotations

from typing import Any

import attrs
import click

from chaoying_async.cli import gateway_options, interrupts, output, ranges, stores
from chaoying_async.cli.commands.query import MERCHANT, PAYTYPE
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.gateway_options import SignerOptions, session, target, target_options
from chaoying_async.cli.inquiry.gather import Sources, gathered
from chaoying_async.cli.inquiry.standing_exits import after_explanation
from chaoying_async.cli.language import language, shown
from chaoying_async.cli.text_words import text
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.explanation import (
    Explanation,
    OrderEvidence,
    explain_order,
    lines_of,
    members_of_explanation,
)


@click.command(name="explain")
@click.argument("out_trade_no")
@PAYTYPE
@click.option(
    "--refund-no",
    "refunds",
    multiple=True,
    metavar="OUT_REFUND_NO",
    help="A refund to ask about, where no store or log names it; its answer lists the others.",
)
@click.option(
    "--expected",
    type=ranges.FEN,
    metavar="FEN",
    help="What the order costs, in fen; else the amount that a store, a log or the inbox has.",
)
@click.option(
    "--store",
    callback=text,
    envvar="CHAOYING_STORE",
    show_envvar=True,
    metavar="FILE|URL",
    help="A poll store, with a fleet's tables or without: a SQLite file or a SQLAlchemy URL.",
)
@click.option(
    "--store-prefix",
    callback=text,
    default=stores.SHOP_PREFIX,
    show_default=True,
    help="Of the store's tables.",
)
@click.option(
    "--inbox",
    callback=text,
    envvar="CHAOYING_INBOX",
    show_envvar=True,
    metavar="FILE|URL",
    help="The inbox: a SQLite file, a SQLAlchemy URL, or redis://...",
)
@click.option(
    "--inbox-prefix", callback=text, help="Of the inbox's tables, or of its keys in Redis."
)
@click.option(
    "--audit-log",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A file with a line for each exchange, as Exchange.line writes it.",
)
@MERCHANT
@target_options
@output.json_option
def explain(out_trade_no: str, **options: Any) -> None:
    """Explain one order: what is proven, what is not, what to do next, and why.

    Asks the gateway (orderquery and refundquery, which move nothing), reads a poll store, an inbox
    and an audit log where they are given, and holds them against each other. Nothing is changed.

    Exit code 0: it is paid, and all that was asked agrees; 6: not decided yet, or its effect or
    its outcome is still to come; 1: over and not paid, in refund, not found, or something for a
    person; 3: what was asked contradicts each other, or a payment was sent and nobody knows what
    became of it; 4: the gateway gave no answer; 5: an answer that cannot be trusted, or another
    amount; 7: it is paid, and nobody compared the amount (--expected).
    """
    where = target(options["url"], options["hosts"])
    who = gateway_options.credentials(
        SignerOptions.taken_from(options), also={"CHAOYING_MCH_ID": options["mch_id"]}
    )
    _check_numbers(out_trade_no, options)
    clock = SystemClock()
    sources = Sources(**{each.name: options[each.name] for each in attrs.fields(Sources)})
    evidence = OrderEvidence(
        mch_id=options["mch_id"],
        out_trade_no=out_trade_no,
        now=clock.now(),
        wanted=options["expected"],
    )

    async def asked() -> OrderEvidence:
        async with session(where, who, mch_id=options["mch_id"]) as gateway:
            return await gathered(gateway, evidence, sources, clock)

    output.end(_show(explain_order(interrupts.run(asked()))))


def _check_numbers(out_trade_no: str, options: dict[str, Any]) -> None:
    """Refuse numbers that no request takes, before anybody is asked about them."""
    OrderQuery(paytype=PayType.WECHAT, mch_id=options["mch_id"], out_trade_no=out_trade_no)
    for number in options["refunds"]:
        RefundQuery(paytype=PayType.WECHAT, mch_id=options["mch_id"], out_refund_no=number)


def _show(explanation: Explanation) -> Exit:
    ending = after_explanation(explanation)
    if output.as_json():
        first = {"ok": ending.exit is Exit.OK, "exit": int(ending.exit)}
        error = explanation.error and {
            "error": type(explanation.error).__name__,
            "message": str(explanation.error),
        }
        output.tell(first | members_of_explanation(explanation) | (error or {}))
        return ending.exit
    title, headline, *rest = lines_of(explanation, language(), shown)
    output.say_as_is(title)
    output.say_as_is(headline, style=ending.style)
    output.say_as_is(*rest)
    return ending.exit
