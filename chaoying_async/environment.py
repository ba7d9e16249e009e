"""Settings from the environment: the one place that reads it."""

from __future__ import annotations

import os

from chaoying_async.sansio.credentials import Credentials, credentials_from


def credentials_from_env() -> Credentials:
    """Credentials from ``CHAOYING_AGENT_ID``, ``_KEY``, ``_PID``, ``_VERSION``, ``_ALGORITHM``.

    The last two are optional. Every variable that is missing or wrong is named in one
    :class:`~chaoying_async.exceptions.ParameterError`.
    """
    return credentials_from(os.environ)


def settings_from_env() -> dict[str, str]:
    """The ``CHAOYING_...`` variables that are set, for the command line; the key is among them."""
    return {name: value for name, value in os.environ.items() if name.startswith("CHAOYING_")}
