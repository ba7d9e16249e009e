"""``Telemetry``: an observer that makes spans of calls, payments and notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry import context, metrics, trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from chaoying_async.observing.otel.attributes import (
    at_the_beginning,
    at_the_end,
    of_the_span_alone,
)
from chaoying_async.observing.otel.instruments import instruments_of
from chaoying_async.observing.otel.payment_spans import PaymentSpans
from chaoying_async.observing.watched import HasStats, Watched
from chaoying_async.sansio.call_numbers import DURATION_BOUNDS
from chaoying_async.sansio.observed import (
    HowItEnded,
    ObservedCall,
    ObservedMessage,
    ObservedPayment,
    ObservedWork,
)

if TYPE_CHECKING:
    from chaoying_async.notifications.answering import HandlerStats
    from chaoying_async.observing.whole_fleet import WholeFleetStats
    from chaoying_async.polling.outcome import PollStats
    from chaoying_async.sansio.call_numbers import SessionStats
    from chaoying_async.workers.worker import FleetStats

NAME: Final = "chaoying_async"
#: Seconds between two looks whether the program has set a provider: to ask takes longer than all
#: else that an observer costs a call which nobody sees.
LOOK_EVERY: Final = 1.0
#: Where the API has providers of its own, which do nothing.
_API = ("opentelemetry.trace", "opentelemetry.metrics")


class _Duration(NamedTuple):
    """A histogram of how long some kind of work takes, in seconds."""

    name: str
    words: str
    bounds: Sequence[float]


_DURATIONS: Mapping[type[ObservedWork], _Duration] = {
    ObservedCall: _Duration(
        "chaoying.call.duration",
        "How long a whole call took, its repeats and its wait for a connection included.",
        DURATION_BOUNDS,
    ),
    ObservedPayment: _Duration(
        "chaoying.payment.duration",
        "How long a checkout or a refund took to its end, or from where it was resumed.",
        (1, 2, 5, 10, 30, 60, 120, 240, 600, 3600, 86400),
    ),
    ObservedMessage: _Duration(
        "chaoying.message.duration",
        "How long a notification took to be answered, or a payment to be settled or taken up.",
        (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    ),
}


class Telemetry:
    """Makes spans and metrics of what the library does; hand it to sessions and handlers.

    ::

        telemetry = Telemetry()
        async with GatewaySession(credentials, observer=telemetry) as gateway:
            ...
        handler = NotificationHandler(credentials, inbox, on_paid, ..., observer=telemetry)
        telemetry.watch(session=gateway, poller=poller, handler=handler)

    One for the whole process. Each call is a CLIENT span, each checkout and each refund a span with
    its calls under it, and each notification a CONSUMER span that is linked to the payment, where
    this process made that. Without providers those of the program are used, which OpenTelemetry
    keeps (``trace.set_tracer_provider``). Where the program has set none, nothing is made; one that
    it sets later is noticed within a second.

    No span, event, link or metric has an order number, a buyer, an amount, a merchant or a key, and
    no error's text, only its class. Nothing is sent to the gateway: the trace ends at its door.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(NAME, version("chaoying-async"), tracer_provider)
        self._meter = metrics.get_meter(NAME, version("chaoying-async"), meter_provider)
        self._durations = {
            kind: self._meter.create_histogram(
                each.name,
                unit="s",
                description=each.words,
                explicit_bucket_boundaries_advisory=each.bounds,
            )
            for kind, each in _DURATIONS.items()
        }
        self._payments = PaymentSpans()
        self._tracers, self._meters = tracer_provider, meter_provider
        #: Whether nobody would see what is made, and when that was looked up.
        self._idle, self._looked = self._is_idle(), -LOOK_EVERY

    def observing(self, work: ObservedWork) -> AbstractContextManager[object] | None:
        """See :class:`~chaoying_async.abc.Observer`."""
        if self._idle and 0.0 <= work.started - self._looked < LOOK_EVERY:
            return None
        if self._idle:
            self._looked, self._idle = work.started, self._is_idle()
            if self._idle:
                return None
        return _SpanOfWork(self, work)

    def _is_idle(self) -> bool:
        """Whether the program has set no provider (yet), and none was handed in."""
        return _does_nothing(self._tracers or trace.get_tracer_provider()) and _does_nothing(
            self._meters or metrics.get_meter_provider()
        )

    def watch(
        self,
        *,
        session: HasStats[SessionStats] | Sequence[HasStats[SessionStats]] = (),
        poller: HasStats[PollStats] | Mapping[str, HasStats[PollStats]] | None = None,
        handler: HasStats[HandlerStats] | Sequence[HasStats[HandlerStats]] = (),
        fleet: HasStats[FleetStats] | None = None,
        whole_fleet: HasStats[WholeFleetStats] | None = None,
    ) -> None:
        """Give out the numbers of these objects' ``stats()`` too, whenever metrics are exported.

        Call it once, with all of them; each is one object or several, whose numbers are added up.
        Of several pollers give a mapping, whose names are the attribute ``chaoying.poller``. They
        are read in the exporter's thread, from memory. A fleet's process gives the numbers of its
        own session and pollers: name the fleet alone. ``whole_fleet`` is a
        :class:`~chaoying_async.observing.whole_fleet.WholeFleet`.
        """
        watched = Watched(
            session=session, poller=poller, handler=handler, fleet=fleet, whole_fleet=whole_fleet
        )
        instruments_of(self._meter, watched)

    def _began(self, work: ObservedWork) -> Span:
        name, kind, links = _shape(work)
        if isinstance(work, ObservedPayment) and (before := self._payments.of(work.order)):
            links = [Link(before)]  # a refund's, or another attempt's under the same number
        span = self._tracer.start_span(
            name,
            kind=kind,
            attributes=at_the_beginning(work),
            links=links,
            record_exception=False,
            set_status_on_exception=False,
        )
        if isinstance(work, ObservedCall):
            self._payments.began(work.order, span, anew=False)
        elif isinstance(work, ObservedPayment) and work.name == "checkout":
            self._payments.began(work.order, span, anew=True)
        return span

    def _ended(self, work: ObservedWork, span: Span) -> None:
        known = at_the_end(work)
        measured = self._durations.get(type(work))
        if measured is not None:
            measured.record(work.elapsed, {**at_the_beginning(work), **known})
        if not span.is_recording():
            return
        span.set_attributes({**known, **of_the_span_alone(work)})
        if work.ended is HowItEnded.FAILED:
            span.set_status(Status(StatusCode.ERROR, work.error))
        if isinstance(work, ObservedMessage) and (paid := self._payments.of(work.order)):
            span.add_link(paid)


