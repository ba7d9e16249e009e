"""The one cattrs converter: texts of the wire to models, imported when the first one is read.

How each type is read: ``Fen`` from ASCII digits, times from the two printed formats, enums as an
open set (a value outside the table stays text), JSON strings into lists of models. cattrs needs
hooks by predicate for these, since ``X | None`` and ``SomeEnum | str`` are unions to it.
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
from cattrs.gen import make_dict_structure_fn, override

from chaoying_async.exceptions import MalformedMessageError
from chaoying_async.sansio.codec import parse_json
from chaoying_async.sansio.models import Model
from chaoying_async.sansio.values import Fen, parse_time, received_fen

T = TypeVar("T")
Read = Callable[..., Any]

_CONVERTER = cattrs.Converter(detailed_validation=False)


def structure_function(model: type[T]) -> Callable[[Mapping[str, str]], T]:
    """The function that reads ``model`` from a map of texts."""
    read = _model_reader(model, _optional_flat_text)

    def from_fields(fields: Mapping[str, str]) -> T:
        try:
            result: T = read(fields, model)
        except (KeyError, ValueError, TypeError):
            raise MalformedMessageError(_unreadable(model, fields)) from None
        return result

    return from_fields


def _model_reader(model: type[Any], optional_text: Read) -> Read:
    """cattrs writes the function; every field brings the hook that reads it."""
    overrides = {
        field.name: override(
            rename=field.metadata.get("wire"),
            struct_hook=_field_reader(field, optional_text),
        )
        for field in _wire_attributes(model)
    }
    left_out = {
        name: override(omit=True) for name in attrs.fields_dict(model) if name not in overrides
    }
    write: Any = make_dict_structure_fn  # its keywords are field names, which no signature can say
    read: Read = write(
        model, _CONVERTER, _cattrs_detailed_validation=False, **overrides, **left_out
    )
    return read


def _field_reader(field: attrs.Attribute[Any], optional_text: Read) -> Read:
    read = _reader(field.type)
    if field.default is attrs.NOTHING:
        return read
    return optional_text if read is _text else _OPTIONAL.get(read) or _optional(read)


def _wire_attributes(model: type[Any]) -> list[attrs.Attribute[Any]]:
    """The fields that come from the wire; ``metadata={"wire": ""}`` marks the others."""
    attrs.resolve_types(model)
    return [field for field in attrs.fields(model) if field.metadata.get("wire") != ""]


def _unreadable(model: type[Any], fields: Mapping[str, Any]) -> str:
    """Which required fields are to blame; their values may be personal and are not shown."""
    bad = []
    for field in _wire_attributes(model):
        if field.default is not attrs.NOTHING:
            continue
        name = field.metadata.get("wire", field.name)
        try:
            _reader(field.type)(fields.get(name) or "", field.type)
        except (ValueError, TypeError):
            bad.append(f"{name} is {'unreadable' if fields.get(name) else 'missing'}")
    return f"not a readable {model.__name__}: {', '.join(bad) or 'a field is unreadable'}"


# Readers have the shape of cattrs hooks, (value, type) -> value, and raise ValueError. A field
# that may be absent gets None instead: an unreadable coupon must not hide a paid order (C 100).


def _text(value: Any, _type: Any = None) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value


def _optional_text(value: Any, _type: Any = None) -> str | None:
    return value if isinstance(value, str) and value else None


def _optional_flat_text(
    value: str, _type: Any
) -> str | None:  # the fields of a message are all text already
    return value or None


def _whole(value: Any, _type: Any = None) -> int:
    if not _WHOLE(_text(value)):
        raise ValueError("not a whole number")
    return int(value)


def _fen(value: Any, _type: Any = None) -> Fen:
    return received_fen(_text(value))


def _yuan(value: Any, _type: Any = None) -> Decimal:
    if not _YUAN(_text(value)):
        raise ValueError("not an amount in yuan")
    return Decimal(value)


def _time(value: Any, _type: Any = None) -> datetime:
    moment = parse_time(_text(value))
    if moment is None:
        raise ValueError("not a time")
    return moment


_WHOLE = re.compile(r"[0-9]{1,15}").fullmatch
_YUAN = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,4})?").fullmatch

_SCALARS: Mapping[Any, Read] = {str: _text, int: _whole, Fen: _fen, Decimal: _yuan, datetime: _time}


def _optional_fen(value: Any, _type: Any = None) -> Fen | None:
    return int.__new__(Fen, value) if isinstance(value, str) and _WHOLE(value) else None


def _optional_whole(value: Any, _type: Any = None) -> int | None:
    return int(value) if isinstance(value, str) and _WHOLE(value) else None


def _optional_time(value: Any, _type: Any = None) -> datetime | None:
    return parse_time(value) if isinstance(value, str) else None


#: Optional readers that need no exception to say None: most fields are one of these.
_OPTIONAL: Mapping[Read, Read] = {
    _whole: _optional_whole,
    _fen: _optional_fen,
    _time: _optional_time,
}


def _reader(hint: Any) -> Read:
    """What turns a wire value into ``hint``, or raises."""
    if get_origin(hint) not in (Union, types.UnionType):
        return _plain_reader(hint)
    first = get_args(hint)[0]
    return (
        _enum_reader(first)
        if isinstance(first, type) and issubclass(first, Enum)
        else _plain_reader(first)
    )


def _plain_reader(hint: Any) -> Read:
    if hint in _SCALARS:
        return _SCALARS[hint]
    if get_origin(hint) is tuple:
        return _list_reader(get_args(hint)[0])
    raise TypeError(f"no reader for {hint}")


def _optional(read: Read) -> Read:
    def optional(value: Any, _type: Any = None) -> Any:
        try:
            return read(value)
        except (ValueError, TypeError, KeyError, MalformedMessageError):
            return None

    return optional


def _enum_reader(table: type[Enum]) -> Read:
    members = {member.value: member for member in table}
    return lambda value, _type=None: members.get(value) or _text(value)


def list_function(item: type[Any]) -> Read:
    """The function that reads a JSON text as a list of models; None where it cannot."""
    return _optional(_list_reader(item))


def _list_reader(item: type[Model]) -> Read:
    """A JSON array of models, as text or, where a gateway sends it so, as the array itself (C 100).

    ``promotion_detail`` is wrapped in an object with one member of the same name (C 101).
    """
    read_item = _model_reader(item, _optional_text)

    def read(value: Any, _type: Any = None) -> tuple[Any, ...]:
        items = parse_json(value) if isinstance(value, str) else value
        if isinstance(items, dict) and len(items) == 1:
            (items,) = items.values()
        if not isinstance(items, list):
            raise ValueError("not a list")  # noqa: TRY004 - readers raise ValueError
        return tuple([read_item(member, item) for member in items])

    return read
