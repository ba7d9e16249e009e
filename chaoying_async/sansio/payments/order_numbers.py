"""Makes the numbers of a business order's attempts: its own, and a sequence of fixed width."""

from __future__ import annotations

import re
from typing import Any, Self

from chaoying_async.exceptions import ParameterError, UsageError

#: What every endpoint accepts as ``out_trade_no``: pre-orders take no underscore (C 49).
SHORTEST, LONGEST = 5, 32
_PLAIN = re.compile(r"[A-Za-z0-9]+").fullmatch


class AttemptNumber(str):
    """An ``out_trade_no`` that remembers its business order, which nobody can cut out of it (C 50).

    Text in every other way. Put it into a ``Pay`` as it is: ``str(number)`` forgets the order.
    """

    __slots__ = ("attempt", "order_no")

    order_no: str
    """The business order."""
    attempt: int
    """Which attempt for it this is; 1 is the first."""

    def __new__(cls, number: str, order_no: str, attempt: int) -> Self:
        """Make the number of its text as it is sent, its business order and its place."""
        made = super().__new__(cls, number)
        made.order_no = order_no
        made.attempt = attempt
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return AttemptNumber, (str.__str__(self), self.order_no, self.attempt)


class OrderNumbers:
    """``out_trade_no``s for one business order: ``OrderNumbers("A10001").next()`` is ``A1000101``.

    Every attempt to pay needs a number of its own, also after a failure (C 51). The document
    suggests order number + sequence, where attempt 11 of A10001 is attempt 1 of A100011; here the
    sequence has a fixed ``width``, so two orders never meet. **Use one width in the whole shop**,
    and no plain order number as ``out_trade_no`` beside these. Letters and digits, 5 to 32 with
    the sequence: what every endpoint accepts.

    ``last`` is the last attempt that was made, so that a restarted program goes on after it
    instead of using a number again; ``chaoying_async.attempts_so_far`` reads it from a
    store. :meth:`next` counts up in memory only, and raises
    :class:`~chaoying_async.exceptions.UsageError` when the width is used up.
    """

    def __init__(self, order_no: str, width: int = 2, *, last: int = 0) -> None:
        self.order_no = order_no
        self.width = width
        self.last = last
        problems: dict[str, str] = {}
        whole = isinstance(width, int) and not isinstance(width, bool)
        if not whole or width < 1:
            problems["width"] = "must be a whole number, 1 or more"
        elif not isinstance(order_no, str) or _PLAIN(order_no) is None:
            problems["order_no"] = "must be letters and digits"
        elif not SHORTEST <= len(order_no) + width <= LONGEST:
            problems["order_no"] = f"must have 5 to 32 characters with a sequence of {width}"
        if not isinstance(last, int) or isinstance(last, bool) or last < 0:
            problems["last"] = "must be a whole number, 0 or more"
        if problems:
            raise ParameterError(problems)

    def __repr__(self) -> str:
        return f"OrderNumbers({self.order_no!r}, width={self.width}, last={self.last})"

    def next(self) -> AttemptNumber:
        """The number of the next attempt; each is given out once."""
        attempt = self.last + 1
        if attempt >= 10**self.width:
            raise UsageError(
                f"all {self.last} attempts of this order are used up: its sequence has "
                f"{self.width} digits"
            )
        self.last = attempt
        return AttemptNumber(f"{self.order_no}{attempt:0{self.width}d}", self.order_no, attempt)
