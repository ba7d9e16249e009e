"""What became of the cancels of one payment, added up: the part of a till that money hangs on."""

from __future__ import annotations

from enum import Enum

import attrs


class CancelNews(Enum):
    """How one cancel call ended."""

    CARRIED_OUT = "the gateway says that it was carried out"
    REFUSED = "refused, and this call moved nothing (M-09, left column)"
    ABSENT = "20007 or 20011: not cancelled, says the gateway"
    UNCLEAR = "it may have been carried out"
    NOT_SENT = "it never left"


@attrs.frozen(kw_only=True)
class Cancels:
    """All cancels of one payment. ``left`` counts those that may have reached the gateway."""

    tries: int = 0
    left: int = 0
    refused: int = 0
    absent: int = 0
    carried_out: bool = False
    last: CancelNews | None = None
    #: When the last one ended.
    last_at: float = 0.0

    @property
    def harmless(self) -> bool:
        """None left, or M-09's left column refused every one: nothing was cancelled."""
        return self.left == self.refused

    def after(self, news: CancelNews, ended: float) -> Cancels:
        """With one more. To be stored *before* it leaves, it is UNCLEAR."""
        return Cancels(
            tries=self.tries + 1,
            left=self.left + (news is not CancelNews.NOT_SENT),
            refused=self.refused + (news is CancelNews.REFUSED),
            absent=self.absent + (news is CancelNews.ABSENT),
            carried_out=self.carried_out or news is CancelNews.CARRIED_OUT,
            last=news,
            last_at=ended,
        )


NO_CANCELS = Cancels()
