"""Runs tests against one mutant at a time, each in a forked copy of a process that has them ready.

A mutant within a function is tried by exchanging that function's code in the copy, whoever has
imported it; one in a table by exchanging the table. Any other mutant, in a class or in what is made
while the package is loaded, needs a copy that loads it anew.
"""

from __future__ import annotations

import gc
import importlib.abc
import importlib.util
import multiprocessing
import os
import resource
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, FunctionType, ModuleType
from typing import Any

import attrs
import pytest

from tests.hard.mutation.covering import OPTIONS, ROOMS, ROOT
from tests.hard.mutation.mutants import Mutant, mutated
from tests.hard.mutation.tables import exchange_table

KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
#: Its function could not be exchanged: it has to be loaded anew.
NOT_SO = "not so"
_OUTCOMES = {0: SURVIVED, 77: NOT_SO}
FORK = multiprocessing.get_context("fork")
#: Seconds of the processor, and of the clock, before a mutant counts as one that hangs.
_BUSY, _IDLE = 20, 60


@attrs.frozen
class Trial:
    """A mutant and the tests to run against it."""

    path: str
    mutant: Mutant
    tests: Sequence[str]


def _outcome(function: Callable[..., None], *arguments: object) -> str:
    """What became of one copy."""
    process = FORK.Process(target=_quietly, args=(function, *arguments))
    process.start()
    for _ in range(_IDLE):  # a step that counts once, however long the whole machine pauses
        process.join(1)
        if process.exitcode is not None:
            break
    else:
        process.kill()
        process.join()
        return TIMED_OUT
    if process.exitcode == -signal.SIGXCPU:
        return TIMED_OUT
    return _OUTCOMES.get(process.exitcode, KILLED)


def _quietly(function: Callable[..., None], *arguments: object) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    resource.setrlimit(resource.RLIMIT_CPU, (_BUSY, _BUSY + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        function(*arguments)
    except BaseException:  # noqa: BLE001 - pytest itself broke: so did the mutant
        os._exit(1)


# --------------------------------------------------------------------------- exchanged functions


def _pairs(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    yield old, new
    inner = [[each for each in code.co_consts if isinstance(each, CodeType)] for code in (old, new)]
    if len(inner[0]) == len(inner[1]):
        for pair in zip(*inner, strict=True):
            yield from _pairs(*pair)


def exchange(functions: Iterable[FunctionType], trial: Trial) -> bool:
    """Whether every function that the mistake changes could be exchanged."""
    file = ROOT / trial.path
    source = file.read_text("utf-8")
    old = compile(source, file, "exec")
    new = compile(mutated(source, trial.mutant.number), file, "exec")
    changed = {before: after for before, after in _pairs(old, new) if before != after}
    done = 0
    for function in functions:
        if (code := changed.get(function.__code__)) is not None:
            try:
                function.__code__ = code
            except ValueError:  # it has lost a name of the function around it
                return False
            done += 1
    return done > 0


def _table(trial: Trial) -> bool:
    name = trial.path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    source = (ROOT / trial.path).read_text("utf-8")
    return name in sys.modules and exchange_table(sys.modules[name], source, trial.mutant)


def _functions() -> dict[str, list[FunctionType]]:
    found: dict[str, list[FunctionType]] = defaultdict(list)
    gc.unfreeze()
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and "/sansio/" in each.__code__.co_filename:
            found[os.path.relpath(each.__code__.co_filename, ROOT)].append(each)
        elif hasattr(type(each), "cache_clear") and type(each).__name__ == "_lru_cache_wrapper":
            each.cache_clear()  # what was computed while tests were collected
    gc.freeze()
    return found


class _Trials:
    """Takes the place of pytest's loop over the tests."""

    def __init__(self, trials: Iterable[Trial], tell: Callable[[Any], None]) -> None:
        self.trials, self.tell = trials, tell

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        functions = _functions()
        for trial in self.trials:
            chosen = [items[test] for test in trial.tests]
            self.tell((trial, _outcome(_try, session, functions[trial.path], trial, chosen)))
        return True


def _try(
    session: pytest.Session,
    functions: list[FunctionType],
    trial: Trial,
    items: list[pytest.Item],
) -> None:
    session.config.pluginmanager.unregister(name="terminalreporter")
    if not (exchange(functions, trial) if trial.mutant.in_function else _table(trial)):
        os._exit(77)
    for item, after in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if session.testsfailed:
            os._exit(1)
    os._exit(0)


def exchanged(trials: Sequence[Trial]) -> Iterator[tuple[Trial, str]]:
    """The outcome of each, by exchanged functions."""
    here, there = FORK.Pipe()

    def work() -> None:
        rooms = [f"{ROOT}/tests/{room}" for room in ROOMS]
        pytest.main([*OPTIONS, *rooms], plugins=[_Trials(trials, there.send)])
        there.send(None)

    process = FORK.Process(target=work)
    process.start()
    while (told := here.recv()) is not None:
        yield told
    process.join()


# ----------------------------------------------------------------------------------- loaded anew


class _Mistaken(importlib.abc.Loader, importlib.abc.MetaPathFinder):
    """Loads one module with a mistake in it."""

    def __init__(self, trial: Trial) -> None:
        self.file = ROOT / trial.path
        self.name = trial.path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        source = self.file.read_text("utf-8")
        self.code = compile(mutated(source, trial.mutant.number), self.file, "exec")

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.file, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, vars(module))  # noqa: S102 - this is what a loader does


class _Only:
    def __init__(self, tests: Sequence[str]) -> None:
        self.places = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.places]
        items.sort(key=lambda item: self.places[item.nodeid])


def _try_anew(trial: Trial) -> None:
    sys.meta_path.insert(0, _Mistaken(trial))
    files = sorted({f"{ROOT}/{test.partition('::')[0]}" for test in trial.tests})
    os._exit(bool(pytest.main([*OPTIONS, "-x", *files], plugins=[_Only(trial.tests)])))


def anew(trials: Sequence[Trial]) -> Iterator[tuple[Trial, str]]:
    """The outcome of each, in a process that loads the package with the mistake in it."""
    assert "chaoying_async" not in sys.modules
    for trial in trials:
        yield trial, _outcome(_try_anew, trial)
