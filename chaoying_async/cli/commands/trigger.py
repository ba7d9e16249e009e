"""``chaoying trigger`` and ``chaoying resend``: make a running sandbox produce an event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import click
import httpx

from chaoying_async.cli import interrupts, output, ranges
from chaoying_async.cli.commands.sandbox import TOKEN
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.field_option import FieldOption
from chaoying_async.cli.language import shown, shown_by_sandbox
from chaoying_async.environment import settings_from_env
from chaoying_async.exceptions import RequestNotSentError, TransportError
from chaoying_async.sansio.api.merchant import GetMchIdResult
from chaoying_async.sansio.api.preorder import WechatPreOrder
from chaoying_async.sansio.redact import shown_address

#: Seconds. A receiver may take three for each notification, and a sandbox sends several.
_PATIENCE = 30.0


_URL = click.option(
    "--url", envvar="CHAOYING_URL", show_envvar=True, required=True, help="The sandbox."
)

#: Event -> what people do to an open order, by the sandbox's name and in words.
_DEEDS: Mapping[str, tuple[str, str]] = {
    "pays": ("CUSTOMER_PAYS", "the customer pays an open order (needs ORDER)"),
    "declines": ("CUSTOMER_DECLINES", "the customer's payment fails"),
    "leaves": ("CUSTOMER_LEAVES", "the customer walks away"),
    "closes": ("GATEWAY_CLOSES", "the gateway closes an open order"),
}
#: The events that tell the truth once more; all others repeat nothing that was accepted.
_TRUE = frozenset({"paid", "duplicate", "late"})
_FAULTS: Mapping[str, str] = {
    "fault": "from now on this goes wrong: pay/reset-after:0.1 in the place of ORDER",
    "calm": "from now on nothing goes wrong",
}


def _list_events(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value:
        return
    from chaoying_async.sandbox.serving.events import EVENTS

    says = {name: event.says for name, event in EVENTS.items()}
    deeds = {name: words for name, (_, words) in _DEEDS.items()}
    if output.as_json():
        output.tell({"events": {**says, **deeds, **_FAULTS}})
        ctx.exit()
    for title, rows in {"notifications": says, "orders": deeds, "faults": _FAULTS}.items():
        click.echo(f"{shown(title)}:")
        for name, words in rows.items():
            click.echo(f"  {name:15} {shown_by_sandbox(words)}")
    ctx.exit()


@click.command(name="trigger")
@click.argument("event")
@click.argument("order", required=False)
@_URL
@click.option("--notify-url", cls=FieldOption, of=WechatPreOrder, help="Default: the order's own.")
@click.option(
    "--mch-id",
    cls=FieldOption,
    of=GetMchIdResult,
    help="Default: the sandbox's first that is enabled.",
)
@click.option(
    "--wallet", type=click.Choice(("WECHAT", "ALIPAY")), default="WECHAT", help="Without ORDER."
)
@click.option(
    "--total-fee",
    type=ranges.FEN,
    help="In fen, digits only; for an order that nobody made.",
)
@click.option("--late", type=ranges.ZERO_OR_MORE, help="Seconds of the sandbox's clock to wait.")
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
        _deed(url, _DEEDS[event][0], order, more["mch_id"])
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
        _notified(answer := _post(url, "notify", _without_none(wish)))
        if not output.as_json() and "order" in answer:  # a sandbox of an older version says less
            output.say(shown(_what_happened(answer)))


def _what_happened(answer: Mapping[str, Any]) -> str:
    """How the order stands: a notification, accepted or not, changes nothing about it."""
    number, mch_id, status = (answer[name] for name in ("out_trade_no", "mch_id", "order"))
    if status is None:
        return (
            f"nobody made this order of merchant {mch_id}: a query does not find it, so a program "
            "that asks (confirm=) does not believe it"
        )
    if status == "OPEN":
        return (
            f"{number} of merchant {mch_id} is still OPEN: only told of, not paid, and a query "
            f"says so. `chaoying trigger pays {number}` pays it"
        )
    words = f"{number} of merchant {mch_id} was {status} before, and stays so: only told of"
    if answer["repeated"] and answer["event"] in _TRUE:
        words += "; your program had accepted a notification of it already, so this repeats it"
    return words


def _without_none(wish: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in wish.items() if value is not None}


def _fault(url: str, event: str, plan: str | None, seed: int | None) -> None:
    if event == "fault" and not plan:
        raise click.UsageError("which one? [ENDPOINT/]FAULT[:PROBABILITY[:SECONDS]]")
    plans = [plan] if event == "fault" else []
    answer = _post(url, "faults", _without_none({"plans": plans, "seed": seed}))
    words = f"from now on: {', '.join(answer['plans']) or 'nothing goes wrong'}"
    output.result({"ok": True, **answer}, words)


def _deed(url: str, deed: str, order: str | None, mch_id: str | None) -> None:
    wish = _without_none({"deed": deed, "out_trade_no": order, "mch_id": mch_id})
    answer = _post(url, "act", wish)
    if output.as_json():
        output.tell({"ok": True, "order": answer})
        return
    names = ("out_trade_no", "status", "payable", "paid")
    output.show_pairs("order", ((name, answer.get(name)) for name in names))


@click.command(name="resend")
@click.argument("order", required=False)
@_URL
@click.option("--notify-url", cls=FieldOption, of=WechatPreOrder, help="Default: the order's own.")
@click.option("--mch-id", cls=FieldOption, of=GetMchIdResult)
@click.option("--undelivered", is_flag=True, help="All orders whose notifications nobody accepted.")
@output.json_option
def resend(order: str | None, url: str, *, undelivered: bool, **more: str | None) -> None:
    """Let a running sandbox notify of an order's end once more.

    Exit code 0: accepted with `success`; 1: not accepted.
    """
    if bool(order) == undelivered:
        raise click.UsageError("give an ORDER, or --undelivered")
    wish = {"undelivered": True} if undelivered else {"out_trade_no": order, **more}
    answer = _post(url, "resend", _without_none(wish))
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
        output.console().print(shown(words))
        return
    rows = [
        (
            each["out_trade_no"],
            each["url"],
            each["status"],
            each["answer"][:60],
            _taken(each),
        )
        for each in deliveries
    ]
    output.show_table("notified", ("order", "to", "status", "answer", "result"), rows)


def _taken(delivery: Mapping[str, Any]) -> str:
    if not delivery["accepted"]:
        return delivery["problem"] or shown("not accepted")
    forged = "accepted, though forged: the program did not check the signature"
    return shown(forged if delivery["forged"] else "accepted")


def _post(url: str, what: str, wish: dict[str, Any]) -> dict[str, Any]:
    """Post a wish to the sandbox's ``/_sandbox/`` endpoint; its answer, or a usage error."""
    headers = {"X-Sandbox": "1"}
    if token := settings_from_env().get(TOKEN):
        headers["Authorization"] = f"Bearer {token}"
    address = f"{url.rstrip('/')}/_sandbox/{what}"
    try:
        with httpx.Client(trust_env=False, timeout=_PATIENCE) as client:
            reply = client.post(address, json=wish, headers=headers)
            answer = reply.json()
            interrupts.of_command().settle()
    except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise RequestNotSentError(
            f"no sandbox at {shown_address(url)}: start one with `chaoying sandbox`"
        ) from error
    except KeyboardInterrupt:
        words = f"interrupted; the sandbox may have done it: see {shown_address(url)}/console/"
        output.end(output.interrupted(words, Exit.UNKNOWN))
    except (httpx.HTTPError, ValueError) as error:
        raise TransportError(f"{shown_address(url)} does not answer like a sandbox") from error
    if not isinstance(answer, dict):
        raise TransportError(f"{shown_address(url)} does not answer like a sandbox")
    if reply.status_code != HTTPStatus.OK:
        raise click.UsageError(f"the sandbox says: {answer.get('problem', reply.status_code)}")
    return answer
