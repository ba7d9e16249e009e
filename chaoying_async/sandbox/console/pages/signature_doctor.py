"""The doctor's verdict on a message that is pasted, or that the sandbox received."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from anyio import to_thread
from starlette.responses import Response

from chaoying_async.exceptions import MalformedMessageError, ParameterError
from chaoying_async.sandbox.console.pages.message_log import entry_of
from chaoying_async.sandbox.console.visit import RefusedError, Visit
from chaoying_async.sansio.credentials import SignAlgorithm, SortOrder
from chaoying_async.sansio.doctor.explain import describe
from chaoying_async.sansio.doctor.findings import Verdict
from chaoying_async.sansio.doctor.verdict import diagnose

#: What stands in the fields before anybody types.
_UNTYPED = {"message": "", "sign": "", "algorithm": "", "order": ""}


async def show(visit: Visit) -> Response:
    """Show the form; with ``?message=7`` also the verdict on message 7."""
    if not visit.asked("message"):
        return _page(visit)
    entry = entry_of(visit, "message")
    if entry.verdicts is not None:
        return _page(visit, no_verdict="message.kept")
    reply = visit.asked("of") == "reply"
    body = entry.response.body if reply else entry.request.parameters
    verdict = await _verdict(visit, partial(diagnose, body, visit.credentials, strict=True))
    fields = entry.answer if reply else entry.fields
    values = tuple(fields.values())
    return _page(visit, asked=True, verdict=verdict, number=entry.number, values=values)


async def examine(visit: Visit) -> Response:
    """Show the verdict on a pasted message, but neither the message nor the key."""
    form = visit.form
    message = form.get("message", "").strip("\r\n").encode()
    if not message.strip():
        return _page(visit, no_verdict="doctor.empty")
    algorithm, order = form.get("algorithm", ""), form.get("order", "")
    if algorithm not in {"", *SignAlgorithm} or order not in {"", *SortOrder}:
        raise RefusedError(400)
    verdict = await _verdict(
        visit,
        partial(
            diagnose,
            message,
            form.get("key") or visit.credentials,
            sign=form.get("sign", "").strip() or None,
            algorithm=SignAlgorithm(algorithm) if algorithm else None,
            order=SortOrder(order) if order else None,
            strict=True,
        ),
    )
    return _page(visit, asked=True, verdict=verdict)


async def again(visit: Visit, problem: str) -> Response:
    """Show the form as it was sent, but for the key, with why no verdict was given."""
    return _page(visit, problem=problem, typed=visit.form)


async def _verdict(visit: Visit, ask: partial[Verdict]) -> Verdict | None:
    """Asks in a thread: a verdict can take tenths of a second, and the gateway has to answer."""
    try:
        return await to_thread.run_sync(ask, limiter=visit.context.threads)
    except (MalformedMessageError, ParameterError):
        return None


def _page(
    visit: Visit,
    *,
    asked: bool = False,
    verdict: Verdict | None = None,
    number: int | None = None,
    values: tuple[str, ...] = (),
    no_verdict: str = "",
    problem: str = "",
    typed: Mapping[str, str] = _UNTYPED,
) -> Response:
    if asked and verdict is None:
        no_verdict = "doctor.unreadable"
    return visit.page(
        "doctor.html",
        status=422 if no_verdict and visit.request.method == "POST" else 200,
        # Where console.js looks for it, too: in the place of the verdict.
        no_verdict=problem or (visit.words(no_verdict) if no_verdict else ""),
        typed={**_UNTYPED, **typed},
        verdict=verdict,
        findings=_findings(visit, verdict) if verdict else [],
        number=number,
        values=values,
        algorithms=list(SignAlgorithm),
        orders=list(SortOrder),
    )


def _findings(visit: Visit, verdict: Verdict) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for each in verdict.findings:
        happened, to_do = describe(each.mistake, visit.words.language)
        found.append({"finding": each, "happened": happened, "to_do": to_do})
    return found
