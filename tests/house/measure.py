"""How large the product is, and how far a reader has to walk: ``python -m tests.house.measure``.

Prints one table for the tree that it imports. ``--json FILE --tree NAME`` adds the same figures to
that file under that name. Only public names are used, so that older trees can be measured too::

    PYTHONPATH=path/of/the/older/tree python tests/house/measure.py

``measured.json`` beside this file keeps the figures of trees worth comparing with. What came since
an older tree is left out by ``--without``, so that the rest is compared with it::

    python -m tests.house.measure --without workers observing testing/simulation

Counted in every file under ``chaoying_async/``:

- *modules*, *lines*: the files that end in ``.py``, and their lines.
- *statements*: nodes of the syntax tree that are statements, nested ones too. A string that
  stands alone (a docstring, the words below an attribute) is not counted.
- *function length*: last line minus first line plus one, counted from ``def``, of every function
  and method. Its docstring counts, its decorators do not.
- *functions used once*: functions at module level whose name occurs once in the product, as a name
  or as an attribute, besides their ``def`` and imports; per 1,000 lines.

Counted on a journey, with ``sys.setprofile``. Files in ``sandbox`` and ``testing`` are left out,
since they play the gateway and the user:

- *calls*: functions of ours that were called, each counted once, in the order of their first calls.
  Comprehensions, lambdas and code that attrs has generated are not counted.
- *files*: in how many files these functions are.
- *switches*: how often one of them is in another file than the one before it.
- *all calls*: the calls with repetitions. A coroutine that goes on after a wait is not a new call.

The journeys, each measured on its second run, when caches are filled:

- *send*: ``send(Pay)`` to the sandbox in the same process.
- *notification*: ``NotificationHandler.handle`` with an inbox in an SQLite file, and an ``on_paid``
  that takes the connection.
- *checkout*: ``checkout(Pay)`` that is paid by the first answer, without a store.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import chaoying_async

PRODUCT = Path(chaoying_async.__file__).parent
#: Folders that play the gateway and the user.
OUTSIDE = tuple(f"{PRODUCT / name}/" for name in ("sandbox", "testing"))
MCH_ID = "00000001"
PRICE = 1230
#: What an anonymous function is called; none of them is a step that a reader walks to.
ANONYMOUS = ("<lambda>", "<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<module>")


# ------------------------------------------------------------------------------------- the files


def sizes(without: Collection[str] = ()) -> dict[str, float]:
    """The figures that the files alone give, but for the files and folders ``without``."""
    left_out = {PRODUCT / name for name in without}
    trees = {
        path: ast.parse(path.read_text("utf-8"))
        for path in PRODUCT.rglob("*.py")
        if not left_out & {path, *path.parents}
    }
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in trees)
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    lengths = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    once = used_once(list(trees.values()))
    return {
        "modules": len(trees),
        "lines": lines,
        "statements": sum(isinstance(node, ast.stmt) and not _words(node) for node in nodes),
        "functions": len(lengths),
        "function length, median": statistics.median(lengths),
        "function length, 90th percentile": lengths[int(0.9 * (len(lengths) - 1))],
        "functions used once": len(once),
        "functions used once, per 1,000 lines": round(1000 * len(once) / lines, 1),
    }


def _words(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def used_once(trees: list[ast.Module]) -> list[str]:
    """Names of the functions at module level that one place of the product uses."""
    uses = Counter[str]()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                uses[node.id] += 1
            elif isinstance(node, ast.Attribute):
                uses[node.attr] += 1
    return sorted(
        node.name
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and uses[node.name] == 1
    )


# ---------------------------------------------------------------------------------- the journeys


class Walk:
    """The calls of our code between :meth:`start` and :meth:`stop`, in their order."""

    def __init__(self) -> None:
        self.calls: list[CodeType] = []
        self._frames: dict[int, FrameType] = {}  # kept, so that no number comes twice

    def start(self) -> None:
        sys.setprofile(self._hook)

    def stop(self) -> None:
        sys.setprofile(None)
        self._frames.clear()

    def _hook(self, frame: FrameType, event: str, _arg: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(PRODUCT)):
            return
        if code.co_filename.startswith(OUTSIDE) or code.co_name in ANONYMOUS:
            return
        if id(frame) not in self._frames:
            self._frames[id(frame)] = frame
            self.calls.append(code)

    def figures(self) -> dict[str, int]:
        """What the docstring of the module explains."""
        files = [code.co_filename for code in dict.fromkeys(self.calls)]
        return {
            "calls": len(files),
            "files": len(set(files)),
            "switches": sum(one != other for one, other in pairwise(files)),
            "all calls": len(self.calls),
        }

    def steps(self) -> list[str]:
        """One line a call: file and function."""
        return [
            f"{Path(code.co_filename).relative_to(PRODUCT)}  {code.co_qualname}"
            for code in self.calls
        ]


async def walked(journey: Callable[[int], Awaitable[Any]]) -> Walk:
    """The second run of ``journey``; it gets the number of the run."""
    await journey(1)
    walk = Walk()
    walk.start()
    try:
        await journey(2)
    finally:
        walk.stop()
    return walk


@asynccontextmanager
async def _gateway() -> AsyncGenerator[chaoying_async.GatewaySession]:
    from chaoying_async.sandbox import Sandbox

    async with (
        Sandbox(seed=1) as sandbox,
        chaoying_async.GatewaySession(
            sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
        ) as gateway,
    ):
        yield gateway


def _payment(run: int) -> chaoying_async.Pay:
    return chaoying_async.Pay(
        out_trade_no=f"A10001{run:02}",
        body="coffee",
        total_fee=PRICE,
        auth_code=f"13000000000000000{run}",
    )


async def send() -> Walk:
    """``send(Pay)``; making the request is not part of it."""
    async with _gateway() as gateway:
        payments = {run: _payment(run) for run in (1, 2)}
        return await walked(lambda run: gateway.send(payments[run]))


async def checkout() -> Walk:
    """``checkout(Pay)``, paid by the first answer."""
    async with _gateway() as gateway:
        payments = {run: _payment(run) for run in (1, 2)}
        return await walked(lambda run: chaoying_async.checkout(gateway, payments[run]))


async def notification() -> Walk:
    """One paid notification, applied in one transaction with an SQLite file."""
    from sqlalchemy.ext.asyncio import create_async_engine

    from chaoying_async.inbox.sql import SqlInbox
    from chaoying_async.testing import FakeClock, sign_notification

    credentials = chaoying_async.Credentials(agent_id="13000000000000000", key="k", pid="yunpos")
    clock = FakeClock()

    async def expected(mch_id: str, _number: str) -> chaoying_async.ExpectedOrder:
        return chaoying_async.ExpectedOrder(PRICE, mch_id)

    async def on_paid(_order: chaoying_async.PaidOrder, _connection: object) -> None:
        pass

    def body(run: int) -> bytes:
        return sign_notification(
            credentials,
            mch_id=MCH_ID,
            out_trade_no=f"A10001{run:02}",
            transaction_id=f"1995204392662018041771995524{run:02}",
            total_fee=PRICE,
            time_end=clock.now() - timedelta(seconds=5),
        )

    with tempfile.TemporaryDirectory() as folder:
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/shop.db")
        inbox = SqlInbox(engine, clock=clock)
        await inbox.create_tables()
        bodies = {run: body(run) for run in (1, 2)}
        async with chaoying_async.NotificationHandler(
            credentials, inbox, on_paid, expected=expected, clock=clock
        ) as handler:

            async def handle(run: int) -> None:
                answer = await handler.handle(bodies[run])
                if answer.decision != chaoying_async.Decision.APPLY:
                    raise RuntimeError(answer)

            walk = await walked(handle)
        await engine.dispose()
    return walk


JOURNEYS = {"send": send, "notification": notification, "checkout": checkout}


def main() -> None:
    """Measure, print, and write a file if asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.house.measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the figures there")
    parser.add_argument("--tree", default="this tree", metavar="NAME", help="and call them this")
    parser.add_argument("--steps", choices=JOURNEYS, help="print each call of one journey instead")
    parser.add_argument("--without", nargs="*", default=(), metavar="PATH", help="leave it out")
    options = parser.parse_args()
    if options.steps:
        print(*asyncio.run(JOURNEYS[options.steps]()).steps(), sep="\n")  # noqa: T201 - a script
        return
    figures: dict[str, Any] = sizes(options.without)
    figures |= {name: asyncio.run(journey()).figures() for name, journey in JOURNEYS.items()}
    for name, figure in figures.items():
        shown = (
            ", ".join(f"{part} {n}" for part, n in figure.items())
            if isinstance(figure, dict)
            else f"{figure:,}"
        )
        print(f"{name:40}{shown}")  # noqa: T201 - a script
    if options.json:
        kept = json.loads(options.json.read_text("utf-8")) if options.json.exists() else {}
        kept[options.tree] = figures
        options.json.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
