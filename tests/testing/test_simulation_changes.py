"""Keys that are rotated, clocks that jump and processes that are replaced in a simulated world."""

from __future__ import annotations

import random
from contextvars import copy_context
from datetime import timedelta

import attrs
import pytest

from chaoying_async import Credentials, PreviousKey
from chaoying_async.sandbox.document.http_messages import HttpRequest, read_form, written_form
from chaoying_async.sandbox.document.signature import is_signed, signature
from chaoying_async.testing.simulation import SimulatedWorld, Story
from chaoying_async.testing.simulation.changes import Changes, ClockStep, Deploy, Rotation
from chaoying_async.testing.simulation.key_ring import KeyRing, ResolverFailedError
from chaoying_async.testing.simulation.loop import SimulatedLoop
from chaoying_async.testing.simulation.process import BEGINNING
from chaoying_async.testing.simulation.shrink import plainer_weathers, without
from chaoying_async.testing.simulation.surroundings import Surroundings
from chaoying_async.testing.simulation.timeline import Happening, Timeline
from chaoying_async.testing.simulation.weather import (
    MailFault,
    Weather,
    WireFault,
    changed,
    drawn,
)

OLD = Credentials(agent_id="13000000000000000", key="the-old-key", pid="sim")
BY_THE_BOOK = Rotation(at=10.0, until=100.0, learns=(5.0, 20.0), strict=False)


def ring(rotation: Rotation | None = BY_THE_BOOK, steps: tuple[ClockStep, ...] = ()) -> KeyRing:
    loop = SimulatedLoop(random.Random(1))
    world = Surroundings(
        loop=loop,
        timeline=Timeline(loop.time),
        weather=calm(rotation=rotation, steps=steps),
        users=None,
        context=copy_context(),
    )
    return KeyRing(world, random.Random(7), OLD)


def at(keys: KeyRing, seconds: float) -> KeyRing:
    keys._world.loop._now = seconds
    return keys


def pay(signer: Credentials) -> HttpRequest:
    fields = {"method": "pay", "out_trade_no": "A1"}
    body = written_form({**fields, "sign": signature(fields, signer)})
    return HttpRequest(method="POST", path="/", body=body)


def calm(**changes: object) -> Weather:
    """Orders by code and at a till, and nothing that goes wrong but what is named."""
    weather = attrs.evolve(
        drawn(random.Random(1)),
        wire={},
        mail={},
        disk={},
        blows=[],
        raises=0.0,
        slow=0.0,
        slow_disk=0.01,
        hangs_up=False,
        processes=2,
        rivals=False,
        sales=4,
        tills=0.5,
        polls=False,
        attempts=12,
        storm=60.0,
        lease=15.0,
        ahead=0.0,
        shuffled=0.0,
    )
    return attrs.evolve(weather, changes=Changes(**changes))  # type: ignore[arg-type]


def said(story: Story, words: str) -> list[float]:
    return [line.at for line in story.timeline if words in line.what]


# --------------------------------------------------------------------------------------------- keys


def test_the_gateway_signs_with_the_new_key_from_its_moment_on() -> None:
    """Not a moment earlier."""
    keys = ring()
    assert at(keys, 9.9).gateways == OLD
    assert at(keys, 10.0).gateways is keys.new


def test_a_process_is_configured_with_what_is_known_when_it_begins() -> None:
    """From its moment on with both keys, of which the old one ends."""
    keys = at(ring(), 6.0)
    given = keys.given_to(0)
    assert given.key == keys.new.key
    assert given.previous_keys == (
        PreviousKey("the-old-key", until=BEGINNING + timedelta(seconds=100)),
    )
    assert keys.given_to(1) == OLD


@pytest.mark.parametrize(
    ("moment", "strict", "taken"),
    [(9.0, False, True), (11.0, False, True), (101.0, False, False), (11.0, True, False)],
)
def test_while_a_key_is_replaced_the_gateway_takes_both(
    moment: float, strict: bool, taken: bool
) -> None:
    """After the end the new one alone; a strict gateway never takes both."""
    keys = at(ring(attrs.evolve(BY_THE_BOOK, strict=strict)), moment)
    other = OLD if keys.gateways is keys.new else keys.new
    request = keys.admitted(pay(other))
    assert is_signed(read_form(request.parameters), keys.gateways) is taken
    assert keys.admitted(pay(keys.gateways)) == pay(keys.gateways)


def test_the_old_key_is_held_against_those_alone_who_know_that_it_has_ended() -> None:
    """Nor where a wall clock says something else."""
    keys = ring()
    known, jumps = at(keys, 21.0).given_to(1), (ClockStep(at=1.0, by=3600.0, slot=None),)
    assert at(keys, 99.0).ended_for(known) is None
    assert at(keys, 100.0).ended_for(known) == OLD
    assert keys.ended_for(OLD) is None
    assert at(ring(steps=jumps), 100.0).ended_for(known) is None


