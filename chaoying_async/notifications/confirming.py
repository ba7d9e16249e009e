"""Asking the gateway before acting on what a notification says."""

from __future__ import annotations

from chaoying_async.abc import Gateway
from chaoying_async.notifications.endings import is_wanted
from chaoying_async.sansio.api.follow_up import OrderQuery, OrderQueryResult
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.notifications.case import Confirmation, Unconfirmed
from chaoying_async.sansio.paid import PaidSource, paid_order
from chaoying_async.sansio.polling.status import PollStatus, Says, read_answer

#: Ends of an order under which it must not be delivered.
_NOT_PAID = frozenset(
    {PollStatus.FAILED, PollStatus.CLOSED, PollStatus.REVOKED, PollStatus.REFUNDED}
)


def can_be_asked(gateway: object) -> bool:
    """Whether this is a gateway at all: :func:`ask` takes whatever goes wrong for "no answer"."""
    return not isinstance(gateway, type) and callable(getattr(gateway, "send", None))


async def ask(
    gateway: Gateway, *, mch_id: str, out_trade_no: str, paytype: str | None
) -> Confirmation:
    """What ``orderquery`` says about an order, under the shop's own merchant number (M-18).

    ``paytype`` follows from the notification's page: WECHAT or ALIPAY. "Not found" under it is no
    answer, since it may be the wrong one; nor is anything that a second query would have to back up
    (M-06). An order that has gone into refund is not to be delivered: NOT_PAID. Never raises.
    """
    try:
        query = OrderQuery(paytype=PayType(paytype or ""), mch_id=mch_id, out_trade_no=out_trade_no)
        reply = await gateway.send(query)
        answer = read_answer(query, reply)
    except BaseException as error:  # whatever it is, it is no answer
        if is_wanted(error):
            raise
        return Unconfirmed.NO_ANSWER
    if answer.says is not Says.ENDED or not answer.sure:
        return Unconfirmed.NO_ANSWER
    if answer.status is PollStatus.PAID and isinstance(reply.result, OrderQueryResult):
        return paid_order(reply.result, mch_id=mch_id, raw=reply.raw, source=PaidSource.CONFIRM)
    return Unconfirmed.NOT_PAID if answer.status in _NOT_PAID else Unconfirmed.NO_ANSWER
