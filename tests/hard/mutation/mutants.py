"""Makes mutants: copies of a file's syntax tree with one small mistake each.

No mutant is made of what no caller can act upon: docstrings and the words under fields, texts with
a space in them, all texts of an error, and annotations.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator

import attrs

_SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
#: What a program compares and looks up; what has a space in it is for people.
_WORD = re.compile(r"[!-~]*")
#: Calls whose texts are names for type checkers, or advice for people.
_TEXTS_FOR_PEOPLE = {"TypeVar", "cast", "advise", "warn"}
_NO_TEXTS_IN = {"__repr__", "__str__"}


@attrs.frozen
class Mutant:
    """One mistake in one file."""

    number: int
    line: int
    what: str
    first: int
    last: int
    in_function: bool
    """Whether it is in a function's body, so that the function's code can be exchanged.

    A function that the module calls while it is loaded has done its work before that. Of one whose
    answers are kept, only the first test that calls it is known to reach it.
    """


def mutants_of(source: str) -> list[Mutant]:
    """All mutants of a file; their numbers stay the same while the file does."""
    tree = ast.parse(source)
    walk = _Walk(None, frozenset(_called_while_loading(tree)))
    walk.visit(tree)
    return walk.found


def mutated(source: str, number: int) -> ast.Module:
    """The file's tree with the mistake of this number in it."""
    tree = _Walk(number).visit(ast.parse(source))
    assert isinstance(tree, ast.Module)
    return ast.fix_missing_locations(tree)


def _called_while_loading(tree: ast.Module) -> Iterator[str]:
    """Functions that the module itself calls: what they return was made before any exchange."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            made_of = [node.func, *(node.args if ast.unparse(node.func) == "map" else ())]
            yield from (each.id for each in made_of if isinstance(each, ast.Name))
        todo += ast.iter_child_nodes(node)


class _Walk(ast.NodeTransformer):
    def __init__(self, wanted: int | None, loading: frozenset[str] = frozenset()) -> None:
        self.wanted = wanted
        self.found: list[Mutant] = []
        self._loading = loading
        #: Whether it is in a function that the module itself calls.
        self._is_loading = False
        self._depth = 0
        self._texts = True
        self._lines = (0, 0)

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.stmt):
            self._lines = _lines(node)
        for what, new in self._alternatives(node):
            mutant = Mutant(
                len(self.found),
                getattr(node, "lineno", self._lines[0]),
                what,
                *self._lines,
                self._depth > 0 and not self._is_loading,
            )
            self.found.append(mutant)
            if mutant.number == self.wanted:
                return ast.copy_location(new, node)
        before = self._texts, self._lines
        try:
            return super().visit(node)  # type: ignore[no-any-return]
        finally:
            self._texts, self._lines = before

    def _alternatives(self, node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            if self._texts:
                yield from _other_texts(node.value)
            return
        yield from _other_values(node)
        yield from _other_ways(node)
        yield from _removed(node)
        if not self._depth:
            yield from _without_a_row(node)

    def _functions(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        """Defaults are made when the module is loaded; decorators and annotations stay."""
        if any(
            isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list
        ):
            return node
        node.args.defaults = [self.visit(each) for each in node.args.defaults]  # type: ignore[misc]
        node.args.kw_defaults = [each and self.visit(each) for each in node.args.kw_defaults]  # type: ignore[misc]
        self._texts = node.name not in _NO_TEXTS_IN
        once = node.name in self._loading or any(map(_is_cache, node.decorator_list))
        before, self._is_loading = self._is_loading, self._is_loading or once
        self._depth += 1
        node.body = [self.visit(each) for each in node.body]  # type: ignore[misc]
        self._depth -= 1
        self._is_loading = before
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _functions  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [self.visit(each) for each in node.body]  # type: ignore[misc]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value:
            node.value = self.visit(node.value)  # type: ignore[assignment]
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        if _is_union_of_types(node.value) or ast.unparse(node.targets[0]) == "__all__":
            return node
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        return node if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        self._texts = False
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func).rpartition(".")[2]
        self._texts = self._texts and name not in _TEXTS_FOR_PEOPLE and not name.endswith("Error")
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if self._depth or ast.unparse(node.value) == "Annotated":
            return self.generic_visit(node)
        return node  # what a callable takes, for type checkers

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return node


def _lines(node: ast.stmt) -> tuple[int, int]:
    """The lines of a statement, without those of the statements in it."""
    body = getattr(node, "body", None)
    last = body[0].lineno - 1 if body and isinstance(body, list) else node.end_lineno
    return node.lineno, max(node.lineno, last or 0)


def _is_union_of_types(node: ast.expr) -> bool:
    """``Wait | Done``: names of classes, which no instruction of the program depends on."""
    if not isinstance(node, ast.BinOp):
        return isinstance(node, ast.Name) and node.id[0].isupper() and not node.id.isupper()
    return _is_union_of_types(node.left) and _is_union_of_types(node.right)


def _with(node: ast.AST, **changes: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in changes.items():
        setattr(new, name, value)
    return new


def _short(node: ast.AST) -> str:
    text = ast.unparse(node).partition("\n")[0]
    return text if len(text) <= 70 else f"{text[:67]}..."


def _is_cache(decorator: ast.AST) -> bool:
    return "cache" in ast.unparse(decorator)


def _other_texts(value: str | bytes) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(value, bytes):
        yield f"bytes {value!r} changed", ast.Constant(value + b"X")
    elif _WORD.fullmatch(value):
        yield f"text {value!r} changed", ast.Constant(f"{value}X")


def _without_a_row(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Tables at the level of the module; a row that is a word is changed instead."""
    match node:
        case ast.Dict(keys=[_, _, *_]):
            for place, key in enumerate(node.keys):
                keys = [*node.keys[:place], *node.keys[place + 1 :]]
                values = [*node.values[:place], *node.values[place + 1 :]]
                yield f"row {_short(key or node.values[place])} removed", ast.Dict(keys, values)
        case ast.Tuple(elts=[_, _, *_]) | ast.List(elts=[_, _, *_]) | ast.Set(elts=[_, _, *_]):
            for place, row in enumerate(node.elts):
                if not isinstance(row, ast.Constant):
                    rows = [*node.elts[:place], *node.elts[place + 1 :]]
                    yield f"row {_short(row)} removed", _with(node, elts=rows)