def test_a_resolver_knows_each_merchants_key_and_fails_now_and_then() -> None:
    """But not when the storm is over."""
    keys = ring(None)
    credentials_of = keys.resolver(0)

    async def ask() -> int:
        failed = 0
        for _ in range(200):
            try:
                assert await credentials_of("00000001") == OLD
            except ResolverFailedError:
                failed += 1
        keys._world.is_calm = True
        assert await credentials_of("00000002") == keys.stranger
        assert await credentials_of("99999999") is None
        return failed

    loop = keys._world.loop
    assert 0 < loop.run_until_complete(loop.create_task(ask())) < 50


def test_a_rotation_by_the_book_is_seen_by_nobody() -> None:
    """Every order takes effect, before it and after it; the books agree."""
    rotation = Rotation(at=30.0, until=630.0, learns=(0.0, 0.0), strict=False)
    weather = attrs.evolve(calm(rotation=rotation), tills=0.0, sales=6)
    story = SimulatedWorld(3, weather).run()
    assert story.broken == ()
    assert said(story, "the gateway signs with the new key") == [30.0]
    answered = said(story, ": success")
    assert min(answered) < 30.0 < max(answered)


def test_whoever_learns_of_a_key_is_started_anew() -> None:
    """As by a deploy; what was under way has an end, and is told."""
    rotation = Rotation(at=12.0, until=40.0, learns=(0.0, 15.0), strict=True)
    story = SimulatedWorld(3, calm(rotation=rotation)).run()
    assert story.broken == ()
    assert said(story, "is given the new key") == [15.0]
    assert [line.who for line in story.timeline if line.what == "begins"][-1] == "shop2.2"


# ------------------------------------------------------------------------------- clocks and deploys


def test_a_clock_that_jumps_moves_no_timer() -> None:
    """The story is the same to the millisecond where nothing is stored for later."""
    steps = [ClockStep(at=15.0, by=by, slot=None) for by in (3600.0, -3600.0)]
    before = SimulatedWorld(3, calm()).run()
    story = SimulatedWorld(3, calm(steps=steps)).run()
    assert story.broken == before.broken == ()
    assert said(story, "the wall clock jumps by -3600 s") == [15.0]
    lines = [line for line in story.timeline if "jumps" not in line.what]
    assert lines == list(before.timeline)


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_an_hour_is_nothing_to_a_payment(by: float) -> None:
    """Neither of the computer nor of one process of it."""
    for slot in (None, 0):
        steps = [ClockStep(at=8.0, by=by, slot=slot)]
        story = SimulatedWorld(3, calm(steps=steps)).run()
        assert story.broken == ()
        assert said(story, "jumps by")


def test_a_process_that_is_replaced_ends_and_leaves_nothing() -> None:
    """And another one goes on with its orders."""
    story = SimulatedWorld(3, calm(deploys=[Deploy(at=12.0, slot=0)])).run()
    assert story.broken == ()
    lines = [line for line in story.timeline if line.happening is Happening.PROCESS]
    told = [(line.who, line.what) for line in lines if line.who.startswith("shop1")]
    assert told == [
        ("shop1", "begins"),
        ("shop1", "is replaced"),
        ("shop1.2", "begins"),
        ("shop1", "has ended"),
    ]


# -------------------------------------------------------------------------------------- the weather


def test_every_kind_of_change_is_drawn_and_many_worlds_are_as_they_were() -> None:
    """So that the seeds of old stories still tell them."""
    found = []
    for seed in range(300):
        weather = drawn(random.Random(seed))
        found.append(changed(random.Random(f"{seed}/changes"), weather))
        if found[-1].changes == Changes():
            assert found[-1] == weather
    assert sum(each.changes == Changes() for each in found) > 60
    for name in ("rotation", "steps", "deploys", "resolves"):
        assert sum(bool(getattr(each.changes, name)) for each in found) > 20
    faults = {fault for each in found for fault in (*each.wire, *each.mail)}
    assert {WireFault.OLD_KEY, MailFault.OLD_KEY, MailFault.OTHERS_KEY} <= faults


def test_changes_can_be_taken_away_by_name() -> None:
    """One kind of them, or all; a process less is no fault of the world."""
    weather = calm(rotation=BY_THE_BOOK, steps=[ClockStep(at=1.0, by=20.0, slot=1)])
    names = [name for name, _ in plainer_weathers(weather)]
    assert {"changes", "rotation", "steps"} <= set(names)
    assert "deploys" not in names
    assert without(weather, ["rotation", "steps"]).changes == Changes()
    assert SimulatedWorld(3, without(weather, ["processes"])).run().broken == ()
