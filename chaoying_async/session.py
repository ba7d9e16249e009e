"""Sends a request to the gateway and returns its verified, typed reply: ``GatewaySession``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from chaoying_async.abc import Clock, Observer
from chaoying_async.clock import SystemClock
from chaoying_async.environment import session_from_env
from chaoying_async.exceptions import (
    ChaoyingError,
    ChaoyingWarning,
    MalformedMessageError,
    OutcomeUnknownError,
    RequestNotSentError,
    SessionClosedError,
    TransportError,
    UsageError,
    WrongEventLoopError,
)
from chaoying_async.observation import Observation, check_observer
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.audit import Exchange, record
from chaoying_async.sansio.call_numbers import CANCELLED, OTHER, CallCounts, SessionStats
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.exchange import (
    Defaults,
    Outgoing,
    build_request,
    date_in,
    outcome_unknown,
    read_reply,
)
from chaoying_async.sansio.hosts import Hosts, host_and_port
from chaoying_async.sansio.observed import ObservedCall, begins_order, order_mark
from chaoying_async.sansio.printable import one_line
from chaoying_async.sansio.userfunctions import Kind, check_functions, refuse_unbegun
from chaoying_async.transport import departures
from chaoying_async.transport.event_hooks import RequestHookRaised
from chaoying_async.transport.observed_engine import ObservedEngine

if TYPE_CHECKING:
    import httpx

    from chaoying_async.transport.base import Engine, HttpReply
    from chaoying_async.transport.event_hooks import Hooks
    from chaoying_async.transport.proxies import ProxyGiven
    from chaoying_async.transport.tls import Cert, Verify

T = TypeVar("T")

_log = logging.getLogger("chaoying_async")

#: Seconds that a whole call may take, repeats included.
DEFAULT_DEADLINE = 30.0
#: Bytes that a reply may have.
DEFAULT_MAX_REPLY = 1024 * 1024


class GatewaySession:
    """Sends any request of the document, and returns its verified and typed reply.

    ::

        async with GatewaySession(credentials, mch_id="00000001") as gateway:
            reply = await gateway.send(OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011"))

    Open one per process and event loop, and share it: it pools connections, and any number of
    tasks may call :meth:`send` at once; beyond ``limits.max_connections`` they queue in order.

    ``mch_id``, ``op_user_id`` and ``device_info`` are used by requests that do not name their own.
    ``timeout`` has the phases of ``httpx.Timeout`` (seconds: connect 5, read 20, write 10, pool
    10); ``deadline`` bounds a whole call, repeats included. ``transport`` replaces the HTTP engine
    (for tests: ``httpx.MockTransport``, respx's ``router.async_handler``,
    ``httpx.ASGITransport``): the session never closes it, and does not apply ``limits``,
    ``verify``, ``cert``, ``proxy`` or ``trust_env`` to it. ``require_signed`` refuses every
    answer without a signature, also pending ones and those that the document prints so (M-08).
    A reply may have ``max_reply_bytes``, counted after unpacking, below a head of 64 kB and 1,000
    fields. A larger reply is cut off, and is no usable answer.
    ``event_hooks`` has httpx's shape, lists of async functions, and sees everything unmasked;
    ``on_exchange``, a plain function, gets an :class:`Exchange` with everything personal masked,
    for audits. ``observer`` is told of each call, and of the checkouts and refunds made with this
    session, without anything personal: for traces and metrics. ``read_retries`` says how
    often a *read* is repeated after a transport error; a request that moves money is never repeated
    (M-02).
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        mch_id: str | None = None,
        op_user_id: str | None = None,
        device_info: str | None = None,
        hosts: Hosts | None = None,
        timeout: httpx.Timeout | float | None = None,
        deadline: float | None = DEFAULT_DEADLINE,
        limits: httpx.Limits | None = None,
        max_reply_bytes: int = DEFAULT_MAX_REPLY,
        verify: Verify = True,
        cert: Cert = None,
        proxy: ProxyGiven = None,
        trust_env: bool = False,
        require_signed: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
        event_hooks: Hooks | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        observer: Observer | None = None,
        read_retries: int = 2,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._engine: Engine | None = None  # set first: __repr__ and __del__ need it after an error
        self._loop: asyncio.AbstractEventLoop | None = None
        self.credentials = credentials
        self.defaults = Defaults(mch_id=mch_id, op_user_id=op_user_id, device_info=device_info)
        self.hosts = hosts or Hosts.document()
        # Imported here, not at the top: httpx takes longer to import than everything else together,
        # and a program that only verifies notifications needs none of it.
        from chaoying_async.transport.settings import (  # noqa: PLC0415
            DEFAULT_LIMITS,
            EngineSettings,
            check_numbers,
            phases,
        )
        from chaoying_async.transport.tls import proves  # noqa: PLC0415

        check_numbers(
            timeout=timeout,
            deadline=deadline,
            limits=limits,
            max_reply_bytes=max_reply_bytes,
            read_retries=read_retries,
        )
        check_functions(Kind.PLAIN, 1, on_exchange=on_exchange)
        check_observer(observer)
        self._phases = phases
        #: The phase time-outs of calls that name none.
        self.timeout = phases(timeout)
        self._deadline = deadline
        self._max_reply_bytes = max_reply_bytes
        # Of an ordinary httpx transport it cannot be seen, and is believed.
        self._verified = proves(verify) and getattr(transport, "verifies", True)
        self._direct = proxy is None and getattr(transport, "direct", True)
        self._require_signed = require_signed
        self._on_exchange = on_exchange
        #: Who is told of the calls, checkouts and refunds of this session; None: nobody.
        self.observer = observer
        self._read_retries = read_retries
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._calls = CallCounts()
        self._settings = EngineSettings(
            transport=transport,
            event_hooks=event_hooks,
            limits=limits,
            verify=verify,
            cert=cert,
            proxy=proxy,
            trust_env=trust_env,
        )
        #: How many calls can be under way at once; None: no limit, or an unknown one (with a
        #: ``transport``).
        self.max_connections: int | None = (
            None if transport is not None else (limits or DEFAULT_LIMITS).max_connections
        )

    @classmethod
    def from_env(cls, **options: Any) -> Self:
        """A session made from the environment, as ``chaoying sandbox`` prints it.

        The credentials are those of :func:`credentials_from_env`; ``CHAOYING_URL`` is the one
        address of all calls (:meth:`Hosts.single`), ``CHAOYING_MCH_ID`` and ``CHAOYING_OP_USER_ID``
        are the defaults of requests that name none. **Without** ``CHAOYING_URL`` it is production,
        :meth:`Hosts.document`. ``CHAOYING_ALLOW_HTTP=1`` lets plain http go to another machine or
        container. ``options`` are the constructor's, and win over the environment.
        All that is missing, blank or wrong is named in one
        :class:`~chaoying_async.exceptions.ParameterError`.
        """
        return cls(**session_from_env() | options)

    def __repr__(self) -> str:
        state = "closed" if self._engine is None else "open"
        return f"<GatewaySession agent_id={self.credentials.agent_id!r} {state}>"

    @property
    def mch_id(self) -> str | None:
        """The merchant of the requests that name none (M-18)."""
        return self.defaults.mch_id

    @property
    def op_user_id(self) -> str | None:
        """The operator of the requests that name none."""
        return self.defaults.op_user_id

    async def __aenter__(self) -> Self:
        if self._engine is not None:
            raise UsageError("this session is open already; open another one")
        if not self._verified:  # warn before opening: the warning may be an error
            warnings.warn(
                "verify=False, or a context that verifies nothing: "
                "anybody on the way can read and change what is sent",
                ChaoyingWarning,
                stacklevel=2,
            )
        self._loop = asyncio.get_running_loop()
        self._engine = self._settings.engine(self._clock)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pool. Calls still under way end with an error; closing twice does no harm."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.aclose()

    def __del__(self) -> None:
        # Only warn: the event loop may be gone, so nothing can be closed here.
        if getattr(self, "_engine", None) is not None:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    async def send(
        self, request: Request[T], *, timeout: httpx.Timeout | float | None = None
    ) -> Reply[T]:
        """Send one request and return its verified reply.

        A :class:`Reply` comes back whenever the gateway carried the call out, whatever the trade's
        own state is: look at ``reply.result`` or call ``reply.unwrap()``. Everything else raises:

        - :class:`ParameterError`: nothing was sent; fix the call;
        - :class:`RequestNotSentError`: it never left; safe to repeat;
        - :class:`OutcomeUnknownError` (money only): it may have been carried out; query first;
        - :class:`GatewayError`: refused, and this call moved nothing (M-09);
        - :class:`TransportError`, :class:`ProtocolError` (reads only): no answer, or none to be
          trusted; asking again is safe.

        ``timeout`` replaces the session's phase time-outs for this call. Requests that move money
        are sent once; reads are repeated after transport errors, within the session's deadline.
        """
        engine = self._open_engine()
        outgoing = build_request(
            request,
            self.credentials,
            defaults=self.defaults,
            hosts=self.hosts,
            verify=self._verified,
            direct=self._direct,
        )
        phases = self.timeout if timeout is None else self._phases(timeout)
        if self.observer is None:
            return await self._ended(engine, outgoing, phases)
        call = _observed(outgoing)
        with Observation(self.observer, call, self._clock) as told:
            if told:
                engine = ObservedEngine(engine, call)
            reply = await self._ended(engine, outgoing, phases)
            if told:
                call.answered(reply)
            return reply

    async def _ended(
        self, engine: Engine, outgoing: Outgoing[T], phases: httpx.Timeout
    ) -> Reply[T]:
        """Send, and log how the call ended."""
        started, outcome = self._clock.monotonic(), OTHER
        self._calls.begin()
        try:
            reply = await self._within_deadline(engine, outgoing, phases)
            outcome = reply.meaning.name
        except RequestHookRaised as hooked:  # nothing was sent: raise the user's own error
            raise hooked.error from hooked.error.__cause__
        except ChaoyingError as error:
            outcome = type(error).__name__
            error.about(outgoing.endpoint.name, outgoing.order)
            self._log_error(outgoing, error, started)
            raise
        except BaseException as error:  # cancelled, or a defect: nobody else would log it
            outcome = CANCELLED if isinstance(error, asyncio.CancelledError) else OTHER
            level = logging.WARNING if outgoing.endpoint.moves_money else logging.INFO
            self._log(level, outgoing, started, type(error).__name__)
            raise
        finally:
            seconds = self._clock.monotonic() - started
            self._calls.end(outgoing.endpoint.name, outcome, seconds)
        self._log(
            logging.INFO,
            outgoing,
            started,
            reply.meaning.name,
            state=reply.state,
            code=reply.code,
            trade_state=reply.trade_state,
        )
        return reply

    def stats(self) -> SessionStats:
        """How many calls are under way, how the others ended, and how long they took.

        Counted since the session was made. Any thread may ask, before and after the session is
        open too.
        """
        return self._calls.snapshot()

    async def _within_deadline(
        self, engine: Engine, outgoing: Outgoing[T], phases: httpx.Timeout
    ) -> Reply[T]:
        try:
            async with self._clock.timeout(self._deadline):
                return await self._retried(engine, outgoing, phases)
        except TimeoutError as error:
            where = host_and_port(outgoing.url)
            why = TransportError(
                f"no answer came from {where} within the deadline of {self._deadline} s"
            )
            raise self._judged(outgoing, why) from error

    async def _retried(
        self, engine: Engine, outgoing: Outgoing[T], phases: httpx.Timeout
    ) -> Reply[T]:
        """Send; repeat a read after a transport error, with growing pauses (money: never, M-02)."""
        repeats = self._read_retries if outgoing.endpoint.repeatable else 0
        for attempt in range(1, 1 + repeats):
            with contextlib.suppress(TransportError):
                return await self._exchange(engine, outgoing, phases)
            await self._clock.sleep(self._rng.uniform(0.5, 1.0) * min(0.5 * 2**attempt, 5.0))
        return await self._exchange(engine, outgoing, phases)

    async def _exchange(
        self, engine: Engine, outgoing: Outgoing[T], phases: httpx.Timeout
    ) -> Reply[T]:
        """Send once and read one answer; this repeats nothing."""
        try:
            answer = await self._round_trip(engine, outgoing, phases)
        except RequestHookRaised:
            raise
        except ChaoyingError as error:
            judged = self._judged(outgoing, error)
            if judged is error:
                raise  # keeps its cause, the engine's own error
            raise judged from error
        except Exception as error:  # a defect of the engine: something may have been sent
            where = host_and_port(outgoing.url)
            why = TransportError(f"no usable answer came from {where}: {type(error).__name__}")
            raise self._judged(outgoing, why) from error
        now = self._clock.now() if self.credentials.previous_keys else None
        try:
            return read_reply(
                outgoing,
                answer.status,
                answer.body,
                self.credentials,
                now=now,
                require_signed=self._require_signed,
                max_bytes=self._max_reply_bytes,
                date=date_in(answer.headers),
            )
        except ChaoyingError:
            raise
        except Exception as error:  # a warning that was made an error, or a defect of ours
            unread = MalformedMessageError(f"the reply could not be read: {type(error).__name__}")
            raise self._judged(outgoing, unread) from error

    @staticmethod
    def _judged(outgoing: Outgoing[Any], error: ChaoyingError) -> ChaoyingError:
        """The engine's error, or ``OutcomeUnknownError`` where the request may have moved money."""
        if outgoing.endpoint.moves_money and not isinstance(error, RequestNotSentError):
            return outcome_unknown(outgoing, error)
        return error

    async def _round_trip(
        self, engine: Engine, outgoing: Outgoing[Any], phases: httpx.Timeout
    ) -> HttpReply:
        started = self._clock.monotonic()
        answer: HttpReply | None = None
        problem: BaseException | None = None
        try:
            answer = await engine.round_trip(
                outgoing.method,
                outgoing.url,
                outgoing.headers,
                outgoing.body,
                timeout=phases,
                max_bytes=self._max_reply_bytes,
            )
        except BaseException as error:  # a cancellation by the deadline too
            problem = error
            raise
        else:
            return answer
        finally:
            departures.note(problem)
            if self._on_exchange is not None:
                self._audit(outgoing, started, answer, problem)

    def _audit(
        self,
        outgoing: Outgoing[Any],
        started: float,
        answer: HttpReply | None,
        problem: BaseException | None,
    ) -> None:
        """Call ``on_exchange``. An error of it is logged: it must not hide what the money did."""
        if self._on_exchange is None:
            return
        try:
            elapsed = self._clock.monotonic() - started
            status, body = (answer.status, answer.body) if answer else (None, None)
            made = record(
                outgoing,
                self.credentials,
                elapsed=elapsed,
                status=status,
                body=body,
                error=problem,
            )
            refuse_unbegun("on_exchange", self._on_exchange(made))
        # Nothing is awaited here, so a CancelledError comes from the user's function too.
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it raises
            what = f"{outgoing.endpoint.name} {outgoing.order}"
            _emit(logging.ERROR, f"on_exchange raised {type(error).__name__} for {what}", {})

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise SessionClosedError(
                "the session is not open: use it inside `async with GatewaySession(...)`"
            )
        if self._loop is not asyncio.get_running_loop():
            raise WrongEventLoopError(
                "this session belongs to another event loop: open one per loop and asyncio.run"
            )
        return self._engine

    def _log_error(self, outgoing: Outgoing[Any], error: ChaoyingError, started: float) -> None:
        level = logging.WARNING if isinstance(error, OutcomeUnknownError) else logging.INFO
        said = getattr(error, "refusal", None) or error
        state, code = getattr(said, "state", None), getattr(said, "code", None)
        self._log(level, outgoing, started, type(error).__name__, state=state, code=code)

    def _log(
        self, level: int, outgoing: Outgoing[Any], started: float, what: str, **status: str | None
    ) -> None:
        """Write one line for a call; its fields stand on the record too, for structured logs."""
        if not _log.isEnabledFor(level):
            return
        name, order = outgoing.endpoint.name, outgoing.order
        elapsed = self._clock.monotonic() - started
        said = {key: None if value is None else one_line(value) for key, value in status.items()}
        shown = "".join(f" {key}={value}" for key, value in said.items() if value is not None)
        fields = {"endpoint": name, "order": order, "outcome": what, "elapsed": elapsed, **said}
        _emit(level, f"{name} {order} {what}{shown} {elapsed * 1000:.0f} ms", fields)


def _observed(outgoing: Outgoing[Any]) -> ObservedCall:
    endpoint, fields = outgoing.endpoint, outgoing.fields
    number = fields.get("out_trade_no") if begins_order(endpoint) else None
    return ObservedCall(
        endpoint=endpoint,
        method=outgoing.method,
        address=outgoing.url.partition("?")[0],
        order=None if number is None else order_mark(fields.get("mch_id", ""), number),
    )


def _emit(level: int, line: str, fields: Mapping[str, Any]) -> None:
    """Log, and swallow whatever logging raises: it must not hide what happened to the money.

    A filter or a record factory of the program may refuse a field, or every record.
    """
    for extra in (fields, {}):
        try:
            _log.log(level, "%s", line, extra=dict(extra))
        except Exception:  # noqa: BLE001, S112 - there is nowhere left to say it
            continue  # try again without the fields
        return
