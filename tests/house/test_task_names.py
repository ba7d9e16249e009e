"""Every task that the library starts has a name: ``python -m asyncio ps`` shows who is at work."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoying_async import GatewaySession, OrderQuery, Pay, PayType, Poller, checkout
from chaoying_async.sandbox import Sandbox
from chaoying_async.testing import FakeClock
from tests.house.product import parts, trees
from tests.shop import Shop
from tests.table import table

#: These take a name for the task that they start.
NAMED = frozenset({"create_task", "start_soon"})
#: These make tasks of coroutines, and take no name: give them tasks.
NAMELESS = frozenset({"ensure_future", "run_coroutine_threadsafe", "wait_for", "as_completed"})

#: Where one of these is called all the same, and why.
EXCEPTIONS = {
    ("web/loop_thread.py", "run_coroutine_threadsafe"): "asyncio makes the task, in the other loop",
    ("testing/fake_clock.py", "ensure_future"): "the caller's own work, and it may be a task",
    ("testing/simulation/front_door.py", "ensure_future"): "an app's answer may be any awaitable",
    ("testing/simulation/loop.py", "ensure_future"): "the loop's own run_until_complete",
}


def _name(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _calls(path: Path) -> Iterator[ast.Call]:
    yield from (node for node in parts(path) if isinstance(node, ast.Call))


@table("path", trees, ids=str)
def test_a_task_is_started_with_its_name(path: Path) -> None:
    """Whoever looks at a process that hangs sees which part of the library waits."""
    nameless = [
        f"{path}:{call.lineno}"
        for call in _calls(path)
        if _name(call) in NAMED and "name" not in {each.arg for each in call.keywords}
    ]
    assert nameless == []


def test_what_takes_no_name_is_given_no_coroutine() -> None:
    """``ensure_future`` and its like make a "Task-17"; the few that stay have a reason."""
    found = {
        (str(path), _name(call))
        for path in trees()
        for call in _calls(path)
        if _name(call) in NAMELESS
    }
    assert found == set(EXCEPTIONS)


@table("path", lambda: (path for path in trees() if path.parts[0] != "testing"), ids=str)
def test_what_is_gathered_are_tasks(path: Path) -> None:
    """``gather`` makes nameless tasks of coroutines: it is given lists of tasks."""
    for call in _calls(path):
        if _name(call) != "gather":
            continue
        for given in call.args:
            assert isinstance(given, ast.Starred), f"{path}:{call.lineno}"
            made = given.value
            if isinstance(made, ast.GeneratorExp):
                assert isinstance(made.elt, ast.Call), f"{path}:{call.lineno}"
                assert _name(made.elt) == "create_task", f"{path}:{call.lineno}"
            else:
                assert "tasks" in ast.unparse(made), f"{path}:{call.lineno}"


async def test_no_task_of_a_payments_life_has_pythons_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A checkout, a poller and a handler, as they run: none of their tasks is a "Task-17"."""
    names: list[str] = []
    loop = asyncio.get_running_loop()

    def made(
        _loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=_loop, **options)
        loop.call_soon(lambda: names.append(task.get_name()))  # 3.11 sets the name afterwards
        return task

    clock, shop = FakeClock(), Shop()
    factory: Any = made
    loop.set_task_factory(factory)
    try:
        async with (
            Sandbox(clock=clock) as sandbox,
            GatewaySession(
                sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport, clock=clock
            ) as gateway,
            Poller(gateway, clock=clock) as poller,
            shop.handler() as handler,
        ):
            pay = Pay(
                body="tea", out_trade_no="A100011", total_fee=401, auth_code="130000000000000001"
            )
            began = asyncio.create_task(checkout(gateway, pay, clock=clock), name="the till")
            await clock.run(began)
            query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011")
            await clock.run(poller.wait(query, expected=401))
            await handler.handle(shop.body())
    finally:
        loop.set_task_factory(None)
    assert [name for name in names if not name.startswith(("chaoying ", "the till", "Task-"))] == []
    assert {"chaoying poller: schedule", "chaoying poller: ask"} <= set(names)
    assert {"chaoying notifications: work"} <= set(names)
    assert (
        len([name for name in names if name.startswith("Task-")]) <= 1
    )  # clock.run(poller.wait())
