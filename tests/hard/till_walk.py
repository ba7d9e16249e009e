"""Every order of events at one till, up to a stated number of faults, against a gateway of its own.

    python -m tests.hard.till_walk [--full] [--json PATH]

The till (``sansio.payments.machine``) is real. The gateway here is a few lines that share nothing
with the library or the sandbox: one order, whose truth changes as customers, lost messages and
cancels have it. States that were reached before are not walked again, but their paths are counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import attrs

from chaoying_async.sansio.payments.machine import (
    Till,
    heard_cancel,
    heard_query,
    next_move,
    opened,
    reopened,
)
from chaoying_async.sansio.payments.moves import (
    NO_CANCELS,
    Ask,
    CancelNews,
    Cancels,
    CheckoutEnd,
    CheckoutStatus,
    SendCancel,
    WaitUntil,
)
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import Answer, PollStatus, Says, refusal


class Truth(Enum):
    ABSENT = "never heard of"
    OPEN = "the customer is typing"
    PAID = "paid"
    CLOSED = "closed unpaid"
    REVOKED = "paid, and given back"
    FAILED = "failed"


#: A pay request that was lost arrives within so long, or never; so does a payment that was on its
#: way when its order was closed.
TRAVELS = 60.0
LATE_SUCCESS = 25.0
#: Nothing at a till goes on for longer.
LONGEST = 900.0


@attrs.frozen
class World:
    """The truth. ``late_until``: a payment may come through although the order was closed.

    ``closing``: a cancel that the till believes lost is still on its way.
    ``others``: another till made the order under the same number, before this one's pay call, and
    under a wallet of its own. ``refused``: the pay call was answered 20004.
    """

    truth: Truth
    in_flight: bool = False
    reversing: bool = False
    closing: bool = False
    late_until: float = -1.0
    others: bool = False
    refused: bool = False
    wallet: str = "WECHAT"

    def becomes(self, truth: Truth) -> World:
        """The same order, and nothing more on its way."""
        return World(truth, others=self.others, refused=self.refused, wallet=self.wallet)


@attrs.frozen
class Facts:
    """What the store holds for a restart."""

    seen: bool = False
    certain: bool = False
    paytype: str | None = None
    cancels: Cancels = NO_CANCELS
    used: bool = False
    answered: bool = False


class State(NamedTuple):
    till: Till
    world: World
    kept: Facts
    now: float
    faults: int
    crashes: int
    restarted: bool


class BrokenError(AssertionError):
    """A path on which money went wrong."""


OPEN_NEWS = Answer(Says.PENDING, about_order=True)
ANSWERS = {
    Truth.ABSENT: refusal("FAIL", "20007"),
    Truth.OPEN: OPEN_NEWS,
    Truth.PAID: Answer(Says.ENDED, PollStatus.PAID),
    Truth.CLOSED: Answer(Says.ENDED, PollStatus.CLOSED, about_order=True),
    Truth.REVOKED: Answer(Says.ENDED, PollStatus.REVOKED, about_order=True),
    Truth.FAILED: Answer(Says.ENDED, PollStatus.FAILED, about_order=True),
}
LOST = Answer(Says.TROUBLE)
UNBELIEVABLE = Answer(Says.PENDING)


@attrs.frozen(kw_only=True)
class Size:
    """How far to walk."""

    faults: int
    crashes: int
    schedules: tuple[PollSchedule, ...]
    pay_takes: tuple[float, ...] = (0.0,)
    downtimes: tuple[float, ...] = (150.0,)
    #: Is the wallet known, or guessed from the payment code.
    certain: tuple[bool, ...] = (True,)


def _schedule(every: float, until: float) -> PollSchedule:
    return PollSchedule(first=5, every=every, until=until, jitter=0)


#: The shortest first: most mistakes are found by it.
CI = (
    Size(faults=1, crashes=0, schedules=(_schedule(60, 5),), certain=(False,)),
    Size(faults=2, crashes=0, schedules=(_schedule(60, 120),)),
    Size(faults=1, crashes=1, schedules=(_schedule(60, 240),)),
)
FULL = (
    Size(faults=2, crashes=1, schedules=(_schedule(30, 60),), downtimes=(1.0, 150.0, 1000.0)),
    Size(faults=1, crashes=2, schedules=(_schedule(60, 60),), downtimes=(1.0, 150.0)),
    Size(faults=4, crashes=0, schedules=(_schedule(30, 60), _schedule(60, 5))),
    Size(
        faults=2,
        crashes=0,
        schedules=(_schedule(30, 240), _schedule(60, 5)),
        pay_takes=(0.0, 30.0),
        certain=(True, False),
    ),
    Size(faults=1, crashes=1, schedules=(_schedule(60, 60),), certain=(True, False)),
)


#: Far enough for a mistake that no lost message hides.
NEAR = (attrs.evolve(CI[-1], faults=0),)


class Walk:
    """One walk, and what it found."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.memo: dict[State, int] = {}
        self.ends: Counter[str] = Counter()
        self.cancels = 0
        self.deepest = 0

    def run(self) -> int:
        """All paths from every way a pay call can end; how many."""
        sys.setrecursionlimit(20_000)
        paths = 0
        for schedule in self.size.schedules:
            for took in self.size.pay_takes:
                for seen, certain, world in _after_pay(self.size.certain):
                    till = opened(
                        schedule,
                        ended=took,
                        paytype="WECHAT",
                        certain=certain,
                        seen=seen,
                        used=world.refused,
                    )
                    kept = Facts(False, certain, "WECHAT")  # as it was before the pay call
                    state = State(
                        till, world, kept, took, self.size.faults, self.size.crashes, False
                    )
                    paths += self.walk(state, 0)
        return paths

    def walk(self, state: State, depth: int) -> int:
        """Paths from here; raises :class:`BrokenError` on the first that is wrong."""
        if (known := self.memo.get(state)) is not None:
            return known
        self.deepest = max(self.deepest, depth)
        move = next_move(state.till, now := state.now)
        while isinstance(move, WaitUntil):
            move = next_move(state.till, now := max(now, move.moment))
            if now > state.till.since + LONGEST:
                raise BrokenError("it waits for ever")
        start, state = state, state._replace(now=now)
        if isinstance(move, CheckoutEnd):
            self._check_end(move, state)
            self.ends[f"{move.status}/{move.reason}"] += 1
            self.memo[start] = 1
            return 1
        following = self._following(state, move)
        try:
            paths = sum(self.walk(after, depth + 1) for after in following)
        except BrokenError as broken:
            broken.add_note(f"{state.now:7.1f} {state.world} {move} left={state.till.cancels}")
            raise
        self.memo[start] = paths
        return paths

    def _following(self, state: State, move: Ask | SendCancel) -> Iterator[State]:
        learnt = _facts(state.till)
        yield from self._crashed(state)
        state = state._replace(kept=learnt)
        if isinstance(move, Ask):
            yield from self._asked(state, move)
        else:
            self._check_cancel(state)
            yield from self._cancelled(state, move)

    def _crashed(self, state: State) -> Iterator[State]:
        """The process dies: what the store holds decides, and anything may happen meanwhile."""
        if not state.crashes:
            return
        for down in self.size.downtimes:
            age = state.now + down
            for world in _meanwhile(state.world, age):
                till = reopened(
                    state.till.schedule,
                    age=age,
                    paytype=state.kept.paytype,
                    certain=state.kept.certain,
                    seen=state.kept.seen,
                    suspect=False,
                    cancels=state.kept.cancels,
                    used=state.kept.used,
                    answered=state.kept.answered,
                )
                yield State(till, world, state.kept, age, state.faults, state.crashes - 1, True)

    def _asked(self, state: State, move: Ask) -> Iterator[State]:
        for world in _meanwhile(state.world, state.now):
            right = move.paytype == world.wallet
            truth = ANSWERS[world.truth if right else Truth.ABSENT]
            for fault, answer in ((0, truth), (1, LOST), (1, UNBELIEVABLE)):
                if fault <= state.faults:
                    till = heard_query(
                        state.till,
                        answer,
                        sent=state.now,
                        paytype=move.paytype,
                        earlier=world.others and world.truth is Truth.PAID and answer is truth,
                    )
                    yield state._replace(till=till, world=world, faults=state.faults - fault)

    def _cancelled(self, state: State, move: SendCancel) -> Iterator[State]:
        before = attrs.evolve(state.till.cancels, last_at=0.0).after(CancelNews.UNCLEAR, 0.0)
        kept = attrs.evolve(state.kept, cancels=before)
        for world in _meanwhile(state.world, state.now):
            for fault, news, after in _cancel_ends(world, state.now):
                if fault > state.faults:
                    continue
                sent = state._replace(kept=kept, world=after, faults=state.faults - fault)
                yield from self._crashed(sent)  # before its answer was written down
                yield sent._replace(till=heard_cancel(state.till, news, ended=state.now))

    def _check_cancel(self, state: State) -> None:
        self.cancels += 1
        earliest, latest = (30.0, 240.0) if state.restarted else (state.till.since + 15.0, 270.0)
        if not earliest <= state.now <= latest:
            raise BrokenError(f"a cancel outside its window, at {state.now}")
        if state.world.refused:
            raise BrokenError("a cancel of what may be another till's sale: 20004 was answered")
        if state.till.standing.status is PollStatus.PAID and state.till.standing.counts:
            raise BrokenError("a cancel of what was just seen paid")

    def _check_end(self, end: CheckoutEnd, state: State) -> None:
        world = state.world
        settled = world.truth in (Truth.CLOSED, Truth.REVOKED, Truth.FAILED)
        settled = settled and world.late_until < state.now
        never = world.truth is Truth.ABSENT and state.now > TRAVELS
        fine = {
            CheckoutStatus.PAID: world.truth is Truth.PAID
            and not (world.reversing or world.others),
            CheckoutStatus.PAID_EARLIER: world.truth is Truth.PAID and world.others,
            CheckoutStatus.FAILED: settled or never,
            CheckoutStatus.CANCELLED: settled,
            CheckoutStatus.PAID_AFTER_CANCEL: world.truth is Truth.PAID and not world.others,
            CheckoutStatus.UNKNOWN: True,
        }[end.status]
        if not fine:
            raise BrokenError(f"{end} at {state.now}, and in truth {world}")
        if state.now > state.till.since + LONGEST:
            raise BrokenError(f"it took until {state.now}")


