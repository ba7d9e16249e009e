"""``chaoying send``: sends any request of the document; fields are options or ``name=value``."""

from __future__ import annotations

from typing import Any

import click

from chaoying_async.cli import fields, gateway_options, interrupts, messages, output, reply_display
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.gateway_options import (
    SignerOptions,
    Target,
    session,
    stacked,
    target,
    target_options,
)
from chaoying_async.cli.interrupts import TrackedCall
from chaoying_async.cli.language import help_pages, language, shown
from chaoying_async.environment import settings_from_env
from chaoying_async.exceptions import ChaoyingError, OutcomeUnknownError, ParameterError
from chaoying_async.fieldwords import docstring_of, words_of
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Reply, Request, order_of
from chaoying_async.sansio.api.terminal import QrConfGet
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.redact import is_hidden

#: Lower-case name (the document's and the class's) -> request.
_KINDS: dict[str, type[Request[Any]]] = {
    name.lower(): kind for kind in REQUESTS for name in (kind.endpoint.name, kind.__name__)
}


class Endpoints(help_pages.Group):
    """One command for each request, made when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [kind.endpoint.name for kind in REQUESTS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command with the document's name or the class's, in any case."""
        kind = _KINDS.get(cmd_name.lower().replace("-", "_"))
        return None if kind is None else help_pages.localised(_command(kind))


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
    moves = kind.endpoint.moves_money
    return click.Command(
        name=kind.endpoint.name,
        callback=decorated,
        params=[
            click.Argument(["pairs"], nargs=-1, metavar="[NAME=VALUE]..."),
            *fields.options_of(kind, taken),
            *common,
        ],
        help=_about(kind),
        short_help=kind.endpoint.title + (shown(" (moves money)") if moves else ""),
    )


def _about(kind: type[Request[Any]]) -> str:
    title = kind.endpoint.title
    moves = shown("Moves money: sent once.") if kind.endpoint.moves_money else ""
    if language() == "zh":
        return f"{title}。{moves}"
    return f"{title}: {_first(kind)} {moves}".rstrip()


def _first(kind: type[Request[Any]]) -> str:
    """The first sentences of the docstring, without the names before them."""
    return docstring_of(kind).partition("\n\n")[0].partition(": ")[2]


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
    return stacked(*made)


def _run(kind: type[Request[Any]], given: dict[str, Any]) -> Exit:
    named = _texts(kind, given)
    extra = messages.pairs(given.pop("extra"))
    more = {"url": given.pop("link")} if "link" in given else {}
    signer = SignerOptions.taken_from(given)
    request = _made(kind, named, extra, more, signer)
    where = target(given["url"], given["hosts"])
    if kind.endpoint.moves_money:
        _confirm(request, where, yes=given["yes"], production=given["production"])
    who = gateway_options.credentials(signer)
    return _sent(request, where, who, given["qr"])


def _made(
    kind: type[Request[Any]],
    named: dict[str, str],
    extra: dict[str, str],
    more: dict[str, Any],
    signer: SignerOptions,
) -> Request[Any]:
    """The request; what is wrong with it and with the environment is said at once."""
    known = settings_from_env()
    also = {
        # What was typed is judged as a field of the request, under its own name.
        variable: "typed" if named.get(name) else known.get(variable)
        for name, variable in fields.VARIABLES.items()
        if name in kind.needed
    }
    problems: dict[str, str] = {}
    request = None
    try:
        request = fields.made(kind, named, extra, **more)
    except ParameterError as error:
        problems.update(error.problems)
    problems |= gateway_options.problems_with(signer, also=also)
    if problems or request is None:
        raise ParameterError(problems).about(kind.endpoint.name)
    return request


def _texts(kind: type[Request[Any]], given: dict[str, Any]) -> dict[str, str]:
    """Fields from options, from ``name=value``, and from prompts."""
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
    """Refuse real money without ``--production``, and ask before money of any kind moves."""
    if where.real and not production:
        raise click.UsageError(
            f"{request.endpoint.name} moves real money at {where.name}: "
            "add --production if that is meant, or --url of a sandbox"
        )
    if yes:
        return
    fields_sent = request.wire_fields()
    fee_type = fields_sent.get("fee_type")
    listed = ", ".join(
        f"{name} {reply_display.readable(name, text, fee_type)}"
        for name, text in fields_sent.items()
        if name in _TOLD and not is_hidden(name)
    )
    output.confirm(
        f"{request.endpoint.name} {request.endpoint.title} at {where.name}: {listed}. Send it?"
    )


_TOLD = ("mch_id", "out_trade_no", "transaction_id", "out_refund_no", "total_fee", "refund_fee")


def _sent(request: Request[Any], where: Target, who: Any, qr: bool | None) -> Exit:
    known, errand = settings_from_env(), TrackedCall[Reply[Any]]()

    async def exchange() -> Reply[Any]:
        async with session(
            where,
            who,
            mch_id=known.get(fields.VARIABLES["mch_id"]),
            op_user_id=known.get(fields.VARIABLES["op_user_id"]),
        ) as gateway:
            return await errand.send(gateway.send(request))

    try:
        reply = interrupts.run(exchange())
    except BaseException as error:  # noqa: BLE001 - a reply counts, whatever broke afterwards
        if errand.got is None:
            return _without_reply(request, errand, error)
        reply = errand.got
    return reply_display.show(request, reply, qr=qr)


def _without_reply(
    request: Request[Any], errand: TrackedCall[Reply[Any]], error: BaseException
) -> Exit:
    """Say what may have happened when no reply came: it depends on whether anything was sent."""
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
    """The command that asks what became of the request."""
    refund = getattr(request, "out_refund_no", None)
    return f"chaoying refund-query {refund}" if refund else f"chaoying query {order_of(request)}"
