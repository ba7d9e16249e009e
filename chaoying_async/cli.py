"""The command line: ``chaoying sandbox``, ``chaoying demo``.

Exit codes: 0 all is well, 1 it did not work out, 2 the command was wrong or something is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoying_async.sandbox import Plan, Sandbox

Command = Callable[[argparse.Namespace], int]

_EXTRA = "this command needs the extra [sandbox]: pip install 'chaoying-async[sandbox]'"
#: What the extra brings.
_BEHIND_EXTRA = frozenset({"uvicorn", "rich", "starlette"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _BEHIND_EXTRA:
            raise
        print(_EXTRA, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"chaoying: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chaoying", description="The 超赢 payment gateway, on your own machine."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_sandbox(commands)
    _add_demo(commands)
    return parser


def _add_sandbox(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "serve the gateway on a port of this machine, until interrupted"
    sandbox = commands.add_parser("sandbox", help=about, description=about)
    add = sandbox.add_argument
    add("--port", type=_port, default=0, help="port to listen on (default: any free one)")
    add("--json", action="store_true", help="print one JSON line once it is ready, for scripts")
    add("--speed", type=_speed, default=1.0, help="run time so many times as fast (default: 1)")
    add("--seed", type=int, help="the same seed gives the same key and nonces (default: fresh)")
    add(
        "--unsigned-failures",
        action="store_true",
        help="sign successes only, as the later document says",
    )
    add(
        "--ignore-case",
        action="store_true",
        help="sort names without regard to case before signing, as the later document says",
    )
    add("--total-is-paid", action="store_true", help="notify what was paid, not the order amount")
    add("--data", metavar="FILE", help="keep the books in a SQLite file, over restarts")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="[ENDPOINT/]FAULT[:PROBABILITY[:SECONDS]]",
        help="break something on purpose, as in pay/reset-after:0.1; may be repeated",
    )
    add("--scenarios", action="store_true", help="list scenarios, faults, and what sets them off")
    sandbox.set_defaults(command=_run_sandbox)


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    about = "take payments against a sandbox in its own process, and compare the books"
    demo = commands.add_parser("demo", help=about, description=about)
    demo.add_argument("--payments", type=_count, default=200, help="how many (default: 200)")
    demo.set_defaults(command=_run_demo)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port < 1 << 16:
        raise argparse.ArgumentTypeError("a port is 0 to 65535")
    return port


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 < speed < float("inf"):
        raise argparse.ArgumentTypeError("a speed is above 0")
    return speed


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return count


def _run_demo(options: argparse.Namespace) -> int:
    from chaoying_async.sandbox.demo.command import run

    return asyncio.run(run(options.payments))


def _run_sandbox(options: argparse.Namespace) -> int:
    from chaoying_async.sandbox import Plan

    if options.scenarios:
        from chaoying_async.sandbox.listing import lines

        print("\n".join(lines()))
        return 0
    try:
        plans = [Plan.parse(text) for text in options.fault]
    except ValueError as error:
        print(f"chaoying: --fault: {error}", file=sys.stderr)
        return 2
    return asyncio.run(_serve(options, plans))


async def _serve(options: argparse.Namespace, plans: list[Plan]) -> int:
    from chaoying_async.sandbox import Sandbox
    from chaoying_async.sandbox.speed import FastClock
    from chaoying_async.sansio.credentials import SortOrder

    seed = random.Random().getrandbits(128) if options.seed is None else options.seed
    sandbox = Sandbox(
        clock=FastClock(options.speed),
        seed=seed,
        sign_failures=not options.unsigned_failures,
        sort_order=SortOrder.IGNORE_CASE if options.ignore_case else SortOrder.ASCII,
        total_is_paid=options.total_is_paid,
        data=options.data,
    )
    sandbox.faults.plans.extend(plans)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with sandbox, sandbox.serve(port=options.port) as url:
        _announce(sandbox, url, as_json=options.json)
        await stop.wait()
    return 0


def _announce(sandbox: Sandbox, url: str, *, as_json: bool) -> None:
    """Say where it is and who may speak to it; the key is the sandbox's own and worth nothing."""
    credentials = sandbox.credentials
    told = {
        "url": url,
        "agent_id": credentials.agent_id,
        "key": credentials.key,
        "pid": credentials.pid,
        "mch_id": sandbox.mch_id,
    }
    if as_json:
        print(json.dumps(told), flush=True)
        return
    print(f"The gateway listens at {url}, for this machine only. Ctrl-C ends it.\n")
    for name, value in told.items():
        print(f"  {name:9} {value}")
    print(f"\n  books     {url}/_sandbox/books", flush=True)
