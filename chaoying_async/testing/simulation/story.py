"""What became of one seed, and how it is told."""

from __future__ import annotations

import re

import attrs

from chaoying_async.testing.simulation.timeline import Timeline
from chaoying_async.testing.simulation.weather import Weather

#: Numbers of orders, as the world makes them.
_NUMBER = re.compile(r"S\d{9}N\d+")
_MOST = 60


@attrs.frozen(kw_only=True)
class Story:
    """What became of one seed."""

    seed: int
    """The seed: the same one gives the same story, to the byte."""
    broken: tuple[str, ...]
    """The rules that were broken, a sentence for each; empty where all is well."""
    weather: Weather
    """What went wrong on purpose."""
    timeline: Timeline = attrs.field(repr=False)
    """What happened."""
    steps: int
    """How many steps the loop made."""

    @property
    def brief(self) -> str:
        """The story of the first order that a broken rule names, or else its last lines."""
        for what in self.broken:
            if numbers := _NUMBER.findall(what):
                return self.timeline.about(numbers, _MOST)
        return self.timeline.end(_MOST)
