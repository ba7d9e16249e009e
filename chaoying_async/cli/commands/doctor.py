"""``chaoying doctor``: finds the mistake that makes this sign out of this message and this key."""

from __future__ import annotations

from typing import Any, Literal

import attrs
import click

from chaoying_async.cli import gateway_options, messages, output
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.gateway_options import SignerOptions
from chaoying_async.cli.language import language
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.credentials import SignAlgorithm
from chaoying_async.sansio.doctor import Verdict, describe, diagnose, explain


@click.command(name="doctor")
@click.argument("message", nargs=-1, metavar="[FILE | - | NAME=VALUE...]")
@click.option("--sign", help="The sign that the other side computed; default: the message's own.")
@click.option("--strict", is_flag=True, help="Accept nothing that a strict gateway would not.")
@click.option("--lang", type=click.Choice(("en", "zh")), help="语言; default: as LANG says, or en.")
@gateway_options.who_options
@output.json_option
def doctor(
    message: tuple[str, ...],
    sign: str | None,
    lang: Literal["en", "zh"] | None,
    **options: Any,
) -> None:
    """Find the mistake behind a wrong signature (签名错误).

    The message is a body as it came, a query with or without its URL, or a JSON reply, from a file
    or stdin; NAME=VALUE fields tell less. With --sign it explains the difference between the other
    side's sign and ours. Exit code 0: the sign is right; 1: it is not.
    """
    lang = lang or ("en" if output.as_json() else language())
    given = SignerOptions.taken_from(options)
    verdict = diagnose(
        messages.message(message),
        gateway_options.signer(given) or gateway_options.key(),
        sign=sign,
        algorithm=SignAlgorithm(given.algorithm) if given.algorithm else None,
        order=given.sort_order,
        now=SystemClock().now(),
        strict=options["strict"],
    )
    if output.as_json():
        output.tell(_record(verdict, lang))
    else:
        style = "bold green" if verdict.right else "bold red"
        first, *rest = explain(verdict, lang).splitlines()
        said = output.console()
        said.print(output.printable(first), style=style)
        for line in rest:
            said.print(output.printable(line))
    output.end(Exit.OK if verdict.right else Exit.REFUSED)


def _record(verdict: Verdict, lang: Literal["en", "zh"]) -> dict[str, Any]:
    told = attrs.asdict(verdict)
    for finding in told["findings"]:
        finding["what_happened"], finding["what_to_do"] = describe(finding["mistake"], lang)
    code = Exit.OK if verdict.right else Exit.REFUSED
    return {"ok": verdict.right, "exit": int(code), **told}
