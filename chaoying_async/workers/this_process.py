"""Tells this process from the one that it was forked from."""

from __future__ import annotations

import os
import threading


class _ProcessMark:
    """Stands for one process: compared as what it is, and renewed in a forked child.

    A process number alone would not do: it is given out again once its process is gone, to a
    grandchild too, which has a copy of everything that the dead one had. But uWSGI does not tell
    Python that it forks, unless it runs with ``--py-call-osafterfork``; there the number tells.
    """

    def __init__(self) -> None:
        self.number = os.getpid()


_mark = _ProcessMark()
_renewing = threading.Lock()


def _renew() -> None:
    global _mark, _renewing
    _mark, _renewing = _ProcessMark(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def this_process() -> object:
    """The same object for as long as this process lives, and another one in every other process."""
    if _mark.number != os.getpid():
        with _renewing:
            if _mark.number != os.getpid():
                _renew()
    return _mark
