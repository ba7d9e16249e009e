"""How ``explain`` ends: a table of what the order's standing means for a script."""

from __future__ import annotations

from collections.abc import Mapping

from chaoying_async.cli.exits import Ending, Exit
from chaoying_async.sansio.explanation import Explanation, OrderStanding
from chaoying_async.sansio.explanation.next_steps import Need

#: How each standing of an order ends ``explain``.
_EXPLAINED: Mapping[OrderStanding, tuple[Exit, str]] = {
    OrderStanding.PAID: (Exit.OK, "green"),
    OrderStanding.WAS_PAID: (Exit.UNREACHED, "bold yellow"),
    OrderStanding.IN_REFUND: (Exit.REFUSED, "yellow"),
    OrderStanding.OTHER_AMOUNT: (Exit.UNTRUSTED, "bold red"),
    OrderStanding.UNPAID: (Exit.REFUSED, "yellow"),
    OrderStanding.OPEN: (Exit.PENDING, "bold yellow"),
    OrderStanding.NOT_FOUND: (Exit.REFUSED, "yellow"),
    OrderStanding.CONTRADICTED: (Exit.UNKNOWN, "bold red"),
    OrderStanding.NO_ANSWER: (Exit.UNREACHED, "bold yellow"),
    OrderStanding.NO_NEWS: (Exit.PENDING, "bold yellow"),
    OrderStanding.UNBELIEVED: (Exit.UNTRUSTED, "bold red"),
    OrderStanding.NOT_ASKED: (Exit.REFUSED, "bold red"),
}
#: Of an order that was paid: the steps about an answer that asking again does not mend.
_UNHEARD: Mapping[str, Exit] = {"unbelieved": Exit.UNTRUSTED, "not-asked": Exit.REFUSED}
#: Of an order that is paid: what somebody still has to do.
_NEEDED: Mapping[Need, Exit] = {
    Need.NOTHING: Exit.OK,
    Need.TIME: Exit.PENDING,
    Need.PERSON: Exit.REFUSED,
}


def after_explanation(explanation: Explanation) -> Ending:
    """The ending of ``explain``: 0 where it is paid and all that was asked agrees.

    Whoever contradicts somebody makes it UNKNOWN: a person looks before money is moved. So does a
    payment that was sent, if nobody knows what became of it. Where nothing is left to do but to
    compare the amount it is UNCOMPARED: a script that delivers at 0 must not. Where its outcome is
    still on its way to its task too it is PENDING: the task delivers it.
    """
    code, style = _EXPLAINED[explanation.standing]
    names = [step.name for step in explanation.next]
    if explanation.against or "charged" in names:
        return Ending(Exit.UNKNOWN, "bold red")
    if explanation.standing is OrderStanding.WAS_PAID:
        code = next((_UNHEARD[each] for each in names if each in _UNHEARD), code)
    if explanation.standing is OrderStanding.PAID:
        code = Exit.UNCOMPARED if explanation.lacks_amount else _NEEDED[explanation.needs]
        return Ending(code, style if code is Exit.OK else "bold yellow")
    return Ending(code, style)
