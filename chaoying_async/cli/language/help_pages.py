"""Help and usage errors in the user's language, click's own texts included.

click hands every line of a help page to a formatter, and every usage error is printed by its own
``show``; both are public, and both pass through here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import IO, Any

import click

from chaoying_async.cli.language import language, shown
from chaoying_async.fieldwords import docstring_of

_PARAGRAPHS = re.compile(r"\n\s*\n")
#: What click adds to an option's help: ``[default: ascii; required]``.
_ADDED = re.compile(r"  \[(?P<items>[^\[\]]*)\]$")
#: Marks that may not begin a line.
_CLOSING = "，。；：、？！）”》』」"
_WORDS = re.compile(r"\s+|[^\s\u2e80-\uffef]+|.", re.DOTALL)
#: Columns that the names of options take at most.
_NAMES = 30


class Formatter(click.HelpFormatter):
    """Writes a help page; a Chinese one is wrapped by the width of its characters."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        usual = "用法：" if language() == "zh" else None
        super().write_usage(prog, args, prefix or usual)

    def write_heading(self, heading: str) -> None:
        if language() == "en":
            super().write_heading(heading)
        else:
            self.write(f"{' ' * self.current_indent}{shown(heading)}：\n")

    def write_text(self, text: str) -> None:
        if language() == "en":
            super().write_text(text)
            return
        indent = " " * self.current_indent
        told = (_told(paragraph, self.width - len(indent)) for paragraph in _paragraphs(text))
        self.write("\n\n".join("\n".join(indent + line for line in lines) for lines in told) + "\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = _NAMES, col_spacing: int = 2
    ) -> None:
        rows = list(rows)
        if language() == "en":
            super().write_dl(rows, col_max, col_spacing)
            return
        start = min(max(len(name) for name, _ in rows), col_max) + col_spacing
        indent = " " * self.current_indent
        for name, text in rows:
            margin = f"{name:{start}}"
            if len(name) + col_spacing > start:
                self.write(f"{indent}{name}\n")
                margin = " " * start
            for line in wrapped(in_chinese(text), max(self.width - start - 2, 20)):
                self.write(f"{indent}{margin}{line}\n")
                margin = " " * start


class Context(click.Context):
    """A context whose help pages are written by :class:`Formatter`."""

    formatter_class = Formatter


class Group(click.Group):
    """A group that lists the first sentence of each command's help."""

    context_class = Context

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if language() == "en":
            super().format_commands(ctx, formatter)
            return
        named = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, _first(command)) for name, command in named if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def localised(command: click.Command) -> click.Command:
    """The command, whose help pages and those of its subcommands are written by us.

    A command's help is the docstring of its function, which ``python -OO`` leaves out.
    """
    command.context_class = Context
    if not command.help and command.callback is not None:
        command.help = docstring_of(command.callback)
    for sub in getattr(command, "commands", {}).values():
        localised(sub)
    return command


class ErrorInChinese(click.ClickException):
    """A usage error, told in Chinese as click tells it in English."""

    def __init__(self, error: click.ClickException) -> None:
        super().__init__(error.format_message())
        self.exit_code = error.exit_code  # type: ignore[misc]  # as click's own errors do
        self._ctx: click.Context | None = getattr(error, "ctx", None)

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the usage, where help is found, and the error."""
        if self._ctx is not None:
            hint = shown(f"Try '{self._ctx.command_path} --help' for help.")
            click.echo(f"{self._ctx.get_usage()}\n{hint}\n", file=file, err=True)
        click.echo(shown(f"Error: {shown(self.message)}"), file=file, err=True)


def in_chinese(text: str) -> str:
    """A line of help with what click adds to it."""
    added = _ADDED.search(text)
    if added is None:
        return shown(" ".join(text.split()))
    items = "；".join(shown(item) for item in added["items"].split("; "))
    told = shown(" ".join(text[: added.start()].split()))
    return f"{told}[{items}]"


def _paragraphs(text: str) -> list[str]:
    return _PARAGRAPHS.split(text.strip("\n"))


def _told(paragraph: str, width: int) -> list[str]:
    """The lines of a paragraph; one that begins with click's mark keeps its own."""
    found = shown(" ".join(paragraph.replace("\b", " ").split()))
    if not paragraph.startswith("\b"):
        return list(wrapped(found, width))
    kept = paragraph.removeprefix("\b\n")
    lines = found if "\n" in found else kept
    return lines.splitlines()


def _first(command: click.Command) -> str:
    """The first sentence of a command's help, or what it says in its place."""
    if command.short_help:
        return shown(command.short_help)
    text = _paragraphs(command.help or "")[0]
    return shown(" ".join(text.split())).partition("。")[0] + "。"


def wrapped(text: str, width: int) -> Iterator[str]:
    """Lines of at most so many columns; a Chinese character takes two of them."""
    line = ""
    for word in _WORDS.findall(text):
        if line and word not in _CLOSING and columns(line + word) > width:
            yield line.rstrip()
            line = ""
        line = line + word if line else word.lstrip()
    if line.strip():
        yield line.rstrip()


def columns(text: str) -> int:
    """How wide a terminal shows a text."""
    return len(text) + sum(unicodedata.east_asian_width(c) in "WF" for c in text)
