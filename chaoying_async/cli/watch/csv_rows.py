"""Reads rows of CSV: finds the separator and the columns, and says where a mistake is.

Spreadsheets write ``,``, ``;`` or a tab, by the country they are set to. Nothing else is guessed,
and no column is ignored: an unknown one could hold an amount that nobody then compares. Every
mistake is an error that names line and column.
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
#: Characters that a number in CSV cannot have; in a JSON line any text is allowed.
_NO_NUMBER = re.compile(r"[\s,;|\"']").search
#: Blanks that are cut off around a cell; no other invisible character may be in a number.
BLANKS = " \u00a0\u3000"


@attrs.frozen
class Place:
    """The place of a mistake, for whoever has to correct it."""

    line: str
    columns: Sequence[str] = ()

    def of(self, name: str) -> str:
        """The line, with the column of this name if there is one."""
        if name not in self.columns:
            return self.line
        return f"{self.line}, column {self.columns.index(name) + 1} ({name})"


def unknown(names: Sequence[str], known: Sequence[str]) -> str:
    """Which names are unknown or come twice, in words; empty: none."""
    strange = [name for name in names if name and name not in known]
    twice = [name for name, times in Counter(names).items() if name and times > 1]
    problems = [
        *(f"{name!r} is not known here" for name in strange),
        *(f"{name!r} comes twice" for name in twice),
    ]
    return f"{', '.join(problems)}; known are {', '.join(known)}" if problems else ""


class CsvRows:
    """Rows with or without a header; the first row that has a separator decides which it is."""

    def __init__(self, numbers: Sequence[str], known: Sequence[str]) -> None:
        #: Names that make a row a header; without a header the first of them is the first column.
        self._numbers = numbers
        #: All names that a header may have.
        self._known = known
        self._separator = ""
        self._columns: list[str] | None = None
        self._has_header = False
        #: The first amount and its line: all others must be written the same way.
        self._first_amount: tuple[str, str] | None = None

    def fields(self, text: str, line: str) -> tuple[dict[str, str], Place] | None:
        """The cells of a row by name, and their place; None for the header and for an empty row."""
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
            found.setdefault("expected", "")  # the row is too short to have an amount
        self._check_numbers(found, place)
        self._check_amount(found.get("expected", ""), place)
        return found, place

    def _is_header(self, cells: Sequence[str], line: str) -> bool:
        """Whether the first row is a header; an unknown name in it is an error."""
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
        """The separator that makes the row a header, or its first cell a number; or empty."""
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
        """Refuse a mix of fen and yuan: spreadsheets write 12.00 yuan as 12, which means 12 fen."""
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
