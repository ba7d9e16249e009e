"""Which part of a long list a page shows, and the links to its other parts."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import attrs

from chaoying_async.sandbox.console.visit import Visit, whole

#: How many rows one page has.
SIZE = 50
#: How many page numbers are linked on either side of the one that is shown.
_AROUND = 2


@attrs.frozen
class Pages:
    """A list of ``total`` rows in pages, of which ``number`` is shown; the first is 1."""

    number: int
    total: int
    address: str
    filters: Mapping[str, str]
    """Parameters that every link keeps."""

    @classmethod
    def of(cls, address: str, filters: Mapping[str, str], asked: str, total: int) -> Pages:
        """The page that was asked for; the first for nonsense, the last for a number beyond it."""
        number = min(max(whole(asked) or 1, 1), _last(total))
        return cls(number, total, address, {name: text for name, text in filters.items() if text})

    @property
    def last(self) -> int:
        """The number of the last page."""
        return _last(self.total)

    @property
    def part(self) -> slice:
        """The rows that are shown."""
        return slice((self.number - 1) * SIZE, self.number * SIZE)

    @property
    def shown(self) -> tuple[int, int]:
        """The first and the last row that are shown, counted from 1."""
        return self.part.start + 1, min(self.part.stop, self.total)

    @property
    def links(self) -> tuple[int, ...]:
        """The page numbers to link, with 0 for a gap; empty if there is one page only."""
        if self.last == 1:
            return ()
        near = range(max(self.number - _AROUND, 1), min(self.number + _AROUND, self.last) + 1)
        linked: list[int] = []
        for number in sorted({1, self.last, *near}):
            if linked and number > linked[-1] + 1:
                linked.append(0)
            linked.append(number)
        return tuple(linked)

    def link(self, number: int) -> str:
        """The address of a page, with the filters."""
        more = {"page": str(number)} if number > 1 else {}
        query = urlencode({**self.filters, **more})
        return f"{self.address}?{query}" if query else self.address


def filters_of(visit: Visit, *names: str) -> dict[str, str]:
    """The filters that stand in the address, by name; empty where one is not used."""
    return {name: visit.asked(name) for name in names}


def _last(total: int) -> int:
    return max(-(-total // SIZE), 1)
