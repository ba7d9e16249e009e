"""A JSON Schema for each single field, as it travels: a text of a form, or a member of a reply."""

from __future__ import annotations

import types
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import singledispatch
from typing import Any, Union, get_args, get_origin

from chaoying_async.descriptions.plain_words import field_words
from chaoying_async.fieldwords import FieldWords
from chaoying_async.sansio.api.field_rules import (
    AmountRule,
    CodeRule,
    GoodsDetail,
    GoodsRule,
    IpRule,
    Placeholder,
    Rule,
    TextRule,
    TimeRule,
    UrlListRule,
    UrlRule,
)
from chaoying_async.sansio.model import Model
from chaoying_async.sansio.values import Fen

Schema = dict[str, Any]

#: The most fen that a field may hold: 15 digits, which every language's double holds exactly.
_MOST_FEN = 10**15 - 1
_NO_PLACEHOLDER: Rule = get_args(Placeholder)[1]

#: Where the schemas of models stand in a document.
COMPONENTS = "#/components/schemas/"


def described(schema: Schema, words: FieldWords) -> Schema:
    """The schema with its words: English sentences, then the document's own term in Chinese."""
    return {**schema, "description": str(words)} if words.english else schema


@singledispatch
def sent(rule: Rule) -> Schema:
    """What a request's field may hold, by its rule; an empty one is left out of the form."""
    del rule
    return {"type": "string", "minLength": 1}


@sent.register
def _(rule: TextRule) -> Schema:
    if rule == _NO_PLACEHOLDER:
        return {"type": "string", "minLength": 1, "not": {"const": "-"}}
    pattern = {"pattern": f"^{rule.pattern}$"} if rule.pattern else {}
    return {"type": "string", "minLength": 1, **pattern}


@sent.register
def _(rule: AmountRule) -> Schema:
    return {"type": "integer", "minimum": rule.least, "maximum": _MOST_FEN}


@sent.register
def _(rule: CodeRule) -> Schema:
    return {"type": "string", **_codes(rule.table, "enum")}


@sent.register
def _(_rule: TimeRule) -> Schema:
    return {"type": "string", "pattern": "^[0-9]{14}$", "examples": ["20260131235959"]}


@sent.register
def _(_rule: IpRule) -> Schema:
    return {"type": "string", "anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}


@sent.register
def _(_rule: UrlRule) -> Schema:
    return {"type": "string", "format": "uri", "pattern": r"^https?://[^?#\s]+$"}


@sent.register
def _(_rule: UrlListRule) -> Schema:
    return {"type": "string", "pattern": r"^https?://[^;\s]+(;https?://[^;\s]+)*$"}


@sent.register
def _(_rule: GoodsRule) -> Schema:
    return _packed({"type": "array", "items": reference(GoodsDetail)})


def received(hint: Any) -> Schema:
    """What a reply's or a notification's field holds, by its type.

    Texts, as the document says, but for whole numbers that are no amounts: its example prints one
    as a JSON number (C 9).
    """
    kind = _kind_in(hint)
    if get_origin(kind) is tuple:
        return _packed({"type": "array", "items": reference(get_args(kind)[0])})
    if _is_table(kind):
        return {"type": "string", **_codes(kind, "x-extensible-enum")}
    return {**_RECEIVED[kind]}


def inner(hint: Any) -> Schema:
    """What a member of packed JSON holds: the examples print numbers there as well as texts."""
    kind = _kind_in(hint)
    if get_origin(kind) is tuple:
        return {"type": "array", "items": reference(get_args(kind)[0])}
    schema = received(kind)
    return {**schema, "type": ["string", "integer"]} if kind in (Fen, int) else schema


def reference(model: type[Model]) -> Schema:
    """Where the schema of a model stands in the document."""
    return {"$ref": f"{COMPONENTS}{model.__name__}"}


def models_in(hint: Any) -> tuple[type[Model], ...]:
    """The models that a field of this type refers to."""
    kind = _kind_in(hint)
    return get_args(kind)[:1] if get_origin(kind) is tuple else ()


_RECEIVED: Mapping[Any, Schema] = {
    str: {"type": "string"},
    Fen: {"type": "string", "pattern": "^[0-9]{1,15}$"},
    int: {"type": ["string", "integer"], "pattern": "^[0-9]+$"},
    Decimal: {"type": "string", "pattern": r"^[0-9]{1,13}(\.[0-9]{1,2})?$"},
    datetime: {
        "type": "string",
        "pattern": "^([0-9]{14}|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})$",
    },
}


def _kind_in(hint: Any) -> Any:
    """The type in ``X | None``, or the code table in ``Table | str | None``."""
    if get_origin(hint) not in (types.UnionType, Union):
        return hint
    parts = [part for part in get_args(hint) if part is not types.NoneType]
    return next(filter(_is_table, parts), parts[0])


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, StrEnum)


def _codes(table: type[StrEnum], keyword: str) -> Schema:
    """The values of a code table, and what each means."""
    return {
        keyword: [member.value for member in table],
        "x-enum-descriptions": [str(field_words(table, member.name)) for member in table],
    }


def _packed(schema: Schema) -> Schema:
    """JSON that travels as a text, and is signed as that text."""
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
