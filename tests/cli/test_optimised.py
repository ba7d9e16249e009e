"""Help under ``python -OO``, which leaves every docstring out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chaoying_async.fieldwords import docstring_of

#: Prints the help of every command, and of the commands below it.
_PROGRAM = """
import click
from chaoying_async.cli.command_line import chaoying

def told(command, name, above):
    context = click.Context(command, info_name=name, parent=above, terminal_width=100)
    print(f"## {context.command_path}", command.get_help(context), command.get_short_help_str())
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            told(command.get_command(context, below), below, context)

told(chaoying, "chaoying", None)
"""
_QUESTIONS = """
from chaoying_async.fieldwords import docstring_of, words_of
from chaoying_async import Pay
from chaoying_async.fieldwords import FieldWords
print(Pay.__doc__ is None, FieldWords.__doc__ is None)
print(docstring_of(Pay)[:18], "|", docstring_of(words_of)[:12], "|", words_of(Pay, "body").term)
"""


def _output(*arguments: str) -> str:
    command = [sys.executable, "-X", "utf8", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.outside
def test_help_is_whole_without_docstrings() -> None:
    """Every page, the lists of commands included, is what it is with docstrings."""
    pages = _output("-c", _PROGRAM)
    assert pages.count("## chaoying") > 35
    assert "Ask how an order ended (订单查询, orderquery)." in pages
    assert _output("-OO", "-c", _PROGRAM) == pages


@pytest.mark.outside
def test_words_come_from_the_source_where_docstrings_are_gone() -> None:
    """Of a class, a function and a field."""
    with_docstrings, without = _output("-c", _QUESTIONS), _output("-OO", "-c", _QUESTIONS)
    assert with_docstrings.splitlines()[0] == "False False"
    assert without.splitlines()[0] == "True True"
    assert without.splitlines()[1] == with_docstrings.splitlines()[1]
    assert without.splitlines()[1] == "``pay`` 提交支付: subm | The words of | 商品描述"


def test_a_program_without_sources_has_no_words() -> None:
    """Empty, never an error: a frozen program may have left its sources out."""
    made = type("Made", (), {"__module__": "builtins", "__doc__": None})
    assert docstring_of(made) == ""
