"""How a refund ended, and what a person should know who has to act on it (M-25)."""

from __future__ import annotations

import attrs

from chaoying_async.exceptions import GatewayError, PollTimeoutError
from chaoying_async.polling.outcome import PollOutcome
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import order_of
from chaoying_async.sansio.polling.status import PollStatus

_NEVER_MADE = (
    "refused, and no query knows it: mend the cause and send the same refund again, under the same "
    "number"
)


@attrs.frozen(kw_only=True)
class RefundOutcome(PollOutcome[RefundItem]):
    """How a refund ended: a :class:`PollOutcome` that a store may hold until :meth:`done`."""

    refusal: GatewayError | None = attrs.field(default=None, eq=False)
    """What the gateway said, where it refused the call in words that do not prove that nothing
    moved: 20008, 20004 and others (M-09).
    """
    never_made: bool = False
    """Whether the refusal was right: no query has known the refund since (M-25). ``error`` is the
    refusal.
    """

    @property
    def may_be_sent_again(self) -> bool:
        """Whether the same request, under the same number, is what to send next."""
        return self.never_made or self.status is PollStatus.NOTSURE

    @property
    def advice(self) -> str:
        """What to do next, in a sentence."""
        return _NEVER_MADE if self.never_made else super().advice

    def unwrap(self) -> RefundItem:
        """The refund that was carried out; else an error, see :meth:`PollOutcome.unwrap`.

        One that was refused and never made is a :class:`PollTimeoutError` with what the gateway
        said.
        """
        if not self.never_made:
            return super().unwrap()
        text = f"{self.status}: {self.refusal}; {self.advice}"
        error = PollTimeoutError(text, last=self.refusal)
        raise error.about(self.query.endpoint.name, order_of(self.query)) from self.refusal
