"""Shows what the library logs at ERROR while a command uses a store: a part of its answer."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

import click

from chaoying_async.cli import output


class _OnStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        click.echo(output.printable(record.getMessage()), err=True)


@contextmanager
def on_stderr() -> Generator[None]:
    """Each such line goes to stderr, for programs too."""
    log, handler = logging.getLogger("chaoying_async"), _OnStderr(level=logging.ERROR)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
