"""How much of a campaign runs: ``FULL=1`` all of it, ``QUICK=1`` a sample of the usual.

``make quick`` sets ``QUICK``. What it thins out, ``make test`` runs whole, or in a sample of its
own where that takes seconds.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

FULL = bool(os.environ.get("FULL"))
QUICK = bool(os.environ.get("QUICK")) and not FULL


def cases(sample: Iterable[T], *, more: Iterable[T]) -> list[T]:
    """What to run: the sample, and with ``FULL=1`` those behind it as well."""
    return [*sample, *more] if FULL else [*sample]


def sampled(rows: Iterable[T], *, every: int, start: int = 0) -> Iterable[T]:
    """One row in ``every``; with ``FULL=1`` all of them. Take a prime, as for :func:`thinned`.

    With a ``start`` of their own, tests that share their rows meet more of them together.
    """
    return rows if FULL else itertools.islice(rows, start % every, None, every)


def thinned(rows: Iterable[T], *, every: int, usual: int = 1) -> Iterable[T]:
    """One row in ``usual``; for ``make quick`` one in ``every``, with ``FULL=1`` all of them.

    For a product of columns take primes that divide no column's length: then each value of each
    column is still met.
    """
    return itertools.islice(rows, 0, None, 1 if FULL else every if QUICK else usual)
