"""Which wallet a payment is asked about under, as long as nobody knows which one it is (M-22).

A payment code only suggests its wallet, and under a wrong one the gateway knows no such order. So
"no such order" counts when every wallet that could be meant has said so, late enough (M-06, M-24).
"""

from __future__ import annotations

import attrs

from chaoying_async.sansio.api.field_rules import text_problem
from chaoying_async.sansio.enums import PayType


def askable(named: object) -> str | None:
    """The wallet that a reply or a record names; None where no request could name it."""
    return named if isinstance(named, str) and named and text_problem(named) is None else None


@attrs.frozen(kw_only=True)
class Wallets:
    """What is known of a payment's wallet, and which of them knew no such order."""

    paytype: str | None
    """The wallet, as far as it is known."""
    certain: bool
    """``paytype`` is more than a guess from the payment code."""
    absent: tuple[tuple[str, int], ...] = ()
    """Wallet, and how often it knew no such order."""
    late: frozenset[str] = frozenset()
    """The wallets that said so late enough to count."""

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every wallet that could be meant, the likeliest first."""
        if self.certain and self.paytype is not None:
            return (self.paytype,)
        others = tuple(str(each) for each in PayType if each != self.paytype)
        return others if self.paytype is None else (self.paytype, *others)

    @property
    def unasked_late(self) -> list[str]:
        """The candidates that have yet to say late enough that they know no such order."""
        return [each for each in self.candidates if each not in self.late]

    @property
    def all_absent(self) -> bool:
        """Every candidate knew no such order: twice, as M-06 asks, and once late enough."""
        counts = dict(self.absent)
        return not self.unasked_late and all(counts.get(each, 0) > 1 for each in self.candidates)

    def found(self, paytype: str) -> Wallets:
        """The wallets after news of the order came under this one."""
        return attrs.evolve(self, paytype=paytype, certain=True)

    def missed(self, paytype: str, *, late: bool) -> Wallets:
        """The wallets after this one knew no such order."""
        counts = dict(self.absent)
        counts[paytype] = counts.get(paytype, 0) + 1
        heard_late = self.late | {paytype} if late else self.late
        return attrs.evolve(self, absent=tuple(sorted(counts.items())), late=heard_late)

    def next_asked(self, attempts: int, *, late: bool) -> str:
        """The wallet to ask under: the known one, else the guess and the others by turns.

        ``late``: the order may never have arrived, so each candidate has to say that it is not
        there.
        """
        candidates = self.candidates
        if late:
            left = self.unasked_late
            return left[0] if left else candidates[attempts % len(candidates)]
        if self.paytype is None:
            return candidates[attempts % len(candidates)]
        said_absent = dict(self.absent).get(self.paytype, 0)
        if len(candidates) == 1 or not said_absent or attempts % 2 == 0:
            return candidates[0]
        return candidates[1 + attempts // 2 % (len(candidates) - 1)]
