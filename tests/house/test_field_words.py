"""Every public field, member of an enum and error has its words: with unit and Chinese term."""

from __future__ import annotations

import ast
import enum
import functools
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import chaoying_async
from chaoying_async import exceptions, fieldwords
from chaoying_async.cli import exits
from chaoying_async.fieldwords import FieldWords, words_of
from chaoying_async.sansio import enums, exchange, meaning
from chaoying_async.sansio.api import REQUESTS, endpoint
from chaoying_async.sansio.api.field_rules import CodeRule
from chaoying_async.sansio.model import fields_of, name_of
from chaoying_async.sansio.notifications import inbox_values
from chaoying_async.sansio.notifications.message import Notification
from chaoying_async.sansio.polling import schedule
from tests.house import field_pages
from tests.house.product import PRODUCT, parts, trees
from tests.table import table

#: What a unit looks like, in English and in the document's language.
AMOUNT = re.compile(r"\bfen\b|\byuan\b"), re.compile("单位应?为?[分元]|单位分|应为分")
DURATION = (
    re.compile(r"\b(?:[Ss]econds|minutes|hours|days)\b"),
    re.compile("单位(?:秒|分钟|小时|天)|应为秒"),
)


#: Modules without an ``__all__`` that users import from, or whose values they are handed.
WHOLE = (enums, exceptions, endpoint, exchange, exits, inbox_values, meaning, schedule)


def _exported() -> Iterator[type[Any]]:
    """Every class that a module names in its ``__all__``, and all of some modules."""
    found = pkgutil.walk_packages(chaoying_async.__path__, "chaoying_async.")
    for name in ("chaoying_async", *(each.name for each in found)):
        if name.endswith("__main__"):
            continue
        module = importlib.import_module(name)
        for public in vars(module) if module in WHOLE else getattr(module, "__all__", ()):
            value = getattr(module, public)
            ours = (name,) if module in WHOLE else "chaoying_async"
            if inspect.isclass(value) and value.__module__.startswith(ours):
                yield value


@functools.cache
def public() -> list[type[Any]]:
    return sorted(
        {*_exported(), *field_pages.PACKED, *field_pages.READ},
        key=lambda each: f"{each.__module__}.{each.__name__}",
    )


def errors() -> list[type[Any]]:
    return [each for each in public() if issubclass(each, BaseException)]


#: Requests and records whose amounts a user writes or compares.
FEN_IN_THE_DOCSTRING = (
    chaoying_async.Pay,
    chaoying_async.FacePay,
    chaoying_async.WechatPreOrder,
    chaoying_async.AlipayPreOrder,
    chaoying_async.Refund,
    chaoying_async.ExpectedOrder,
    chaoying_async.PaidOrder,
    chaoying_async.RefundedOrder,
)


def _names(owner: type[Any]) -> list[str]:
    """Its fields or members; of an error, what it carries."""
    if issubclass(owner, enum.Enum):
        return list(owner.__members__)
    if issubclass(owner, Notification):
        return ["raw", *owner.field_names()]
    if attrs.has(owner):
        return [name for name in map(name_of, fields_of(owner)) if _is_field(owner, name)]
    return [name for name in vars(owner).get("__annotations__", ()) if not name.startswith("_")]


def _is_field(owner: type[Any], name: str) -> bool:
    """One with an underscore is for the engines, unless it is sealed or a property explains it."""
    value = getattr(owner, name, None)
    return value is not None and not (isinstance(value, property) and value.__doc__)


def _told(owners: list[type[Any]]) -> Iterator[tuple[str, str, FieldWords]]:
    for owner in owners:
        for name in _names(owner):
            yield f"{owner.__name__}.{name}", _hint(owner, name), words_of(owner, name)


def _hint(owner: type[Any], name: str) -> str:
    hints = (vars(base).get("__annotations__", {}).get(name) for base in owner.__mro__)
    return str(next(filter(None, hints), ""))


@table("owner", public, ids=lambda each: each.__name__)
def test_every_field_and_member_has_its_words(owner: type[Any]) -> None:
    """Where an editor, an API reference, --help and the docs find them: under the field."""
    assert [name for name in _names(owner) if not words_of(owner, name).english] == []


@table("owner", public, ids=lambda each: each.__name__)
def test_words_are_sentences(owner: type[Any]) -> None:
    """They begin with a capital (or a name) and end; Chinese brackets hold the term alone."""
    for name in _names(owner):
        words = words_of(owner, name)
        assert re.fullmatch(r"(?:[A-Z\"]|``|\d).*[.]", words.english), (name, words.english)
        assert not re.search("[（）\u4e00-\u9fff]", words.english), (name, words.english)
        assert not re.search("[（）]|[。]$", words.chinese), (name, words.chinese)


@table("error", errors, ids=lambda each: each.__name__)
def test_every_error_says_what_happened(error: type[BaseException]) -> None:
    """A number and a Chinese word are not enough for who meets it in a traceback."""
    first = (error.__doc__ or "").partition("\n\n")[0]
    assert len(re.findall(r"[A-Za-z]{2,}", first)) >= 5, first
    assert re.search(r"[.](?: \(M-\d\d\)\.)?$", first), first


