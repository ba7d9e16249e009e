"""Every line that the library logs at ERROR, as its reader finds it: ``…`` for each value."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from chaoying_async.pollstore import failures
from chaoying_async.web import adapter_log
from tests.house.messages import template
from tests.house.product import parts, trees

_VALUE = re.compile(r"%(?:\.\d)?[a-z]|\{[a-z]*\}")
_LOGS_ERROR = re.compile(r"log\w*\.(error|exception|critical)$")


def bare(text: str) -> str:
    """The line without its values."""
    return re.sub(r"\s+", " ", _VALUE.sub("…", text)).strip()


#: Lines that are made of other texts, by file and by what stands there.
_MADE_OF: Mapping[tuple[str, str], str] = {
    ("notifications/handler.py", "…"): (
        "handle() takes the request's raw body, as bytes, before any framework parses it; not …"
    ),
    ("inbox/readable.py", "…"): (
        "the inbox's record of order … of merchant … cannot be read by this version: it stays there"
    ),
    ("polling/records.py", "…"): "the poll store failed with …",
    ("pollstore/sql/owned_texts.py", "…"): "another process has taken the poll store over",
    ("web/adapter_log.py", "<_TAKEN.format(found=found, fix=self._fix)>"): bare(adapter_log._TAKEN),
    ("web/adapter_log.py", "<text>"): bare(adapter_log._TAKEN),
    ("web/adapter_log.py", "<_NOT_OPEN>"): bare(adapter_log._NOT_OPEN),
}
#: What is wrong with a store, which stands inside of other lines.
STORE_TROUBLES = frozenset(map(bare, failures._SAYS.values()))


@cache
def error_lines() -> Mapping[str, str]:
    """Each line, and a place that logs it."""
    found = {}
    for path in trees():
        for node in parts(path):
            if isinstance(node, ast.Call):
                for text in _texts(node):
                    line = bare(text)
                    made = _MADE_OF.get((path.as_posix(), line), line)
                    found[made] = f"{path}:{node.lineno}"
    return found


def unused() -> set[str]:
    """Texts of the table above that no file logs in this way any more."""
    return set(_MADE_OF.values()) - error_lines().keys()


def _texts(call: ast.Call) -> Iterator[str]:
    arguments = [ast.unparse(argument) for argument in call.args]
    if "logging.ERROR" in arguments:
        yield _text(call.args[arguments.index("logging.ERROR") + 1])
    elif _LOGS_ERROR.search(ast.unparse(call.func)):
        yield _text(call.args[0])


def _text(node: ast.expr) -> str:
    return template(node) or f"<{ast.unparse(node)}>"


def lines_of(page: Path) -> set[str]:
    """What stands in the first column of the page's tables, as code."""
    found = re.findall(r"^\| `([^`]+)` \|", page.read_text("utf-8"), re.MULTILINE)
    return {line for line in found if " " in line}
