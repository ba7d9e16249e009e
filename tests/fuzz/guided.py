"""One target under atheris, in a process that atheris ends: ``guided reply FOLDER SECONDS``."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from tests.fuzz.corpus import LONGEST


def main() -> None:
    target, folder, seconds = sys.argv[1:]
    atheris: Any = importlib.import_module("atheris")  # it has no wheels for every machine
    with atheris.instrument_imports(include=["chaoying_async"]):
        from tests.fuzz.targets import TARGETS  # what it imports is instrumented
    atheris.Setup(
        [
            sys.argv[0],
            folder,
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-artifact_prefix=broken-",
            "-print_final_stats=1",
        ],
        TARGETS[target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
