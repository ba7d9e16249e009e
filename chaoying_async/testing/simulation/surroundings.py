"""What all parts of a simulated world share, and the words of what its shop was told."""

from __future__ import annotations

from contextvars import Context
from enum import StrEnum
from pathlib import Path

import attrs

from chaoying_async.sandbox.bank.ledger import MCH_ID
from chaoying_async.testing.simulation.blank_files import POLLS, SHOP
from chaoying_async.testing.simulation.loop import SimulatedLoop
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


@attrs.define(kw_only=True, eq=False)
class Surroundings:
    """What all parts of one world share, and what a program needs of its world."""

    loop: SimulatedLoop
    """Its time."""
    timeline: Timeline
    """What happened."""
    weather: Weather
    """What goes wrong on purpose."""
    users: UsersShop | None
    """A user's shop; None: the world's own."""
    context: Context
    """In which everything is done that belongs to no process."""
    mch_id: str = MCH_ID
    """The merchant's number."""
    words: list[Word] = attrs.field(factory=list)
    """What the library told the shop."""
    tracked: set[str] = attrs.field(factory=set)
    """Orders that a poller's store has."""
    given: list[GivenOutcome] = attrs.field(factory=list)
    """What a fleet gave to the shop's task."""
    is_calm: bool = False
    """Whether the storm is over."""
    folder: Path = attrs.field(init=False)
    """Where the shop's files are, while the world happens."""

    @property
    def inbox_path(self) -> str:
        """The file of the shop's tables and its inbox."""
        return self.file_path(SHOP)

    @property
    def store_path(self) -> str:
        """The file of the poll store."""
        return self.file_path(POLLS)

    def file_path(self, name: str) -> str:
        """Another file of the shop's."""
        return str(self.folder / name)
