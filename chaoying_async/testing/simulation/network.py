"""The wire between the shop and its gateway, as a transport for ``GatewaySession``.

A request that left goes its way whatever becomes of the process that sent it.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from email.utils import format_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx

from chaoying_async.exceptions import ChaoyingError, RequestNotSentError, TransportError
from chaoying_async.sandbox.bank.ledger import MCH_ID
from chaoying_async.sandbox.document.http_messages import HttpRequest, HttpResponse, read_form
from chaoying_async.sandbox.document.signature import signature
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.values import GMT8
from chaoying_async.testing.simulation.key_ring import KeyRing
from chaoying_async.testing.simulation.process import Process, SimulatedClock
from chaoying_async.testing.simulation.surroundings import Surroundings
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.weather import WireFault, struck
from chaoying_async.transport.base import Headers, HttpReply, NativeTransport

#: Seconds after which a request that was delayed arrives at last.
_LONGEST_WAY = 60.0
#: Codes that say nothing about what became of a call that moves money (M-09), by endpoint.
_VAGUE = ("20003", "20006", "20009", "30001", "20010")
_VAGUE_OF = {"pay": ("20004",), "refund": ("20004", "20008"), "cancel": ("20004", "20007", "20011")}
_PREORDERS = ("WECHAT_PreOrder", "ALIPAY_PreOrder")
#: Every code that the document knows, and one that it does not.
CODES = (
    *("20002", "20003", "20004", "20005", "20006", "20007", "20008", "20009", "20010", "20011"),
    *("20012", "20013", "30001", "77777", "VER"),
)
_PAGE = b"<html><body><h1>Bad Gateway</h1></body></html>"


class Network:
    """Carries requests to the gateway and replies back."""

    def __init__(
        self,
        world: Surroundings,
        rng: random.Random,
        *,
        answer: Callable[[HttpRequest], HttpResponse],
        keys: KeyRing,
        clock: SimulatedClock,
    ) -> None:
        self._world = world
        self.rng = rng
        self._answer = answer
        self._keys = keys
        self._clock = clock
        self._replies: defaultdict[str, list[bytes]] = defaultdict(list)
        self._amounts: dict[str, str] = {}
        self._misled: set[str] = set()
        #: When each call left first, and when its first reply came.
        self.sent: dict[tuple[str, str], float] = {}
        self.replied: dict[tuple[str, str], float] = {}
        #: When each call left last.
        self.sent_last: dict[tuple[str, str], float] = {}
        #: Orders of which a reply to their payment said that they were there already.
        self.repeated: set[str] = set()
        #: How many requests have left, and are still to reach the gateway.
        self.under_way = 0
        #: How often each call left for each number: ``(endpoint, number)``.
        self.left: defaultdict[tuple[str, str], int] = defaultdict(int)

    def later(self, seconds: float, act: Callable[..., object], *args: Any) -> None:
        """Do something in the world outside, whatever becomes of any process."""
        self._world.loop.call_later(seconds, act, *args, context=self._world.context)

    def arrives(self, seconds: float, act: Callable[..., object], *args: Any) -> None:
        """Let a request reach the gateway: until then the world is not at its end."""
        self.under_way += 1
        self.later(seconds, self._arrive, act, args)

    def _arrive(self, act: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.under_way -= 1
        act(*args)

    def way(self) -> float:
        """How many seconds a message takes."""
        return self.rng.uniform(0.005, 0.15)

    def begin(self, process: Process, request: HttpRequest) -> asyncio.Future[HttpReply]:
        """Send a request on its way."""
        reply: asyncio.Future[HttpReply] = self._world.loop.create_future()
        fields = read_form(request.parameters)
        endpoint = request.endpoint
        number = fields.get("out_refund_no") or fields.get("out_trade_no", "")
        if "total_fee" in fields:
            self._amounts.setdefault(number, fields["total_fee"])
        fault = None if self._world.is_calm else struck(self.rng, self._world.weather.wire)
        if process.cut_off:
            fault = WireFault.REFUSED
        self.left[endpoint, number] += 1
        self.sent.setdefault((endpoint, number), self._world.loop.time())
        self.sent_last[endpoint, number] = self._world.loop.time()
        said = f" ({fault.value})" if fault else ""
        self._world.timeline.note(Happening.SENT, f"{endpoint} {number}{said}", process.name)
        _Call(self, process, request, endpoint, number, fault, reply).go()
        return reply

    def arrived(self, call: _Call, *, hidden: bool = False) -> HttpResponse:
        """What the gateway answers to a request that reached it."""
        again = " once more" if hidden else ""
        self._world.timeline.note(Happening.ARRIVED, f"{call.endpoint} {call.number}{again}")
        response = self._answer(self._keys.admitted(call.request))
        if call.endpoint == "orderquery" and b'"trade_state": "FAIL"' in response.body:
            self._misled.add(call.number)  # one more failure would be an end (M-06)
        self._replies[call.endpoint].append(response.body)
        return response

    def stranger(self, endpoint: str, number: str) -> bytes | None:
        """Another order's reply to such a call; None where there is none yet.

        One that names no order could be taken for ours by anybody (M-06): a connection that may
        bring such a one is closed, which is a matter for the transport's tests.
        """
        others = [
            body
            for body in self._replies[endpoint]
            if b'"out_trade_no"' in body and number.encode() not in body
        ]
        return self.rng.choice(others) if others else None

    def nameless(self, endpoint: str, number: str) -> bytes | None:
        """Another order's failure, without its number; only once, since twice is an end (M-06)."""
        if endpoint != "orderquery" or number in self._misled:
            return None
        self._misled.add(number)
        code = self.rng.choice(("10004", "10005", "10006"))
        return self.signed({"state": "SUCCESS", "code": code, "trade_state": "FAIL"})

    def forgery(
        self, endpoint: str, number: str, signer: Credentials | None = None
    ) -> bytes | None:
        """A reply that says "paid", signed by somebody with another key, or with none."""
        if endpoint not in ("pay", "orderquery") or number not in self._amounts:
            return None
        fee, now = self._amounts[number], self._clock.now().astimezone(GMT8)
        message = {"state": "SUCCESS", "code": "10000", "trade_state": "SUCCESS"}
        message |= {"mch_id": MCH_ID, "out_trade_no": number, "transaction_id": "666"}
        message |= {"base_fee": fee, "total_fee": fee, "time_end": f"{now:%Y%m%d%H%M%S}"}
        message |= {"paytype": "WECHAT"}
        sign = "F" * 32 if signer is None else signature(message, signer)
        return json.dumps({**message, "sign": sign}).encode()

    def outdated(self, call: _Call) -> bytes | None:
        """The same, signed with a key that has ended."""
        ended = call.process.ended_key()
        return None if ended is None else self.forgery(call.endpoint, call.number, ended)

    def refusal(self, code: str) -> bytes:
        """A signed refusal."""
        state = {"state": "VER"} if code == "VER" else {"state": "FAIL", "code": code}
        return self.signed({**state, "msg": "simulated"})

    def vague(self, endpoint: str) -> str:
        """A code that leaves open what became of the call."""
        if endpoint in _PREORDERS:
            return self.rng.choice(("20003", "20006", "30001"))
        return self.rng.choice((*_VAGUE, *_VAGUE_OF.get(endpoint, ())))

    def signed(self, message: Mapping[str, Any]) -> bytes:
        """A message with a right signature."""
        fields = {name: value for name, value in message.items() if name != "sign"}
        texts = {name: str(value) for name, value in fields.items()}
        fields["sign"] = signature(texts, self._keys.gateways)
        return json.dumps(fields, ensure_ascii=False).encode()

    def tell(self, call: _Call, what: str) -> None:
        """Note what came back."""
        self.replied.setdefault((call.endpoint, call.number), self._world.loop.time())
        if call.endpoint == "pay" and "20004" in what:
            self.repeated.add(call.number)
        self._world.timeline.note(Happening.REPLY, f"{call.endpoint} {call.number}: {what}")

    @property
    def headers(self) -> Headers:
        """The gateway's own time, as its replies name it."""
        return (("date", format_datetime(self._clock.now(), usegmt=True)),)


