"""Tells this process from the one that it was forked from."""

from __future__ import annotations

import os


class _ProcessMark:
    """Stands for one process: compared as what it is, and renewed in a forked child.

    A process number would not do: it is given out again once its process is gone, to a grandchild
    too, which has a copy of everything that the dead one had.
    """


_mark = _ProcessMark()


def _renew() -> None:
    global _mark  # noqa: PLW0603 - one process, one mark
    _mark = _ProcessMark()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def this_process() -> object:
    """The same object for as long as this process lives, and another one in every other process."""
    return _mark
