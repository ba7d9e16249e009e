"""Every regular expression of the package, and texts that would make a bad one slow."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import attrs

from tests.house.product import dotted, parts

# How the standard library itself reads a pattern; it has no public name for that.
codes: Any = import_module("re._constants")
parser: Any = import_module("re._parser")

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "chaoying_async"

#: Letters of the texts that are compared, and how many times as long four times as much may take:
#: four is linear, sixteen quadratic. What takes less than that many seconds is no matter.
_SHORT, _LONG, _TIMES, _LITTLE = 600, 2400, 9, 0.003
#: Letters, and seconds, that are enough for what is exponential.
_FEW, _TOO_LONG = (12, 22), 0.05

#: Imports these modules, and tells what is compiled meanwhile and where.
_RECORD = """
import importlib, json, re, sys
compile, found = re.compile, []
def recording(pattern, flags=0):
    made = compile(pattern, flags)
    frame = sys._getframe(1)
    text = made.pattern
    kept = text.decode("latin-1") if isinstance(text, bytes) else text
    where = [frame.f_code.co_filename, frame.f_lineno]
    found.append([*where, kept, made.flags, isinstance(text, bytes)])
    return made
re.compile = recording
for module in sys.argv[1:]:
    importlib.import_module(module)
print(json.dumps(found))
"""


@attrs.frozen
class Used:
    """A pattern, where it is used, and how: ``fullmatch``, ``match``, or anything that searches."""

    where: str
    pattern: re.Pattern[Any]
    how: str

    def __str__(self) -> str:
        return f"{self.where} {self.how} {self.pattern.pattern!r}"


def all_of_the_package() -> list[Used]:
    """Those that are written out, and those that are put together when a module is imported."""
    calls = {path: _calls(path) for path in _files()}
    modules = [
        dotted(path.relative_to(PACKAGE))
        for path, its_calls in calls.items()
        if not all(_is_written_out(call) for call, _ in its_calls)
    ]
    recorded = subprocess.run(
        [sys.executable, "-c", _RECORD, *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [used for path, its_calls in calls.items() for used in _written_out(path, its_calls)]
    for file, line, text, flags, is_bytes in json.loads(recorded.stdout):
        path = Path(file)
        if not path.is_relative_to(PACKAGE):
            continue
        call, how = next(each for each in calls[path] if each[0].lineno <= line <= _end(each[0]))
        pattern = re.compile(text.encode("latin-1"), flags) if is_bytes else re.compile(text, flags)
        found.append(Used(f"{path.relative_to(ROOT)}:{call.lineno}", pattern, how))
    return list({str(each): each for each in found}.values())


def of_unknown_patterns() -> list[str]:
    """Calls that take a pattern from elsewhere at the moment of use: nobody can check those."""
    return [
        f"{path.relative_to(ROOT).as_posix()}: {ast.unparse(call.args[0])}"
        for path in _files()
        for call, _ in _calls(path)
        if not _is_compile(call) and not isinstance(call.args[0], ast.Constant)
    ]


@cache
def _files() -> list[Path]:
    """Those of the package whose text may have a pattern: the others need not be parsed."""
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if re.search(r"\bre\.|\bpattern=", path.read_text("utf-8"))
    ]


def _is_written_out(call: ast.Call) -> bool:
    """Whether its pattern stands there as it is: a text without flags, and not put together."""
    compiled_with_flags = _is_compile(call) and len(call.args) + len(call.keywords) > 1
    return isinstance(call.args[0], ast.Constant) and not compiled_with_flags


def _is_compile(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "compile"


def _end(call: ast.Call) -> int:
    return call.end_lineno or call.lineno


@cache
def _calls(path: Path) -> list[tuple[ast.Call, str]]:
    """Calls of functions of ``re``, and what is done with the pattern."""
    return [*_calls_of(parts(path.relative_to(PACKAGE)))]


def _calls_of(nodes: list[ast.AST]) -> Iterator[tuple[ast.Call, str]]:
    if not any(_is_of_re(each) for each in nodes):
        return
    methods = {id(each.value): each.attr for each in nodes if isinstance(each, ast.Attribute)}
    named = _methods_of_names(nodes)
    for node in nodes:
        if isinstance(node, ast.Call) and _is_of_re(node.func) and node.args:
            how = node.func.attr  # type: ignore[attr-defined]
            if how == "compile":
                how = methods.get(id(node)) or named.get(id(node), "search")
            yield node, how


def _is_of_re(function: ast.AST) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "re"
    )


def _methods_of_names(nodes: list[ast.AST]) -> dict[int, str]:
    """What is called on a name that a pattern is given, where it is one method only."""
    called: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            called.setdefault(node.value.id, set()).add(node.attr)
    found: dict[int, str] = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            methods = called.get(node.targets[0].id, set())
            if len(methods) == 1:
                found[id(node.value)] = next(iter(methods))
    return found


def _written_out(path: Path, calls: Sequence[tuple[ast.Call, str]]) -> Iterator[Used]:
    for call, how in calls:
        first = call.args[0]
        if isinstance(first, ast.Constant) and _is_written_out(call):
            where = f"{path.relative_to(ROOT)}:{call.lineno}"
            pattern: Any = first.value
            yield Used(where, re.compile(pattern), how)
    for node in parts(path.relative_to(PACKAGE)):
        if isinstance(node, ast.keyword) and node.arg == "pattern":
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if isinstance(value, str):
                where = f"{path.relative_to(ROOT)}:{node.value.lineno}"
                yield Used(where, re.compile(value), "fullmatch")


def grows(used: Used) -> str:
    """The text that takes the pattern too long, in words; empty if none is found."""
    how = used.how if used.how in {"fullmatch", "match"} else "search"
    method = getattr(used.pattern, how)
    attacks = _attacks(used.pattern)
    for before, pumped, after in attacks:
        for few in _FEW:
            if _seconds(method, used, before + pumped * few + after) > _TOO_LONG:
                return f"{before!r} + {pumped!r} * {few} + {after!r}"
    for before, pumped, after in attacks:
        short, long = (before + pumped * (n // len(pumped)) + after for n in (_SHORT, _LONG))
        took = _seconds(method, used, long)
        if took > _LITTLE and took > _TIMES * _seconds(method, used, short):
            return f"{before!r} + {pumped!r} * {_LONG // len(pumped)} + {after!r}"
    return ""


def _seconds(method: Any, used: Used, text: Any) -> float:
    """Of this process, not of the wall: how busy the machine is makes little difference."""
    if isinstance(used.pattern.pattern, bytes):
        text = text.encode("latin-1", "replace")
    least = float("inf")
    for _ in range(3):
        began = time.process_time()
        method(text)
        least = min(least, time.process_time() - began)
        if least <= _LITTLE:
            break
    return least


def _attacks(pattern: re.Pattern[Any]) -> list[tuple[str, str, str]]:
    """What leads to a repetition, what it may repeat, and what comes unexpected after it."""
    text = pattern.pattern
    written = text.decode("latin-1") if isinstance(text, bytes) else text
    tree = parser.parse(written, pattern.flags & ~re.DEBUG)
    letters = _letters(written, pattern.flags, tree)
    befores = list(dict.fromkeys(["", *_beginnings(list(tree))]))[:8]
    pumps = list(dict.fromkeys([*letters, *filter(None, _bodies(tree))]))[:24]
    return [(b, p, a) for b in befores for p in pumps for a in ("", "!\x00")]


_POOL = "aAfF09_-. \t\r\n\"'\\%&=:/?#@+,;<>{}[]()*!~^$|\u00e9\u4e2d\u2028"


def _letters(text: str, flags: int, tree: Any) -> list[str]:
    """One letter of each kind that the pattern tells apart."""
    sets = [_one(node, flags) for node in _single(tree)]
    kinds: dict[tuple[bool, ...], str] = {}
    for letter in dict.fromkeys(_POOL + text):
        kinds.setdefault(tuple(bool(each.match(letter)) for each in sets), letter)
    return list(kinds.values())


def _single(tree: Any) -> Iterator[Any]:
    for code, value in _nodes(tree):
        if code in {codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY}:
            yield code, value


def _one(node: tuple[Any, Any], flags: int) -> re.Pattern[str]:
    """The pattern of that one letter alone."""
    return re.compile(_as_class(node), flags & (re.IGNORECASE | re.ASCII))


def _as_class(node: tuple[Any, Any]) -> str:
    code, value = node
    if code is codes.LITERAL:
        return re.escape(chr(value))
    if code is codes.NOT_LITERAL:
        return f"[^{re.escape(chr(value))}]"
    if code is codes.ANY:
        return "."
    return f"[{''.join(map(_as_member, value))}]"


_CATEGORIES = {
    codes.CATEGORY_SPACE: r"\s",
    codes.CATEGORY_NOT_SPACE: r"\S",
    codes.CATEGORY_DIGIT: r"\d",
    codes.CATEGORY_NOT_DIGIT: r"\D",
    codes.CATEGORY_WORD: r"\w",
    codes.CATEGORY_NOT_WORD: r"\W",
}


def _as_member(member: tuple[Any, Any]) -> str:
    code, value = member
    if code is codes.NEGATE:
        return "^"
    if code is codes.RANGE:
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    return _CATEGORIES[value] if code is codes.CATEGORY else re.escape(chr(value))


def _nodes(tree: Any) -> Iterator[tuple[Any, Any]]:
    for code, value in tree:
        yield code, value
        for inner in _inside(code, value):
            yield from _nodes(inner)


def _inside(code: Any, value: Any) -> list[Any]:
    if code in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
        return [value[2]]
    if code is codes.SUBPATTERN:
        return [value[3]]
    if code is codes.BRANCH:
        return list(value[1])
    if code in {codes.ASSERT, codes.ASSERT_NOT}:
        return [value[1]]
    return [value] if code is codes.ATOMIC_GROUP else []


def _sample(tree: Any) -> str:
    """A short text that the tree matches, more or less."""
    return "".join(_sample_of(code, value) for code, value in tree)


def _sample_of(code: Any, value: Any) -> str:
    if code in {codes.LITERAL, codes.NOT_LITERAL, codes.IN, codes.ANY}:
        one = _one((code, value), 0)
        return str(next(filter(one.match, chain(_POOL, map(chr, range(sys.maxunicode))))))
    if code in {codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT}:
        times: int = min(max(value[0], 1), 3)
        return _sample(value[2]) * times
    if code is codes.BRANCH:
        return _sample(value[1][0])
    if code in {codes.ASSERT, codes.ASSERT_NOT}:
        return ""
    return "".join(_sample(inner) for inner in _inside(code, value))


def _beginnings(items: list[Any]) -> Iterator[str]:
    """What leads to each part, on the level of the whole and one below."""
    for at, (code, value) in enumerate(items):
        before = _sample(items[:at])
        yield before
        for inner in _inside(code, value):
            for deeper in range(len(inner)):
                yield before + _sample(list(inner)[:deeper])


def _bodies(tree: Any) -> Iterator[str]:
    """What each repetition may repeat, and what it may repeat twice over."""
    for code, value in _nodes(tree):
        if code in {codes.MAX_REPEAT, codes.MIN_REPEAT}:
            body = _sample(value[2])
            yield body
            yield _sample(tree)
