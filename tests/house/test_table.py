"""A table of rows in one test runs all of them and names each that fails."""

from __future__ import annotations

import inspect

import pytest

from tests.table import table


@table("number", [1, 2, 3])
def _at_most_one(number: int, limit: int) -> None:
    assert number <= limit


def _at_least_one(number: int) -> None:
    assert number >= 1


@table("left", [1, 2])
@table("right", [2, 3], ids=str)
async def _divides(left: int, right: int) -> None:
    assert right % left == 0 or left == 1
    if left == 1:
        with pytest.raises(ZeroDivisionError):
            assert right / left


def test_every_row_that_fails_is_named_and_the_others_ran() -> None:
    """Its title says its number and its values, its error says what was wrong with it."""
    with pytest.raises(ExceptionGroup) as caught:
        _at_most_one(limit=1)
    assert caught.value.message == "2 of 3 rows:\n1: number=2\n2: number=3"
    assert [str(error).partition("\n")[0] for error in caught.value.exceptions] == [
        "assert 2 <= 1",
        "assert 3 <= 1",
    ]
    _at_most_one(limit=3)


async def test_tables_multiply_and_what_pytest_raises_is_a_failure_too() -> None:
    """An inner table's failures are one error of the outer row; DID NOT RAISE ends no loop."""
    with pytest.raises(ExceptionGroup) as caught:
        await _divides()
    assert caught.value.message == "2 of 2 rows:\n0: left=1\n1: left=2"
    ones, twos = caught.value.exceptions
    assert isinstance(ones, ExceptionGroup)
    assert ones.message == "2 of 2 rows:\n0: right=2\n1: right=3"
    assert "DID NOT RAISE" in str(ones.exceptions[1])
    assert isinstance(twos, ExceptionGroup)
    assert twos.message == "1 of 2 rows:\n1: right=3"


def test_the_columns_are_no_fixtures() -> None:
    """pytest looks at the signature: what is left in it is what it has to bring."""
    assert [*inspect.signature(_at_most_one).parameters] == ["limit"]
    assert [*inspect.signature(_divides).parameters] == []


def test_a_table_without_rows_is_a_mistake() -> None:
    """Nothing would be tested, and nobody would notice."""
    with pytest.raises(AssertionError, match="without rows"):
        table("number", [])(_at_most_one)(limit=1)
    with pytest.raises(ValueError, match="zip"):
        table(("left", "right"), [(1, 2, 3)])(_at_most_one)(limit=1)


def test_rows_that_are_a_function_are_found_when_the_test_runs() -> None:
    """Once, however often it runs."""
    asked: list[bool] = []

    def rows() -> list[int]:
        asked.append(True)
        return [1, 2]

    test = table("number", rows)(_at_least_one)
    assert asked == []
    test()
    test()
    assert asked == [True]
