"""What goes wrong in one world: drawn from its seed, a few kinds of faults at a time (swarm).

A world in which everything fails a little hides bugs that need two of the same kind, so every seed
draws which faults exist at all, and then how often.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TypeVar

import attrs

from chaoying_async.testing.simulation.changes import (
    Changes,
    drawn_changes,
    drawn_rotation,
    drawn_steps,
)
from chaoying_async.testing.simulation.inline_sqlite import CalmDisk, Trouble
from chaoying_async.testing.simulation.process import Blow
from chaoying_async.testing.simulation.timeline import Happening


class WireFault(Enum):
    """What can happen to a request and its reply."""

    REFUSED = "the connection is refused: it never left"
    LOST_BEFORE = "lost on its way there"
    LOST_AFTER = "carried out, and the reply is lost"
    ARRIVES_LATE = "arrives when nobody waits for it any more"
    LATE = "answered late"
    TWICE = "arrives twice"
    STRANGER = "answered with another order's reply"
    NAMELESS = "answered once with a failure that names no order, another one's"
    CUT = "half of the reply arrives"
    WRONG_SIGN = "the reply is signed wrongly"
    NO_SIGN = "the reply is not signed"
    FORGED = "somebody on the way answers that it is paid"
    HTML = "carried out, and answered with a page of HTML"
    HTTP_500 = "carried out, and answered with status 500"
    HTTP_502 = "not carried out, and answered with status 502"
    CODE_INSTEAD = "not carried out, and answered with a code"
    CODE_ALTHOUGH = "carried out, and answered with a code that says nothing"
    UNKNOWN_VALUES = "answered with values that are in no table"
    CONTRADICTION = "answered with fields that contradict each other"
    OLD_KEY = "somebody who has the old key answers that it is paid"


class MailFault(Enum):
    """What can happen to a notification."""

    LOST = "lost on its way"
    UNHEARD = "delivered, and the answer is lost"
    TWICE = "delivered twice at once"
    LATE = "delivered late, so that others overtake it"
    FORGED = "a forgery comes first"
    TRICKLED = "sent again at once, after its answer"
    TWIN = "another merchant of the agent was paid under the same number"
    OLD_KEY = "what is signed with a key that has ended comes first"
    OTHERS_KEY = "what is signed with another merchant's key comes first"


#: All but those that are there only where a key is rotated, or several merchants have keys.
_WIRE: Sequence[WireFault] = tuple(fault for fault in WireFault if fault is not WireFault.OLD_KEY)
_MAIL: Sequence[MailFault] = tuple(
    fault for fault in MailFault if fault not in (MailFault.OLD_KEY, MailFault.OTHERS_KEY)
)
_DISK: Sequence[Trouble] = tuple(each for each in Trouble if each is not Trouble.GONE)
_BLOWS = (Blow.KILL, Blow.STOP, Blow.CANCEL)


@attrs.frozen(kw_only=True)
class PlannedBlow:
    """One blow against one process: so many steps after something happened in it."""

    blow: Blow
    """What is done."""
    after: Happening
    """What has to happen first."""
    times: int
    """The how-manieth such happening it is."""
    steps: int
    """So many steps of the process later."""
    lasts: float
    """Seconds until it is resumed, or another one is started in its place."""


K = TypeVar("K", bound=Enum)


@attrs.frozen(kw_only=True)
class Weather:
    """One world's configuration."""

    wire: Mapping[WireFault, float]
    """How likely each fault is that befalls a request; what is not named does not exist."""
    mail: Mapping[MailFault, float]
    """The same, for notifications."""
    disk: Mapping[Trouble, float]
    """The same, for every call to a database."""
    blows: Sequence[PlannedBlow]
    """What is done to processes."""
    processes: int
    """How many processes run the shop, on the same files."""
    rivals: bool
    """Whether all of them want the poll store; else the first one alone."""
    sales: int
    """How many orders there are."""
    tills: float
    """The part of them that is paid at a till; the others by a code."""
    raises: float
    """How likely the shop's function raises."""
    slow: float
    """How many seconds the shop's function takes at most."""
    polls: bool
    """Whether the shop polls for the orders that it is notified of, too."""
    tracks_once: bool = False
    """Whether it tracks an order when it is made, and never again: the store has to remember it."""
    patience: float = 0.0
    """Seconds that a till asks about a payment before it gives up; 0: as long as it does itself."""
    attempts: int
    """How often a notification is delivered before the gateway gives up."""
    confirms: bool
    """Whether the handler asks the gateway before the shop's function runs."""
    after_close: bool
    """Whether the shop has a function for what is paid after it closed the order."""
    closes: bool = True
    """Whether the shop closes some of its orders."""
    hangs_up: bool
    """Whether a client that waits no longer ends the work on its request."""
    storm: float
    """Seconds that all this goes on for; then nothing goes wrong any more."""
    lease: float
    """Seconds of a poll store's lease."""
    slow_disk: float
    """Seconds that a COMMIT takes at most."""
    ahead: float
    """Seconds that the gateway's clock is ahead of the shop's."""
    shuffled: float
    """How likely a step is taken out of turn."""
    sign_failures: bool
    """Whether the gateway signs what is no success."""
    total_is_paid: bool
    """Whether notifications name what was paid, and not the order amount (C 45)."""
    shards: int = 0
    """Into how many shards the orders of the shop's fleet are cut; 0: it has no fleet."""
    takes_back: float = 0.0
    """How likely a transaction that has handed an order over to the fleet is rolled back."""
    asks_again: float = 0.0
    """How likely the shop waits once more for an order by a code, some time later."""
    changes: Changes = attrs.field(factory=Changes)
    """What changes in the middle of it."""

    @property
    def is_calm(self) -> bool:
        """Whether nothing at all goes wrong."""
        faults = self.wire or self.mail or self.disk or self.blows or self.raises
        return not faults and self.changes.are_unseen

    @property
    def ages_by_the_wall(self) -> bool:
        """Whether somebody may resume a payment whose age a clock that jumped tells wrongly."""
        resumed = self.blows or self.disk or self.rivals or self.shards
        resumed = resumed or self.changes.end_processes
        return bool(self.changes.steps and resumed)


