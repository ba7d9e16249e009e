"""A long table in one test, where pytest would take five milliseconds for a test of each row."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

Test = Callable[..., Any]


def table(
    names: str | Sequence[str],
    rows: Iterable[Any] | Callable[[], Iterable[Any]],
    *,
    ids: Callable[[Any], object] = repr,
) -> Callable[[Test], Test]:
    """Run the test on every row, as ``pytest.mark.parametrize`` does; each that fails is named.

    The rows share the test's fixtures: it is for tests that leave nothing behind in them. Several
    tables above one test multiply, as parameters do. Rows that cost something to find are handed
    over as a function, which the test calls: each worker reads every test file.
    """
    columns = [name.strip() for name in names.split(",")] if isinstance(names, str) else [*names]

    @functools.cache
    def titled() -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for number, values in enumerate(rows if isinstance(rows, Iterable) else rows()):
            row = dict(zip(columns, values if len(columns) > 1 else (values,), strict=True))
            title = " ".join(f"{name}={ids(value)}" for name, value in row.items())
            found[f"{number}: {title}"] = row
        assert found, "a table without rows tests nothing"
        return found

    def decorate(test: Test) -> Test:
        def run(*args: Any, **fixtures: Any) -> None:
            failures = _Failures()
            for title, row in titled().items():
                with failures.noted(title):
                    test(*args, **fixtures, **row)
            failures.tell(len(titled()))

        async def run_async(*args: Any, **fixtures: Any) -> None:
            failures = _Failures()
            for title, row in titled().items():
                with failures.noted(title):
                    await test(*args, **fixtures, **row)
            failures.tell(len(titled()))

        whole: Any = functools.wraps(test)(run_async if inspect.iscoroutinefunction(test) else run)
        signature = inspect.signature(test)
        fixtures = [each for each in signature.parameters.values() if each.name not in columns]
        whole.__signature__ = signature.replace(parameters=fixtures)
        return whole  # type: ignore[no-any-return]

    return decorate


class _Failures:
    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}

    @contextmanager
    def noted(self, title: str) -> Generator[None]:
        try:
            yield
        except pytest.fail.Exception as error:  # such as DID NOT RAISE, which no group may hold
            self.errors[title] = AssertionError(str(error)).with_traceback(error.__traceback__)
        except Exception as error:  # noqa: BLE001 - told below, all of them
            self.errors[title] = error

    def tell(self, rows: int) -> None:
        for title, error in self.errors.items():
            error.add_note(title)
        if self.errors:
            told = "\n".join([f"{len(self.errors)} of {rows} rows:", *self.errors])
            raise ExceptionGroup(told, [*self.errors.values()])
