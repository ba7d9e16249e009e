"""Logging in, where a token is asked for; and choosing a language."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from urllib.parse import urlsplit

import attrs
from starlette.responses import RedirectResponse, Response

from chaoying_async.sandbox.console.pages import sent_again
from chaoying_async.sandbox.console.visit import HOME, RefusedError, Visit
from chaoying_async.sandbox.console.words import TEXTS
from chaoying_async.sandbox.serving.security import COOKIE, LASTS

#: Cookie with the language that a visitor chose.
LANGUAGE = "chaoying_lang"
_A_YEAR = 365 * 86_400
_PAGE = "/console/login"


async def show(visit: Visit) -> Response:
    """Show the form that asks for the token, if a token is needed."""
    if not visit.context.guard.asks:
        return visit.to("/console/")
    return visit.page("login.html", kept="")


async def again(visit: Visit, problem: str) -> Response:
    """Ask for the token once more; what else the form brought along stays in it."""
    return _asked_again(visit, 403, problem)


def first(visit: Visit) -> Response:
    """Ask whoever sent a form without a login to log in: the form then comes back."""
    fields = {"sent_to": visit.request.scope["path"], "kept": sent_again.kept(visit.form)}
    return _asked_again(attrs.evolve(visit, form=fields), 401, visit.words("login.ended"))


def _asked_again(visit: Visit, status: int, problem: str) -> Response:
    return visit.page(
        "login.html",
        status=status,
        problem=problem,
        address=_PAGE,
        sent_to=visit.form.get("sent_to", ""),
        kept=visit.form.get("kept", ""),
    )


async def login(visit: Visit) -> Response:
    """Let in whoever gives the token."""
    guard, address = visit.context.guard, visit.request.client.host if visit.request.client else ""
    held_up = guard.too_many(address)  # before this one is noted
    if not guard.is_token(visit.form.get("token", "").strip(), address):
        if held_up:
            return _asked_again(visit, 429, visit.words("login.too-many"))
        return _asked_again(visit, 401, visit.words("login.wrong"))
    response = await _where_to(visit)
    guard.logout(visit.request.headers)  # a new login takes the place of the one before
    value, age = guard.login(), int(LASTS)
    response.set_cookie(COOKIE, value, max_age=age, httponly=True, samesite="strict")
    return response


async def _where_to(visit: Visit) -> Response:
    """The form that was sent before the login, to be sent again; else the console's start."""
    if found := sent_again.taken_up(visit):
        show_again, sent = found
        with suppress(RefusedError):  # its order is gone
            response = await show_again(sent, visit.words("said.logged-in"))
            response.status_code = HTTPStatus.OK
            return response
    return RedirectResponse(HOME, status_code=303)


async def logout(visit: Visit) -> Response:
    """End the login, in every tab and for every copy of its cookie."""
    visit.context.guard.logout(visit.request.headers)
    response = RedirectResponse("/console/login", status_code=303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


async def speak(visit: Visit) -> Response:
    """Show all pages in another language from now on."""
    response = RedirectResponse(_ours(visit.form.get("back", "")), status_code=303)
    if (language := visit.form.get("language", "")) in TEXTS:
        response.set_cookie(LANGUAGE, language, max_age=_A_YEAR, httponly=True, samesite="lax")
    return response


def _ours(address: str) -> str:
    """The address if it is the console's own, else the console's start."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "/console/"
    inside = not parts.scheme and not parts.netloc and parts.path.startswith("/console/")
    return f"{parts.path}?{parts.query}" if inside and "\\" not in address else "/console/"