def test_every_amount_names_its_unit() -> None:
    """Fen, or yuan where the document has those: in both languages, where there are both."""
    for where, hint, words in _told(public()):
        amount = re.search(r"\b(?:Fen|Decimal|Amount)\b", hint)
        if amount or where.endswith((".total_fee", ".price", ".payable")):
            assert AMOUNT[0].search(words.english), (where, words.english)
            assert not words.chinese or AMOUNT[1].search(words.chinese), (where, words.chinese)


def test_every_duration_names_its_unit() -> None:
    """Seconds mostly, but not everywhere."""
    names = (".seconds", ".elapsed", ".expires_in", ".valid_minutes", ".took", ".lag")
    schedule = ("first", "every", "until", "longest", "steady")
    for where, _, words in _told(public()):
        if where.endswith(names) or where in {f"PollSchedule.{name}" for name in schedule}:
            assert DURATION[0].search(words.english), (where, words.english)
            assert not words.chinese or DURATION[1].search(words.chinese), (where, words.chinese)


@pytest.mark.parametrize(
    "owner", [*field_pages.PACKED, *FEN_IN_THE_DOCSTRING], ids=lambda each: each.__name__
)
def test_help_names_the_unit_of_amounts(owner: type[Any]) -> None:
    """``help()`` shows a class's docstring, and nothing of what stands under its fields."""
    amounts = [where for where, hint, _ in _told([owner]) if re.search("Fen|Decimal|Amount", hint)]
    assert not amounts or AMOUNT[0].search(inspect.getdoc(owner) or ""), amounts


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        (r"outcome is unknown", "未知"),
        (r"\bnever\b", "不"),
        (r"\bcompare this one", "用它核对"),
        (r"\bask again|; query|then query", "查询"),
        (r"\bsecret\b", "保密"),
        (r"notifies again", "再次通知"),
        (r"\(C 19\)", "签名错误"),
        (r"already used", "已被用过"),
    ],
)
def test_chinese_words_warn_where_the_english_ones_do(english: str, chinese: str) -> None:
    """Who reads only one of the two pages learns of the next step, too."""
    warned = [(where, words) for where, _, words in _told(public()) if words.chinese]
    found = [each for each in warned if re.search(english, each[1].english)]
    assert found
    assert [where for where, words in found if chinese not in words.chinese] == []


def test_the_tables_said_to_be_unchecked_are() -> None:
    """The page sends their readers to ``MchReg(extra=...)``."""
    checked = {
        spec.rule.table
        for request in REQUESTS
        for spec in endpoint.field_specs(request)
        if isinstance(spec.rule, CodeRule)
    }
    assert not checked & {*field_pages.UNCHECKED}


def test_every_field_of_the_document_has_its_chinese_term() -> None:
    """Those of requests, results, notifications and code tables; our own need none."""
    results = [request.result_type for request in REQUESTS]
    owners = [*REQUESTS, *results, *field_pages.PACKED, *field_pages.NOTIFICATIONS]
    owners += field_pages.TABLES
    assert [where for where, _, words in _told(owners) if not words.term] == []


@pytest.mark.parametrize("path", field_pages.PAGES, ids=lambda path: path.name)
def test_the_reference_page_is_what_the_source_says(path: Path) -> None:
    """``make fields`` writes it; nobody edits it by hand."""
    assert path.read_text("utf-8") == field_pages.page(field_pages.PAGES[path])


@pytest.mark.slow
def test_words_stand_under_the_field_and_not_above_it() -> None:
    """A ``#:`` comment above a field is seen by nobody but who reads the source."""
    above = [
        f"{path}:{statement.lineno}"
        for path in trees()
        for lines in [(PRODUCT / path).read_text("utf-8").splitlines()]
        for node in parts(path)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign | ast.Assign)
        if lines[statement.lineno - 2].strip().startswith("#:")
    ]
    assert above == []


def test_words_are_read_in_both_languages() -> None:
    """Help and console show them plain; the term alone where there is little room."""
    words = words_of(chaoying_async.Refund, "total_fee")

    assert words.plain == "The order amount (base_fee) in fen, not what the customer paid."
    assert words.chinese == "订单应付金额，单位分，不是实付金额"
    assert words.term == "订单应付金额"
    assert str(words) == f"{words.plain}（{words.chinese}）"


def test_an_inherited_field_has_the_words_of_the_class_that_defines_it() -> None:
    """``extra`` is explained once, for all requests."""
    assert words_of(chaoying_async.Pay, "extra") == words_of(chaoying_async.Request, "extra")
    assert words_of(chaoying_async.Pay, "extra").english


def test_a_program_without_sources_has_no_words_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frozen program's --help shows the options, without their words."""

    def missing(_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", missing)
    fieldwords._written_in.cache_clear()
    try:
        assert words_of(chaoying_async.Pay, "total_fee") == FieldWords()
    finally:
        fieldwords._written_in.cache_clear()


@pytest.mark.outside
def test_nothing_is_read_before_somebody_asks() -> None:
    """The import of the package costs nothing of it."""
    code = "import sys, chaoying_async; sys.exit('chaoying_async.fieldwords' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
