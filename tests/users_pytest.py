"""pytest as a user of ours runs it: a process of its own, in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Most are plugins that our own tests need: loading them takes longer than such a run.
_WITHOUT = ("cacheprovider", "schemathesis", "faker", "hypothesispytest")


def run_pytest(folder: Path, *arguments: str) -> str:
    """What it says of the tests in that folder."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *(f"-pno:{name}" for name in _WITHOUT), *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout
