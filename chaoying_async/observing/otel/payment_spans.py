"""Remembers which span began an order, so that its notification and its refund can be linked."""

from __future__ import annotations

import threading

from opentelemetry.trace import Span, SpanContext

#: So many orders are remembered, the latest ones: a notification comes seconds after its payment.
MOST = 10_000


class PaymentSpans:
    """The spans of this process's payments, by a mark that says nothing about their orders.

    What is kept of an order are the two numbers of its span. Other processes are not asked: where
    another one took the payment, a notification has no link.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._spans: dict[int, SpanContext] = {}
        self._lock = threading.Lock()  # one observer may serve loops in several threads

    def __len__(self) -> int:
        return len(self._spans)

    def began(self, order: int | None, span: Span, *, anew: bool) -> None:
        """Remember that this span began the order; without ``anew`` only if none has before."""
        context = span.get_span_context()
        if order is None or not context.is_valid or not (anew or order not in self._spans):
            return
        with self._lock:
            self._spans.pop(order, None)
            self._spans[order] = context
            if len(self._spans) > self._most:
                del self._spans[next(iter(self._spans))]

    def of(self, order: int | None) -> SpanContext | None:
        """The span that began the order; None where this process does not know it, or no longer."""
        return None if order is None else self._spans.get(order)
