"""Reads the words that stand under a field: the one source of ``--help``, the console and docs.

A field's words are a text of their own under it, which editors and API references show. Python
keeps it nowhere, so the words are read from the source of the class, when somebody asks for them.
A program that ships without its sources has none: then the answer is an empty text, never an error.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import attrs

#: ``:class:`Pay``` and the like, and code.
_MARKUP = re.compile(r":\w+:`~?(?:[\w.]+\.)?(?P<name>\w+)`|`+(?P<code>[^`]*)`+|\*(?P<loud>\w+)\*")
#: ``(C 42)``: for readers of the source.
_RULE = r"[CM][ -]\d+"
_RULES = re.compile(rf" \({_RULE}(?:, {_RULE})*\)")
_END_OF_TERM = re.compile("[，；：]")


@attrs.frozen
class FieldWords:
    """What is written under a field. Both texts are empty where nothing is."""

    english: str = ""
    """Whole sentences, with the unit and what one might get wrong; reStructuredText."""
    chinese: str = ""
    """The document's term first, then the unit and what one might get wrong."""

    @property
    def plain(self) -> str:
        """The English words without markup and without the numbers of rules, for a terminal."""
        return _MARKUP.sub(lambda match: match[match.lastgroup or 0], _RULES.sub("", self.english))

    @property
    def term(self) -> str:
        """The document's Chinese term alone."""
        return _END_OF_TERM.split(self.chinese)[0]

    def __str__(self) -> str:
        return f"{self.plain}（{self.chinese}）" if self.chinese else self.plain


_NONE = FieldWords()


def words_of(owner: type[Any], name: str) -> FieldWords:
    """The words of a class's field or an enum's member; those of a base where they stand there."""
    found = (_written_in(cls.__module__).get((cls.__qualname__, name)) for cls in owner.__mro__)
    return next(filter(None, found), _NONE)


def docstring_of(named: type[Any] | Callable[..., Any]) -> str:
    """The docstring of a class or a function of a module; from its source under ``python -OO``."""
    return inspect.cleandoc(
        named.__doc__ or _docstrings_in(named.__module__).get(named.__qualname__, "")
    )


@cache
def _written_in(module: str) -> Mapping[tuple[str, str], FieldWords]:
    classes = [node for node in _source_of(module) if isinstance(node, ast.ClassDef)]
    return {(cls.name, name): words for cls in classes for name, words in _words_in(cls)}


@cache
def _docstrings_in(module: str) -> Mapping[str, str]:
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    named = [node for node in _source_of(module) if isinstance(node, kinds)]
    return {node.name: ast.get_docstring(node) or "" for node in named}


def _source_of(module: str) -> Sequence[ast.stmt]:
    """The statements of a module; none where its source is not at hand."""
    try:
        return ast.parse(inspect.getsource(sys.modules[module])).body
    except (OSError, TypeError, SyntaxError):
        return ()


def _words_in(cls: ast.ClassDef) -> Iterator[tuple[str, FieldWords]]:
    for above, below in pairwise(cls.body):
        match above, below:
            case (
                (ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)])),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, _split(" ".join(text.split()))
            case _:
                pass


def _split(text: str) -> FieldWords:
    """The Chinese words stand in full-width parentheses at the very end."""
    english, _, chinese = text.removesuffix("）").rpartition("（")
    return FieldWords(english.rstrip(), chinese) if text.endswith("）") else FieldWords(text)
