"""Every room says what is in it, every word means one thing, and imports lead down only."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

import attrs

from chaoying_async import abc
from tests.house.product import PRODUCT, classes, dotted, folders, trees
from tests.measuring import SLOW_AND_MEASURED, TESTS, UNMEASURED
from tests.table import table

MOST_LINES = 500

# ------------------------------------------------------------------------------ one word, one idea

#: Names that several files or folders share, since they are about the same idea, and which that is.
SHARED_MODULES = {
    "memory": "an inbox and a poll store that live in this process",
    "sandbox": "the gateway on one's own machine: its rooms, and the class",
    "sql": "databases by SQLAlchemy: an inbox, a poll store, and what the two share",
    "poller": "what polls: the engine, and the parts of the command that serves a fleet",
    "pollstore": "a poll store: the package, and the store in a database",
    "tables": "the tables of a database, for the inbox and for the poll store",
    "notifications": "the engine acts, and the folder of its name in sansio decides",
    "payments": "the engine acts, and the folder of its name in sansio decides",
    "polling": "the engine acts, and the folder of its name in sansio decides",
    "outcome": "how what this engine worked on has ended",
    "records": "what this engine writes into its store",
    "refunds": "the engine acts, and the file of its name in sansio decides",
    "inbox": "what was notified already: the interface's engines, and the command that shows it",
}

#: A file in here has the name of its command, whatever else is called so.
COMMANDS = Path("cli/commands")


def _told_twice(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found = defaultdict[str, list[str]](list)
    for name, place in places:
        found[name].append(place)
    return {name: where for name, where in found.items() if len(where) > 1}


def test_no_module_name_stands_for_two_ideas() -> None:
    """A reader who has met a name knows what it means in the next folder."""
    files = [
        (path.stem, str(path))
        for path in trees()
        if "__" not in path.stem and path.parent != COMMANDS
    ]
    twice = _told_twice([*files, *((folder.name, f"{folder}/") for folder in folders())])
    unexplained = twice.keys() - SHARED_MODULES.keys()
    assert {name: twice[name] for name in unexplained} == {}
    assert SHARED_MODULES.keys() <= twice.keys(), "take what is no longer shared off the table"


def test_no_class_name_stands_for_two_ideas() -> None:
    """Private classes too; a leading underscore makes no other word."""
    assert _told_twice((name.lstrip("_"), str(path)) for name, path in classes()) == {}


# --------------------------------------------------------------------------------- maps of folders

_LINE = re.compile(r"^- ``([a-z0-9_]+)``: (\S.+)$", re.MULTILINE)


def _map(folder: Path) -> list[str]:
    return [
        name for name, _ in _LINE.findall(ast.get_docstring(trees()[folder / "__init__.py"]) or "")
    ]


def _contents(folder: Path) -> list[str]:
    files = [path.stem for path in trees() if path.parent == folder and "__" not in path.stem]
    return sorted(files + [each.name for each in folders() if each.parent == folder])


@table("folder", folders, ids=str)
def test_the_init_of_a_folder_is_its_map(folder: Path) -> None:
    """One line a module, ``- ``name``: what it decides or does``; none is missing or gone."""
    assert sorted(_map(folder)) == _contents(folder)


# ----------------------------------------------------------------------------------- sizes, words


@table("path", trees, ids=str)
def test_no_file_has_two_ideas(path: Path) -> None:
    """Where a file grows longer than this, look for the second idea in it."""
    lines = len((PRODUCT / path).read_text("utf-8").splitlines())
    assert lines <= MOST_LINES


def where_users_import_from() -> Iterator[str]:
    """Ruff asks for no docstrings, so this does."""
    yield from ("chaoying_async", "chaoying_async.abc", "chaoying_async.exceptions")
    yield from (f"chaoying_async.sansio.{n}" for n in ("signing", "doctor", "enums", "exchange"))
    yield from (f"chaoying_async.{n}" for n in ("inbox.sql", "inbox.redis", "pollstore.sql"))
    rooms = ("observing.otel", "observing.prometheus", "sandbox", "testing")
    yield from (f"chaoying_async.{n}" for n in rooms)
    yield from (f"chaoying_async.workers.queues.{n}" for n in ("celery", "pgqueuer", "protocol"))
    yield from (f"chaoying_async.web.{p.stem}" for p in trees() if p.parent.name == "web")


#: A method that an interface has is explained there.
INTERFACES = (
    *(abc.Clock, abc.Gateway, abc.Inbox, abc.InboxForPeople, abc.Observer, abc.PollStore),
)


def _public_names(module: str) -> Iterator[tuple[str, Any]]:
    """Its functions and classes that are meant for users, with their methods and properties."""
    loaded = importlib.import_module(module)
    for name in getattr(loaded, "__all__", vars(loaded)):
        value = getattr(loaded, name)
        if name.startswith("_") or not isinstance(value, type | FunctionType):
            continue
        if not hasattr(loaded, "__all__") and value.__module__ != module:
            continue
        yield f"{module}.{name}", value
        if isinstance(value, type):
            fields = {field.alias for field in attrs.fields(value)} if attrs.has(value) else set()
            for member, what in vars(value).items():
                if member.startswith("_") or member in fields:  # a field has its words beside it
                    continue
                if isinstance(what, FunctionType | property | classmethod | staticmethod):
                    yield f"{module}.{name}.{member}", getattr(value, member)


def _words(name: str, value: object) -> str | None:
    explained = (getattr(each, name.rpartition(".")[2], None) for each in INTERFACES)
    return inspect.getdoc(value) or next((inspect.getdoc(each) for each in explained if each), None)


@table("module", where_users_import_from)
def test_what_users_can_call_has_words(module: str) -> None:
    """Classes, functions, methods, properties; what an interface has is explained there."""
    silent = [name for name, value in _public_names(module) if not _words(name, value)]
    assert silent == []


# -------------------------------------------------------------------------------- imports lead down


def _imports(path: Path, modules: set[str]) -> set[str]:
    """Our own modules that this file imports when it is loaded, or for type checkers."""
    found = set[str]()
    for node in _at_load(trees()[path].body):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in modules else node.module)
    return found & modules


def _at_load(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements outside of functions; what stands under ``if`` and ``try`` too."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody"):
                yield from _at_load(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from _at_load(handler.body)


def _reached(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    """All that ``start`` imports, and what that imports."""
    reached, waiting = set[str](), [start]
    while waiting:
        for name in graph[waiting.pop()] - reached:
            reached.add(name)
            waiting.append(name)
    return reached


def test_no_import_leads_back_to_where_it_came_from() -> None:
    """No cycle of files; imports under ``if TYPE_CHECKING`` are counted."""
    modules = {dotted(path): path for path in trees()}
    graph = {name: _imports(path, set(modules)) - {name} for name, path in modules.items()}
    back = {name for name in graph if name in _reached(name, graph)}
    assert sorted(back) == []


# ----------------------------------------------------------------------------------------- coverage


@table("name", [*UNMEASURED, *SLOW_AND_MEASURED])
def test_what_coverage_is_not_measured_on_is_there(name: str) -> None:
    """An entry for what has moved would only cost time, and nobody would see it."""
    place, _, test = name.partition("::")
    assert (TESTS / place).exists()
    assert not test or f"def {test}(" in (TESTS / place).read_text("utf-8")
