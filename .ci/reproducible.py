"""Build sdist and wheel twice, as two people would on two days, and compare every byte.

    python .ci/reproducible.py DIST      leaves what was built in DIST

Both builds start from a copy of what git knows (and of new files that it does not ignore). They
differ in their directory, its order and dates of files, umask, home, time zone, language and hash
seed. The date inside is that of the last commit; without git it is hatchling's own. Which tools
build is said in build-constraints.txt, since another hatchling may write other bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / ".ci" / "build-constraints.txt"
NEVER = (".git", ".venv", "dist", "build")  # folders at the root


class Builder(NamedTuple):
    """What one builder has that another has not, and that a package must not show."""

    name: str
    umask: int
    date: int
    backwards: bool
    variables: dict[str, str]


BUILDERS = (
    Builder(
        name="first",
        umask=0o022,
        date=1_700_000_000,
        backwards=False,
        variables={"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1"},
    ),
    Builder(
        name="other",
        umask=0o077,
        date=86_400,
        backwards=True,
        variables={"TZ": "Asia/Shanghai", "LC_ALL": "C", "PYTHONHASHSEED": "2"},
    ),
)


def commit_date() -> str | None:
    """When the last commit was made, in seconds since 1970; None outside of git."""
    git = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def sources() -> list[str]:
    """Every file of the tree that is no product of it, by its path from the root."""
    git = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    return [
        name
        for name in listed
        if name and name.split("/", 1)[0] not in NEVER and (ROOT / name).is_file()
    ]


def build(where: Path, builder: Builder) -> Path:
    """What `python -m build` makes of a copy of the tree: the sdist, and the wheel from it."""
    tree, dist, home = where / "tree", where / "dist", where / "home"
    before = os.umask(builder.umask)
    try:
        home.mkdir(parents=True)
        for name in sorted(sources(), reverse=builder.backwards):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
            os.utime(tree / name, (builder.date, builder.date))
        environment = os.environ | builder.variables | {"HOME": str(home), "PYTHONUTF8": "1"}
        environment["PIP_CONSTRAINT"] = str(CONSTRAINTS)
        environment.pop("SOURCE_DATE_EPOCH", None)
        if epoch := commit_date():
            environment["SOURCE_DATE_EPOCH"] = epoch
        command = [sys.executable, "-m", "build", "--outdir", str(dist), str(tree)]
        done = subprocess.run(
            command, check=False, env=environment, cwd=where, capture_output=True, text=True
        )
    finally:
        os.umask(before)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return dist


def hashes(dist: Path) -> dict[str, str]:
    """The SHA-256 of each file, by its name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in dist.iterdir()}


def main(dist: str) -> None:
    """Build twice, keep what the first builder made, and fail if the other made anything else."""
    with tempfile.TemporaryDirectory() as scratch:
        made = [build(Path(scratch) / builder.name, builder) for builder in BUILDERS]
        first, other = map(hashes, made)
        Path(dist).mkdir(parents=True, exist_ok=True)
        for path in made[0].iterdir():
            shutil.copyfile(path, Path(dist) / path.name)
    differing = sorted(name for name in first | other if first.get(name) != other.get(name))
    if differing:
        message = f"two builds of the same source differ: {', '.join(differing)}"
        raise SystemExit(message)
    for name, value in sorted(first.items()):
        print(f"{value}  {name}")
    print("the same bytes from two directories, dates, umasks, time zones and languages")


if __name__ == "__main__":
    main(*sys.argv[1:])
