"""An immutable mapping, in which the ledger keeps its orders.

:meth:`Table.put` gives a *new* table and leaves the old one as it was, so that a step of the ledger
can be a pure function. The entries are spread over shards and only one shard is copied, which keeps
a hundred thousand orders cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_SHARDS = 256


class Table(Mapping[K, V], Generic[K, V]):
    """An immutable mapping with a cheap :meth:`put`.

    Iteration follows no order that means anything: sort by something of your own.
    """

    __slots__ = ("_shards",)

    def __init__(self, shards: tuple[Mapping[K, V], ...] = ({},) * _SHARDS) -> None:
        self._shards = shards

    def put(self, key: K, value: V) -> Table[K, V]:
        """A new table that also holds ``value``."""
        at = hash(key) % _SHARDS
        shards = list(self._shards)
        shards[at] = {**shards[at], key: value}
        return Table(tuple(shards))

    def changed_since(self, older: Table[K, V]) -> Iterator[tuple[K, V]]:
        """The entries that ``older`` lacks or holds with another value."""
        for mine, before in zip(self._shards, older._shards, strict=True):
            if mine is not before:
                for key, value in mine.items():
                    if before.get(key) is not value:
                        yield key, value

    def __getitem__(self, key: K) -> V:
        return self._shards[hash(key) % _SHARDS][key]

    def __iter__(self) -> Iterator[K]:
        for shard in self._shards:
            yield from shard

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def __repr__(self) -> str:
        return f"<Table of {len(self)}>"
