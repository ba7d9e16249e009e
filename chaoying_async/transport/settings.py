"""Checks a session's HTTP settings, has their defaults, and makes the engine for them."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import attrs
import httpx

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.sealed import sealing
from chaoying_async.transport import default_engine
from chaoying_async.transport.base import Borrowed, Engine, NativeTransport, is_native
from chaoying_async.transport.errors import families
from chaoying_async.transport.event_hooks import HookedEngine, Hooks, checked
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
_SECONDS = "must be a finite number above 0, or None"
_SECONDS_OR_TIMEOUT = (
    "must be a finite number of seconds above 0, an httpx.Timeout of such numbers, or None"
)
_LIMITS = (
    "must be an httpx.Limits: max_connections an int of at least 1 or None,"
    " max_keepalive_connections an int of at least 0 or None, keepalive_expiry seconds or None"
)


def _sends(_settings: object, _attribute: object, transport: Any) -> None:
    """Refuse a synchronous transport, a class or a client: each call would end outcome unknown."""
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
        """An engine for these settings; it never closes a transport of the user's."""
        engine: Engine
        if isinstance(self.transport, NativeTransport) and is_native(self.transport):
            engine = Borrowed(self.transport)
        elif self.transport is not None:
            engine = TransportEngine(self.transport)
        else:
            check_socks(Proxies(self.proxy, trust_env=self.trust_env).all)
            engine = default_engine(
                limits=self.limits or DEFAULT_LIMITS,
                verify=self.verify,
                cert=self.cert,
                proxy=self.proxy,
                trust_env=self.trust_env,
                clock=clock,
            )
        return HookedEngine(engine, self.event_hooks) if self.event_hooks else engine


def phases(timeout: httpx.Timeout | float | None) -> httpx.Timeout:
    """The phase time-outs of a session or a call; None means the default."""
    if timeout is None:
        return DEFAULT_TIMEOUT
    made = _timeout(timeout)
    if made is None:
        raise ParameterError({"timeout": _SECONDS_OR_TIMEOUT})
    return made


def check_numbers(
    *, timeout: Any, deadline: Any, limits: Any, max_reply_bytes: Any, read_retries: Any
) -> None:
    """Raise for every number that would otherwise fail in the middle of a payment."""
    rules = {
        "timeout": (timeout is None or _timeout(timeout) is not None, _SECONDS_OR_TIMEOUT),
        "deadline": (deadline is None or _is_seconds(deadline), _SECONDS),
        "limits": (limits is None or _are_limits(limits), _LIMITS),
        "max_reply_bytes": (_is_whole(max_reply_bytes, 1), "must be an int of at least 1"),
        "read_retries": (_is_whole(read_retries, 0), "must be an int of at least 0"),
    }
    if problems := {name: rule for name, (holds, rule) in rules.items() if not holds}:
        raise ParameterError(problems)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_seconds(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value <= sys.float_info.max  # an int may be too large for a clock


def _timeout(timeout: Any) -> httpx.Timeout | None:
    """The time-out as httpx reads it; None where a phase is not a time that can be waited."""
    try:
        made = httpx.Timeout(timeout)
    except (ValueError, TypeError, LookupError):
        return None
    parts = made.as_dict().values()
    return made if all(part is None or _is_seconds(part) for part in parts) else None


def _are_limits(limits: Any) -> bool:
    kinds: tuple[Any, ...] = tuple(each.Limits for each in families())
    if not isinstance(limits, kinds):
        return False
    most, idle, expiry = (
        limits.max_connections,
        limits.max_keepalive_connections,
        limits.keepalive_expiry,
    )
    return (
        (most is None or _is_whole(most, 1))
        and (idle is None or _is_whole(idle, 0))
        # 0: no connection is used twice; inf: it is kept for as long as the server keeps it
        and (expiry is None or expiry in (0, math.inf) or _is_seconds(expiry))
    )
