"""Posts wrong messages to the ``notify_url``: none may ship anything, or ship it twice."""

from __future__ import annotations

import attrs

from chaoying_async.sandbox.demo.remote_sandbox import RemoteSandbox
from chaoying_async.sandbox.demo.shop import Day, Shop
from chaoying_async.sandbox.serving.events import EVENTS
from chaoying_async.sansio.api.follow_up import OrderQuery
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.values import Fen

#: An order that the sandbox's customer never pays by itself.
NEVER_PAID = Fen(1405)
#: Posted about an order that nobody has paid: what claims that it is.
ABOUT_UNPAID = tuple(name for name in EVENTS if name not in ("paid", "duplicate", "late"))
#: Posted about an order that was shipped: everything.
ABOUT_SHIPPED = tuple(name for name in EVENTS if name != "late")


@attrs.define
class Siege:
    """How many messages were posted, and how many had an effect."""

    posted: int = 0
    fooled: int = 0
    """Orders that were shipped although nobody had paid, or shipped a second time."""


async def lay_siege(shop: Shop, sandbox: RemoteSandbox, day: Day) -> Siege:
    """Forgeries, replays, contradictions; then "not paid" before "paid", and once more after it."""
    siege = Siege()
    shipped = shop.receiver.shipped
    await shop.announce(0, "V00001", NEVER_PAID)
    await shop.announce(1, "V00002", NEVER_PAID)
    before = shipped.copy()
    done = next(iter(before), None)
    for event in ABOUT_UNPAID:
        await _post(siege, sandbox, event, "V00001")
    for event in ABOUT_SHIPPED if done else ():
        await _post(siege, sandbox, event, str(done))
    siege.fooled = (shipped - before).total()
    await _post(siege, sandbox, "not-paid", "V00002")
    await sandbox.wish("act", out_trade_no="V00002", deed="CUSTOMER_PAYS")
    await _post(siege, sandbox, "duplicate", "V00002")
    await _post(siege, sandbox, "not-paid", "V00002")
    day.preorders.append(
        await shop.reconciled(OrderQuery(paytype=PayType.ALIPAY, out_trade_no="V00002"))
    )
    return siege


async def _post(siege: Siege, sandbox: RemoteSandbox, event: str, out_trade_no: str) -> None:
    await sandbox.wish("notify", event=event, out_trade_no=out_trade_no)
    siege.posted += EVENTS[event].times
