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
    settings = command.context_settings
    context = click.Context(command, info_name=name, parent=above, terminal_width=100, **settings)
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
print("## words", Pay.__doc__ is None, FieldWords.__doc__ is None)
print(docstring_of(Pay)[:18], "|", docstring_of(words_of)[:12], "|", words_of(Pay, "body").term)
"""
_BOTH = _PROGRAM + _QUESTIONS


@pytest.mark.outside
def test_help_and_words_are_whole_without_docstrings(capsys: pytest.CaptureFixture[str]) -> None:
    """Every page, the lists of commands included; the words of a class, a function and a field.

    They are what they are with docstrings, as in this process.
    """
    exec(_BOTH, {"__name__": "here"})  # noqa: S102 - our own
    here, known = capsys.readouterr().out.split("## words ")
    command = [sys.executable, "-X", "utf8", "-OO", "-c", _BOTH]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pages, words = told.split("## words ")
    assert pages.count("## chaoying") > 35
    assert "Ask how an order ended (订单查询, orderquery)." in pages
    assert pages == here
    assert words == "True True\n``pay`` 提交支付: subm | The words of | 商品描述\n"
    assert known == words.replace("True", "False")


def test_a_program_without_sources_has_no_words() -> None:
    """Empty, never an error: a frozen program may have left its sources out."""
    made = type("Made", (), {"__module__": "builtins", "__doc__": None})
    assert docstring_of(made) == ""
