"""Rows of CSV: which separator they have, what their columns are called, and where a mistake is.

Spreadsheets write ``,``, ``;`` or a tab, by the country they are set to. Nothing is guessed beyond
that: what does not fit its columns is an error that names line and column.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

import attrs
import click

_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
#: A number in CSV has none of these; a JSON line takes any text.
_NO_NUMBER = re.compile(r"[\s,;|\"']").search


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


class CsvLines:
    """Rows under a header, or without one; the first row that has a separator shows which."""

    def __init__(self, numbers: Sequence[str]) -> None:
        #: Names that make a header of a row; without one the first of them is the first column.
        self._numbers = numbers
        self._separator = ""
        self._columns: list[str] | None = None

    def fields(self, text: str, line: str) -> tuple[dict[str, str], Place] | None:
        """The cells of a row by name, and where they are; None for the header itself."""
        cells = self._cells(text)
        if self._columns is None:
            names = [cell.lower() for cell in cells]
            if set(names) & set(self._numbers):
                self._columns = names
                return None
            self._columns = [self._numbers[0], "expected"]
        place = Place(line, self._columns)
        if any(cells[len(self._columns) :]):
            raise click.UsageError(
                f"{line}, column {len(self._columns) + 1}: there are {len(self._columns)} columns "
                f"({', '.join(self._columns)}), separated by {_SEPARATORS[self._separator]}; "
                "is an amount written with a comma? Write 12.30"
            )
        found = dict(zip(self._columns, cells, strict=False))
        self._check_numbers(found, place)
        return found, place

    def _cells(self, text: str) -> list[str]:
        if not self._separator:
            self._separator = self._separator_of(text)
        return _split(text, self._separator or ",")

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

    def _check_numbers(self, found: dict[str, str], place: Place) -> None:
        for name in self._numbers:
            if _NO_NUMBER(number := found.get(name, "")):
                known = _SEPARATORS.get(self._separator, "a comma, a semicolon or a tab")
                raise click.UsageError(
                    f"{place.of(name)}: {number!r} is no number: columns are separated by {known}"
                )


def _split(text: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([text], delimiter=separator))]
