"""``chaoying trigger`` and ``chaoying resend``: make a running sandbox produce what you need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from chaoying_async.cli import control, output
from chaoying_async.cli.exits import Exit

#: What people do to an open order, by the name of the event.
_DEEDS: Mapping[str, str] = {
    "pays": "CUSTOMER_PAYS",
    "declines": "CUSTOMER_DECLINES",
    "leaves": "CUSTOMER_LEAVES",
    "closes": "GATEWAY_CLOSES",
}
_DEEDS_SAY: Mapping[str, str] = {
    "pays": "the customer pays an open order (needs ORDER)",
    "declines": "the customer's payment fails",
    "leaves": "the customer walks away",
    "closes": "the gateway closes an open order",
}
_FAULTS: Mapping[str, str] = {
    "fault": "from now on this goes wrong: pay/reset-after:0.1 in the place of ORDER",
    "calm": "from now on nothing goes wrong",
}


def _list_events(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value:
        return
    from chaoying_async.sandbox.serving.events import EVENTS

    says = {name: event.says for name, event in EVENTS.items()}
    if output.as_json():
        output.tell({"events": {**says, **_DEEDS_SAY, **_FAULTS}})
        ctx.exit()
    for title, rows in (
        ("notifications", says),
        ("orders", _DEEDS_SAY),
        ("faults", _FAULTS),
    ):
        click.echo(f"{title}:")
        for name, words in rows.items():
            click.echo(f"  {name:15} {words}")
    ctx.exit()


@click.command(name="trigger")
@click.argument("event")
@click.argument("order", required=False)
@control.url_option
@click.option("--notify-url", help="通知地址; default: the order's own.")
@click.option("--mch-id", help="商户号; default: the sandbox's first.")
@click.option(
    "--wallet", type=click.Choice(("WECHAT", "ALIPAY")), default="WECHAT", help="Without ORDER."
)
@click.option("--total-fee", type=click.IntRange(1), help="FEN, for an order that nobody made.")
@click.option("--late", type=click.FloatRange(0), help="Seconds of the sandbox's clock to wait.")
@click.option("--seed", type=int, help="With fault: the same seed breaks the same requests.")
@output.json_option
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_events,
    help="List the events.",
)
def trigger(event: str, order: str | None, url: str, **more: Any) -> None:
    """Make a running sandbox produce an event: true, forged, duplicate, late, of a wrong amount ...

    A notification without ORDER (out_trade_no) is about an order that nobody made; it then needs
    --notify-url. Exit code 0 when it was done; with a notification, whatever your program answered:
    that is shown. `chaoying trigger --list` shows all events.
    """
    if event in _FAULTS:
        _fault(url, event, order, more["seed"])
    elif event in _DEEDS:
        _deed(url, _DEEDS[event], order, more["mch_id"])
    else:
        wish = {
            "event": event,
            "out_trade_no": order,
            "notify_url": more["notify_url"],
            "mch_id": more["mch_id"],
            "kind": more["wallet"],
            "total_fee": more["total_fee"],
            "late": more["late"],
        }
        _notified(control.post(url, "notify", _without_none(wish)))


def _without_none(wish: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wish.items() if value is not None}


def _fault(url: str, event: str, plan: str | None, seed: int | None) -> None:
    if event == "fault" and not plan:
        raise click.UsageError("which one? [ENDPOINT/]FAULT[:PROBABILITY[:SECONDS]]")
    plans = [plan] if event == "fault" else []
    answer = control.post(url, "faults", _without_none({"plans": plans, "seed": seed}))
    if output.as_json():
        output.tell({"ok": True, **answer})
        return
    output.console().print(f"from now on: {', '.join(answer['plans']) or 'nothing goes wrong'}")


def _deed(url: str, deed: str, order: str | None, mch_id: str | None) -> None:
    wish = _without_none({"deed": deed, "out_trade_no": order, "mch_id": mch_id})
    answer = control.post(url, "act", wish)
    if output.as_json():
        output.tell({"ok": True, "order": answer})
        return
    names = ("out_trade_no", "status", "payable", "paid")
    output.show_pairs("order", ((name, answer.get(name)) for name in names))


@click.command(name="resend")
@click.argument("order", required=False)
@control.url_option
@click.option("--notify-url", help="通知地址; default: the order's own.")
@click.option("--mch-id", help="商户号.")
@click.option("--undelivered", is_flag=True, help="All orders whose notifications nobody accepted.")
@output.json_option
def resend(order: str | None, url: str, *, undelivered: bool, **more: str | None) -> None:
    """Let a running sandbox notify of an order's end once more.

    Exit code 0: accepted with `success`; 1: not accepted.
    """
    if bool(order) == undelivered:
        raise click.UsageError("give an ORDER, or --undelivered")
    wish = {"undelivered": True} if undelivered else {"out_trade_no": order, **more}
    answer = control.post(url, "resend", _without_none(wish))
    _notified(answer)
    accepted = all(each["accepted"] for each in answer["deliveries"])
    output.end(Exit.OK if accepted else Exit.REFUSED)


def _notified(answer: Mapping[str, Any]) -> None:
    if output.as_json():
        output.tell({"ok": True, **answer})
        return
    deliveries: Sequence[Mapping[str, Any]] = answer["deliveries"]
    if not deliveries:
        late = answer.get("late")
        words = f"it comes in {late:g} s of the sandbox's clock" if late else "nothing to send"
        output.console().print(words)
        return
    rows = [
        (
            each["out_trade_no"],
            each["url"],
            each["status"],
            each["answer"][:60],
            "accepted" if each["accepted"] else each["problem"] or "not accepted",
        )
        for each in deliveries
    ]
    output.show_table("notified", ("order", "to", "status", "answer", "so it is"), rows)
