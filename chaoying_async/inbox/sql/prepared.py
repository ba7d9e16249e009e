"""A statement as its driver takes it: made once, since SQLAlchemy would make it anew each time."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select
from sqlalchemy.engine import Dialect

from chaoying_async.inbox.sql.rows import Params


class Prepared:
    """The text of a statement, its parameters in their order, and its rows with their names."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.sql: str = compiled.string
        self._constants: Params = compiled.params
        #: None where the driver takes parameters by their names.
        self._order: Sequence[str] | None = compiled.positiontup
        self._row: Any = None
        if isinstance(statement, Select):
            self._row = namedtuple("Row", statement.selected_columns.keys())  # type: ignore[misc] # noqa: PYI024

    def values(self, params: Params) -> Any:
        """The parameters as the driver takes them."""
        given = self._constants | params
        if self._order is None:
            return {name: given[name] for name in self._constants}
        return tuple([given[name] for name in self._order])

    def rows(self, found: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """The rows, with the names of their columns."""
        return [self._row(*row) for row in found]
