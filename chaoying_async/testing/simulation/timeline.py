"""The story of one simulated world: what happened, one line each, the same for the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple


class Happening(StrEnum):
    """What can happen; a crash can be planned for so many steps after any of these."""

    WORLD = "world"
    """The world itself: how it was drawn, when the storm ends."""
    SALE = "sale"
    """The shop wrote an order down."""
    SENT = "sent"
    """A request left a process."""
    ARRIVED = "arrived"
    """A request reached the gateway."""
    REPLY = "reply"
    """A reply, or its loss, reached a process."""
    BOOKED = "booked"
    """Something changed in the gateway's books."""
    NOTIFIED = "notified"
    """A notification reached a process."""
    ANSWERED = "answered"
    """A notification was answered."""
    EFFECT = "effect"
    """The shop's own function ran."""
    OUTSIDE = "outside"
    """The shop did something that no rollback undoes."""
    COMMIT = "commit"
    """A database carried out a COMMIT."""
    TROUBLE = "trouble"
    """A database failed on purpose."""
    TOLD = "told"
    """The library told the shop how something ended."""
    PROCESS = "process"
    """A process was started, killed, stopped, resumed, or something in it was cancelled."""
    LOG = "log"
    """The library logged a line."""
    BROKEN = "BROKEN"
    """A rule was broken."""


#: What stands in every story, and what does where it comes soon after a line that is wanted.
_ALWAYS = (Happening.WORLD, Happening.PROCESS, Happening.BROKEN)
_BESIDE = (Happening.TROUBLE, Happening.COMMIT)
#: How soon, in seconds, and how long a line is at most.
_NEAR, _WIDTH = 3.0, 160
#: The world's own files; COMMITs of a user's are few. The lease of the second is renewed always.
_POLLS = "polls.db"
_FILES = ("shop.db", _POLLS)


class Line(NamedTuple):
    """One line of the story."""

    at: float
    """Seconds since the world began."""
    who: str
    """The process it happened in; empty for the world outside."""
    happening: Happening
    """What kind of thing happened."""
    what: str
    """What happened, in words."""

    def __str__(self) -> str:
        return f"{self.at:10.3f}  {self.who:8}  {self.happening:8}  {self.what}"


class Timeline:
    """Collects the lines, and tells those who wait for something to happen."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        #: Every line so far, oldest first.
        self.lines: list[Line] = []
        #: Called with every line, after it was written.
        self.listeners: list[Callable[[Line], None]] = []

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.lines))

    def note(self, happening: Happening, what: str, who: str = "") -> None:
        """Write a line down."""
        line = Line(self.now(), who, happening, what)
        self.lines.append(line)
        for listener in self.listeners:
            listener(line)

    def about(self, numbers: Iterable[str], most: int = 80) -> str:
        """The lines about some orders: the others, and what happens all the time, left out."""
        wanted = tuple(numbers)
        found: list[Line] = []
        near: dict[str, float] = {}
        for line in self.lines:
            is_about = any(number in line.what for number in wanted)
            if is_about:
                near[line.who] = line.at
            beside = line.happening in _BESIDE and line.at - near.get(line.who, -1e9) < _NEAR
            own = line.happening is Happening.COMMIT and line.what not in _FILES
            if is_about or own or line.happening in _ALWAYS or (beside and line.what != _POLLS):
                found.append(line)
        left_out = ["..."] if len(found) > most else []
        return "\n".join([*left_out, *(str(line)[:_WIDTH] for line in found[-most:])])

    def end(self, most: int) -> str:
        """The last lines, but for the COMMITs that renew the poll store's lease."""
        found = [line for line in self.lines if line.what != _POLLS]
        return "\n".join(["...", *(str(line)[:_WIDTH] for line in found[-most:])])

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits that are equal for equal stories."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:12]