def _facts(till: Till) -> Facts:
    """What an intent has of a till. A restart does not find out how the pay call was answered."""
    cancels = attrs.evolve(till.cancels, last_at=0.0)
    answered = till.used or not till.never_cancel
    return Facts(
        till.seen, till.wallets.certain, till.wallets.paytype, cancels, till.used, answered
    )


def _after_pay(wallets: tuple[bool, ...]) -> Iterator[tuple[bool, bool, World]]:
    """Undecided ends of a pay call: was an answer seen, is the wallet certain, and the truth."""
    for certain in wallets:
        yield True, certain, World(Truth.OPEN)  # NEED_QUERY
        yield True, certain, World(Truth.PAID)  # NEED_QUERY, and paid by then
        yield False, certain, World(Truth.ABSENT)  # lost before it was booked
        yield False, certain, World(Truth.ABSENT, in_flight=True)  # still on its way
        yield False, certain, World(Truth.OPEN)  # booked, and the reply lost
        yield False, certain, World(Truth.PAID)
        yield False, certain, World(Truth.FAILED)
        yield False, certain, World(Truth.PAID, others=True)  # 20004, and the reply lost
    for truth in (Truth.PAID, Truth.OPEN, Truth.CLOSED):  # 20004 is answered
        yield False, True, World(truth, others=True, refused=True, wallet="ALIPAY")
    yield False, True, World(Truth.ABSENT, refused=True)  # a parameter was wrong, no more


