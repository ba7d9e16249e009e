"""Every message of the package, and where it is: ``make messages`` prints them.

A message is a text of several words that a person may read: an error, a warning, a line of the log,
what a command says, help, advice. What is filled in stands as ``{}``. Where a message is made of
pieces, each piece is one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path

import attrs

from tests.house.product import PRODUCT, trees


class Kind(StrEnum):
    """Who reads it."""

    ERROR = "error"
    WARNING = "warning"
    LOG = "log"
    HELP = "help"
    DEFECT = "defect"
    """Of our own, or of the code that calls us: it ends in a traceback."""
    TEXT = "text"
    """Anything else: advice, rules, reasons, what a command prints."""


@attrs.frozen
class Message:
    """A text, with ``{}`` for each of its values."""

    path: Path
    line: int
    kind: Kind
    text: str


_LOGGED = {"debug", "info", "warning", "error", "exception", "critical", "log"}
_DEFECTS = {"AssertionError", "AttributeError", "NotImplementedError", "RuntimeError", "TypeError"}
#: Calls and keywords whose texts are for a machine.
_MACHINES = {"compile", "cast", "TypeVar", "text", "getLogger", "script", "encode"}
_MACHINE_KEYWORDS = {"style", "fg", "metavar"}
#: Half of a tree, and nothing in it is a text.
_SILENT = (ast.Name, ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop)
#: What they start has a name, which debuggers show.
_STARTERS = {"create_task", "start_soon"}
_SEVERAL_WORDS = re.compile(r"[A-Za-z]{2,}.* .*[a-z]{2,}|[a-z]{2,} [a-z]{2,}", re.DOTALL)
#: Languages of machines: SQL, Lua, HTML and HTTP, colours, the fields of a document.
_CODE = re.compile(
    r"\s*(SELECT|INSERT|UPDATE|DELETE|CREATE|PRAGMA|BEGIN|SET|SESSION|local|if not|function)\b"
    r"|import \w+;"
    r"|.*(redis\.call|\bon conflict\b|clock_timestamp|utc_timestamp|@@|charset=|default-src)"
    r"|\[?(not )?(bold|dim) |(text|application)/|.*%\(",
    re.DOTALL,
)
#: Values that ``str.format`` fills in.
_FILLED_LATER = re.compile(r"\{[a-z_]+(![rs])?\}")
#: Files whose texts are tables for machines.
_NO_MESSAGES = {
    Path("inbox/redis/scripts.py"),
    Path("inbox/sql/statements.py"),
    Path("sandbox/document/requirements.py"),
    Path("sansio/fieldnames.py"),
    *(path.relative_to(PRODUCT) for path in PRODUCT.glob("cli/language/chinese_*.py")),
}


@cache
def messages() -> list[Message]:
    """All of them, by file and line."""
    found = [each for path in trees() if path not in _NO_MESSAGES for each in _of_file(path)]
    return sorted(found, key=lambda each: (each.path, each.line))


def _of_file(path: Path) -> Iterator[Message]:
    tree = trees()[path]
    yield from _walk(tree, Kind.TEXT, path)


def _walk(node: ast.AST, kind: Kind, path: Path) -> Iterator[Message]:
    text = template(node)
    if text is not None:
        if _SEVERAL_WORDS.search(text) and not _CODE.match(text):
            yield Message(path, getattr(node, "lineno", 0), kind, text)
        for piece in _pieces(node):
            yield from _walk(piece, kind, path)
        return
    for child, of in _children(node, kind):
        yield from _walk(child, of, path)


def template(node: ast.AST) -> str | None:
    """The text that an expression makes, with ``{}`` for each value; None for another one."""
    match node:
        case ast.Constant(value=str(text)):
            return _FILLED_LATER.sub("{}", text)
        case ast.JoinedStr(values=parts):
            return "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts
            )
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            texts = template(left), template(right)
            return None if None in texts else "".join(map(str, texts))
        case _:
            return None


def _pieces(node: ast.AST) -> Iterator[ast.AST]:
    """What is filled into a text."""
    if isinstance(node, ast.JoinedStr):
        yield from (part.value for part in node.values if isinstance(part, ast.FormattedValue))
    elif isinstance(node, ast.BinOp):
        yield from _pieces(node.left)
        yield from _pieces(node.right)


def _children(node: ast.AST, kind: Kind) -> Iterator[tuple[ast.AST, Kind]]:
    match node:
        case ast.Call():
            yield from _arguments(node, kind)
        case ast.FunctionDef(name="__repr__"):
            return
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Module():
            yield from _body(node, kind)
        case ast.Assign(targets=[ast.Name(id="_HELP")], value=value):
            yield value, Kind.HELP
        case ast.AnnAssign(value=None):
            return
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=value):
            yield value, kind
        case ast.AnnAssign(value=ast.expr() as value) | ast.Subscript(value=value):
            yield value, kind
        case _:
            for child in ast.iter_child_nodes(node):
                if not isinstance(child, _SILENT):
                    yield child, kind


def _arguments(call: ast.Call, kind: Kind) -> Iterator[tuple[ast.AST, Kind]]:
    func = call.func
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    if name in _MACHINES:
        return
    kind = _kind_of_call(name, func, kind)
    yield func, kind
    for argument in call.args:
        yield argument, kind
    for keyword in call.keywords:
        is_name = name in _STARTERS and keyword.arg == "name"
        if keyword.arg not in _MACHINE_KEYWORDS and not is_name:
            yield keyword.value, Kind.HELP if keyword.arg == "help" else kind


def _kind_of_call(name: str, func: ast.expr, kind: Kind) -> Kind:
    if name in _DEFECTS:
        return Kind.DEFECT
    if name in _LOGGED and isinstance(func, ast.Attribute) and "log" in ast.unparse(func.value):
        return Kind.LOG
    if name == "warn" or name.endswith("Warning"):
        return Kind.WARNING
    return Kind.ERROR if name.endswith("Error") or name == "BadParameter" else kind


def _body(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module, kind: Kind
) -> Iterator[tuple[ast.AST, Kind]]:
    """Statements and decorators; a docstring counts where click makes a help page of it."""
    decorators = getattr(node, "decorator_list", [])
    for decorator in decorators:
        yield decorator, kind
    for statement in node.body:
        match statement:
            case ast.Expr(value=ast.Constant(value=str())):
                if any(_is_command(each) for each in decorators):
                    yield statement.value, Kind.HELP
            case _:
                yield statement, kind


def _is_command(decorator: ast.expr) -> bool:
    func = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(func, ast.Attribute) and func.attr in {"command", "group"}


def _told() -> Iterator[str]:
    wanted = set(sys.argv[1:]) or {*Kind}
    for each in messages():
        if each.kind in wanted:
            yield f"chaoying_async/{each.path}:{each.line}: {each.kind}: {each.text!r}\n"


if __name__ == "__main__":
    sys.stdout.writelines(_told())
