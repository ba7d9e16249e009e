"""What a program of the shop needs of its world, and the words of what it was told."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import attrs

from chaoying_async.testing.simulation.timeline import Timeline
from chaoying_async.testing.simulation.users_shop import UsersShop
from chaoying_async.testing.simulation.weather import Weather


class Told(StrEnum):
    """What was told of."""

    CHECKOUT = "checkout"
    """A payment at a till."""
    ORDER = "order"
    """An order that was polled for."""
    REFUND = "refund"
    """A refund."""
    ERROR = "error"
    """A call that raised."""


#: What a shop says that waits for an order once more; no status has this name.
AGAIN = "waited for once more"


@attrs.frozen
class Word:
    """Something that the library told the shop."""

    at: float
    """When; seconds since the world began."""
    who: str
    """The process that was told."""
    told: Told
    """What it was about."""
    number: str
    """The number of the order, or of the refund."""
    status: str
    """How it ended."""


@attrs.frozen
class GivenOutcome:
    """An outcome that a fleet gave to the shop's task."""

    name: str
    """What names it: the same every time that it comes."""
    number: str
    """The number of the order, or of the refund."""
    told: Told
    """What it is about."""
    content: str
    """All that it says."""


class Surroundings(Protocol):
    """What a program needs of its world."""

    timeline: Timeline
    weather: Weather
    mch_id: str
    words: list[Word]
    tracked: set[str]
    given: list[GivenOutcome]

    users: UsersShop | None

    @property
    def is_calm(self) -> bool:
        """Whether the storm is over."""
        ...

    @property
    def inbox_path(self) -> str:
        """The file of the shop's tables and its inbox."""
        ...

    @property
    def store_path(self) -> str:
        """The file of the poll store."""
        ...

    def file_path(self, name: str) -> str:
        """Another file of the shop's."""
        ...
