"""The page of faults: switching them on and off, and choosing a scenario for all payments."""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.responses import Response

from chaoying_async.sandbox.bank.ledger import HANDLERS
from chaoying_async.sandbox.bank.scenarios import REFUND_SCENARIOS, SCENARIOS
from chaoying_async.sandbox.console.visit import RefusedError, Visit, whole
from chaoying_async.sandbox.serving.faults import SECONDS, Fault, Plan

_PAGE = "/console/faults"
#: What stands in the fields of both forms before anybody types.
_UNTYPED = {"fault": "", "probability": "1", "endpoint": "", "seconds": "", "seed": ""}


async def show(visit: Visit) -> Response:
    """Show the page."""
    return _page(visit, {})


async def again(visit: Visit, problem: str) -> Response:
    """Show the form as it was sent, with why nothing was done."""
    return _page(visit, visit.form, problem)


def _page(visit: Visit, typed: Mapping[str, str], problem: str = "") -> Response:
    runtime = visit.context.runtime
    chosen = {"pay": runtime.gateway.chosen, "refund": runtime.gateway.chosen_for_refunds}
    if typed.get("of") in chosen:
        chosen[typed["of"]] = whole(typed.get("scenario", ""))
    return visit.page(
        "faults.html",
        problem=problem,
        address=_PAGE,
        typed={**_UNTYPED, **typed},
        plans=list(enumerate(runtime.faults.plans)),
        faults=list(Fault),
        seconds=SECONDS,
        endpoints=sorted(HANDLERS),
        scenarios=SCENARIOS.values(),
        refunds=REFUND_SCENARIOS.values(),
        chosen=chosen["pay"],
        chosen_for_refunds=chosen["refund"],
    )


async def add(visit: Visit) -> Response:
    """Switch a fault on."""
    form, faults = visit.form, visit.context.runtime.faults
    fault, endpoint = form.get("fault", ""), form.get("endpoint", "")
    if fault not in set(Fault) or (endpoint and endpoint not in HANDLERS):
        raise RefusedError(400)
    chance = _number(form.get("probability", ""))
    seconds = _number(form.get("seconds", "") or str(SECONDS.get(Fault(fault), 0)))
    if chance is None or seconds is None:
        return _page(visit, form, visit.words("said.fault"))
    try:
        plan = Plan(Fault(fault), chance, frozenset(filter(None, [endpoint])), seconds)
    except ValueError:
        return _page(visit, form, visit.words("said.fault"))
    faults.plans.append(plan)
    return visit.to(_PAGE, "done")


async def remove(visit: Visit) -> Response:
    """Switch one fault off, or all; a plan that changed places meanwhile is left alone."""
    plans, which = visit.context.runtime.faults.plans, visit.form.get("plan", "")
    if which == "all":
        plans.clear()
        return visit.to(_PAGE, "done")
    number = whole(which)
    if number is None:
        raise RefusedError(400)
    if number >= len(plans):
        raise RefusedError(404)
    if str(plans[number].fault) == visit.form.get("fault"):
        del plans[number]
    return visit.to(_PAGE, "done")


async def reseed(visit: Visit) -> Response:
    """Begin the dice anew."""
    seed = _number(visit.form.get("seed", ""))
    if seed is None or seed != int(seed):
        return _page(visit, visit.form, visit.words("said.fault"))
    visit.context.runtime.faults.reseed(int(seed))
    return visit.to(_PAGE, "done")


async def choose(visit: Visit) -> Response:
    """Let every payment, or every refund, follow one scenario from now on."""
    gateway, form = visit.context.runtime.gateway, visit.form
    refunds = form.get("of") == "refund"
    known = REFUND_SCENARIOS if refunds else SCENARIOS
    chosen = whole(form.get("scenario", ""))
    if form.get("scenario") and chosen not in known:
        raise RefusedError(400)
    if refunds:
        gateway.chosen_for_refunds = chosen
    else:
        gateway.chosen = chosen
    return visit.to(_PAGE, "done")


def _number(text: str) -> float | None:
    """A number that is not below 0; None for anything else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < math.inf else None
