"""A second look at the few tests that failed beside thousands of others: alone, three times.

    python -m pytest … --cache-clear || python .ci/again.py $? unsteady.txt

Two cores that are shared with servers, browsers and other steps let a test fail now and then whose
limit of time is not what it promises. Such a test has to pass three times in a row when it runs
alone; then the run counts as passed, and the test's name is printed and added to the file given,
so that somebody mends it. A real fault fails again.

No second look is taken where chance chose what was tried (the campaigns), where more than a few
failed, or where pytest itself did not come to its end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

#: Where pytest notes the tests that failed, in its cache.
FAILED = Path("v/cache/lastfailed")
#: pytest's exit code where tests failed and nothing else was wrong.
TESTS_FAILED = 1
FEW = 5
TIMES = 3
#: Their next run tries something else.
BY_CHANCE = ("tests/hard/", "tests/fuzz/")


def refusal(status: int, failed: list[str]) -> str | None:
    """Why no second look is taken; None: one is."""
    if status != TESTS_FAILED:
        return f"pytest itself ended with {status}"
    if not failed:
        return "pytest noted no test that failed"
    if len(failed) > FEW:
        return f"{len(failed)} tests failed, which is more than {FEW}"
    chosen = [name for name in failed if name.startswith(BY_CHANCE)]
    return f"chance chose what was tried in {', '.join(chosen)}" if chosen else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("status", type=int, help="pytest's exit code")
    parser.add_argument("unsteady", type=Path, nargs="?", help="takes the names of such tests")
    parser.add_argument("--cache", type=Path, default=".pytest_cache", help="that run's cache_dir")
    given = parser.parse_args()
    noted = given.cache / FAILED
    failed = [*json.loads(noted.read_text("utf-8"))] if noted.exists() else []
    reason = refusal(given.status, failed)
    if reason is not None:
        print(f"No second look: {reason}.")
        return int(given.status)
    for _ in range(TIMES):
        alone = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *failed]
        if subprocess.run(alone, check=False).returncode:
            return int(given.status)
    for name in failed:
        print(f"UNSTEADY: failed beside the others, passed alone {TIMES} times: {name}")
    if given.unsteady is not None:
        with given.unsteady.open("a", encoding="utf-8") as file:
            file.writelines(f"  {name}\n" for name in failed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
