"""Makes options of the fields of requests, and requests of the texts that they get."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import click

from chaoying_async.cli.field_option import FieldOption
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.api.endpoint import FieldSpec, Request, field_specs
from chaoying_async.sansio.api.field_rules import (
    AmountRule,
    CodeRule,
    GoodsDetail,
    GoodsRule,
    TimeRule,
)
from chaoying_async.sansio.enums import Undocumented
from chaoying_async.sansio.values import fen, parse_time

#: Fields that are only asked for: the shell would remember them.
ASKED_FOR = frozenset({"password"})
#: Fields that the session of a command takes from the environment where they are left out.
VARIABLES = {"mch_id": "CHAOYING_MCH_ID", "op_user_id": "CHAOYING_OP_USER_ID"}
#: As a value: ask for the field in a prompt that does not show it.
ASK = "-"
PREFIX = "field_"


def options_of(kind: type[Request[Any]], taken: frozenset[str]) -> list[click.Parameter]:
    """One option for each field; a field whose option exists already is set as ``name=value``."""
    return [_option(kind, spec) for spec in field_specs(kind) if _dashed(spec.name) not in taken]


def _dashed(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _option(kind: type[Request[Any]], spec: FieldSpec) -> click.Option:
    needed = ""
    if spec.required or spec.name in kind.needed:
        variable = VARIABLES.get(spec.name)
        needed = f"(required, or {variable})" if variable else "(required)"
    return FieldOption(
        [f"{PREFIX}{spec.name}", _dashed(spec.name)],
        of=kind,
        named=spec.name,
        help=f"{needed} {_form(spec)}".strip(),
        metavar=_metavar(spec),
    )


_METAVARS: Mapping[type[Any], str] = {AmountRule: "FEN", TimeRule: "TIME", GoodsRule: "JSON"}


def _metavar(spec: FieldSpec) -> str:
    if spec.name in ASKED_FOR:
        return ASK
    return _METAVARS.get(type(spec.rule), "TEXT")


def _form(spec: FieldSpec) -> str:
    if isinstance(spec.rule, CodeRule):
        return ", ".join(spec.rule.table)
    if isinstance(spec.rule, AmountRule):
        return "Digits are fen, with a decimal point yuan: 1230 or 12.30."
    return "asked for, with -" if spec.name in ASKED_FOR else ""


def made(
    kind: type[Request[Any]],
    texts: Mapping[str, str],
    extra: Mapping[str, str],
    **more: Any,
) -> Request[Any]:
    """The request; every field that is wrong is named in one :class:`ParameterError`."""
    specs = {spec.name: spec for spec in field_specs(kind)}
    problems = {
        name: f"is no field of {kind.endpoint.name}; an undocumented one is --extra {name}=..."
        for name in texts
        if name not in specs
    }
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name in problems:
            continue
        try:
            values[name] = _value(specs[name], text)
        except ValueError as error:
            problems[name] = str(error)
    missing = [name for name, spec in specs.items() if spec.required and name not in texts]
    problems |= dict.fromkeys(missing, "is required")
    if problems:
        # What could be read is judged too, so that all is said at once.
        for name, value in values.items():
            if problem := specs[name].rule.problem(value):
                problems[name] = problem
        raise ParameterError(problems).about(kind.endpoint.name)
    return kind(**values, **more, extra=extra)


def _value(spec: FieldSpec, text: str) -> Any:
    if isinstance(spec.rule, AmountRule):
        return amount(text)
    if isinstance(spec.rule, TimeRule):
        return _time(text)
    if isinstance(spec.rule, GoodsRule):
        return _goods(text)
    if isinstance(spec.rule, CodeRule):
        if text.startswith("="):
            return Undocumented(text[1:])
        return spec.rule.table(text) if text in set(spec.rule.table) else text
    return text


#: An amount has at most 15; `int()` refuses more than 4,300 with words of its own.
_DIGITS = 18


def amount(text: str) -> int:
    """The amount in fen: digits are fen; with a decimal point they are yuan."""
    with suppress(ValueError):
        if "." in text:
            return fen(text)
        if text.isascii() and text.isdigit() and len(text) <= _DIGITS:
            return int(text)
    raise ValueError("must be fen (1230) or yuan with two decimals (12.30)")


def _time(text: str) -> Any:
    time = parse_time(text)
    if time is None:
        raise ValueError("must be yyyyMMddHHmmss, in GMT+8")
    return time


def _goods(text: str) -> list[GoodsDetail]:
    try:
        return [GoodsDetail(**item) for item in json.loads(text)]
    except (ValueError, TypeError, RecursionError):
        raise ValueError("must be a JSON list of goods_detail items") from None
