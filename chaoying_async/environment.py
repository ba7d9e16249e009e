"""Reads credentials and settings from the environment; no other module does."""

from __future__ import annotations

import os

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.credentials import (
    Credentials,
    credentials_from,
    environment_problems,
)


def credentials_from_env() -> Credentials:
    """Credentials from ``CHAOYING_AGENT_ID``, ``_KEY``, ``_PID``, ``_VERSION``, ``_ALGORITHM``.

    The last two may be left out. Every variable that is missing or wrong is named in
    one :class:`~chaoying_async.exceptions.ParameterError`.
    """
    # Raised here, where no local variable holds the environment: crash reports print those (M-27).
    if problems := environment_problems(os.environ):
        raise ParameterError(problems)
    return credentials_from(os.environ)


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