def drawn(rng: random.Random) -> Weather:
    """The weather of one seed: mostly anything, sometimes what two bugs need to meet."""
    weather = _anything(rng)
    return rng.choice((*(lambda _, each: each,) * 10, *_THEMES))(rng, weather)


def changed(rng: random.Random, weather: Weather) -> Weather:
    """The same weather, in which keys, clocks and programs may change.

    Its dice are its own: where nothing changes a seed is the world that it always was.
    """
    changes = drawn_changes(rng, weather.processes, weather.storm)
    weather = attrs.evolve(weather, changes=changes)
    if changes.rotation is not None and rng.random() < 0.5:  # noqa: PLR2004 - nobody tunes this
        weather = _forged_with_the_old_key(rng, weather)
    if changes.resolves and rng.random() < 0.7:  # noqa: PLR2004
        weather = attrs.evolve(weather, mail={**weather.mail, MailFault.OTHERS_KEY: 0.4})
    theme = rng.choice((None,) * 12 + (_rotated, _rotated, _stepped))
    return weather if theme is None else theme(rng, weather)


def _forged_with_the_old_key(rng: random.Random, weather: Weather) -> Weather:
    wire = {**weather.wire, WireFault.OLD_KEY: rng.choice((0.1, 0.4))}
    return attrs.evolve(weather, wire=wire, mail={**weather.mail, MailFault.OLD_KEY: 0.4})


def _rotated(rng: random.Random, weather: Weather) -> Weather:
    """Nothing goes wrong but that the key is replaced; perhaps somebody else has the old one."""
    rotation = drawn_rotation(rng, weather.processes, weather.storm)
    weather = attrs.evolve(
        weather,
        wire={},
        mail={},
        disk={},
        blows=[],
        raises=0.0,
        slow=0.0,
        slow_disk=0.01,
        hangs_up=False,
        attempts=rng.choice((1, 12)),
        polls=weather.polls and rng.random() < 0.5,  # noqa: PLR2004
        changes=Changes(rotation=rotation),
    )
    return _forged_with_the_old_key(rng, weather) if rng.random() < 0.5 else weather  # noqa: PLR2004


def _stepped(rng: random.Random, weather: Weather) -> Weather:
    """Clocks jump while payments at a till are undecided, and processes die over them."""
    steps = drawn_steps(rng, weather.processes, weather.storm)
    weather = attrs.evolve(weather, tills=1.0, changes=Changes(steps=steps))
    if rng.random() < 0.5:  # noqa: PLR2004
        return weather
    return attrs.evolve(weather, blows=[], disk={}, rivals=False)


