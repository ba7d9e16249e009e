"""Finds the user's function or queue, and writes the log of a process that runs it."""

from __future__ import annotations

import logging
import pkgutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import click

from chaoying_async.workers.queues.protocol import OutcomeQueue

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def found_in(directory: str) -> None:
    """Let functions be found in this directory first, as a web server's ``--app-dir`` does."""
    sys.path.insert(0, str(Path(directory).resolve()))


def check_function(then: str) -> None:
    """A usage error, now and not when the first order ends, for what is no function."""
    if not callable(_found(then, "--then")):
        raise click.BadParameter(f"{then} is no function", param_hint="--then")


def queue_named(name: str) -> OutcomeQueue:
    """The queue of ``--queue``."""
    if name == "pgqueuer":
        from chaoying_async.workers.queues.pgqueuer import PgQueuerQueue

        return PgQueuerQueue()
    kind, _, app = name.partition(":")
    if kind != "celery" or not app:
        raise click.BadParameter("is celery:MODULE:APP or pgqueuer", param_hint="--queue")
    from chaoying_async.workers.queues.celery import CeleryQueue

    found = _found(app, "--queue")
    return found if isinstance(found, CeleryQueue) else CeleryQueue(found)


def _found(name: str, option: str) -> object:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(f"cannot be found: {error}", param_hint=option) from error


@contextmanager
def logged(level: str) -> Generator[None]:
    """The log goes to stderr, the user's own lines too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(level.upper())
    try:
        yield
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
