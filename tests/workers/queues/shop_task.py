"""The shop's task that outcomes are delivered to, as its worker processes run it.

The test and the worker talk through a folder: ``held`` keeps the task waiting, ``broken`` lets it
raise; it writes a line to ``began`` when it starts and one to ``effects`` when it has its effect.
An outcome with a ``trouble`` ends its first call with that.
With ``TAKES_FROM`` it takes outcomes out of the fleet's table in that database, each once.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine

from chaoying_async.workers import took_effect
from tests.workers.troubled_tasks import OfALibrary

NAME = "shop.order_ended"
#: A task that only workers know which are started with KNOWS_NEWER.
NEWER = "shop.newer_task"


#: What ends a task, and is no Exception.
TROUBLES: Mapping[str, Callable[[], BaseException]] = {
    "cancelled": asyncio.CancelledError,
    "a library's own": OfALibrary,
    "a group": lambda: BaseExceptionGroup("of a task group", [OfALibrary()]),
}


def folder() -> Path:
    return Path(os.environ["FOLDER"])


def names() -> tuple[str, ...]:
    return (NAME, NEWER) if os.environ.get("KNOWS_NEWER") else (NAME,)


def note(where: Path, outcome: Mapping[str, Any]) -> None:
    """One line, written at once: other processes write too."""
    line = json.dumps({"pid": os.getpid(), **outcome}) + "\n"
    with where.open("ab", buffering=0) as file:
        file.write(line.encode())


def noted(where: Path) -> list[dict[str, Any]]:
    if not where.exists():
        return []
    *whole, _being_written = where.read_bytes().split(b"\n")
    return [json.loads(line) for line in whole]


def _take_effect(outcome: Mapping[str, Any]) -> None:
    if (folder() / "broken").exists():
        raise ConnectionError("the shop's own database is away")
    if "trouble" in outcome and _calls(outcome) == 1:
        make = TROUBLES[outcome["trouble"]]
        raise make()
    if "TAKES_FROM" in os.environ and not _taken(outcome):
        return
    note(folder() / "effects", outcome)


def _calls(outcome: Mapping[str, Any]) -> int:
    return sum(each["id"] == outcome["id"] for each in noted(folder() / "began"))


def _taken(outcome: Mapping[str, Any]) -> bool:
    engine = create_engine(os.environ["TAKES_FROM"])
    with engine.begin() as connection:
        first = bool(connection.execute(took_effect(outcome)).rowcount)
    engine.dispose()
    return first


def order_ended(outcome: Mapping[str, Any]) -> None:
    note(folder() / "began", outcome)
    while (folder() / "held").exists():
        time.sleep(0.02)
    _take_effect(outcome)


async def order_ended_async(outcome: Mapping[str, Any]) -> None:
    note(folder() / "began", outcome)
    while (folder() / "held").exists():
        if os.environ.get("BLOCKING"):
            time.sleep(0.02)  # noqa: ASYNC251 - nothing else of this worker runs
        else:
            await asyncio.sleep(0.02)
    _take_effect(outcome)
