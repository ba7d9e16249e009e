"""Words of fields and calls for readers who use another language and another library.

The words under a field speak to users of this library too: of sessions, of the command line, of
classes. What is said to them alone is left out here, and a call has its name on the wire.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from chaoying_async.fieldwords import FieldWords, docstring_of, words_of
from chaoying_async.sansio.api import REQUESTS

#: What a session does for a field that a request leaves out, and what holds without one.
_LEFT_TO_THE_SESSION = re.compile(
    r" If it is left out, the session's is sent \([^)]*\)(?:; without that one, (?P<then>[^.]*))?\."
)
#: A sentence that holds one of these is for users of this library.
_OURS = re.compile(
    r"``extra``|``send``|``allow``|``Reply|``Hosts|``url``|``valid_minutes``|unwrap\(\)|:attr:"
    r"|[Ss]ession does not|a warning is all|the repr"
)
_END_OF_SENTENCE = re.compile(r"(?<=[.]) (?=[A-Z\"`:])")
#: What a value is to Python, and what it is on the wire.
_PYTHON = (
    ("; aware, in GMT+8", ", in GMT+8"),
    ("; any time zone, sent as GMT+8", ", in GMT+8"),
    (": never fetched, draw it from", "; draw your own from"),
    ("and an unclear end is an OutcomeUnknownError: send", "and after an unclear end send"),
    (", never what was paid, C 42)", ", never what was paid)"),
    (": pass them as ``extra``", ""),
    (": see from_auth_code", " (its prefix tells)"),
)
_PYTHON_CHINESE = (
    ("，缺少时仅警告", ""),
    ("，本库从不访问，请用", "，也可用"),
    ("，本库从不访问", ""),
)
_CLASS = re.compile(r":(?:class|meth):`~?(?:[\w.]+\.)?(?P<name>\w+)`")


def field_words(owner: type[Any], name: str) -> FieldWords:
    """The words of a field, in both languages."""
    return plain(words_of(owner, name))


def plain(words: FieldWords) -> FieldWords:
    """The same words without what is about this library, and without markup."""
    chinese = words.chinese
    for python, wire in _PYTHON_CHINESE:
        chinese = chinese.replace(python, wire)
    return FieldWords(_plain(words.english), chinese)


def call_words(named: type[Any] | Callable[..., Any]) -> str:
    """What a call does, and what one might get wrong: its class's docstring less the first line."""
    _, _, text = docstring_of(named).partition("\n\n")
    return "\n\n".join(
        filter(None, (_plain(" ".join(each.split())) for each in text.split("\n\n")))
    )


def title_of(named: type[Any]) -> str:
    """The first line of a class's docstring without its own name: Chinese title, then English."""
    first, _, _ = docstring_of(named).partition("\n\n")
    return _plain(" ".join(first.split())).partition(" ")[2].removesuffix(".")


def _plain(text: str) -> str:
    text = _LEFT_TO_THE_SESSION.sub(_without_session, text)
    text = _CLASS.sub(_wire_name, text)
    for python, wire in _PYTHON:
        text = text.replace(python, wire)
    sentences = (each for each in _END_OF_SENTENCE.split(text) if not _OURS.search(each))
    return FieldWords(" ".join(sentences)).plain


def _without_session(match: re.Match[str]) -> str:
    return f" Without it, {match['then']}." if match["then"] else ""


def _wire_name(match: re.Match[str]) -> str:
    return _names().get(match["name"], match["name"])


@cache
def _names() -> dict[str, str]:
    return {request.__name__: request.endpoint.name for request in REQUESTS}
