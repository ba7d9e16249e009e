"""How much of a campaign runs: a sample of every kind of case, or with ``FULL=1`` all of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

FULL = bool(os.environ.get("FULL"))


def cases(sample: Iterable[T], *, more: Iterable[T]) -> list[T]:
    """What to run: the sample, and with ``FULL=1`` those behind it as well."""
    return [*sample, *more] if FULL else [*sample]