def _other_values(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                if new := _SWAPPED.get(type(operator)):
                    ops = [*node.ops[:place], new(), *node.ops[place + 1 :]]
                    other = _with(node, ops=ops)
                    yield f"{_short(node)} -> {_short(other)}", other
        case ast.BoolOp() | ast.BinOp():
            if (new := _SWAPPED.get(type(node.op))) and not _joins_texts(node):
                other = _with(node, op=new())
                yield f"{_short(node)} -> {_short(other)}", other
        case ast.UnaryOp(op=ast.Not()):
            yield f"{_short(node)} -> without not", node.operand
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", ast.Constant(not value)
        case ast.Constant(value=int(number) | float(number)):
            yield f"{number} -> {number + 1}", ast.Constant(number + 1)


def _other_ways(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.If() | ast.IfExp():
            for value in (True, False):
                always = ast.copy_location(ast.Constant(value), node.test)
                yield f"if {_short(node.test)} -> if {value}", _with(node, test=always)
        case ast.comprehension(ifs=[only, *_]):
            yield f"for ... if {_short(only)} -> no if", _with(node, ifs=[])
        case ast.While():
            never = ast.copy_location(ast.Constant(value=False), node)
            yield f"while {_short(node.test)} -> while False", _with(node, test=never)
        case ast.Return(value=ast.Constant(value=None | bool())):
            pass  # None is as false as False
        case ast.Return(value=ast.expr()):
            yield f"{_short(node)} -> return None", _with(node, value=ast.Constant(None))


def _removed(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await() | ast.Yield()):
            yield f"{_short(node)} removed", ast.Pass()
        case ast.Raise() | ast.AugAssign() | ast.Delete():
            yield f"{_short(node)} removed", ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield f"{_short(node)} removed", ast.Pass()
        case ast.Continue():
            yield "continue -> break", ast.Break()
        case ast.Break():
            yield "break -> continue", ast.Continue()


def _joins_texts(node: ast.BoolOp | ast.BinOp) -> bool:
    """Whether ``-`` in the place of this ``+`` is a TypeError, which says nothing."""
    return isinstance(node, ast.BinOp) and any(
        isinstance(side, ast.JoinedStr | ast.List | ast.Tuple)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes))
        for side in (node.left, node.right)
    )
