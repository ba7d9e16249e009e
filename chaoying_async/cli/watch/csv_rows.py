"""Rows of CSV: which separator they have, what their columns are called, and where a mistake is.

Spreadsheets write ``,``, ``;`` or a tab, by the country they are set to. Nothing is guessed beyond
that, and nothing is left out: a column that means nothing here is as good as an amount that nobody
compares. What does not fit is an error that names line and column.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence

import attrs
import click

from chaoying_async.cli.watch.damaged_numbers import damage

_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
#: A number in CSV has none of these; a JSON line takes any text.
_NO_NUMBER = re.compile(r"[\s,;|\"']").search
#: What stands around a cell; other characters that cannot be seen are no part of any number.
BLANKS = " \u00a0\u3000"


@attrs.frozen
class Place:
    """Where something was written, for whoever has to mend it."""

    line: str
    columns: Sequence[str] = ()

    def of(self, name: str) -> str:
        """The line, and the column of this name, where there is one."""
        if name not in self.columns:
            return self.line
        return f"{self.line}, column {self.columns.index(name) + 1} ({name})"


def unknown(names: Sequence[str], known: Sequence[str]) -> str:
    """What is wrong with these names; empty if nothing is."""
    strange = [name for name in names if name and name not in known]
    twice = [name for name, times in Counter(names).items() if name and times > 1]
    problems = [
        *(f"{name!r} is not known here" for name in strange),
        *(f"{name!r} comes twice" for name in twice),
    ]
    return f"{', '.join(problems)}; known are {', '.join(known)}" if problems else ""


class CsvLines:
    """Rows under a header, or without one; the first row that has a separator shows which."""

    def __init__(self, numbers: Sequence[str], known: Sequence[str]) -> None:
        #: Names that make a header of a row; without one the first of them is the first column.
        self._numbers = numbers
        #: All names that a header may have.
        self._known = known
        self._separator = ""
        self._columns: list[str] | None = None
        self._has_header = False
        #: The first amount, and where it is: all others are written alike.
        self._first_amount: tuple[str, str] | None = None

    def fields(self, text: str, line: str) -> tuple[dict[str, str], Place] | None:
        """The cells of a row by name, and where they are; None for the header, and an empty row."""
        cells = self._cells(text, line)
        if not any(cells):
            return None
        if self._columns is None:
            if self._is_header(cells, line):
                self._columns = [cell.lower() for cell in cells]
                self._has_header = True
                return None
            self._columns = [self._numbers[0], "expected"]
        place = Place(line, self._columns)
        self._check_width(cells, place)
        found = {name: cell for name, cell in zip(self._columns, cells, strict=False) if name}
        if self._has_header and "expected" in self._columns:
            found.setdefault("expected", "")  # a row that ends before it is a row without an amount
        self._check_numbers(found, place)
        self._check_amount(found.get("expected", ""), place)
        return found, place

    def _is_header(self, cells: Sequence[str], line: str) -> bool:
        """Whether the first row names columns; names that are not known are no header's."""
        names = [cell.lower() for cell in cells]
        if set(names) & set(self._known):
            if problem := unknown(names, self._known):
                raise click.UsageError(f"{line}: the column {problem}")
            if not set(names) & set(self._numbers):
                raise click.UsageError(f"{line}: needs {' or '.join(self._numbers)} as a column")
            return True
        if not any(character.isdigit() for character in cells[0]):
            raise click.UsageError(
                f"{line}: {cells[0]!r} is not known here as a column, and no number either; known "
                f"are {', '.join(self._known)}"
            )
        return False

    def _cells(self, text: str, line: str) -> list[str]:
        try:
            if not self._separator:
                self._separator = self._separator_of(text)
            return _split(text, self._separator or ",")
        except csv.Error as error:
            raise click.UsageError(f"{line}: not a row of CSV: {error}") from error

    def _separator_of(self, text: str) -> str:
        """The one that leaves a header, or else a number that may be one; none: not known yet."""
        rows = {each: _split(text, each) for each in _SEPARATORS if each in text}
        for separator, cells in rows.items():
            if {cell.lower() for cell in cells} & set(self._numbers):
                return separator
        for separator, cells in rows.items():
            if not _NO_NUMBER(cells[0]):
                return separator
        return ""

    def _check_width(self, cells: Sequence[str], place: Place) -> None:
        width = len(place.columns)
        if any(cells[width:]):
            raise click.UsageError(
                f"{place.line}, column {width + 1}: there are {width} columns "
                f"({', '.join(place.columns)}), separated by {_SEPARATORS[self._separator]}; "
                "is an amount written with a comma? Write 12.30"
            )
        for number, (name, cell) in enumerate(zip(place.columns, cells, strict=False), start=1):
            if cell and not name:
                raise click.UsageError(f"{place.line}, column {number}: its column has no name")

    def _check_numbers(self, found: dict[str, str], place: Place) -> None:
        for name in self._numbers:
            number = found.get(name, "")
            if _NO_NUMBER(number) and damage(number) is None:
                known = _SEPARATORS.get(self._separator, "a comma, a semicolon or a tab")
                raise click.UsageError(
                    f"{place.of(name)}: {number!r} is no number: columns are separated by {known}"
                )

    def _check_amount(self, amount: str, place: Place) -> None:
        """Spreadsheets write 12.00 yuan as 12, which would be 12 fen beside 12.30 yuan."""
        if not amount:
            return
        if self._first_amount is None:
            self._first_amount = amount, place.line
        first, line = self._first_amount
        if ("." in first) is not ("." in amount):
            raise click.UsageError(
                f"{place.of('expected')}: {amount!r} and {first!r} ({line}) are not both fen or "
                "both yuan: write all amounts with two decimals (12.00), or all in fen (1200)"
            )


def _split(text: str, separator: str) -> list[str]:
    row = next(csv.reader([text], delimiter=separator, strict=True))
    return [cell.strip(BLANKS) for cell in row]
