"""What readers paste: lookups go by merchant, updates by status and amount (M-15, M-17)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.examples.shops import ROOT
from tests.table import table

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")])
PROGRAMS = sorted([*ROOT.glob("examples/**/*.py"), *ROOT.glob("chaoying_async/sandbox/demo/*.py")])
#: What the handler asks, by its arguments; the connection may come after them.
LOOKUP = ["mch_id", "out_trade_no"]


Shown = tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]


@cache
def functions() -> list[Shown]:
    return [*_shown()]


def _shown() -> Iterator[Shown]:
    """Every function that a page or a program shows."""
    for page in PAGES:
        for code in _BLOCK.findall(page.read_text("utf-8")):
            yield from _functions(page.name, code)
    for program in PROGRAMS:
        yield from _functions(program.name, program.read_text("utf-8"))


def _functions(where: str, code: str) -> Iterator[Shown]:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{where}: {node.name}", node


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [each.arg for each in function.args.args if each.arg != "self"]


@cache
def lookups() -> list[Shown]:
    return [(where, node) for where, node in functions() if _arguments(node)[:2] == LOOKUP]


@cache
def effects() -> list[Shown]:
    """Of a paid order, on a connection."""
    return [
        (where, node)
        for where, node in functions()
        if _arguments(node)[1:] == ["connection"] and "update" in ast.unparse(node).lower()
    ]


@table(("where", "function"), lookups)
def test_every_lookup_goes_by_the_merchant_too(
    where: str, function: ast.FunctionDef | ast.AsyncFunctionDef
) -> None:
    """M-15: a number alone is anybody's, where each merchant signs with a key of its own."""
    names = [node.id for node in ast.walk(function) if isinstance(node, ast.Name)]
    assert "mch_id" in names, where


@table(("where", "function"), effects)
def test_every_update_says_what_it_expects_and_raises_where_no_row_fits(
    where: str, function: ast.FunctionDef | ast.AsyncFunctionDef
) -> None:
    """M-17: the order may be closed or repriced between the lookup and the effect."""
    code = ast.unparse(function)
    for word in ("payable", "mch_id", "rowcount", "raise"):
        assert word in code, (where, word)
    assert re.search(r"status|NOT paid|shipments == 0", code), where


def test_there_are_lookups_and_updates_to_look_at() -> None:
    """Both languages, the shops, the worker and the demo."""
    pages = {where.partition(":")[0] for where, _ in lookups()}
    assert {"README.md", "README.zh-CN.md", "orders.py", "payments.py", "queue_worker.py"} <= pages
    assert {"warehouse.py", "notifications.md", "inboxes.md", "web.md"} <= pages
    assert len({where for where, _ in effects()}) >= 7
