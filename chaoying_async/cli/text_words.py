"""Refuses words of a command line that are no text where a database or Redis would get them.

An argument may be any bytes, and Python keeps those that are no UTF-8 as half surrogate pairs.
(The name of a file may have them.)
"""

from __future__ import annotations

from typing import TypeVar

import click

T = TypeVar("T", str, str | None)


def text(_ctx: click.Context, _parameter: click.Parameter, value: T) -> T:
    """A callback for such arguments and options."""
    try:
        (value or "").encode()
    except UnicodeEncodeError:
        raise click.BadParameter("holds bytes that are no UTF-8") from None
    return value
