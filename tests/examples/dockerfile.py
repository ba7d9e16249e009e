"""The steps of a Dockerfile, and carrying them out in a folder: for machines without a daemon.

What is absolute in the image lies below the folder here. Nothing needs root, as nothing in our
image does: who would be told to use it would have to.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs
from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]

#: Places of the image that the steps name.
PLACES = ("/opt/chaoying", "/data")


@attrs.frozen
class Step:
    """One instruction."""

    name: str
    value: str


def steps(dockerfile: Path) -> list[Step]:
    """Its instructions in their order, continued lines joined."""
    with dockerfile.open("rb") as file:
        parsed = DockerfileParser(fileobj=file, env_replace=False).structure
    return [
        Step(each["instruction"], each["value"])
        for each in parsed
        if each["instruction"] != "COMMENT"
    ]


def words(value: str) -> list[str]:
    """An instruction in its form without a shell."""
    read = json.loads(value)
    assert isinstance(read, list)
    return [str(word) for word in read]


@attrs.frozen(kw_only=True)
class Image:
    """What the steps make, below a folder."""

    folder: Path
    context: Path
    environment: Mapping[str, str]

    def here(self, text: str) -> str:
        """The text with the image's places below the folder."""
        for place in PLACES:
            text = text.replace(place, f"{self.folder}{place}")
        return text

    def build(self, found: list[Step]) -> None:
        """Carry out COPY and RUN; what is copied from another stage is in its place already."""
        source = self.folder / "src"
        source.mkdir()
        for step in found:
            if step.name == "COPY" and not step.value.startswith("--from="):
                self._copy(source, step.value.split())
            elif step.name == "RUN":
                self._run(source, step.value)

    def _copy(self, into: Path, names: list[str]) -> None:
        *sources, target = names
        for name in sources:
            source = self.context / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, into / target, ignore=ignored)
            else:
                shutil.copy(source, into / target)

    def _run(self, source: Path, command: str) -> None:
        (self.folder / "opt").mkdir(exist_ok=True)
        done = subprocess.run(
            ["sh", "-euc", self.here(command)],
            cwd=source,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
