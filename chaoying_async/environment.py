"""Reads credentials and settings from the environment; no other module does."""

from __future__ import annotations

import os
from typing import Any

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.credentials import (
    Credentials,
    credentials_from,
    environment_problems,
)
from chaoying_async.sansio.hosts import Hosts

#: What a session takes from the environment besides its credentials; each may be left out.
_DEFAULTS = {"mch_id": "CHAOYING_MCH_ID", "op_user_id": "CHAOYING_OP_USER_ID"}


def credentials_from_env() -> Credentials:
    """Credentials from ``CHAOYING_AGENT_ID``, ``_KEY``, ``_PID``, ``_VERSION``, ``_ALGORITHM``.

    The last two may be left out. Every variable that is missing or wrong is named in
    one :class:`~chaoying_async.exceptions.ParameterError`.
    """
    # Raised here, where no local variable holds the environment: crash reports print those (M-27).
    if problems := environment_problems(os.environ):
        raise ParameterError(problems)
    return credentials_from(os.environ)


def session_from_env() -> dict[str, Any]:
    """What :meth:`GatewaySession.from_env` is made with; its errors are described there."""
    problems = environment_problems(os.environ)
    hosts = None
    try:
        hosts = _hosts_from_env()
    except ParameterError as error:
        problems["CHAOYING_URL"] = next(iter(error.problems.values()))
    for variable in _DEFAULTS.values():
        if variable in os.environ and not os.environ[variable].strip():
            problems[variable] = "is blank: set it, or unset it"
    if problems:
        raise ParameterError(problems)
    defaults = {name: os.environ.get(variable) for name, variable in _DEFAULTS.items()}
    return {"credentials": credentials_from_env(), "hosts": hosts, **defaults}


def _hosts_from_env() -> Hosts:
    """Production only where no address is set: a blank one is a mistake in a set-up for tests."""
    url = os.environ.get("CHAOYING_URL")
    if url is None:
        return Hosts.document()
    if not url.strip():
        raise ParameterError({"CHAOYING_URL": "is blank: set it, or unset it for production"})
    return Hosts.single(url, dangerous_allow_http=plain_http_from_env())


def plain_http_from_env() -> bool:
    """Whether ``CHAOYING_ALLOW_HTTP=1`` lets plain http leave this machine: to a container."""
    return os.environ.get("CHAOYING_ALLOW_HTTP") == "1"


def settings_from_env() -> dict[str, str]:
    """The ``CHAOYING_...`` variables that are set, without the key; for the command line."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("CHAOYING_") and name != "CHAOYING_KEY"
    }


def key_from_env() -> str:
    """The value of ``CHAOYING_KEY``; empty if it is not set."""
    return os.environ.get("CHAOYING_KEY", "")


def languages_from_env() -> list[str]:
    """The languages that the user asks for, the best first, as gettext reads the environment.

    ``LANGUAGE`` counts unless ``LC_ALL``, ``LC_MESSAGES`` or ``LANG`` says C or POSIX.
    """
    variables = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next(filter(None, (os.environ.get(name) for name in variables)), "")
    if locale.partition(".")[0] in {"C", "POSIX"}:
        return []
    return list(filter(None, [*os.environ.get("LANGUAGE", "").split(":"), locale]))


def plain_from_env() -> bool:
    """Whether the terminal is to get no colours: ``NO_COLOR`` is set, or ``TERM`` is dumb."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in {"dumb", "unknown"}
