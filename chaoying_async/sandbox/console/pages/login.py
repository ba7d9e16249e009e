"""Logging in, where a token is asked for; and choosing a language."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response

from chaoying_async.sandbox.console.visit import Visit
from chaoying_async.sandbox.console.words import TEXTS
from chaoying_async.sandbox.serving.security import COOKIE, LASTS

#: Cookie with the language that a visitor chose.
LANGUAGE = "chaoying_lang"
_A_YEAR = 365 * 86_400


async def show(visit: Visit) -> Response:
    """Show the form that asks for the token, if a token is needed."""
    if not visit.context.guard.asks:
        return visit.to("/console/")
    return visit.page("login.html")


async def login(visit: Visit) -> Response:
    """Let in whoever gives the token."""
    guard, address = visit.context.guard, visit.request.client.host if visit.request.client else ""
    held_up = guard.too_many(address)  # before this one is noted
    if not guard.is_token(visit.form.get("token", "").strip(), address):
        if held_up:
            return visit.page("login.html", status=429, problem=visit.words("login.too-many"))
        return visit.page("login.html", status=401, problem=visit.words("login.wrong"))
    response = RedirectResponse("/console/", status_code=303)
    guard.logout(visit.request.headers)  # a new login takes the place of the one before
    value, age = guard.login(), int(LASTS)
    response.set_cookie(COOKIE, value, max_age=age, httponly=True, samesite="strict")
    return response


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