class _SpanOfWork:
    """The block around some work: its span is the current one inside."""

    __slots__ = ("_span", "_telemetry", "_token", "_work")

    def __init__(self, telemetry: Telemetry, work: ObservedWork) -> None:
        self._telemetry = telemetry
        self._work = work

    def __enter__(self) -> None:
        self._span = self._telemetry._began(self._work)  # noqa: SLF001 - its other half
        self._token = context.attach(trace.set_span_in_context(self._span))

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._telemetry._ended(self._work, self._span)  # noqa: SLF001 - the same
        finally:
            context.detach(self._token)
            self._span.end()


def _does_nothing(provider: object) -> bool:
    """Whether a provider is the API's own: one that does nothing, or waits for one to be set."""
    return type(provider).__module__.startswith(_API)


def _shape(work: ObservedWork) -> tuple[str, SpanKind, Sequence[Link]]:
    if isinstance(work, ObservedCall):
        return f"{work.method} {work.endpoint.name}", SpanKind.CLIENT, ()
    if isinstance(work, ObservedMessage):
        kind = SpanKind.CONSUMER if work.name == "notification" else SpanKind.INTERNAL
        return work.name, kind, ()
    name = work.name if isinstance(work, ObservedPayment) else type(work).__name__
    return name, SpanKind.INTERNAL, ()
