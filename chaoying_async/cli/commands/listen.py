"""``chaoying listen``: receives notifications, verifies and shows them, and passes them on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import click

from chaoying_async.abc import Clock
from chaoying_async.cli import gateway_options, interrupts, output, ranges, reply_display
from chaoying_async.cli.gateway_options import SignerOptions
from chaoying_async.cli.language import language, shown
from chaoying_async.cli.listen.forwarder import ForwardAttempt, Forwarder
from chaoying_async.cli.listen.line_writer import LineWriter
from chaoying_async.cli.listen.listen_app import ListenApp, ReceivedDelivery
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.api.field_rules import absolute_url
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.doctor import describe
from chaoying_async.sansio.notifications.facts import NotificationOutcome
from chaoying_async.sansio.redact import masked_fields, shown_url

_SHOWN = ("mch_id", "total_fee", "coupon_fee", "transaction_id", "time_end", "trade_type")
_MINUTE: Final = 60.0
_OUTCOMES: Mapping[NotificationOutcome, str] = {
    NotificationOutcome.PAID: "the gateway says: paid. Compare order, amount and merchant first",
    NotificationOutcome.NOT_PAID: "the gateway says: this payment failed. Another may succeed",
    NotificationOutcome.UNCLEAR: "its fields do not agree, or cannot be read: query the order",
}


def _address(_ctx: click.Context, _parameter: click.Parameter, url: str | None) -> str | None:
    if url is not None and not absolute_url(url):
        raise click.BadParameter("must be an absolute http or https address")
    return url


@click.command(name="listen")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--forward", metavar="URL", callback=_address, help="Pass verified ones on to here.")
@click.option(
    "--log",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep verified ones, whole, in a file; what was not passed on yet is taken up.",
)
@click.option("--count", type=ranges.COUNT, help="End after so many deliveries.")
@gateway_options.who_options
@output.json_option
def listen(port: int, host: str, count: int | None, **options: Any) -> None:
    """Receive result notifications (支付结果通知) here: verify, show, pass on.

    Any path works; put the printed address into notify_url. What does not verify is answered
    `fail`, and the signature doctor's findings are shown. What does is answered `success` when it
    is safe: kept in --log, or taken by the program behind --forward, which is tried three times
    within the gateway's three seconds (for hours with --log). Without both it is only shown.
    """
    who = gateway_options.credentials(SignerOptions.taken_from(options))
    interrupts.run(_listen(who, (host, port), count, options["forward"], options["log"]))


async def _listen(
    who: Credentials, at: tuple[str, int], count: int | None, url: str | None, log: Path | None
) -> None:
    from chaoying_async.cli.listen.event_log import EventLog
    from chaoying_async.sandbox.serving.server import listening

    loop, clock, stop = asyncio.get_running_loop(), SystemClock(), asyncio.Event()
    interrupts.stops(stop.set)
    async with AsyncExitStack() as stack:
        kept = stack.enter_context(EventLog(log)) if log else None
        teller = LineWriter(_left_out, lambda: loop.call_soon_threadsafe(stop.set))
        stack.enter_context(teller)
        forward = Forwarder(url, clock) if url else None
        if forward is not None:
            stack.push_async_callback(forward.aclose)
        receiver = ListenApp(
            who,
            clock,
            forward=forward,
            log=kept,
            tell=_counted(count, stop, teller),
            tell_attempt=_attempts(teller),
        )
        stack.push_async_callback(receiver.aclose)
        address = await stack.enter_async_context(listening(receiver, host=at[0], port=at[1]))
        _announce(address, url)
        receiver.resume()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_minutes, clock, teller, name="chaoying listen: minutes")
            await stop.wait()
            tasks.cancel_scope.cancel()


async def _minutes(clock: Clock, teller: LineWriter) -> None:
    while True:
        await clock.sleep(_MINUTE)
        teller.a_minute_passed()


def _counted(
    count: int | None, stop: asyncio.Event, teller: LineWriter
) -> Callable[[ReceivedDelivery], None]:
    left = count

    def tell(heard: ReceivedDelivery) -> None:
        nonlocal left
        teller.say(partial(_tell, heard), bounded=heard.notification is None or heard.again)
        if left is not None:
            left -= 1
            if left <= 0:
                stop.set()

    return tell


def _attempts(teller: LineWriter) -> Callable[[str, ForwardAttempt], None]:
    def tell(number: str, attempt: ForwardAttempt) -> None:
        teller.say(partial(_passed, number, attempt), bounded=attempt.again)

    return tell


def _left_out(number: int) -> None:
    words = f"{number} more lines in this minute: refused ones, and repetitions"
    output.result({"event": "left-out", "ok": False, "lines": number}, words, "bold red")


def _announce(address: str, forward: str | None) -> None:
    onward = shown_url(forward) if forward else None
    if output.as_json():
        output.tell({"event": "listening", "url": address, "forward": onward})
        return
    click.echo(shown(f"notify_url: {address}/notify   Ctrl-C ends it."))
    if onward:
        click.echo(shown(f"verified notifications go on to {onward}"))


def _tell(heard: ReceivedDelivery) -> None:
    if output.as_json():
        output.tell(_record(heard))
        return
    answered = f"answered {heard.status} {heard.answer.decode()}"
    arrived = heard.at.astimezone().isoformat(" ", "seconds") if heard.at else ""
    notification = heard.notification
    if notification is None:
        why = output.printable(heard.why)
        output.say(f"{arrived}  {shown(f'REFUSED  {why}; {answered}')}", style="bold red")
        for mistake in heard.mistakes:
            happened, to_do = describe(mistake, language())
            output.say(f"  {mistake}: {happened}", f"    {to_do}")
        return
    outcome = notification.outcome.name
    style = {"PAID": "bold green", "NOT_PAID": "yellow"}.get(outcome, "bold red")
    number = output.printable(notification.out_trade_no)
    again = shown(", which came before") if heard.again else ""
    words = f"{outcome}{again}  {number}  {notification.wallet}; {shown(answered)}"
    output.say(f"{arrived}  {words}", style=style)
    output.say(f"  {shown(_OUTCOMES[notification.outcome])}")
    raw = notification.raw
    shown_fields = (
        (name, reply_display.readable(name, raw.get(name), raw.get("fee_type"))) for name in _SHOWN
    )
    output.show_pairs("", shown_fields)


def _record(heard: ReceivedDelivery) -> dict[str, Any]:
    answered = {"status": heard.status, "answer": heard.answer.decode()}
    at = heard.at.isoformat() if heard.at else None
    notification = heard.notification
    if notification is None:
        mistakes = list(heard.mistakes)
        explained = [
            dict(zip(("what_happened", "what_to_do"), describe(each), strict=True))
            for each in mistakes
        ]
        told = {"event": "refused", "ok": False, "why": heard.why, "mistakes": mistakes}
        return told | {"explained": explained, "at": at} | answered
    return {
        "event": "received",
        "ok": True,
        "at": at,
        "again": heard.again,
        "out_trade_no": notification.out_trade_no,
        "outcome": notification.outcome.name,
        "wallet": notification.wallet,
        "fields": masked_fields(notification.raw, {}),
        **answered,
    }


def _passed(number: str, attempt: ForwardAttempt) -> None:
    how = "accepted" if attempt.accepted else f"not accepted {attempt.status or attempt.problem}"
    told: dict[str, Any] = {"event": "forwarded", "ok": attempt.accepted, "out_trade_no": number}
    more = {"status": attempt.status, "problem": attempt.problem}
    output.result(told | more, f"         {number} passed on: {how}")
