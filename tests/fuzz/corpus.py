"""Inputs that reached something new, and those that once broke something: a line of JSON each.

A character of a line is a byte of the input.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

#: The longest input; the document's longest message has some 2 KiB.
LONGEST = 4096
FOLDER = Path(__file__).with_name("corpus")


def kept(target: str) -> list[bytes]:
    """The inputs of one target."""
    lines = _file(target).read_text("ascii").splitlines()
    return [json.loads(line).encode("latin-1") for line in lines]


def keep(target: str, inputs: Iterable[bytes]) -> None:
    """Let these be the inputs of one target."""
    lines = [json.dumps(each.decode("latin-1")) + "\n" for each in sorted(set(inputs))]
    _file(target).write_text("".join(lines), "ascii")


def _file(target: str) -> Path:
    return FOLDER / f"{target}.jsonl"
