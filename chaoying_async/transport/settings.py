"""A session's HTTP settings, their defaults, and the engine that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import httpx

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.sealed import sealing
from chaoying_async.transport import default_engine
from chaoying_async.transport.base import Borrowed, Engine, NativeTransport, is_native
from chaoying_async.transport.hooks import HookedEngine, Hooks, checked
from chaoying_async.transport.httpx_engine import TransportEngine
from chaoying_async.transport.proxies import Proxies, ProxyGiven, check_socks
from chaoying_async.transport.tls import Cert, Verify

if TYPE_CHECKING:
    from chaoying_async.abc import Clock

#: Seconds. A payer may type a password for longer than any of these: the answer is then NEED_QUERY.
DEFAULT_TIMEOUT = httpx.Timeout(connect=5.0, read=20.0, write=10.0, pool=10.0)
#: ``keepalive_expiry`` is short of the 15 s and more that servers keep an idle connection.
DEFAULT_LIMITS = httpx.Limits(
    max_connections=100, max_keepalive_connections=100, keepalive_expiry=10.0
)


def _sends(_settings: object, _attribute: object, transport: Any) -> None:
    """A synchronous transport, a class or a client would end each call "outcome unknown"."""
    if transport is None:
        return
    sends = getattr(transport, "handle_async_request", None)
    if isinstance(transport, type) or not callable(sends):
        raise ParameterError(
            {"transport": "must be an asynchronous httpx transport (handle_async_request)"}
        )


@attrs.frozen(kw_only=True, repr=False)
@sealing(("cert", "proxy"))  # both may hold a password (M-27)
class EngineSettings:
    """Everything that decides which engine a session gets; a ``transport`` overrides the rest."""

    transport: httpx.AsyncBaseTransport | None = attrs.field(validator=_sends)
    event_hooks: Hooks = attrs.field(converter=checked)
    limits: httpx.Limits | None
    verify: Verify
    cert: Cert
    proxy: ProxyGiven
    trust_env: bool

    def engine(self, clock: Clock) -> Engine:
        """An engine for these settings; a user's transport is used as it is and never closed."""
        engine: Engine
        if isinstance(self.transport, NativeTransport) and is_native(self.transport):
            engine = Borrowed(self.transport)
        elif self.transport is not None:
            engine = TransportEngine(self.transport)
        else:
            engine = self._default(clock)
        return HookedEngine(engine, self.event_hooks) if self.event_hooks else engine

    def _default(self, clock: Clock) -> Engine:
        check_socks(Proxies(self.proxy, trust_env=self.trust_env).all)
        return default_engine(
            limits=self.limits or DEFAULT_LIMITS,
            verify=self.verify,
            cert=self.cert,
            proxy=self.proxy,
            trust_env=self.trust_env,
            clock=clock,
        )


def phases(timeout: httpx.Timeout | float | None) -> httpx.Timeout:
    """The phase time-outs of a session or a call; None means the default."""
    return DEFAULT_TIMEOUT if timeout is None else httpx.Timeout(timeout)
