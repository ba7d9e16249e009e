"""``chaoying send``: any request of the document, its fields as options or ``name=value``."""

from __future__ import annotations

from typing import Any

import click

from chaoying_async.cli import fields, gateway_options, interrupts, messages, output, reply_display
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.interrupts import Errand
from chaoying_async.cli.target import Target, given_from, session, target, target_options
from chaoying_async.exceptions import ChaoyingError, OutcomeUnknownError
from chaoying_async.fieldwords import words_of
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Reply, Request, order_of
from chaoying_async.sansio.api.terminal import QrConfGet
from chaoying_async.sansio.fieldnames import SECRET
from chaoying_async.sansio.meaning import Family

#: Names in any case to requests: the document's own, and the class's.
_KINDS: dict[str, type[Request[Any]]] = {
    name.lower(): kind for kind in REQUESTS for name in (kind.endpoint.name, kind.__name__)
}


class Endpoints(click.Group):
    """One command for every request, made when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The document's names, in its order."""
        return [kind.endpoint.name for kind in REQUESTS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """By the document's name or the class's, in any case."""
        kind = _KINDS.get(cmd_name.lower().replace("-", "_"))
        return None if kind is None else _command(kind)


_HELP = """\
Send any request of the document.

\b
  chaoying send orderquery --paytype WECHAT --out-trade-no A100011
  chaoying send WechatPreOrder trade_type=NATIVE total_fee=12.30 ...

Amounts are fen; with a decimal point, yuan. "-" as a value is asked for, and not shown. A value
that the document's table lacks is given with two equals signs: paytype==ECNY. What moves money is
confirmed first, and goes to production with --production only.
"""


@click.command(
    cls=Endpoints, name="send", help=_HELP, subcommand_metavar="ENDPOINT [OPTIONS] [NAME=VALUE]..."
)
def send() -> None:
    """Send any request of the document."""


def _command(kind: type[Request[Any]]) -> click.Command:
    def run(**given: Any) -> None:
        output.end(_run(kind, given))

    decorated: Any = output.json_option(target_options(_own_options(kind)(run)))
    common: list[click.Parameter] = list(reversed(decorated.__click_params__))
    taken = frozenset(name for each in common for name in each.opts)
    title = kind.endpoint.title
    return click.Command(
        name=kind.endpoint.name,
        callback=decorated,
        params=[
            click.Argument(["pairs"], nargs=-1, metavar="[NAME=VALUE]..."),
            *fields.options_of(kind, taken),
            *common,
        ],
        help=f"{title}: {_first(kind)} {_moves(kind)}".rstrip(),
        short_help=f"{title}{' (moves money)' if kind.endpoint.moves_money else ''}",
    )


def _first(kind: type[Request[Any]]) -> str:
    """What its docstring says first, behind the names."""
    return (kind.__doc__ or "").partition("\n\n")[0].partition(": ")[2]


def _moves(kind: type[Request[Any]]) -> str:
    return "Moves money: sent once." if kind.endpoint.moves_money else ""


def _own_options(kind: type[Request[Any]]) -> Any:
    """The options that only ``send`` has."""
    made = [
        click.option(
            "--extra", multiple=True, metavar="NAME=VALUE", help="An undocumented parameter."
        ),
        click.option("--qr/--no-qr", default=None, help="Draw code_url; default: on a terminal."),
    ]
    if kind.endpoint.moves_money:
        made += [
            click.option("--yes", is_flag=True, help="Do not ask before money moves."),
            click.option("--production", is_flag=True, help="Let real money move."),
        ]
    if kind is QrConfGet:
        made.append(click.option("--link", required=True, help="The scanned link (二维码)."))

    def decorate(command: Any) -> Any:
        for option in reversed(made):
            command = option(command)
        return command

    return decorate


def _run(kind: type[Request[Any]], given: dict[str, Any]) -> Exit:
    named = _texts(kind, given)
    extra = messages.pairs(given.pop("extra"))
    more = {"url": given.pop("link")} if "link" in given else {}
    request = fields.made(kind, named, extra, **more)
    where = target(given["url"], given["hosts"])
    if kind.endpoint.moves_money:
        _confirm(request, where, yes=given["yes"], production=given["production"])
    who = gateway_options.credentials(given_from(given))
    return _sent(request, where, who, given["qr"])


def _texts(kind: type[Request[Any]], given: dict[str, Any]) -> dict[str, str]:
    """Fields from options and from ``name=value``; those that are asked for, asked for."""
    named = {
        name.removeprefix(fields.PREFIX): given.pop(name)
        for name in list(given)
        if name.startswith(fields.PREFIX)
    }
    named = {name: text for name, text in named.items() if text is not None}
    typed = messages.pairs(given.pop("pairs"))
    if twice := sorted(named.keys() & typed.keys()):
        raise click.UsageError(f"{', '.join(twice)} given twice")
    return {name: _text(kind, name, text) for name, text in (named | typed).items()}


def _text(kind: type[Request[Any]], name: str, text: str) -> str:
    if text != fields.ASK:
        if name in fields.ASKED_FOR:
            raise click.UsageError(f"{name} is asked for, and never typed here: {name}=-")
        return text
    if not gateway_options.can_ask():
        raise click.UsageError(f"{name}: there is no terminal to ask on")
    asked_for = f"{name} {words_of(kind, name).term}"
    answer: str = click.prompt(asked_for, hide_input=True, err=True)
    return answer


def _confirm(request: Request[Any], where: Target, *, yes: bool, production: bool) -> None:
    """Nobody moves real money by mistake, and nobody any money without having seen what it is."""
    if where.real and not production:
        raise click.UsageError(
            f"{request.endpoint.name} moves real money at {where.name}: "
            "add --production if that is meant, or --url of a sandbox"
        )
    if yes:
        return
    shown = ", ".join(
        f"{name} {reply_display.readable(name, text)}"
        for name, text in request.wire_fields().items()
        if name not in SECRET and name in _TOLD
    )
    output.confirm(
        f"{request.endpoint.name} {request.endpoint.title} at {where.name}: {shown}. Send it?"
    )


_TOLD = ("mch_id", "out_trade_no", "transaction_id", "out_refund_no", "total_fee", "refund_fee")


def _sent(request: Request[Any], where: Target, who: Any, qr: bool | None) -> Exit:
    errand: Errand[Reply[Any]] = Errand()

    async def exchange() -> None:
        merchant, operator = gateway_options.defaults()
        async with session(where, who, mch_id=merchant, op_user_id=operator) as gateway:
            await errand.send(gateway.send(request))

    try:
        interrupts.run(exchange())
    except BaseException as error:  # noqa: BLE001 - what came back counts, whatever broke then
        if errand.got is None:
            return _without_reply(request, errand, error)
    if errand.got is None:
        raise RuntimeError("a request ends in a reply or in an error")
    return reply_display.show(request, errand.got, qr=qr)


def _without_reply(request: Request[Any], errand: Errand[Reply[Any]], error: BaseException) -> Exit:
    """Nothing came back: what may have become of it depends on whether anybody was asked."""
    if isinstance(error, OutcomeUnknownError):
        code = output.failed(error)
        output.remark(f"  {_question(request)}")
        if error.number_used and request.endpoint.family is Family.PAY:
            output.remark(
                "  the number may have been used before: if that says PAID, it may be an earlier "
                "sale's; deliver only if your own record says that nobody did, and never cancel it"
            )
        return code
    interrupt = isinstance(error, KeyboardInterrupt)
    if errand.begun and request.endpoint.moves_money and not isinstance(error, ChaoyingError):
        doing = f"{request.endpoint.name} {order_of(request)}"
        kind = "Interrupted" if interrupt else type(error).__name__
        words = f"{doing}: {kind}: it may have been carried out"
        then = f"query the same number before anything else: {_question(request)}"
        return output.refused(kind, words, Exit.UNKNOWN, then)
    if interrupt and not errand.begun:
        return output.interrupted("interrupted: nothing was sent")
    raise error


def _question(request: Request[Any]) -> str:
    """The command that tells what became of it."""
    refund = getattr(request, "out_refund_no", None)
    return f"chaoying refund-query {refund}" if refund else f"chaoying query {order_of(request)}"
