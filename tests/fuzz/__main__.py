"""``python -m tests.fuzz reply --seconds 3600``: one target, guided by coverage (atheris).

What breaks it is written to ``broken-*`` in the folder where this runs. Add such an input to
``tests/fuzz/corpus/reply.jsonl`` when it is mended: CI runs it from then on. ``--keep`` adds what
reached something new, each as short as it was found.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.corpus import keep, kept
from tests.fuzz.seeds import SEEDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=list(SEEDS))
    parser.add_argument("--seconds", type=int, default=60, help="how long; 60 by default")
    parser.add_argument("--keep", action="store_true", help="add to the corpus")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        parser.error("this needs atheris: .venv/bin/python -m pip install atheris")
    seeds = list(SEEDS[options.target]())
    with tempfile.TemporaryDirectory() as folder:
        for number, each in enumerate([*seeds, *kept(options.target)]):
            (Path(folder) / str(number)).write_bytes(each)
        command = [sys.executable, "-m", "tests.fuzz.guided", options.target, folder]
        ended = subprocess.run([*command, str(options.seconds)], check=False).returncode
        if options.keep:
            found = {path.read_bytes() for path in Path(folder).iterdir()}
            keep(options.target, found - set(seeds))
    return ended


if __name__ == "__main__":
    sys.exit(main())