def _meanwhile(world: World, now: float) -> Iterator[World]:
    """What may have happened until now, nothing included."""
    if world.in_flight and now > TRAVELS:
        world = attrs.evolve(world, in_flight=False)
    yield world
    if world.in_flight:
        for truth in (Truth.OPEN, Truth.PAID, Truth.FAILED):
            yield world.becomes(truth)
    if world.truth is Truth.OPEN:
        for truth in (Truth.PAID, Truth.FAILED, Truth.CLOSED):
            yield world.becomes(truth)
    if world.truth is Truth.OPEN and world.closing:
        yield attrs.evolve(world.becomes(Truth.CLOSED), late_until=now + LATE_SUCCESS)
    if world.truth is Truth.CLOSED and now <= world.late_until:
        yield world.becomes(Truth.PAID)
    if world.reversing:
        yield world.becomes(Truth.REVOKED)


def _cancel_ends(world: World, now: float) -> Iterator[tuple[int, CancelNews, World]]:
    """How a cancel can end: what it costs, what the till hears, the truth after it."""
    carried: list[World] = []
    if world.truth is Truth.OPEN:
        closed = world.becomes(Truth.CLOSED)
        carried = [closed, attrs.evolve(closed, late_until=now + LATE_SUCCESS)]
        yield 1, CancelNews.UNCLEAR, attrs.evolve(world, closing=True)
    elif world.truth is Truth.PAID:
        paid = world.becomes(Truth.PAID)
        carried = [world.becomes(Truth.REVOKED), attrs.evolve(paid, reversing=True)]
    elif world.truth is not Truth.ABSENT:
        carried = [world]
    for after in carried:
        yield 0, CancelNews.CARRIED_OUT, after
        yield 1, CancelNews.UNCLEAR, after  # the reply was lost
    if world.truth is Truth.ABSENT:
        yield 0, CancelNews.ABSENT, world
    else:
        yield 1, CancelNews.ABSENT, world  # 20011
    for news in (CancelNews.UNCLEAR, CancelNews.REFUSED, CancelNews.NOT_SENT):
        yield 1, news, world


def figures(sizes: tuple[Size, ...]) -> dict[str, object]:
    """Walk, and say how far."""
    began = time.monotonic()
    paths = states = cancels = longest = 0
    ends: Counter[str] = Counter()
    for size in sizes:
        walk = Walk(size)
        paths += walk.run()
        states += len(walk.memo)
        cancels += walk.cancels
        longest = max(longest, walk.deepest)
        ends += walk.ends
    return {
        "paths": paths,
        "states": states,
        "cancels_checked": cancels,
        "longest_path": longest,
        "faults_and_crashes": [[size.faults, size.crashes] for size in sizes],
        "ends": dict(sorted(ends.items())),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Print the figures, or write them down."""
    parser = argparse.ArgumentParser(description="Every order of events at one till.")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = json.dumps(figures(FULL if options.full else CI), indent=2)
    print(found)  # noqa: T201 - a command
    if options.json is not None:
        options.json.write_text(found + "\n", "utf-8")


if __name__ == "__main__":
    main()
