"""Reads the message that a command is given: a file, stdin, or fields as ``name=value``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from chaoying_async.cli import output
from chaoying_async.cli.text_files import in_utf8
from chaoying_async.sansio.wire.forms import parse_form
from chaoying_async.sansio.wire.jsontext import parse_reply

#: Bytes; a longer file is not a message.
_LONGEST = 1024 * 1024


def message(given: tuple[str, ...]) -> bytes | dict[str, str]:
    """The bytes of a body, or the fields that were typed.

    ``name=value ...`` are fields; one word without ``=`` is a file, ``-`` or nothing is stdin.
    """
    if len(given) == 1 and "=" not in given[0] and given[0] != "-":
        with Path(given[0]).open("rb") as file:
            return _read(file.read(_LONGEST))
    if given and given != ("-",):
        return pairs(given)
    if sys.stdin.isatty():
        raise click.UsageError("give a message: a file, name=value fields, or on stdin")
    read = _read(sys.stdin.buffer.read(_LONGEST))
    if not read:
        raise click.UsageError("nothing came on stdin: give a message, a file or name=value fields")
    return read


def fields(given: tuple[str, ...]) -> Mapping[str, str]:
    """The decoded fields of a message: of a form, of a JSON reply, or typed ones."""
    found = message(given)
    if isinstance(found, dict):
        return found
    if found.lstrip().startswith(b"{"):
        return parse_reply(found)[1]
    return parse_form(found)


def pairs(given: Iterable[str]) -> dict[str, str]:
    """Fields from ``name=value`` words; refuses a key, and a name that comes twice."""
    found: dict[str, str] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise click.UsageError("fields are given as name=value")
        if name == "key":
            raise click.UsageError("the key is no field: set CHAOYING_KEY, or be asked for it")
        if name in found:
            raise click.UsageError(f"{name} comes twice")
        found[name] = value
    return found


def _read(body: bytes) -> bytes:
    body, was = in_utf8(body)
    if was:
        output.remark(
            f"the message was read as {was}, as editors and PowerShell write files; the sender "
            "must send it in UTF-8, without that mark"
        )
    # Editors and `echo` put a line end behind a message.
    return body.removesuffix(b"\n").removesuffix(b"\r")