def drawn_for_users(rng: random.Random) -> Weather:
    """The same for a user's shop, whose bugs are in what it does when it is told of a payment."""
    weather = _anything(rng)
    theme = rng.choice((None, _hammered, _failing_till, _mistaken))
    return weather if theme is None else theme(rng, weather)


def _taken_over(rng: random.Random, weather: Weather) -> Weather:
    """A till is stopped for longer than its lease, in the middle of payments."""
    blow = PlannedBlow(
        blow=Blow.STOP,
        after=rng.choice((Happening.SENT, Happening.REPLY, Happening.COMMIT)),
        times=rng.randint(1, 20),
        steps=rng.choice((0, 1, 2, 3, 5, 8, 13, 21, 40)),
        lasts=rng.uniform(20.0, 300.0),
    )
    return attrs.evolve(
        weather, processes=2, rivals=True, lease=15.0, tills=1.0, blows=[blow], storm=300.0
    )


def _failing_till(rng: random.Random, weather: Weather) -> Weather:
    """What is sold at a till, and nowhere else, cannot be written down."""
    troubles = (Trouble.BUSY, Trouble.COMMIT_FAILS, Trouble.COMMIT_UNKNOWN)
    return attrs.evolve(weather, tills=1.0, disk={rng.choice(troubles): 0.1}, wire={})


def _hammered(rng: random.Random, weather: Weather) -> Weather:
    """Several processes are told of the same order at once, and one of them dies over it."""
    blows = [
        PlannedBlow(
            blow=rng.choice((Blow.KILL, Blow.KILL, Blow.STOP, Blow.CANCEL)),
            after=rng.choice((Happening.NOTIFIED, Happening.EFFECT, Happening.EFFECT)),
            times=rng.randint(1, 6),
            steps=rng.randint(0, 40),
            lasts=rng.choice((0.5, 5.0, 40.0)),
        )
        for _ in range(rng.randint(1, 3))
    ]
    return attrs.evolve(
        weather,
        processes=rng.choice((2, 3)),
        rivals=False,
        tills=0.0,
        blows=blows,
        mail={MailFault.TWICE: 0.5, MailFault.TRICKLED: 0.2, MailFault.UNHEARD: 0.2},
        disk={rng.choice(_DISK): rng.choice((0.0, 0.02, 0.1))},
        attempts=rng.choice((2, 12)),
        storm=100.0,
    )


def _before_it_left(rng: random.Random, weather: Weather) -> Weather:
    """A till is stopped before its payment left, until another one has said how that ended."""
    blow = PlannedBlow(
        blow=Blow.STOP,
        after=Happening.SALE,
        times=1,
        steps=rng.randint(38, 60),  # between the COMMIT of what is intended and the request
        lasts=rng.uniform(250.0, 380.0),
    )
    return attrs.evolve(
        weather,
        processes=2,
        rivals=True,
        lease=15.0,
        tills=1.0,
        blows=[blow],
        storm=400.0,
        disk={},
        slow_disk=0.01,
    )


def _failing_counter(rng: random.Random, weather: Weather) -> Weather:
    """Nothing fails but the shop's own function, and nobody tells it of the payment again."""
    return attrs.evolve(
        weather,
        wire={},
        mail={},
        disk={},
        blows=[],
        hangs_up=False,
        raises=rng.choice((0.3, 0.6)),
        attempts=1,
        polls=False,
        tills=0.0,
    )


def _misled(rng: random.Random, weather: Weather) -> Weather:
    """Replies are another order's, and some of these name no order."""
    likely = rng.choice((0.2, 0.6))
    wire = {WireFault.NAMELESS: likely, rng.choice(_WIRE): 0.1}
    return attrs.evolve(weather, wire=wire, polls=True, tills=rng.choice((0.0, 0.5, 1.0)))


def _mistaken(rng: random.Random, weather: Weather) -> Weather:
    """The shop is told of what is not its own."""
    mail = {MailFault.TWIN: 0.5, rng.choice(_MAIL): 0.2}
    return attrs.evolve(weather, mail=mail, tills=0.0)


def _forgetful(rng: random.Random, weather: Weather) -> Weather:
    """Nobody is notified: what was tracked once is all that the shop will ever hear of."""
    return attrs.evolve(
        weather,
        mail={MailFault.LOST: 0.9},
        attempts=1,
        polls=True,
        tracks_once=True,
        tills=rng.choice((0.0, 0.5)),
    )


