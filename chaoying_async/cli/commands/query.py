"""``chaoying query`` and ``chaoying refund-query``: ask how an order or a refund ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from chaoying_async.abc import Gateway
from chaoying_async.cli import gateway_options, interrupts, output, reply_display, reply_status
from chaoying_async.cli.field_option import FieldOption
from chaoying_async.cli.gateway_options import SignerOptions, session, target, target_options
from chaoying_async.exceptions import OrderNotFoundError, QueryRefusedError
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.api.merchant import GetMchIdResult
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.polling.status import UNASKED, Standing

Ask = Callable[[PayType], Request[Any]]

#: ``--paytype`` and ``--mch-id`` of what asks about one order or refund.
PAYTYPE = click.option(
    "--paytype",
    type=click.Choice(tuple(PayType)),
    cls=FieldOption,
    of=OrderQuery,
    help="Left out, each wallet is asked in turn until one knows the number.",
)
MERCHANT = click.option(
    "--mch-id",
    envvar="CHAOYING_MCH_ID",
    cls=FieldOption,
    of=GetMchIdResult,
    help="Default: CHAOYING_MCH_ID.",
)


@click.command(name="query")
@click.argument("out_trade_no", required=False)
@click.option("--transaction-id", cls=FieldOption, of=OrderQuery)
@PAYTYPE
@MERCHANT
@target_options
@output.json_option
def query(out_trade_no: str | None, **options: Any) -> None:
    """Ask how an order ended (订单查询, orderquery).

    OUT_TRADE_NO is your own number (商户订单号). An end that does not name its order is asked about
    a second time. Exit code 0: paid; 6: not decided yet; 1: over and not paid, in refund, or not
    found.
    """
    transaction_id = options["transaction_id"]
    if bool(out_trade_no) == bool(transaction_id):
        raise click.UsageError("give an OUT_TRADE_NO, or --transaction-id")
    _run(
        options,
        lambda wallet: OrderQuery(
            paytype=wallet, out_trade_no=out_trade_no, transaction_id=transaction_id
        ),
    )


@click.command(name="refund-query")
@click.argument("out_refund_no", required=False)
@click.option("--refund-id", cls=FieldOption, of=RefundQuery)
@PAYTYPE
@MERCHANT
@target_options
@output.json_option
def refund_query(out_refund_no: str | None, **options: Any) -> None:
    """Ask how a refund ended (退款查询, refundquery).

    OUT_REFUND_NO is the refund's own number (商户退款单号), never the order's. Every refund of its
    order has a row, with its own end. Exit code, as of `watch --refunds`, by the one that was asked
    about: 0 refunded; 6 not decided yet, or to be sent again; 1 failed, for a person, or not found.
    """
    refund_id = options["refund_id"]
    if bool(out_refund_no) == bool(refund_id):
        raise click.UsageError("give an OUT_REFUND_NO, or --refund-id")
    _run(
        options,
        lambda wallet: RefundQuery(
            paytype=wallet, out_refund_no=out_refund_no, refund_id=refund_id
        ),
    )


def _run(options: dict[str, Any], ask: Ask) -> None:
    where = target(options["url"], options["hosts"])
    who = gateway_options.credentials(
        SignerOptions.taken_from(options), also={"CHAOYING_MCH_ID": options["mch_id"]}
    )
    wallets = [PayType(options["paytype"])] if options["paytype"] else list(PayType)

    async def asked() -> tuple[Request[Any], Reply[Any], Standing]:
        refused: list[OrderNotFoundError | QueryRefusedError] = []
        async with session(where, who, mch_id=options["mch_id"]) as gateway:
            for wallet in wallets:
                request = ask(wallet)
                try:
                    return request, *await _decided(gateway, request)
                except (OrderNotFoundError, QueryRefusedError) as error:
                    refused.append(error)
        # If one wallet could not say, the answer is not "not found", whatever others said (M-11).
        raise next((each for each in refused if isinstance(each, QueryRefusedError)), refused[-1])

    request, reply, before = interrupts.run(asked())
    output.end(reply_display.show(request, reply, before=before))


async def _decided(gateway: Gateway, request: Request[Any]) -> tuple[Reply[Any], Standing]:
    """The reply that counts, and what the one before it said: some ends take two (M-06)."""
    reply = await gateway.send(request)
    heard = reply_status.needs_second(request, reply)
    if heard is None:
        return reply, UNASKED
    try:
        return await gateway.send(request), heard
    except (OrderNotFoundError, QueryRefusedError):
        return reply, UNASKED  # no news, or a contradiction: it stays undecided (M-11)
