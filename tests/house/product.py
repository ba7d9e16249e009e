"""The product's files and syntax trees, for the tests of the house."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "chaoying_async"


@cache
def trees() -> dict[Path, ast.Module]:
    """Every file of the product, by its path below ``chaoying_async/``."""
    paths = (path.relative_to(PRODUCT) for path in sorted(PRODUCT.rglob("*.py")))
    return {path: tree(path) for path in paths}


@cache
def tree(path: Path) -> ast.Module:
    """One of them: to parse all takes a second."""
    return ast.parse((PRODUCT / path).read_text("utf-8"))


@cache
def parts(path: Path) -> list[ast.AST]:
    """Everything in the tree of one of these files: walking it again takes as long as parsing."""
    return [*ast.walk(tree(path))]


def folders() -> list[Path]:
    """The packages below ``chaoying_async/``, without itself."""
    return [path.parent for path in trees() if path.name == "__init__.py" and path.parent.name]


def dotted(path: Path) -> str:
    """The module that is in that file."""
    parts = ["chaoying_async", *path.with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def classes() -> Iterator[tuple[str, Path]]:
    """Every class, private and nested ones too, and where it is."""
    for path in trees():
        for node in parts(path):
            if isinstance(node, ast.ClassDef):
                yield node.name, path
