"""The targets hold on their seeds, on the corpus, and on blind mutations; and they can fail."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sansio.exchange import read_reply
from chaoying_async.sansio.notifications.message import parse_notification
from tests.fuzz import targets
from tests.fuzz.corpus import FOLDER, LONGEST, kept
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS
from tests.pure.factories import KEY
from tests.sizes import FULL, QUICK

#: Blind mutations of each target's inputs.
MUTATIONS = 20_000 if FULL else 20 if QUICK else 300


def _inputs(target: str) -> list[bytes]:
    return [*SEEDS[target](), *kept(target)]


def test_the_corpus_is_of_these_targets_and_small() -> None:
    """A clone stays small, and CI short."""
    assert {path.stem for path in FOLDER.iterdir()} == set(TARGETS) == set(SEEDS)
    assert all(0 < path.stat().st_size < 100_000 for path in FOLDER.iterdir())
    assert max(len(each) for target in TARGETS for each in kept(target)) <= LONGEST


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept_breaks_nothing(target: str) -> None:
    """Whatever came from outside is understood, or is an error of ours (M-04, M-05, M-12)."""
    for each in _inputs(target):
        TARGETS[target](each)


@pytest.mark.parametrize("target", TARGETS)
def test_blind_mutations_break_nothing(target: str) -> None:
    """Where no coverage guides them: two inputs spliced, bytes and pieces changed."""
    rng = random.Random(f"{target}{MUTATIONS}")
    inputs = _inputs(target)
    for _ in range(MUTATIONS):
        mutated = _mutated(rng.choice(inputs), rng.choice(inputs), rng)
        try:
            TARGETS[target](mutated)
        except BaseException as error:
            error.add_note(f"by {mutated!r}")
            raise


def _mutated(one: bytes, other: bytes, rng: random.Random) -> bytes:
    at, until = rng.randrange(len(one)), rng.randrange(len(other))
    body = bytearray(one[:at] + other[until:] if rng.random() < 0.3 else one)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(body) + 1)
        piece = rng.choice([bytes([rng.randrange(256)]), b"&", b"=", b"%00", b'"', b"9" * 20, b""])
        body[place : place + rng.randrange(3)] = piece
    return bytes(body[:LONGEST])


def _believes_all(body: bytes, *_: Any, **__: Any) -> Any:
    raise KeyError(body)


def _tells_the_key(*_: Any, **__: Any) -> Any:
    raise ChaoyingError(KEY)


async def _stumbles(*_: Any) -> tuple[int, bytes]:
    return 500, b""


@pytest.mark.parametrize(
    ("target", "part", "broken"),
    [
        ("notification", "parse_notification", _believes_all),
        ("notification", "parse_notification", _tells_the_key),
        ("notification", "naive_sign", lambda _: "another"),
        ("reply", "read_reply", _believes_all),
        ("reply", "read_reply", _tells_the_key),
        ("sandbox", "_answered", _stumbles),
    ],
)
def test_a_target_can_fail(
    monkeypatch: pytest.MonkeyPatch, target: str, part: str, broken: Callable[..., Any]
) -> None:
    """A foreign error, a key that is told, a signature that nobody made, a 500."""
    monkeypatch.setattr(targets, part, broken)
    with pytest.raises((AssertionError, KeyError)):
        _all_seeds(target)


def _all_seeds(target: str) -> None:
    for each in SEEDS[target]():
        TARGETS[target](each)


class Heard:
    """Calls on, and keeps what came of it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.came: list[Any] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.came.append(self.function(*arguments, **options))
        return self.came[-1]


@pytest.mark.parametrize(
    ("target", "part", "function"),
    [
        ("notification", "parse_notification", parse_notification),
        ("reply", "read_reply", read_reply),
    ],
)
def test_the_seeds_are_understood(
    monkeypatch: pytest.MonkeyPatch, target: str, part: str, function: Callable[..., Any]
) -> None:
    """So mutations begin behind the signature."""
    heard = Heard(function)
    monkeypatch.setattr(targets, part, heard)
    _all_seeds(target)
    assert len(heard.came) >= 4
