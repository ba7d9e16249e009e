"""Shows forms from pages of before a restart again, as they were sent, and acts upon none.

The new process knows neither the token in such a form nor the login of who sent it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

import attrs
from starlette.responses import Response

from chaoying_async.sandbox.console.pages import (
    delivery_log,
    fault_plans,
    latest_orders,
    one_order,
    signature_doctor,
)
from chaoying_async.sandbox.console.visit import Visit

#: Shows a form as it was sent, with the sentence about why nothing was done.
Again = Callable[[Visit, str], Awaitable[Response]]

#: Where a form is sent to, and what shows it again.
FORMS: Mapping[str, Again] = {
    "/console/orders/new": latest_orders.again,
    "/console/order/act": one_order.again,
    "/console/order/call": one_order.again,
    "/console/notify": delivery_log.again,
    "/console/faults/add": fault_plans.again,
    "/console/faults/remove": fault_plans.again,
    "/console/faults/seed": fault_plans.again,
    "/console/scenario": fault_plans.again,
    "/console/doctor": signature_doctor.again,
}
#: Never goes through a login: who logs in may be another person, and a message that was pasted
#: for the doctor may hold a buyer (M-27).
_NEVER_KEPT = frozenset({"form_token", "key", "message", "sign", "token"})


def kept(form: Mapping[str, str]) -> str:
    """The fields of a form as one text, which goes through the login and back."""
    return json.dumps(_without_secrets(form), ensure_ascii=False)


def taken_up(visit: Visit) -> tuple[Again, Visit] | None:
    """The form that a login brought along, and what shows it; None where it brought none."""
    again = FORMS.get(visit.form.get("sent_to", ""))
    try:
        fields = json.loads(visit.form.get("kept", ""))
    except (ValueError, RecursionError):
        return None
    if again is None or not isinstance(fields, dict):
        return None
    form = {name: text for name, text in fields.items() if _is_text(name) and _is_text(text)}
    return again, attrs.evolve(visit, form=_without_secrets(form))


def _without_secrets(form: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in form.items() if name not in _NEVER_KEPT}


def _is_text(value: object) -> bool:
    """Whether a page can hold it: JSON can spell half a pair of surrogates, UTF-8 cannot."""
    return isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value)
