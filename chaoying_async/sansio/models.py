"""The one shape of all models: attrs, frozen, slotted, keyword-only, silent about personal data."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import MappingProxyType
from typing import Any, Self, TypeVar, dataclass_transform

import attrs

from chaoying_async.sansio.fieldnames import SECRET

C = TypeVar("C", bound=type)
M = TypeVar("M", bound="Model")


class Model:
    """A frozen value whose repr hides what is personal and leaves out what is empty (M-27)."""

    #: Here for all of them: only so can :func:`maker` make one of what has the same slots.
    __slots__ = ("__weakref__",)

    def __repr__(self) -> str:
        fields = ", ".join(
            f"{field.name}={_masked(field.name, value)}"
            for field in fields_of(type(self))
            if field.repr and (value := getattr(self, field.name)) not in (None, (), "", {})
        )
        return f"{type(self).__name__}({fields})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        kept: dict[str, Any] = {}
        for field in fields_of(type(self)):
            if field.name == "raw":  # every field as received, personal ones too
                continue
            value = getattr(self, field.name)
            if field.name in SECRET and value not in (None, ""):
                raise TypeError(
                    f"{type(self).__name__}.{field.name} is personal and is not pickled (M-27)"
                )
            kept[field.name] = dict(value) if isinstance(value, MappingProxyType) else value
        return _rebuild, (type(self), kept)


def frozen_list(value: Any) -> Any:
    """A list as a tuple, so that a request cannot change after it was checked."""
    return tuple(value) if isinstance(value, list) else value


def _masked(name: str, value: object) -> str:
    """What a repr may show; of undocumented parameters only the names, since nobody knows them."""
    if isinstance(value, MappingProxyType):
        return "{" + ", ".join(f"{key!r}: ***" for key in value) + "}"
    return "***" if name in SECRET else shown(value)


def shown(value: object) -> str:
    """``repr``, but ``PayType.WECHAT`` for a member of a code table."""
    return f"{type(value).__name__}.{value.name}" if isinstance(value, Enum) else repr(value)


def fields_of(cls: type[Any]) -> tuple[attrs.Attribute[Any], ...]:
    """``attrs.fields`` for classes that type checkers know as dataclass-like, not as attrs'."""
    found: tuple[attrs.Attribute[Any], ...] = attrs.fields(cls)
    return found


def maker(cls: type[M]) -> Callable[..., M]:
    """Makes a ``cls`` of all its values, by position, at a third of the cost: it is frozen last.

    To fill in a frozen value is a call for every field. For a model without converters and
    validators: none would run.
    """
    names = [field.name for field in fields_of(cls)]
    draft: Any = attrs.make_class(cls.__name__, names, bases=(Model,), slots=True)

    def make(*values: Any) -> M:
        made = draft(*values)
        made.__class__ = cls
        return made  # type: ignore[no-any-return]

    return make


def _rebuild(cls: type[Any], kept: dict[str, Any]) -> Any:
    return cls(**kept)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(attrs.field,))
def model(cls: C) -> C:
    """``attrs.frozen`` as every model has it; equality by value, the repr of :class:`Model`."""
    return attrs.frozen(cls, kw_only=True, repr=False)
