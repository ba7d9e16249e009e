"""Makes a broken story shorter: takes away what goes wrong, as long as the same rule still breaks.

What is taken away has a name, and these names with the seed tell the shorter story again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from chaoying_async.testing.simulation.changes import Changes
from chaoying_async.testing.simulation.story import Story
from chaoying_async.testing.simulation.weather import Weather

#: What can be plainer about a world, besides its faults: a name, and what it becomes.
_PLAINER: Mapping[str, Mapping[str, Any]] = {
    "processes": {"processes": 1},
    "rivals": {"rivals": False},
    "shuffled": {"shuffled": 0.0},
    "raises": {"raises": 0.0},
    "slow": {"slow": 0.0},
    "slow_disk": {"slow_disk": 0.01},
    "ahead": {"ahead": 0.0},
    "hangs_up": {"hangs_up": False},
    "confirms": {"confirms": False},
    "total_is_paid": {"total_is_paid": False},
    "polls": {"polls": False},
    "fleet": {"shards": 0},
    "changes": {"changes": Changes()},
}
#: The same, for what changes in the middle of it.
_UNCHANGED: Mapping[str, Mapping[str, Any]] = {
    "rotation": {"rotation": None},
    "steps": {"steps": ()},
    "deploys": {"deploys": ()},
    "resolves": {"resolves": False},
}
_FAULTS = ("wire", "mail", "disk")
#: So many worlds are looked at, at most.
MOST = 40


def without(weather: Weather, names: Sequence[str]) -> Weather:
    """The same weather without some of what is in it; ``ValueError`` for what is not in it."""
    for name in names:
        plainer = dict(plainer_weathers(weather))
        if name not in plainer:
            raise ValueError(f"nothing in this world is called {name}: {', '.join(plainer)}")
        weather = plainer[name]
    return weather


def plainer_weathers(weather: Weather) -> Iterator[tuple[str, Weather]]:
    """Each way to make a weather plainer by one thing, by its name."""
    for kind in ("blows", *_FAULTS):
        if len(getattr(weather, kind)) > 1:
            none: Any = {kind: ()} if kind == "blows" else {kind: {}}
            yield kind, attrs.evolve(weather, **none)
    if weather.sales > 1:
        yield "sales", attrs.evolve(weather, sales=weather.sales - 1)
    for number in range(len(weather.blows)):
        rest = [*weather.blows[:number], *weather.blows[number + 1 :]]
        yield f"blow{number + 1}", attrs.evolve(weather, blows=rest)
    for kind in _FAULTS:
        faults: Mapping[Any, float] = getattr(weather, kind)
        for gone in faults:
            some: Any = {kind: {fault: faults[fault] for fault in faults if fault is not gone}}
            yield f"{kind}.{gone.name}", attrs.evolve(weather, **some)
    plain = {name: attrs.evolve(weather, **changed) for name, changed in _PLAINER.items()}
    for name, gone in _UNCHANGED.items():
        changes = attrs.evolve(weather.changes, **gone)
        plain[name] = attrs.evolve(weather, changes=changes)
    for name, plainer in plain.items():
        if plainer != weather:
            yield name, plainer


def shrunk(
    story: Story, again: Callable[[Sequence[str]], Story], most: int = MOST
) -> tuple[Story, Sequence[str]]:
    """The story with the least going wrong that breaks the same rule, and what was taken away.

    ``again`` tells the story of the same seed without what is named.
    """
    rules = {_rule(what) for what in story.broken}
    taken: list[str] = []
    looked, before = 0, -1
    while before != len(taken):
        before = len(taken)
        for name, _ in list(plainer_weathers(story.weather)):
            # Again while it helps: there may be another order, or another blow of this number.
            while looked < most and name in dict(plainer_weathers(story.weather)):
                looked += 1
                plainer = again([*taken, name])
                if not rules & {_rule(what) for what in plainer.broken}:
                    break
                story = plainer
                taken.append(name)
    return story, taken


def _rule(what: str) -> str:
    """What kind of sentence it is: the rule's number, or a user's sentence without numbers."""
    head, colon, _ = what.partition(":")
    return head if colon else "".join(letter for letter in what if not letter.isdigit())
