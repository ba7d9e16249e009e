"""Another version of the library in this process, under a name of its own."""

from __future__ import annotations

import importlib
import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

ROOT = Path(__file__).parents[3]
OURS = "chaoying_async"
WORLD = f"{OURS}.testing.simulation"
#: The commit whose files are in ``tests/data/versions``.
LAST = "7b46cd2"
#: What a shop is made of: in every version's world it is today's shop, on that version.
SHOPS = ("corner_shop", "fleet_program", "front_door", "sales", "shop_program", "users_shop")
#: What of the library no shop's process imports: it is not kept.
_NOT_KEPT = (
    *("_pyinstaller/", "cli/", "sandbox/", "sansio/doctor/", "testing/", "web/", "workers/"),
    *("inbox/redis/", "transport/aiohttp_"),
)

#: Names of files, as ``sansio/stored.py``, and what is in them.
Sources = Mapping[str, str]
_IMPORT = re.compile(rf"^(\s*(?:from|import) ){OURS}\b([\w.]*)", re.MULTILINE)


def kept(commit: str = LAST) -> Sources:
    """The files of a version that is kept in ``tests/data/versions``."""
    path = ROOT / "tests/data/versions" / f"{commit}.tar.xz"
    return _in_tar(path.read_bytes(), "r:xz")


def _in_tar(content: bytes, mode: str) -> Sources:
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode=mode) as tar:  # type: ignore[call-overload]
        for member in tar.getmembers():
            file = tar.extractfile(member)
            if file is not None:
                found[member.name.removeprefix(f"{OURS}/")] = file.read().decode()
    return found


def committed(commit: str) -> Sources:
    """The files of any commit; its history has to be here."""
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit, OURS]
    tar = subprocess.run(command, check=True, capture_output=True).stdout
    return {name: text for name, text in _in_tar(tar, "r:").items() if name.endswith(".py")}


def todays() -> Sources:
    """The files of this version."""
    files = (ROOT / OURS).rglob("*.py")
    return {str(file.relative_to(ROOT / OURS)): file.read_text("utf-8") for file in files}


def keep(commit: str) -> Path:
    """Write the files of a commit into ``tests/data/versions``; the same bytes every time."""
    path = ROOT / "tests/data/versions" / f"{commit}.tar.xz"
    with tarfile.open(path, "w:xz", preset=9) as tar:
        for name, text in sorted(committed(commit).items()):
            if not name.startswith(_NOT_KEPT):
                member = tarfile.TarInfo(f"{OURS}/{name}")
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
    return path


class _Finder(MetaPathFinder, Loader):
    """Imports the modules of one version from the texts of its files."""

    def __init__(self, name: str, sources: Sources) -> None:
        self._name = name
        self._sources = sources

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname.partition(".")[0] != self._name:
            return None
        stem = fullname.replace(".", "/").removeprefix(self._name).removeprefix("/")
        for file in (f"{stem}/__init__.py".removeprefix("/"), f"{stem}.py"):
            if file in self._sources:
                is_package = file.endswith("__init__.py")
                return ModuleSpec(fullname, self, origin=file, is_package=is_package)
        return None

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        assert spec.origin is not None
        where = f"<{self._name}>/{spec.origin}"
        text = _IMPORT.sub(rf"\g<1>{self._name}\g<2>", self._sources[spec.origin])
        if spec.origin.startswith("testing/"):
            text = _IMPORT.sub(self._renamed_for_a_shop, self._sources[spec.origin])
        exec(compile(text, where, "exec"), vars(module))  # noqa: S102 - this is what a loader does

    def _renamed_for_a_shop(self, found: re.Match[str]) -> str:
        """The world around a shop is today's, and so is its gateway."""
        before, module = found.groups()
        around = module.startswith(".sandbox")
        if module.startswith(".testing.simulation."):
            around = module.rpartition(".")[2] not in SHOPS
        return f"{before}{OURS if around else self._name}{module}"


class Version:
    """A version of the library; ``of(module, name)`` is what it has there."""

    def __init__(self, name: str, sources: Sources) -> None:
        self.name = name
        here = todays()
        shop = {f"testing/simulation/{each}.py" for each in SHOPS}
        around = {"testing/__init__.py": "", "testing/simulation/__init__.py": ""}
        library = {file: text for file, text in sources.items() if not file.startswith("testing/")}
        sys.meta_path.insert(
            0, _Finder(name, library | around | {file: here[file] for file in shop})
        )

    def module(self, module: str) -> ModuleType:
        """A module of this version, by the name that it has in ours."""
        return importlib.import_module(self.name + module.removeprefix(OURS))

    def of(self, module: str, name: str) -> Any:
        """What this version has under a name."""
        return getattr(self.module(f"{OURS}.{module}"), name)

    def own(self, value: Any) -> Any:
        """A value of ours as one of this version's: the same class, made of the same parts."""
        kind = type(value)
        if isinstance(value, tuple):
            return tuple(map(self.own, value))
        if not kind.__module__.startswith(f"{OURS}."):
            return value
        same = getattr(self.module(kind.__module__), kind.__qualname__)
        if isinstance(value, Enum):
            return same[value.name]
        if not attrs.has(kind):
            return value
        has = {field.alias for field in attrs.fields(same)}
        parts = {each.alias: getattr(value, each.alias) for each in attrs.fields(kind)}
        return same(**{name: self.own(part) for name, part in parts.items() if name in has})


#: A name that no version writes, among the members of every record.
ADDED_LATER = "added_later"


def _with_a_name_more(sources: Sources) -> Sources:
    """A version that writes a name more into every record, and else is this one."""
    stored = "sansio/stored.py"
    old, new = "_ENCODER.encode(members)", f"_ENCODER.encode({{**members, {ADDED_LATER!r}: [1]}})"
    assert sources[stored].count(old) == 1, "records become texts elsewhere now"
    return {**sources, stored: sources[stored].replace(old, new)}


@cache
def last_version() -> Version:
    """The last version, as it was."""
    return Version("chaoying_last", kept())


@cache
def next_version() -> Version:
    """A next version, as far as anybody can know one."""
    return Version("chaoying_next", _with_a_name_more(todays()))


@cache
def version_of(commit: str) -> Version:
    """The version of a commit."""
    return Version(f"chaoying_{commit}", committed(commit))


#: Versions that a world may have beside this one.
OTHERS: Mapping[str, Callable[[], Version]] = {"last": last_version, "next": next_version}