#: Fields that contradict the others.
_CONTRARY = ({"code": "10003"}, {"trade_state": "FAIL"}, {"trade_state": "NEED_QUERY"})


@attrs.frozen(eq=False)
class _Call:
    """One request under way."""

    network: Network
    process: Process
    request: HttpRequest
    endpoint: str
    number: str
    fault: WireFault | None
    reply: asyncio.Future[HttpReply]

    def go(self) -> None:
        network, way = self.network, self.network.way()
        match self.fault:
            case WireFault.REFUSED:
                network.later(way, self._fail, RequestNotSentError("refused"))
            case WireFault.LOST_BEFORE:
                network.later(way, self._fail, TransportError("reset"))
            case WireFault.HTTP_502:
                network.later(2 * way, self._come, 502, _PAGE)
            case WireFault.CODE_INSTEAD:
                network.later(2 * way, self._come, 200, network.refusal(network.rng.choice(CODES)))
            case WireFault.ARRIVES_LATE:
                network.later(way, self._fail, TransportError("reset"))
                network.arrives(network.rng.uniform(0.0, _LONGEST_WAY), network.arrived, self)
            case _:
                network.arrives(way, self._arrive)

    def _arrive(self) -> None:
        network, way = self.network, self.network.way()
        response = network.arrived(self)
        # What was refused for its signature is the same message when it comes once more: the keys
        # that count may be others by then, and the first answer would no longer be true.
        if self.fault is WireFault.TWICE and b'"20002"' not in response.body:
            again = partial(network.arrived, self, hidden=True)
            network.arrives(network.rng.uniform(0.0, 5.0), again)
        if self.fault is WireFault.LATE:
            way = network.rng.uniform(1.0, _LONGEST_WAY)
        if response.cut is not None or self.fault in (WireFault.LOST_AFTER, WireFault.CUT):
            network.later(way, self._fail, TransportError("reset by peer"))
        elif self.fault is WireFault.HTTP_500:
            network.later(way, self._come, 500, _PAGE)
        else:
            twist = _TWISTS.get(self.fault, _as_it_is)
            network.later(way, self._come, response.status, twist(network, self, response.body))

    def _come(self, status: int, body: bytes) -> None:
        if self.process.cut_off:
            self._fail(TransportError("reset by peer"))
            return
        self.network.tell(self, _shown(status, body))
        if not self.reply.done():
            self.reply.set_result(HttpReply(status, self.network.headers, body))

    def _fail(self, error: ChaoyingError) -> None:
        self.network.tell(self, str(error))
        if self.process.alive and not self.reply.done():
            self.reply.set_exception(error)


