"""What passes between an engine and its session beside errors."""

from __future__ import annotations


class RequestHookRaised(Exception):  # noqa: N818 - no error of its own: it carries the user's
    """A request hook raised, before anything was sent: the session raises its ``error``."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        super().__init__(type(error).__name__)