_THEMES = (
    _taken_over,
    _failing_till,
    _hammered,
    _before_it_left,
    _failing_counter,
    _misled,
    _forgetful,
    _mistaken,
)


def _anything(rng: random.Random) -> Weather:
    calm = rng.random() < 0.03  # noqa: PLR2004 - nobody tunes this
    rare = 0.0 if calm else rng.choice((0.1, 0.25, 0.5))
    processes = rng.choice((1, 1, 2, 2, 3))
    return Weather(
        wire=_some(rng, _WIRE, rare, 0.5),
        mail=_some(rng, _MAIL, rare, 0.6),
        disk=_some(rng, _DISK, rare * rng.choice((0, 0.5, 1)), 0.15),
        blows=[] if calm else _blows(rng),
        processes=processes,
        rivals=rng.random() < 0.25,  # noqa: PLR2004
        sales=rng.randint(2, 5),
        tills=rng.choice((0.0, 0.3, 0.5, 1.0)),
        raises=0.0 if calm else rng.choice((0.0, 0.0, 0.3, 0.6)),
        slow=rng.choice((0.0, 0.2, 1.0, 4.0)),
        polls=rng.random() < 0.6,  # noqa: PLR2004
        tracks_once=rng.random() < 0.4,  # noqa: PLR2004
        patience=rng.choice((0.0, 0.0, 4.0, 10.0)),
        attempts=rng.choice((1, 2, 4, 12, 12, 12)),
        confirms=rng.random() < 0.3,  # noqa: PLR2004
        after_close=rng.random() < 0.7,  # noqa: PLR2004
        hangs_up=rng.random() < 0.5,  # noqa: PLR2004
        storm=rng.choice((40.0, 40.0, 100.0, 300.0)),
        lease=rng.choice((15.0, 60.0, 120.0, 120.0, 120.0)),
        slow_disk=rng.choice((0.01, 0.01, 0.2, 1.5)),
        ahead=0.0 if calm else rng.choice((0.0, 0.0, 20.0, -20.0, 200.0, -200.0)),
        shuffled=rng.choice((0.0, 0.0, 0.0, 0.2)),
        sign_failures=rng.random() < 0.7,  # noqa: PLR2004
        total_is_paid=rng.random() < 0.2,  # noqa: PLR2004
    )


def _some(rng: random.Random, kinds: Iterable[K], share: float, most: float) -> dict[K, float]:
    """Some kinds of faults, each with its own likelihood: often small, sometimes large."""
    found: dict[K, float] = {}
    for kind in kinds:
        is_there, likely = rng.random() < share, most * rng.random() ** 3
        if is_there:
            found[kind] = likely
    return found


_AFTER = (
    Happening.SALE,
    Happening.SENT,
    Happening.REPLY,
    Happening.NOTIFIED,
    Happening.EFFECT,
    Happening.EFFECT,
    Happening.COMMIT,
    Happening.COMMIT,
    Happening.TOLD,
)


#: A lease is renewed by a COMMIT, too: one in so many is about an order.
_COMMITS = 4


def _blows(rng: random.Random) -> list[PlannedBlow]:
    kinds = rng.choice(((), (Blow.KILL,), (Blow.STOP,), (Blow.CANCEL,), _BLOWS))
    return [
        PlannedBlow(
            blow=rng.choice(kinds),
            after=(after := rng.choice(_AFTER)),
            times=rng.choice((1, 1, 2, 3, 5, 8)) * (_COMMITS if after is Happening.COMMIT else 1),
            steps=rng.choice((0, 1, 2, 3, 5, 8, 13, 21, 40, 100)),
            lasts=rng.choice((0.5, 5.0, 40.0, 150.0)),
        )
        for _ in range(rng.randint(1, 4) if kinds else 0)
    ]


class Disk(CalmDisk):
    """A disk in this weather, until the storm is over."""

    def __init__(self, rng: random.Random, weather: Weather, is_calm: Callable[[], bool]) -> None:
        super().__init__(rng)
        self._weather = weather
        self._is_calm = is_calm

    def takes(self, *, commit: bool) -> float:
        return self._rng.random() * (self._weather.slow_disk if commit else 0.002)

    def trouble(self) -> Trouble | None:
        return None if self._is_calm() else struck(self._rng, self._weather.disk)


def struck(rng: random.Random, faults: Mapping[K, float]) -> K | None:
    """The fault that strikes this time, if any does."""
    for fault, likely in faults.items():
        if rng.random() < likely:
            return fault
    return None
