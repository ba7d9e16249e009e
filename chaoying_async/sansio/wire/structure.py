"""The one cattrs converter: texts of the wire to models, imported when the first one is read.

How each type is read stands in its hooks: ``Fen`` from ASCII digits, times from the two printed
formats, enums as an open set (a value outside the table stays text), JSON texts as lists of models.
cattrs needs predicates for some of these, since ``SomeEnum | str`` and ``X | None`` are unions.

A hook raises :class:`ValueError` for what it cannot read. A field that may be absent is then None:
an unreadable coupon must not hide a paid order (C 100).
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar, Union, get_args, get_origin

import attrs
import cattrs

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.model import Model, fields_of, name_of
from chaoying_async.sansio.values import Fen, parse_time, received_fen
from chaoying_async.sansio.wire.forms import parse_json

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]

_WHOLE = re.compile(r"[0-9]{1,15}").fullmatch
_YUAN = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,4})?").fullmatch
_UNREADABLE = (ValueError, TypeError, KeyError, MalformedMessageError)


def _text(value: Any, _type: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _whole(value: Any, _type: Any) -> int:
    if not isinstance(value, str) or not _WHOLE(value):
        raise ValueError("not a whole number")
    return int(value)


def _fen(value: Any, _type: Any) -> Fen:
    return received_fen(_text(value, str))


def _yuan(value: Any, _type: Any) -> Decimal:
    if not isinstance(value, str) or not _YUAN(value):
        raise ValueError("not an amount in yuan")
    return Decimal(value)


def _time(value: Any, _type: Any) -> datetime:
    moment = parse_time(_text(value, str))
    if moment is None:
        raise ValueError("not a time")
    return moment


def _enum_in(hint: Any) -> type[Enum] | None:
    """The code table in ``SomeEnum | str`` or ``SomeEnum | str | None``."""
    if get_origin(hint) not in (Union, types.UnionType):
        return None
    first = get_args(hint)[0]
    return first if isinstance(first, type) and issubclass(first, Enum) else None


def _table_of(hint: Any) -> dict[str, Any]:
    return {member.value: member for member in _enum_in(hint) or ()}


def _is_open_enum(hint: Any) -> bool:
    return _enum_in(hint) is not None


def _open_enum(hint: Any) -> Hook:
    table = _table_of(hint)
    if type(None) in get_args(hint):
        return lambda value, _type: table.get(value) or value or None
    return lambda value, _type: table.get(value) or _text(value, str)


def _is_optional(hint: Any) -> bool:
    parts = get_args(hint)
    return get_origin(hint) is types.UnionType and len(parts) == 2 and parts[1] is type(None)  # noqa: PLR2004 - X | None


def _optional(hint: Any) -> Hook:
    read = _CONVERTER.get_structure_hook(get_args(hint)[0])

    def optional(value: Any, _type: Any) -> Any:
        try:
            return read(value, None)
        except _UNREADABLE:
            return None

    return optional


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is tuple


def _list(hint: Any) -> Hook:
    """A JSON array of models: as text or, where a gateway sends it so, as the array itself (C 100).

    ``promotion_detail`` is wrapped in an object with one member of the same name (C 101).
    """
    item = get_args(hint)[0]
    read = _model(item)

    def read_all(value: Any, _type: Any) -> tuple[Any, ...]:
        items = parse_json(value) if isinstance(value, str) else value
        if isinstance(items, dict) and len(items) == 1:
            (items,) = items.values()
        if not isinstance(items, list) or not all(isinstance(member, dict) for member in items):
            raise ValueError("not a list of objects")
        return tuple([read(member, item) for member in items])

    return read_all


def _is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Model)


def _model(model: type[Any]) -> Hook:
    """Fields by how they are read: most are plain text or a code, and need no call of their own.

    Written out because this is the hottest loop of the library: twice as fast as what cattrs
    generates, and it treats an empty text as an absent one (C 8).
    """
    texts, tables, hooks = [], [], []
    for field in wire_attributes(model):
        if field.type == str | None:
            texts.append(name_of(field))
        elif _is_open_enum(field.type):
            tables.append((name_of(field), _table_of(field.type)))
        else:
            wire = field.metadata.get("wire", name_of(field))
            hooks.append((name_of(field), wire, _CONVERTER.get_structure_hook(field.type)))

    def read(fields: Mapping[str, Any], _type: Any) -> Any:
        get = fields.get
        found = {name: text for name in texts if (text := get(name)) and isinstance(text, str)}
        for name, table in tables:
            if (text := get(name)) and isinstance(text, str):
                found[name] = table.get(text, text)
        for name, wire, hook in hooks:
            if value := get(wire):
                found[name] = hook(value, None)
        return model(**found)

    return read


_CONVERTER = cattrs.Converter(detailed_validation=False)
for _type, _hook in ((str, _text), (int, _whole), (Fen, _fen), (Decimal, _yuan), (datetime, _time)):
    _CONVERTER.register_structure_hook(_type, _hook)
_CONVERTER.register_structure_hook_factory(_is_optional, _optional)
_CONVERTER.register_structure_hook_factory(_is_open_enum, _open_enum)
_CONVERTER.register_structure_hook_factory(_is_list, _list)
_CONVERTER.register_structure_hook_factory(_is_model, _model)


def wire_attributes(model: type[Any]) -> list[attrs.Attribute[Any]]:
    """The fields that come from the wire; ``metadata={"wire": ""}`` marks the others."""
    attrs.resolve_types(model)
    return [field for field in fields_of(model) if field.metadata.get("wire") != ""]


def structure_function(model: type[T]) -> Callable[[Mapping[str, str]], T]:
    """The function that reads ``model`` from a map of texts."""
    read = _CONVERTER.get_structure_hook(model)

    def from_fields(fields: Mapping[str, str]) -> T:
        try:
            result: T = read(fields, model)
        except _UNREADABLE:
            raise MalformedMessageError(_blame(model, fields)) from None
        return result

    return from_fields


def field_function(hint: Any) -> Callable[[str], Any]:
    """The function that reads a single text as ``hint``."""
    read = _CONVERTER.get_structure_hook(hint)
    return lambda text: read(text, hint)


def _blame(model: type[Any], fields: Mapping[str, Any]) -> str:
    """Which required fields cannot be read; their values may be personal and are not shown."""
    bad = []
    for field in wire_attributes(model):
        if field.default is not attrs.NOTHING:
            continue
        value = fields.get(name_of(field))
        try:
            _CONVERTER.get_structure_hook(field.type)(value or "", None)
        except _UNREADABLE:
            bad.append(f"{name_of(field)} is {'unreadable' if value else 'missing'}")
    return f"not a readable {model.__name__}: {', '.join(bad) or 'a field is unreadable'}"
