"""The command line as it is shipped in one file: its packages, copied from where the tests run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path
from types import MappingProxyType

from packaging.requirements import Requirement

import chaoying_async

PACKAGE = Path(chaoying_async.__file__).parent
#: Settings of the tests' own interpreter, which would lead a packed program back here.
_PYTHONS = ("PYTHONPATH", "PYTHONHOME", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")


def needed(name: str, *extras: str) -> Iterator[Distribution]:
    """A distribution and all that it needs here, each once, as pip would install them."""
    seen: set[tuple[str, str]] = set()
    told: set[str] = set()
    left = [(name, extra) for extra in ("", *extras)]
    while left:
        name, extra = left.pop()
        name = name.lower().replace("_", "-")
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found = distribution(name)
        if name not in told:
            told.add(name)
            yield found
        for requirement in map(Requirement, found.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                left += [(requirement.name, each) for each in ("", *requirement.extras)]


def compiled_beside(source: Path, place: Path) -> None:
    """What Python has made of a source here, where an archive's Python looks for it.

    Else each process compiles all that it imports, which takes seconds.
    """
    made = Path(cache_from_source(str(source)))
    content = made.read_bytes() if made.exists() else b""
    if content[8:16] == b"".join(number.to_bytes(4, "little") for number in of_source(source)):
        unchecked = (1).to_bytes(4, "little") + bytes(8)  # PEP 552: whatever the source's date
        place.with_suffix(".pyc").write_bytes(content[:4] + unchecked + content[16:])


def of_source(source: Path) -> tuple[int, int]:
    """What Python notes of a source beside its code: another date or size, and it was changed."""
    found = source.stat()
    return int(found.st_mtime) & 0xFFFFFFFF, found.st_size & 0xFFFFFFFF


def install(target: Path, *extras: str, also: tuple[str, ...] = (), compiled: bool = False) -> None:
    """What ``pip install --target`` does, without asking an index."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copytree(PACKAGE, target / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    for ours in PACKAGE.rglob("*.py") if compiled else ():
        compiled_beside(ours, target / PACKAGE.name / ours.relative_to(PACKAGE))
    for found in (*needed("chaoying-async", *extras), *(d for name in also for d in needed(name))):
        for file in found.files or ():
            if file.parts[0] != ".." and file.suffix not in {".pyc", ".pth"}:
                place = target / file
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source := str(file.locate()), place)
                if compiled and file.suffix == ".py":
                    compiled_beside(Path(source), place)


def environment(directory: Path, *extras: str, also: tuple[str, ...] = ()) -> Path:
    """A virtual environment with only these; its Python."""
    venv.create(directory, symlinks=True)
    (packages,) = directory.glob("lib/python*/site-packages")
    install(packages, *extras, also=also)
    return directory / "bin" / "python"


def without_settings() -> dict[str, str]:
    """The environment of a program that is started by somebody who has no Python."""
    kept = {name: text for name, text in os.environ.items() if name not in _PYTHONS}
    ours = {name: text for name, text in kept.items() if not name.startswith("CHAOYING_")}
    return ours | {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "COLUMNS": "80"}


def output_of(
    *command: str | Path, status: int = 0, env: Mapping[str, str] = MappingProxyType({})
) -> str:
    """What a program prints to both streams; it has to end with this status."""
    ended = subprocess.run(
        [str(word) for word in command],
        env={**without_settings(), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == status, ended.stdout
    return ended.stdout


#: The interpreter that the tests' environment was made from: it has no packages of theirs.
BARE_PYTHON = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
