"""Texts become typed fields: how each type of a model is read from the texts of a message.

``Fen`` comes from ASCII digits, a time from the two printed formats, a code from an open set (a
value outside its table stays text), a list of models from a JSON text. cattrs needs predicates for
some of these, since ``SomeEnum | str`` and ``X | None`` are unions.

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
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin

import attrs

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.model import Model, fields_of, name_of, wire_name_of
from chaoying_async.sansio.values import Fen, parse_time, received_fen
from chaoying_async.sansio.wire.jsontext import parse_json

if TYPE_CHECKING:
    from cattrs import Converter

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
    read = _reader(get_args(hint)[0])

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
    for field in _wire_attributes(model):
        if field.type == str | None:
            texts.append(name_of(field))
        elif _is_open_enum(field.type):
            tables.append((name_of(field), _table_of(field.type)))
        else:
            hooks.append((name_of(field), wire_name_of(field), _reader(field.type)))

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


@cache
def _converter() -> Converter:
    """The one converter. cattrs is imported here, when the first message is read: not before."""
    import cattrs  # noqa: PLC0415

    converter = cattrs.Converter(detailed_validation=False)
    for kind, hook in _SCALARS.items():
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook_factory(_is_optional, _optional)
    converter.register_structure_hook_factory(_is_open_enum, _open_enum)
    converter.register_structure_hook_factory(_is_list, _list)
    converter.register_structure_hook_factory(_is_model, _model)
    return converter


_SCALARS: Mapping[type[Any], Hook] = {
    str: _text,
    int: _whole,
    Fen: _fen,
    Decimal: _yuan,
    datetime: _time,
}


def _wire_attributes(model: type[Any]) -> list[attrs.Attribute[Any]]:
    """The fields that come from the wire; ``metadata={"wire": ""}`` marks the others."""
    attrs.resolve_types(model)
    return [field for field in fields_of(model) if wire_name_of(field)]


def _blame(model: type[Any], fields: Mapping[str, Any]) -> str:
    """Which required fields cannot be read; their values may be personal and are not shown."""
    bad = []
    for field in _wire_attributes(model):
        if field.default is not attrs.NOTHING:
            continue
        value = fields.get(name_of(field))
        try:
            _reader(field.type)(value or "", None)
        except _UNREADABLE:
            bad.append(f"{name_of(field)} is {'unreadable' if value else 'missing'}")
    return f"not a readable {model.__name__}: {', '.join(bad) or 'a field is unreadable'}"


def structure(fields: Mapping[str, str], model: type[T]) -> T:
    """A model from texts.

    Empty and unknown fields are left out. An optional field that cannot be read is None, its text
    stays in ``raw`` (C 99, C 100); a required one that is missing or unreadable is a
    :class:`~chaoying_async.exceptions.MalformedMessageError` that names it.
    """
    try:
        result: T = _reader(model)(fields, model)
    except _UNREADABLE:
        raise MalformedMessageError(_blame(model, fields)) from None
    return result


def read_text(text: str | None, hint: Any) -> Any:
    """One field of the type ``hint``: a scalar, a code, or a JSON list."""
    return _reader(hint)(text or "", hint)


def _made_reader(hint: Any) -> Hook:
    return _converter().get_structure_hook(hint)


_reader: Callable[[Any], Hook] = cache(_made_reader)
