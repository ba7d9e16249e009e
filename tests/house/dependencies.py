"""What comes with the package: every dependency of the base and of the extras, and its licence.

Read from ``pyproject.toml`` and from the metadata of what is installed, so it needs an environment
with all extras (``make test`` makes one).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
NAME: str = PROJECT["name"]

#: What comes without any extra.
BASE = ""
#: Extras for those who work on this library; nobody else installs them.
OURS = ("tests", "docs", "dev", "release")
EXTRAS = tuple(name for name in PROJECT["optional-dependencies"] if name not in OURS)

#: Licences under which a shop may use a package in a closed product, without asking and without
#: giving away its own source. MPL-2.0 asks for the source of changed files of that package alone.
ALLOWED = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "MIT",
        "MPL-2.0",
        "PSF-2.0",
        "Unlicense",
    }
)

#: How packages without an SPDX expression name their licence. "BSD" says not which of the two.
SPDX = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "bsd": "BSD",
    "bsd license": "BSD",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit": "MIT",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "mpl-2.0": "MPL-2.0",
    "new bsd": "BSD-3-Clause",
    "python software foundation license": "PSF-2.0",
}
UNKNOWN = "not said"


class Dependency(NamedTuple):
    """One package that is installed with the base or with an extra."""

    name: str
    licence: str
    extras: tuple[str, ...]
    """The extras that bring it, in the order of pyproject.toml; ``("",)`` for the base."""


def requirements(extra: str) -> list[Requirement]:
    """What pyproject.toml asks for itself, without what it takes from another extra of ours."""
    lines = PROJECT["dependencies"] if extra == BASE else PROJECT["optional-dependencies"][extra]
    found = [Requirement(line) for line in lines]
    return [needed for needed in found if canonicalize_name(needed.name) != NAME]


def licence_of(name: str) -> str:
    """An SPDX expression as far as the package says one, else what it calls its licence."""
    metadata = distribution(name).metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    classifiers = [
        line.rsplit("::", 1)[-1].strip()
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License ::")
    ]
    said = metadata["License"].strip() if "License" in metadata else ""
    # A classifier knows only "BSD License"; the text beside it may say which.
    if len(classifiers) <= 1 and SPDX.get(said.lower(), "BSD") != "BSD":
        return SPDX[said.lower()]
    known = [SPDX.get(text.lower(), text) for text in (classifiers or [said]) if text]
    return " OR ".join(sorted(set(known))) or UNKNOWN


def is_allowed(licence: str) -> bool:
    """Is every licence of this expression on the list? One alternative of two is not enough."""
    named = [part for part in re.split(r"[()\s]+|\b(?:AND|OR)\b", licence) if part]
    return bool(named) and all(part in ALLOWED for part in named)


@cache
def all_dependencies() -> tuple[Dependency, ...]:
    """Everything that pip installs for the base and the extras, those of dependencies as well."""
    extras: dict[str, list[str]] = {}
    for extra in (BASE, *EXTRAS):
        for name in _closure(extra):
            extras.setdefault(name, []).append(extra)
    return tuple(
        Dependency(name, licence_of(name), (BASE,) if BASE in by else tuple(by))
        for name, by in sorted(extras.items())
    )


def pins(dependencies: Iterable[Dependency]) -> list[str]:
    """The same as lines for pip, with the versions that are installed."""
    return [f"{one.name}=={distribution(one.name).version}" for one in dependencies]


def _closure(extra: str) -> set[str]:
    waiting = [Requirement(f"{NAME}[{extra}]" if extra else NAME)]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        needed = waiting.pop()
        key = (canonicalize_name(needed.name), frozenset(needed.extras))
        if key in seen:
            continue
        seen.add(key)
        # Our own extras as pyproject.toml has them now, not as they were when .venv was made.
        if key[0] == NAME:
            lines = [line for one in (BASE, *needed.extras) for line in _lines(one)]
        else:
            lines = _requires(needed.name)
        waiting += [one for one in map(Requirement, lines) if _applies(one, needed.extras)]
    return {name for name, _ in seen} - {NAME}


def _lines(extra: str) -> list[str]:
    found: list[str]
    found = PROJECT["dependencies"] if extra == BASE else PROJECT["optional-dependencies"][extra]
    return found


def _requires(name: str) -> list[str]:
    try:
        return list(distribution(name).requires or ())
    except PackageNotFoundError:
        message = f"{name} is not installed: make .venv/.dev"
        raise SystemExit(message) from None


def _applies(needed: Requirement, extras: Iterable[str]) -> bool:
    marker = needed.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (BASE, *extras))
