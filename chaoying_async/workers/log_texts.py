"""What may be said in a log of an error that came from anywhere."""

from __future__ import annotations

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.observation import SafeLog

log = SafeLog("chaoying_async.workers")


def said(error: BaseException) -> str:
    """The text of an error of ours, and the kind of any other, whose text may hold anything."""
    return str(error) if isinstance(error, ChaoyingError) else type(error).__name__
