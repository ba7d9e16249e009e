"""A row of the tables: a mistake, and the ways in which people make it."""

from __future__ import annotations

from typing import Generic, TypeVar

from chaoying_async.sansio.doctor.findings import Side

W = TypeVar("W")


class Mistake(Generic[W]):
    """One mistake; ``ways`` are functions that make it, of one shape for each table.

    ``common`` ones are also tried two at a time. ``accepted`` ones are no error to the library.
    ``when_told`` limits a row to signs that the message's receiver computed (True) or that came
    with the message (False).
    """

    __slots__ = ("accepted", "common", "name", "side", "ways", "when_told")

    def __init__(
        self,
        name: str,
        side: Side,
        *ways: W,
        common: bool = False,
        accepted: bool = False,
        when_told: bool | None = None,
    ) -> None:
        self.name = name
        self.side = side
        self.ways = ways
        self.common = common
        self.accepted = accepted
        self.when_told = when_told

    def __repr__(self) -> str:
        # Ways may be bound to a key (a previous one): only the name is shown.
        return f"Mistake({self.name!r})"
