"""Which tests reach which line, and how long each takes: coverage, test by test."""

from __future__ import annotations

import hashlib
import multiprocessing
import pickle
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path

import attrs
import coverage
import pytest

ROOT = Path(__file__).parents[3]
SANSIO = "chaoying_async/sansio"
#: Rooms whose quick tests are run: they decide, drive the engines that act upon what is decided, or
#: look at what a session shows of its calls.
ROOMS = ("pure", "notifications", "payments", "polling", "session", "observing")
OPTIONS = (
    *("-q", "-s", "-m", "quick", "-p", "no:xdist", "-p", "no:cacheprovider", "-o", "timeout=0"),
    *("--assert=plain", "--tb=native", f"--rootdir={ROOT}"),
)
#: So many seconds of tests are run against one mutant: first those that are about its file.
MOST_SECONDS = 4.0


@attrs.frozen
class Covering:
    """What the tests reach."""

    seconds: Mapping[str, float]
    reached: Mapping[str, Mapping[int, list[str]]]
    breadth: Mapping[str, int]
    """How many lines each test reaches."""

    def of_lines(self, path: str, lines: Iterable[int]) -> list[str]:
        """The tests that reach one of these lines of a file, those that are about it first."""
        reached = self.reached.get(path, {})
        return self._first(path, {test for line in lines for test in reached.get(line, ())})

    def of_file(self, path: str) -> list[str]:
        """The tests that run any function of a file, then pure ones that name it or its folder.

        What a class or a table says is read while nothing of its file runs.
        """
        found = {test for tests in self.reached.get(path, {}).values() for test in tests}
        near = self._naming(path) - found
        return [*self._first(path, found), *self._first(path, near)]

    def _naming(self, path: str) -> set[str]:
        """The pure tests in files that import this one, or from its folder."""
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        names = [f"from {each} import " for each in (module, module.rpartition(".")[0])]
        pure = {test for test in self.seconds if test.startswith("tests/pure/")}
        texts = {file: (ROOT / file).read_text("utf-8") for file in map(_file, pure)}
        return {test for test in pure if any(name in texts[_file(test)] for name in names)}

    def _first(self, path: str, tests: set[str]) -> list[str]:
        """Those that spend most of their lines in this file, as far as the time goes."""
        there = Counter(test for each in self.reached.get(path, {}).values() for test in each)
        chosen: list[str] = []
        seconds = 0.0
        for test in sorted(
            tests,
            key=lambda test: (-there[test] / (self.breadth[test] or 1), self.seconds[test], test),
        ):
            if not chosen or seconds + self.seconds[test] <= MOST_SECONDS:
                seconds += self.seconds[test]
                chosen.append(test)
        return chosen


def _file(test: str) -> str:
    return test.partition("::")[0]


class _Recorder:
    def __init__(self, measuring: coverage.Coverage) -> None:
        self.measuring = measuring
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.measuring.switch_context(item.nodeid)
        began = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - began


def measure(files: Mapping[Path, Path]) -> None:
    """Run each test of these files once, alone in this process, and write what they reach."""
    measuring = coverage.Coverage(data_file=None, config_file=False, include=[f"{ROOT}/{SANSIO}/*"])
    recorder = _Recorder(measuring)
    measuring.start()
    status = pytest.main([*OPTIONS, *map(str, files)], plugins=[recorder])
    measuring.stop()
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.exit("tests fail without any mutant")
    data = measuring.get_data()
    reached = {
        str(Path(name).relative_to(ROOT)): data.contexts_by_lineno(name)
        for name in data.measured_files()
    }
    for file, kept in files.items():
        start = f"{file.relative_to(ROOT)}::"
        seconds = {test: took for test, took in recorder.seconds.items() if test.startswith(start)}
        lines = {
            path: {line: [test for test in tests if test in seconds] for line, tests in of.items()}
            for path, of in reached.items()
        }
        kept.write_bytes(pickle.dumps((seconds, lines)))


def kept_for(rooms: Sequence[str]) -> dict[Path, Path]:
    """Each file of tests, and where it is kept what it reaches.

    That has another name as soon as the tests, what they share, or the package changes.
    """
    tests = [path for room in rooms for path in sorted(Path(ROOT, "tests", room).rglob("*.py"))]
    shared = hashlib.sha256()
    for path in [*sorted(Path(ROOT, "chaoying_async").rglob("*.py")), *tests]:
        if not path.name.startswith("test_"):
            shared.update(path.read_bytes())
    folder = ROOT / ".pytest_cache/mutation"
    folder.mkdir(parents=True, exist_ok=True)
    kept = {}
    for path in tests:
        if path.name.startswith("test_"):
            own = shared.copy()
            own.update(f"{path}".encode() + path.read_bytes())
            kept[path] = folder / own.hexdigest()[:24]
    return kept


def known() -> Covering:
    """What the tests reach; files that are new or changed are run in a process of their own."""
    files = kept_for(ROOMS)
    if new := {path: kept for path, kept in files.items() if not kept.exists()}:
        process = multiprocessing.get_context("fork").Process(target=measure, args=(new,))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(process.exitcode)
    seconds: dict[str, float] = {}
    reached: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for kept in files.values():
        took, paths = pickle.loads(kept.read_bytes())  # noqa: S301 - written above
        seconds |= took
        for path, lines in paths.items():
            for line, tests in lines.items():
                reached[path][line] += tests
    breadth = Counter(
        test for lines in reached.values() for tests in lines.values() for test in tests
    )
    return Covering(seconds, reached, breadth)
