from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.rooms import ROOMS
from tests.table import table

TESTS = Path(__file__).parents[1]


@table("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.name)
def test_every_test_says_its_promise_in_a_sentence(path: Path) -> None:
    """A test without a docstring leaves its reader guessing what was promised."""
    silent = [
        f"{path.relative_to(TESTS)}:{node.lineno} {node.name}"
        for node in _tests_in(ast.parse(path.read_text("utf-8")))
        if not ast.get_docstring(node)
    ]
    assert silent == []


def _tests_in(node: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """What pytest may find there: nothing within another function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("test_"):
                yield child
        elif isinstance(child, ast.stmt):
            yield from _tests_in(child)


#: No file of the tests has more lines.
MOST_LINES = 500


def test_every_room_is_a_folder_and_says_why_it_is_one() -> None:
    """tests/rooms.py names every folder, and none that is not there."""
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert folders == set(ROOMS)
    assert all(ROOMS.values())


def test_every_test_file_lies_in_a_room() -> None:
    """Beside the rooms there are helpers that several of them share, and no test."""
    assert list(TESTS.glob("test_*.py")) == []
    lost = [
        str(path) for path in TESTS.rglob("test_*.py") if len(path.relative_to(TESTS).parts) != 2
    ]
    assert lost == []


def test_no_file_of_the_tests_is_long() -> None:
    """Whoever looks for the tests of something reads one file of at most 500 lines."""
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in TESTS.rglob("*.py")}
    long = {str(path.relative_to(TESTS)): n for path, n in lengths.items() if n > MOST_LINES}
    assert long == {}


def test_a_helper_beside_the_rooms_serves_several_of_them() -> None:
    """What one room alone uses lies in that room."""
    texts = {path: path.read_text("utf-8") for path in TESTS.rglob("*.py")}
    for helper in TESTS.glob("*.py"):
        if helper.stem in {"__init__", "conftest"}:
            continue
        using = {
            path.relative_to(TESTS).parts[0]
            for path, text in texts.items()
            if f"tests.{helper.stem} " in text or f"tests import {helper.stem}" in text
        }
        assert len(using) > 1, (helper.name, using)
