"""Docstrings and signatures as readers want to see them, for Sphinx's autodoc.

The words under a field stand there in two languages; each build shows its own. The signature that
attrs makes names its own tables as defaults; here the defaults are the values.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from enum import Enum
from inspect import isclass
from typing import Any

import attrs
from sphinx.application import Sphinx

from chaoying_async.fieldwords import words_of

#: Longer than this, or with an address in it, a default says less than "there is one".
_LONG = 40
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def in_this_language(
    app: Sphinx, what: str, name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """Replace the words of a field or a member by those of the language that is built."""
    if what not in {"attribute", "property"} or not lines:
        return
    owner = _owner(name)
    words = words_of(owner, name.rpartition(".")[2]) if owner else None
    if words is not None and words.chinese:
        chinese = app.config.language.startswith("zh")
        lines[:] = [words.chinese if chinese else words.english, ""]


def _owner(name: str) -> type[Any] | None:
    module, _, path = name.rpartition(".")[0].rpartition(".")
    try:
        found = getattr(importlib.import_module(module), path, None)
    except ImportError:
        return None
    return found if isclass(found) else None


def with_values(
    _app: Sphinx,
    what: str,
    _name: str,
    value: Any,
    _options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None] | None:
    """``(*, first=5.0, jitter=0.1)`` for a class of attrs; enums have none."""
    if what not in {"class", "exception"}:
        return None
    if isclass(value) and issubclass(value, Enum):
        return "", None
    made_by_attrs = attrs.has(value) and "__init__" in vars(value)
    if not made_by_attrs or "__attrs_init__" in vars(value) or signature is None:
        return None
    return f"({', '.join(_parameters(value))})", returned


def _parameters(owner: type[Any]) -> Iterator[str]:
    fields = [field for field in attrs.fields(owner) if field.init]
    yield from (_parameter(field) for field in fields if not field.kw_only)
    named = [field for field in fields if field.kw_only]
    if named:
        yield "*"
    yield from (_parameter(field) for field in named)


def _parameter(field: attrs.Attribute[Any]) -> str:
    name = field.alias or field.name
    return name if field.default is attrs.NOTHING else f"{name}={shown(field.default)}"


def shown(default: object) -> str:
    """A default as somebody would write it; ``...`` where that says nothing."""
    if isinstance(default, Enum):
        return f"{type(default).__name__}.{default.name}"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type] # a class, whatever the stubs say
        return "..." if default.takes_self else shown(default.factory())  # type: ignore[attr-defined]
    text = repr(default)
    return "..." if len(text) > _LONG or _ADDRESS.search(text) else text


def setup(app: Sphinx) -> dict[str, bool]:
    """Take part in the build."""
    app.connect("autodoc-process-docstring", in_this_language)
    app.connect("autodoc-process-signature", with_values)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
