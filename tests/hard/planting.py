"""How a bug is planted into the library, and the list of all that were planted."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import attrs
import pytest

from chaoying_async.sansio.notifications import decide
from chaoying_async.testing.simulation import blank_files, world

Plant = Callable[[pytest.MonkeyPatch], None]


@attrs.frozen
class Planted:
    """One bug."""

    name: str
    rule: str
    plant: Plant
    #: Whether it is looked for where another version is in the world, too.
    versions: bool = False


PLANTED: list[Planted] = []


def planted(name: str, rule: str, *, versions: bool = False) -> Callable[[Plant], Plant]:
    def note(plant: Plant) -> Plant:
        PLANTED.append(Planted(name, rule, plant, versions))
        return plant

    return note


def everywhere(patch: pytest.MonkeyPatch, old: object, new: object) -> None:
    """Put ``new`` in the place of a function wherever the library has imported it."""
    found = 0
    for name, module in list(sys.modules.items()):
        if not name.startswith("chaoying_async") or not isinstance(module, ModuleType):
            continue
        for attribute, value in list(vars(module).items()):
            if value is old:
                patch.setattr(module, attribute, new)
                found += 1
    assert found, f"{old!r} is nowhere: plant this bug somewhere else"


def without_row(patch: pytest.MonkeyPatch, *gone: str) -> None:
    """Take rows out of the table of M-15, by the names of their functions."""
    kept = tuple(each for each in decide.ROWS if each[1].__name__.lstrip("_") not in gone)
    assert len(kept) == len(decide.ROWS) - len(gone)
    patch.setattr(decide, "ROWS", kept)


def with_trigger(patch: pytest.MonkeyPatch, trigger: str) -> None:
    """Have the inbox's own database do something wrong."""
    files = dict(blank_files.blank_files())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, blank_files.SHOP)
        path.write_bytes(files[blank_files.SHOP])
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"CREATE TRIGGER planted {trigger}")
        files[blank_files.SHOP] = path.read_bytes()
    patch.setattr(world, "blank_files", lambda: files)
