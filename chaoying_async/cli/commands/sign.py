"""``chaoying sign`` and ``chaoying verify``: sign a message, or verify its signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from chaoying_async.cli import gateway_options, messages, output
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.gateway_options import SignerOptions
from chaoying_async.exceptions import SignatureVerificationError
from chaoying_async.sansio.credentials import SignAlgorithm, SortOrder
from chaoying_async.sansio.redact import MASK, is_hidden
from chaoying_async.sansio.signing import canonical_string
from chaoying_async.sansio.signing import sign as sign_fields
from chaoying_async.sansio.signing import verify as verify_fields

_MESSAGE = click.argument("message", nargs=-1, metavar="[FILE | - | NAME=VALUE...]")


@click.command(name="sign")
@_MESSAGE
@gateway_options.how_options
@output.json_option
def sign(message: tuple[str, ...], **options: Any) -> None:
    """Sign a message (签名): a form, a JSON object, or fields as NAME=VALUE.

    Shows the text that is signed, without the key and with personal values as ***, and the sign.
    A sign that the message has already takes no part.
    """
    given = SignerOptions.taken_from(options)
    algorithm, order = SignAlgorithm(given.algorithm or SignAlgorithm.MD5), given.sort_order
    fields = {name: text for name, text in messages.fields(message).items() if name != "sign"}
    made = sign_fields(fields, gateway_options.key(), algorithm, order)
    told = {"sign": made, "algorithm": algorithm.value, "order": order.value}
    told["canonical"] = _shown(fields, order)
    if output.as_json():
        output.tell({"ok": True, **told})
    else:
        output.show_pairs("sign 签名", told.items())


@click.command(name="verify")
@_MESSAGE
@gateway_options.how_options
@output.json_option
def verify(message: tuple[str, ...], **options: Any) -> None:
    """Verify the sign of a message (验签): a form, a JSON reply, or fields as NAME=VALUE.

    Exit code 0: right, in one of the two orders of names; 1: wrong, missing or ambiguous.
    `chaoying doctor` looks for the mistake that explains a wrong one.
    """
    algorithm = SignAlgorithm(options["algorithm"] or SignAlgorithm.MD5)
    fields = messages.fields(message)
    try:
        verify_fields(fields, gateway_options.key(), algorithm)
    except SignatureVerificationError as error:
        then = "`chaoying doctor` looks for the mistake"
        output.end(output.refused(type(error).__name__, str(error), Exit.REFUSED, then))
    told = {"ok": True, "algorithm": algorithm.value, "fields": sorted(fields)}
    output.result(told, f"right ({algorithm})", "bold green")


def _shown(fields: Mapping[str, str], order: SortOrder) -> str:
    """The text that is signed, with personal values as ``***``."""
    return canonical_string(
        {name: MASK if text and is_hidden(name) else text for name, text in fields.items()}, order
    )
