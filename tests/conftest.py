"""Fixtures of the whole suite: our own pytest plugin, and the canary of M-27.

Every test is watched: what is logged (at DEBUG, by anybody), warned, printed, or said by one of
our errors, and what a traceback of it would show of our own frames. None of it may hold the key,
the payment code or the openid of ``tests.factories``.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import traceback
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

import chaoying_async
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.testing import pytest_plugin
from tests import rooms
from tests.factories import CANARIES, KEY
from tests.measuring import Measuring

if TYPE_CHECKING:
    from tests.servers import Servers

PACKAGE = str(Path(chaoying_async.__file__).parent)
#: Folders of tests are here where it has room: a database would wait for its disk at each COMMIT.
MEMORY, ROOM = Path("/dev/shm"), 2 << 30  # noqa: S108 - pytest makes a folder of its own in it
#: The one place where the key may be a local (M-27).
SIGNING = str(Path(PACKAGE, "sansio", "signing.py"))
#: More errors of one test are not looked at: they are of the same kind.
ENOUGH = 1000

_errors: list[ChaoyingError] = []
_no_processes = rooms.NoProcesses()
_measuring = Measuring()


def pytest_configure(config: pytest.Config) -> None:
    # Where the package is installed, its entry point has loaded the plugin already.
    if pytest_plugin not in config.pluginmanager.get_plugins():
        config.pluginmanager.register(pytest_plugin)
    if _has_room(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    # The command line speaks the user's language: here English, whoever runs the tests.
    os.environ["LC_ALL"] = "C.UTF-8"
    # A shell's background job, or nohup, has these ignored, and our commands heed that: their tests
    # are about a process that was started as usual.
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def _has_room(folder: Path) -> bool:
    """Whether there may lie files of gigabytes, programs included."""
    try:
        found = os.statvfs(folder)
    except (AttributeError, OSError):  # Windows; no such folder
        return False
    executes = not found.f_flag & getattr(os, "ST_NOEXEC", 0)
    return executes and os.access(folder, os.W_OK) and found.f_bavail * found.f_frsize > ROOM


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let pytest keep and format no line below INFO: aiosqlite says two lines a statement.

    ``canary`` hears DEBUG all the same. ``log_level`` would set the root logger's level, and take
    it back, three times a test.
    """
    logs = session.config.pluginmanager.get_plugin("logging-plugin")
    if logs is not None:
        logs.caplog_handler.setLevel(logging.INFO)
        logs.report_handler.setLevel(logging.INFO)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected lives until the end: the garbage collector need not walk it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # a worker of xdist ends here
        gc.unfreeze()  # what is imported for the summary may look for referrers


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    quick = config.getoption("markexpr") == "quick"
    return True if quick and rooms.is_left_out(collection_path) else None


@pytest.hookimpl(tryfirst=True)  # before -m looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rooms.mark(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    _no_processes.during(item)
    _measuring.during(item)
    return (yield)


def _noticed(cls: type[ChaoyingError], *args: Any, **kwargs: Any) -> ChaoyingError:
    error = Exception.__new__(cls, *args)
    if len(_errors) < ENOUGH:
        _errors.append(error)
    return error


ChaoyingError.__new__ = _noticed  # type: ignore[method-assign,assignment]


def _without(missing: Exception) -> NoReturn:
    """CI has everything; a contributor may lack a server."""
    if os.environ.get("CI"):
        pytest.fail(str(missing))
    pytest.skip(str(missing))


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Real databases, each started when a test first asks for it; every worker has its own."""
    from tests.servers import Servers  # the pure tests run where no database driver is installed

    with Servers(_without) as running:
        yield running


class _Listener(logging.Handler):
    """Whatever anybody logs that says a secret, as text or in the record's attributes."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.name}: {record.getMessage()} {vars(record)!r}"
        if any(secret in text for secret in CANARIES):  # a soak logs too much to keep it all
            self.heard.append(text)


@pytest.fixture(autouse=True)
def canary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """M-27: no test makes the library say what it must not."""
    listener, root = _Listener(), logging.getLogger()
    warned: list[str] = []
    warn = warnings.warn

    def listening(message: Any, category: Any = None, stacklevel: int = 1, **more: Any) -> None:
        warned.append(f"{message!r} {message}")
        warn(message, category, stacklevel + 1, **more)

    monkeypatch.setattr(warnings, "warn", listening)
    root.addHandler(listener)
    if root.level != logging.DEBUG:  # each change of it makes all loggers forget what they know
        root.setLevel(logging.DEBUG)
    _errors.clear()
    yield
    root.removeHandler(listener)
    said = [*_texts(_errors)]
    _errors.clear()
    for where, texts in (("logged", listener.heard), ("warned", warned), ("an error said", said)):
        found = [text for text in texts if any(secret in text for secret in CANARIES)]
        assert not found, f"a secret was {where}: {_hidden(found[0])}"


def _texts(errors: list[ChaoyingError]) -> Iterator[str]:
    """What these errors and their causes say, and what a crash reporter would show of them."""
    todo: list[BaseException] = list(errors)
    seen: set[int] = set()
    values: set[int] = set()
    while todo:
        error = todo.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        with contextlib.suppress(AttributeError):  # half-made errors of foreign libraries
            yield f"{type(error).__name__} {error!s} {error!r} {getattr(error, 'problems', '')}"
        yield from _locals(error, values)
        todo += [other for other in (error.__cause__, error.__context__) if other is not None]


def _locals(error: BaseException, seen: set[int]) -> Iterator[str]:
    """Each value once: many errors of a test share a session, or a body of megabytes."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE) and file != SIGNING:
            for name, value in frame.f_locals.items():
                if id(value) not in seen and _holds_the_key(value):
                    yield f"{file}:{line} {name}={value!r}"
                seen.add(id(value))


def _holds_the_key(value: object) -> bool:
    """Looks into texts themselves: a body of megabytes is not written out first."""
    if isinstance(value, bytes | bytearray):
        return KEY.encode() in value
    return KEY in (value if isinstance(value, str) else repr(value))


def _hidden(text: str) -> str:
    """For the failure itself, which must not say it either."""
    for secret in CANARIES:
        text = text.replace(secret, "<CANARY>")
    return text[-2000:]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """What was captured of stdout, stderr and the log may hold none of it either."""
    outcome = yield
    report = outcome.get_result()
    captured = f"{report.capstdout}{report.capstderr}{report.caplog}"
    if report.passed and any(secret in captured for secret in CANARIES):
        report.outcome = "failed"
        report.longrepr = "M-27: a secret was printed or logged"
    if report.passed and "P" not in item.config.option.reportchars:
        report.sections.clear()  # nobody sees them, and a worker would hand over megabytes