def _as_it_is(_network: Network, _call: _Call, body: bytes) -> bytes:
    return body


def _missigned(body: bytes, sign: str | None) -> bytes:
    message = {name: value for name, value in json.loads(body).items() if name != "sign"}
    return json.dumps(message if sign is None else {**message, "sign": sign}).encode()


#: What becomes of a reply on its way back.
_TWISTS: Mapping[WireFault | None, Callable[[Network, _Call, bytes], bytes]] = {
    WireFault.STRANGER: lambda net, call, body: net.stranger(call.endpoint, call.number) or body,
    WireFault.NAMELESS: lambda net, call, body: net.nameless(call.endpoint, call.number) or body,
    WireFault.HTML: lambda _net, _call, _body: _PAGE,
    WireFault.CODE_ALTHOUGH: lambda net, call, _body: net.refusal(net.vague(call.endpoint)),
    WireFault.WRONG_SIGN: lambda _net, _call, body: _missigned(body, "0" * 32),
    WireFault.FORGED: lambda net, call, body: net.forgery(call.endpoint, call.number) or body,
    WireFault.OLD_KEY: lambda net, call, body: net.outdated(call) or body,
    WireFault.NO_SIGN: lambda _net, _call, body: _missigned(body, None),
    WireFault.UNKNOWN_VALUES: lambda net, _call, body: net.signed(
        {**json.loads(body), "trade_state": "WHATEVER"}
    ),
    WireFault.CONTRADICTION: lambda net, _call, body: net.signed(
        {**json.loads(body), **net.rng.choice(_CONTRARY)}
    ),
}


def _shown(status: int, body: bytes) -> str:
    try:
        message = json.loads(body)
    except ValueError:
        return f"status {status}"
    names = ("state", "code", "trade_state")
    return " ".join(str(message[name]) for name in names if name in message)


class NetworkCard(NativeTransport):
    """One process's end of the wire: give it to ``GatewaySession(transport=...)``."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process

    async def round_trip(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        timeout: httpx.Timeout,  # noqa: ARG002 - the session's deadline ends what takes long
        max_bytes: int,  # noqa: ARG002 - no reply here is large
    ) -> HttpReply:
        """See :class:`~chaoying_async.transport.base.Engine`."""
        parts = urlsplit(url)
        given = {name.lower(): value for name, value in headers}
        request = HttpRequest.of(method, parts.path, parts.query, given, body)
        return await self._network.begin(self._process, request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx: what a program of the shop's own sends by an ``AsyncClient``."""
        headers = [(name, value) for name, value in request.headers.items()]
        body = await request.aread()
        reply = await self.round_trip(
            request.method,
            str(request.url),
            headers,
            body,
            timeout=httpx.Timeout(None),
            max_bytes=0,
        )
        return reply.response(request)
