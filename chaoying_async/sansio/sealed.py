"""Secrets that are read by their name alone, never by walking over an object (M-27).

A repr that hides a key does not hide it from what shows objects without calling ``repr``: rich and
its tracebacks, pytest's report of a failed ``==``, ``attrs.asdict`` and serialisers walk the fields
or slots. So no field and no slot holds a secret: it stays in a closure, and a property of the
documented name gives it out. ``pay.auth_code`` is the text; what walks finds ``***``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Never, Self, SupportsIndex, TypeVar

import attrs

from chaoying_async.sansio.fieldnames import SECRET

C = TypeVar("C", bound=type)

MASK = "***"


class Secret(str):
    """A text that works as any other, but whose ``repr`` does not show it, nor that of a slice."""

    __slots__ = ()

    def __getitem__(self, key: SupportsIndex | slice) -> Secret:
        return Secret(super().__getitem__(key))

    def __repr__(self) -> str:
        return MASK


class SecretBytes(bytes):
    """Bytes that work as any other, but whose ``repr`` does not show them, nor that of a slice."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return SecretBytes(part) if isinstance(part, bytes) else part

    def __repr__(self) -> str:
        return MASK


class _Closed:
    """A value that may be shown, copied and compared, but neither read nor pickled."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: Any) -> Never:
        raise TypeError("a secret is not pickled (M-27)")


class Sealed(_Closed):
    """A value that :meth:`reveal` alone gives out; equal to another sealing of the same value."""

    __slots__ = ("reveal",)

    def __init__(self, value: object) -> None:
        kept = shy(value)
        #: Gives out the value.
        self.reveal: Callable[[], Any] = lambda: kept

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and bool(self.reveal() == other.reveal())

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __repr__(self) -> str:
        return MASK


def seal(value: Any) -> Any:
    """Seals a value; an empty or already sealed one stays as it is."""
    empty = value is None or (isinstance(value, (str, bytes)) and not value)
    return value if empty or isinstance(value, Sealed) else Sealed(value)


class SealedMap(_Closed, Mapping[str, Any]):
    """A read-only mapping whose values show only to whoever asks for them by name.

    The mapping is not copied, so its owner must not change it afterwards.
    """

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members: Callable[[], Mapping[str, Any]] = (
            members._members if isinstance(members, SealedMap) else lambda: members  # noqa: SLF001 - its own kind
        )

    def __getitem__(self, name: str) -> Any:
        return _as_secret(name, self._members()[name])

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or the default; the mixin's own ``get`` takes five times as long."""
        return _as_secret(name, self._members().get(name, default))

    def copy(self) -> dict[str, Any]:
        """A new dict with these members."""
        return dict(self)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**other, **self}

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __contains__(self, name: object) -> bool:
        return name in self._members()

    def __iter__(self) -> Iterator[str]:
        return iter(self._members())

    def __len__(self) -> int:
        return len(self._members())

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {MASK}" for name in self) + "}"


_SHY: Mapping[type[Any], Callable[[Any], Any]] = {
    str: Secret,
    bytes: SecretBytes,
    dict: SealedMap,
    Mapping: SealedMap,
}


def shy(value: Any) -> Any:
    """Wraps a text, bytes or a mapping so that its ``repr`` shows nothing of it."""
    cls = value.__class__
    if cls not in _SHY:  # a subclass or another kind of mapping: rare, and five times slower
        cls = next((plain for plain in (str, bytes, Mapping) if isinstance(value, plain)), cls)
    return _SHY[cls](value) if cls in _SHY else value


def _as_secret(name: str, value: Any) -> Any:
    """A personal field's text, so that a report that compares two mappings does not show it."""
    return Secret(value) if name in SECRET and value.__class__ is str else value


def sealing(names: Iterable[str], **options: Any) -> Callable[[C], C]:
    """A decorator below attrs' own: the fields of these names are kept sealed.

    Each becomes a private field, ``_key`` for ``key``, which is given and read under its own name
    all the same: that is its alias, and a property reads it. ``options`` go to ``attrs.field``.
    """

    def decorate(cls: C) -> C:
        hidden = {name: f"_{name}" for name in names if name in cls.__annotations__}
        for name, private in hidden.items():
            default = vars(cls).get(name, attrs.NOTHING)
            field = attrs.field(default=default, converter=seal, alias=name, **options)
            setattr(cls, private, field)
            setattr(cls, name, _revealed(name, private))
        cls.__annotations__ = {
            hidden.get(name, name): hint for name, hint in cls.__annotations__.items()
        }
        return cls

    return decorate


def quiet(cls: C) -> C:
    """A decorator above attrs' own: an error in ``__init__`` leaves no frame with its arguments.

    Error reports show the locals of frames, those of attrs' generated ``__init__`` too (M-27).
    """
    init: Any = vars(cls)["__init__"]

    @functools.wraps(init)
    def quietly(self: Any, *args: Any, **given: Any) -> None:
        try:
            init(self, *args, **given)
        except Exception as error:  # noqa: BLE001 - whatever a converter or a rule raises
            del self, args  # half made, it could not even be shown
            given.clear()
            raise error.with_traceback(None)  # noqa: B904 - itself, without attrs' frame

    # From Python 3.14 on `wraps` copies what makes annotations, and attrs writes them down itself.
    quietly.__annotations__ = init.__annotations__
    cls.__init__ = quietly  # type: ignore[misc]
    return cls


def _revealed(name: str, private: str) -> property:
    def reveal(self: Any) -> Any:
        value = getattr(self, private)
        return value.reveal() if value.__class__ is Sealed else value

    reveal.__name__ = name
    return property(reveal)
