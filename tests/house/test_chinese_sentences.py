"""Each sentence that the command line can show has a Chinese one, and no Chinese one is left over.

``make messages`` lists the sentences; what is not translated stands here, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from chaoying_async.cli import command_line
from chaoying_async.cli.field_option import FieldOption
from chaoying_async.cli.language import chinese
from chaoying_async.cli.language.chinese_help import CLICK
from chaoying_async.cli.language.lookup import filled
from tests.house.messages import Kind, Message, messages, template
from tests.house.product import parts, trees

#: Rooms whose texts the command line does not show in Chinese, and why.
ELSEWHERE = {
    "web": "read in the log of a server, in English as every log is",
    "testing": "read by who writes tests",
    "observing": "help texts are Prometheus's, errors are read by who writes a service",
    "payments": "no command is a till: `send` sends one request",
    "sansio/payments": "the same",
    "terminals.py": "no command is a terminal",
    "observation.py": "no command has an observer",
    "observing/otel": "the same, and the descriptions of metrics",
    "workers/background_loop.py": "no command is blocking",
    "workers/blocking.py": "the same",
    "workers/queues": "read in the log of a worker",
    "fieldwords.py": "the words of fields have both languages beside the field",
    "descriptions": "OpenAPI and AsyncAPI, with the document's Chinese beside the English",
    "sansio/doctor": "the doctor has tables of its own, english.toml and chinese.toml",
    "sansio/explanation": "explanations have tables of their own, english.toml and chinese.toml",
    "sandbox/console": "the console has tables of its own, english.toml and chinese.toml",
    "sandbox/serving/events.py": "told as the console tells them",
    "sandbox/bank": "the same, and what the gateway says (msg) is never translated",
    "sandbox/document": "what the gateway says (msg) is never translated",
    "cli/language": "the tables themselves",
}
#: Who reads it reads English: the log, and tracebacks.
ENGLISH = {Kind.LOG, Kind.DEFECT}

#: Texts of several words that are no sentences of ours.
NO_SENTENCES = {
    "chaoying query {}": "a command to type",
    "chaoying refund-query {}": "a command to type",
    "books {}/_sandbox/books": "an address",
    "mobile, username": "names of fields",
    "an amount in fen (1/100 CNY)": "part of a JSON schema",
    "Accept-Encoding: identity": "a header",
    "bool | str | os.PathLike[str] | ssl.SSLContext": "a type",
    "state code trade_state mch_id out_trade_no transaction_id out_transaction_id base_fee"
    " total_fee coupon_fee fee_type time_end paytype trade_type base_refund_fee_summary"
    " refund_fee_summary": "names of fields",
    **dict.fromkeys(
        (
            "pay, facepay",
            "both pre-orders",
            "getfaceauth, authcodetoopenid",
            "Mch_Reg, GetMchId, GetPartnerId, GetMchInfo, WXA_Code2Session",
            "PayBoxConfGet, QrConfGet",
        ),
        "a row of a money rule",
    ),
    **dict.fromkeys(
        (
            "connection closed",
            "no active connection",
            "no such table",
            "no such column",
            "has no column named",
            "no such index",
            "authentication failed",
            "does not exist",
            "no pg_hba.conf entry",
            "not permitted",
            "no such savepoint",
            "Not enough data",
            "Server disconnected",
            "peer closed",
            "peer unexpectedly closed",
        ),
        "what a database or another library says, to tell its errors apart",
    ),
}

_PARAGRAPHS = re.compile(r"\n\s*\n")


def _joined(text: str) -> str:
    return " ".join(text.replace("\b", " ").split())


def _key(text: str) -> str:
    """As it stands in a table: without what joins it to others."""
    return (_joined(text) if "\n" in text else text).lstrip(" ;:").removesuffix(": ").rstrip()


@cache
def _is_elsewhere(path: Path) -> bool:
    return any(path == Path(room) or Path(room) in path.parents for room in ELSEWHERE)


@cache
def sentences() -> dict[str, Message]:
    """The sentences that are to have a Chinese one, and where each is first."""
    found = dict[str, Message]()
    for each in messages():
        if each.kind not in {*ENGLISH, Kind.HELP} and not _is_elsewhere(each.path):
            found.setdefault(_key(each.text), each)
    return {text: each for text, each in found.items() if text not in NO_SENTENCES}


def _commands(command: click.Command, ctx: click.Context) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            sub = command.get_command(ctx, name)
            assert sub is not None
            yield from _commands(sub, ctx)


@cache
def help_texts() -> frozenset[str]:
    """Every paragraph and every line of every help page, without what is made of fields."""
    root = command_line.chaoying
    found = set[str]()
    for command in _commands(root, click.Context(root)):
        if command.params and command.params[0].name == "pairs":
            continue  # one request of `send`
        found.update(map(_joined, _PARAGRAPHS.split(command.help or "")))
        for option in command.params:
            if isinstance(option, click.Option):
                more = option.more if isinstance(option, FieldOption) else option.help
                found.add(_joined(more or ""))
    return frozenset(text for text in found if text and "chaoying send " not in text)


def test_each_sentence_of_the_command_line_and_the_errors_has_a_chinese_one() -> None:
    """Where this fails: write the Chinese one into the table of its room, in cli/language."""
    table = chinese().table
    missing = {
        text: f"{at.path}:{at.line}" for text, at in sentences().items() if text not in table
    }
    assert missing == {}


def test_each_sentence_is_found_with_its_values_in_it() -> None:
    """None stands in the way of another one that fits the same text."""
    found = dict[str, str]()
    for english, told in chinese().table.items():
        values = [f"V{number}" for number in range(english.count("{}"))]
        text = filled(english, values)
        if chinese().told(text) != filled(told, values):
            found[text] = chinese().told(text)
    assert found == {}


def test_each_text_of_a_help_page_has_a_chinese_one() -> None:
    """Paragraphs of commands and lines of options; the words of fields have theirs beside them."""
    assert sorted(text for text in help_texts() if chinese().told(text) == text) == []


def test_no_chinese_sentence_is_left_over() -> None:
    """Of one that was changed the old Chinese goes; click's own texts are as click has them."""
    everything = _pieces_of_all_texts()
    left = [
        english
        for english in chinese().table
        if english not in sentences().keys() | help_texts() | CLICK.keys()
        and not all(piece in everything for piece in _pieces(english))
    ]
    assert left == []


def _pieces(text: str) -> list[str]:
    return [piece for piece in (part.strip() for part in text.split("{}")) if piece]


@cache
def _pieces_of_all_texts() -> str:
    """What labels, short texts and those of two parts are looked for in."""
    texts = (
        template(node) for path in trees() if "language" not in path.parts for node in parts(path)
    )
    return "\n".join(text for text in texts if text)


@pytest.mark.parametrize("room", ELSEWHERE)
def test_rooms_that_are_left_out_are_there(room: str) -> None:
    """An entry for what has moved would hide the sentences of its new place."""
    assert any(path == Path(room) or Path(room) in path.parents for path in trees())


def test_what_is_no_sentence_is_there() -> None:
    """An entry for what has gone is taken off the list."""
    texts = {_key(each.text) for each in messages()}
    assert sorted(NO_SENTENCES.keys() - texts) == []
