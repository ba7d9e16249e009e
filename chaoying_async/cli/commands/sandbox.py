"""``chaoying sandbox``: serves the gateway on a port of this machine until interrupted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from chaoying_async.cli import interrupts, output, ranges
from chaoying_async.cli.language import shown, shown_by_sandbox
from chaoying_async.environment import settings_from_env
from chaoying_async.sansio.api.field_rules import absolute_url
from chaoying_async.sansio.credentials import SortOrder
from chaoying_async.sansio.hosts import is_loopback

if TYPE_CHECKING:
    from chaoying_async.sandbox import Plan, Sandbox

TOKEN = "CHAOYING_SANDBOX_TOKEN"  # noqa: S105 - the variable's name


def _plans(_ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> list[Plan]:
    from chaoying_async.sandbox import Plan

    try:
        return [Plan.parse(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _address(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> str | None:
    if text is not None and (not absolute_url(text) or "?" in text or "#" in text):
        raise click.BadParameter("must be an absolute http or https address")
    return text.rstrip("/") if text else None


def _list_scenarios(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        from chaoying_async.sandbox.serving.catalogue import as_record, lines

        if output.as_json():
            output.tell({"ok": True, **as_record()})
        else:
            click.echo("\n".join(lines(shown_by_sandbox)))
        ctx.exit()


@click.command(name="sandbox")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: any free one.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Another address lets other machines in; all but the gateway then needs a token.",
)
@click.option(
    "--public-url",
    metavar="URL",
    callback=_address,
    help="How others reach it, where that is another address (a container's name, a proxy).",
)
@output.json_option
@click.option(
    "--speed",
    type=ranges.ABOVE_ZERO,
    default=1.0,
    help="Run time so many times as fast.",
)
@click.option("--seed", type=int, help="The same seed gives the same key and nonces.")
@click.option(
    "--unsigned-failures", is_flag=True, help="Sign successes only, as the later document says."
)
@click.option(
    "--ignore-case", is_flag=True, help="Sort names without regard to case before signing."
)
@click.option("--console/--no-console", default=True, help="Pages for a browser; default: with.")
@click.option("--total-is-paid", is_flag=True, help="Notify what was paid, not the order amount.")
@click.option("--data", metavar="FILE", help="Keep the books in a SQLite file, over restarts.")
@click.option(
    "--fault",
    "plans",
    multiple=True,
    callback=_plans,
    metavar="[ENDPOINT/]FAULT[:PROBABILITY[:SECONDS]]",
    help="Break something on purpose, as in pay/reset-after:0.1; may be repeated.",
)
@click.option(
    "--scenarios",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_scenarios,
    help="List scenarios, faults, and what sets them off.",
)
def sandbox(port: int, host: str, speed: float, plans: list[Plan], **options: Any) -> None:
    """Serve the gateway on a port of this machine, until interrupted.

    Prints its address, key and merchant, the console for a browser, and what to put into the
    environment of other commands.
    The last three digits of an amount choose what happens to a payment: see --scenarios. With
    --host, the token is CHAOYING_SANDBOX_TOKEN, or one that is made and printed.
    """
    interrupts.run(_serve(port, host, speed, plans, options))


async def _serve(
    port: int, host: str, speed: float, plans: list[Plan], options: Mapping[str, Any]
) -> None:
    from chaoying_async.sandbox import Sandbox
    from chaoying_async.sandbox.speed import FastClock

    seed = random.Random().getrandbits(128) if options["seed"] is None else options["seed"]
    sandbox = Sandbox(
        clock=FastClock(speed),
        seed=seed,
        sign_failures=not options["unsigned_failures"],
        sort_order=SortOrder.IGNORE_CASE if options["ignore_case"] else SortOrder.ASCII,
        total_is_paid=options["total_is_paid"],
        data=options["data"],
    )
    sandbox.faults.plans.extend(plans)
    token = None if is_loopback(host.strip("[]")) else _token()
    stop = asyncio.Event()
    interrupts.stops(stop.set)
    served = sandbox.serve(host=host, port=port, token=token, console=options["console"])
    async with sandbox, served as url:
        _announce(sandbox, options["public_url"] or url, token, console=options["console"])
        await stop.wait()


def _token() -> str:
    from chaoying_async.sandbox.serving.security import SHORTEST_TOKEN, new_token

    token = settings_from_env().get(TOKEN) or new_token()
    if len(token) < SHORTEST_TOKEN:
        raise click.UsageError(f"{TOKEN} has at least {SHORTEST_TOKEN} characters")
    return token


def _announce(sandbox: Sandbox, url: str, token: str | None, *, console: bool) -> None:
    """Print the address and who may use it; the key is the sandbox's own and worth nothing."""
    from chaoying_async.sandbox.serving.exports import exports

    credentials = sandbox.credentials
    told = {
        "url": url,
        **({"console": f"{url}/console/"} if console else {}),
        "agent_id": credentials.agent_id,
        "key": credentials.key,
        "pid": credentials.pid,
        "mch_id": sandbox.mch_id,
    }
    if token is not None:
        told["token"] = token
    if output.as_json():
        output.tell(told)
        return
    reach = "other machines can reach it" if token else "for this machine only"
    click.echo(shown(f"The gateway listens at {url}, {reach}. Ctrl-C ends it.") + "\n")
    for name, value in told.items():
        click.echo(f"  {name:9} {value}")
    click.echo(f"\n  books     {url}/_sandbox/books\n")
    click.echo(shown("For other commands, in another terminal:") + "\n")
    for name, value in exports(credentials, url).items():
        click.echo(f"export {name}={value}")
    if token is not None:
        click.echo(f"export {TOKEN}={token}")
