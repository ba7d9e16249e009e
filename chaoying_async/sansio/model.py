"""Decides the shape of all models: frozen, slotted, keyword-only, silent about personal data."""

from __future__ import annotations

from enum import Enum
from typing import Any, Self, TypeVar, dataclass_transform

import attrs

from chaoying_async.sansio.fieldnames import SECRET
from chaoying_async.sansio.sealed import Sealed, SealedMap, quiet, sealing

C = TypeVar("C", bound=type)


class Model:
    """A frozen value whose repr hides what is personal and leaves out what is empty (M-27)."""

    __slots__ = ()

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{name_of(field)}={shown(getattr(self, field.name))}"
            for field in fields_of(type(self))
            if field.repr and getattr(self, field.name) not in (None, (), "", {})
        )
        return f"{type(self).__name__}({fields})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        kept: dict[str, Any] = {}
        for field in fields_of(type(self)):
            if name_of(field) == "raw":  # every field as received, personal ones too
                continue
            value = getattr(self, field.name)
            if isinstance(value, Sealed):
                raise TypeError(
                    f"{type(self).__name__}.{name_of(field)} is personal and is not pickled (M-27)"
                )
            kept[name_of(field)] = dict(value) if isinstance(value, SealedMap) else value
        return _rebuild, (type(self), kept)


def frozen_list(value: Any) -> Any:
    """A list as a tuple, so that a request cannot change after it was checked."""
    return tuple(value) if isinstance(value, list) else value


def shown(value: object) -> str:
    """``repr``, but ``PayType.WECHAT`` for a member of a code table."""
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def fields_of(cls: type[Any]) -> tuple[attrs.Attribute[Any], ...]:
    """``attrs.fields`` for classes that type checkers know as dataclass-like, not as attrs'."""
    found: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    return found


def name_of(field: attrs.Attribute[Any]) -> str:
    """What a field is called outside: attrs' own name of a sealed one is private."""
    return field.alias or field.name


def wire_name_of(field: attrs.Attribute[Any]) -> str:
    """What a field is called in a message: ``metadata={"wire": ...}``; empty if it is in none."""
    wire: str = field.metadata.get("wire", name_of(field))
    return wire


def _rebuild(cls: type[Any], kept: dict[str, Any]) -> Any:
    return cls(**kept)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(attrs.field,))
def model(cls: C) -> C:
    """``attrs.frozen`` as every model has it; equality by value, secrets sealed (M-27)."""
    hints = cls.__annotations__
    sealing(SECRET)(cls)
    sealing(("raw",), hash=False, repr=False)(cls)
    if "_raw" in cls.__annotations__:
        cls.__annotations__["_raw"] = Any  # a serialiser takes it as it is, and reads nothing
    made = quiet(attrs.frozen(cls, kw_only=True, repr=False))
    made.__annotations__ = made.__annotations__ | hints  # the sealed ones under their own names too
    return made
