"""What a signal does to a poller: the shards are handed back, within a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import click

from chaoying_async.cli import interrupts
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.language import shown


def leaves(stop: Callable[[], object], grace: float) -> None:
    """On a signal call ``stop``; ``grace`` seconds later, or on the next signal, end at once.

    A user's function may block a thread, or the loop, for ever: only the end of the process ends
    it. Nothing is lost by that. The shards are free when their leases have run out.
    """

    def begin() -> None:
        late = threading.Timer(grace, _end, (f"not everything has ended within {grace:g} s",))
        late.daemon = True
        late.start()
        stop()

    interrupts.stops(begin, again=lambda: _end("a second signal"))


def _end(why: str) -> None:
    words = f"chaoying: {why}: leaving at once; what was under way goes on in another process"
    click.echo(shown(words), err=True)
    os._exit(Exit.INTERRUPTED)  # sys.exit would wait for threads
