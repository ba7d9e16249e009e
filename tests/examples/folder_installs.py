"""Packages that cannot be in one environment with ours, each in a folder beside our own packages.

A process that is started with the folder first on its PYTHONPATH has them; this process has not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

#: Name of the folder -> what is in it. Nothing else comes with it: the rest is the environment's.
FOLDERS = {
    "arq": ("arq==0.28.0", "redis==5.2.1"),  # arq wants redis<6, the latest that needs no more
}


def folder_of(name: str) -> Path:
    """Installed when first asked for. Without a package index the test is skipped, in CI fails."""
    packages = FOLDERS[name]
    folder = Path(sys.prefix, "folders", "-".join(packages))
    if folder.exists():
        return folder
    folder.parent.mkdir(exist_ok=True)
    making = tempfile.mkdtemp(dir=folder.parent)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", making)
    done = subprocess.run([*pip, *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(making)
        missing = f"{' and '.join(packages)} cannot be installed: {done.stderr[-500:]}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    try:
        Path(making).rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(making)
    return folder
