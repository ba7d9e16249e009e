"""Two versions of the library in one simulated world: more of it by ``make simulate-versions``."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaoying_async import Credentials, PreviousKey
from chaoying_async.sansio.payments.intent import intent_in
from chaoying_async.sansio.polling.record import PendingOrder, read_pending
from chaoying_async.testing.simulation.sales import Purchase
from chaoying_async.testing.simulation.timeline import Happening
from tests.hard.planted_bugs import find
from tests.hard.planting import PLANTED
from tests.hard.versions.__main__ import main
from tests.hard.versions.loading import LAST, OTHERS, kept, last_version, next_version
from tests.hard.versions.world import TwoVersions, drawn_mix
from tests.sizes import FULL

STORED = Path(__file__).parents[1] / "data" / "stored"
SEEDS = range(2, 400 if FULL else 3)
KEY = "9d101c97133837e13dde2d32a5054abb"
OLD = PreviousKey("the-old-key", until=datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("called", list(OTHERS))
def test_another_version_has_everything_of_its_own(called: str) -> None:
    """Its classes, its errors and its logs' modules; nothing of it is ours, and nothing of ours."""
    other = OTHERS[called]()
    for module, name in [
        ("session", "GatewaySession"),
        ("pollstore.sql", "SqlPollStore"),
        ("exceptions", "ChaoyingError"),
        ("testing.simulation.shop_program", "ShopProgram"),
    ]:
        found = other.of(module, name)
        assert found.__module__.startswith(f"{other.name}.")
        assert {cls.__module__.partition(".")[0] for cls in found.__mro__[:-1]} <= {
            *(other.name, "builtins", "typing")
        }


def test_the_last_version_is_word_for_word_what_was_committed() -> None:
    """It had one file for a poll store, where this version has two."""
    sources = kept(LAST)
    assert "class _OpenStore:" in sources["pollstore/sql/pollstore.py"]
    assert "pollstore/sql/owned_texts.py" not in sources
    assert all(name.endswith(".py") for name in sources)


def test_values_of_ours_become_those_of_another_version() -> None:
    """With all that is in them, and the keys that show nowhere."""
    ours = Credentials("a1", KEY, "p", previous_keys=(OLD,))
    theirs = last_version().own(ours)
    assert type(theirs).__module__ == "chaoying_last.sansio.credentials"
    assert (theirs.key, theirs.previous_keys[0].key) == (KEY, "the-old-key")
    assert theirs.algorithm is last_version().of("sansio.credentials", "SignAlgorithm").MD5
    sale = Purchase(
        number="A100011", at=1.0, at_till=True, total_fee=5000, auth_code="130000000000000001"
    )
    assert type(last_version().own(sale).pay()).__module__ == "chaoying_last.sansio.api.barcode"


def test_the_next_version_writes_a_name_that_this_one_does_not_know() -> None:
    """And reads it again, as this one does."""
    text = json.loads((STORED / "checkout.json").read_text("utf-8"))["paid"]
    theirs = next_version().of("sansio.payments.intent", "intent_in")(text).text()
    assert {*json.loads(theirs)} - {*json.loads(text)} == {"added_later"}
    assert intent_in(theirs) == intent_in(text)
    waiting = json.loads((STORED / "waiting.json").read_text("utf-8"))["just begun"]
    found = read_pending(waiting.replace('"version"', '"added_later":[1],"version"'))
    assert isinstance(found, PendingOrder)
    assert found == read_pending(waiting)


def test_deployments_of_every_kind_are_drawn() -> None:
    """Rolled out, taken back, and both for good; always at least two processes."""
    kinds = Counter[str]()
    for seed in range(200):
        for called in OTHERS:
            weather, mix = drawn_mix(seed, called)
            assert weather.processes == len(mix.begins) >= 2
            times = Counter(each.slot for each in weather.changes.deploys)
            kinds[f"{called} {max(times.values(), default=0)}"] += 1
            assert times or called == "next" or any(mix.begins)
            kinds["fleet"] += bool(weather.shards)
    assert set(kinds) == {
        "fleet",
        *(f"{called} {times}" for called in OTHERS for times in range(3)),
    }
    assert min(kinds.values()) > 20


def test_one_version_follows_the_other_on_the_same_files() -> None:
    """What runs in which process stands in the story, which is the same every time."""
    story = TwoVersions(3, "last").run()
    assert story.broken == ()
    ran = [
        (line.who, line.what)
        for line in story.timeline
        if line.happening is Happening.PROCESS and line.what.endswith("version")
    ]
    assert {what for _, what in ran} == {"is last version", "is this version"}
    assert TwoVersions(3, "last").run().timeline.fingerprint == story.timeline.fingerprint


@pytest.mark.slow
@pytest.mark.timeout(3600 if FULL else 120)
@pytest.mark.parametrize("called", list(OTHERS))
def test_no_rule_is_broken_while_two_versions_run(called: str) -> None:
    """M-14 to M-26, whichever of them took the order, died over it, or was told of its end."""
    for seed in SEEDS:
        assert TwoVersions(seed, called).run().broken == ()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_bug_that_only_two_versions_show_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    """The same order under two keys takes effect twice; each version by itself is sound.

    The twelfth seed shows it; where it no longer does, those behind it are gone through.
    """
    assert find("an order in an inbox has another key", 12, 60) == 0
    assert "M-16" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "seed", "rule"),
    [
        ("an inbox's message is written in another form", 3, "M-23"),
        ("a refund's number is written in another form", 65, "M-25"),
    ],
)
def test_what_waits_for_another_version_is_missed_where_it_cannot_be_read(
    name: str, seed: int, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed order in the inbox, and a refund whose process died over it."""
    assert find(name, seed, 1) == 0
    assert f"| {rule}: " in capsys.readouterr().out


def test_bugs_that_only_two_versions_show_are_looked_for_there() -> None:
    """And the others where there is one."""
    assert sum(bug.versions for bug in PLANTED) == 7
    assert len(PLANTED) > 50


@pytest.mark.slow
def test_the_command_tells_one_story_and_goes_through_seeds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As that of the library's own world does."""
    assert main(["--seed", "2", "--trace"]) == 0
    assert "is this version" in capsys.readouterr().out
    assert main(["--first", "2", "--seeds", "2", "--with", "next"]) == 0
    assert "2 seeds from 2 on" in capsys.readouterr().out
