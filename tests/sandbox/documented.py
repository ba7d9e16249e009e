"""Every documented request, and books in which it succeeds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx
import pytest

from chaoying_async import (
    ChaoyingError,
    GatewayError,
    GatewaySession,
    Hosts,
    OutcomeUnknownError,
    Undocumented,
)
from chaoying_async.sandbox import Sandbox, Status
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.wire.forms import parse_form
from chaoying_async.testing import FakeClock
from tests.factories import AUTH_CODE, MCH_ID, ORDER, REFUND, every_request
from tests.pure import rulebook, spec
from tests.sandbox.worlds import (
    Port,
    World,
    check_reply,
    check_request,
    endpoint_at,
    put_order,
    put_refund,
    put_sms,
)

NAMES = sorted(every_request())


@asynccontextmanager
async def opened(port: Port, world: World) -> AsyncGenerator[tuple[Sandbox, GatewaySession]]:
    """A new sandbox with empty books behind that port, and a session with it."""
    with port.showing(world.sandbox(FakeClock())) as sandbox:
        async with till(sandbox, port, world) as gateway:
            yield sandbox, gateway


@asynccontextmanager
async def till(
    sandbox: Sandbox, port: Port, world: World, **changes: Any
) -> AsyncGenerator[GatewaySession]:
    """A session over the library's own engine; each exchange is checked by hand."""

    async def on_response(response: httpx.Response) -> None:
        sent = response.request
        fields = dict(parse_form(sent.content.decode() or sent.url.query.decode()))
        check_reply(endpoint_at(sent.url.path, fields), await response.aread(), world)

    async def on_request(sent: httpx.Request) -> None:
        if speaks == sandbox.credentials:
            check_request(sent.method, str(sent.url), sent.content, world)

    speaks = attrs.evolve(sandbox.credentials, **changes)
    hooks: dict[str, Any] = {"request": [on_request], "response": [on_response]}
    async with GatewaySession(
        speaks,
        mch_id=MCH_ID,
        op_user_id="op1",
        device_info="till1",
        hosts=Hosts.single(port.url),
        event_hooks=hooks,
        read_retries=0,
    ) as session:
        yield session


def made(name: str, port: Port, **changes: Any) -> Request[Any]:
    """A request of that kind; a scanned link leads to the sandbox."""
    if name == "QrConfGet":
        changes.setdefault("url", f"{port.url}/qrpay/{MCH_ID}?op_shop_id=1")
    return spec.changed(every_request()[name], **changes)


#: Endpoints whose merchant must be known, and those that only a merchant who can trade may call.
MERCHANTS = [name for name in NAMES if "mch_id" in every_request()[name].needed]


TRADES = [name for name in MERCHANTS if name in rulebook.TRADES]


WALLETS = [name for name in NAMES if "paytype" in every_request()[name].names]


Way = Callable[[Sandbox], Mapping[str, Any]]


#: Endpoint and code to the ways there: each puts the books so and gives the request's changes.
WAYS: dict[tuple[str, str], Way] = {
    **{(name, "20005"): lambda _: {"mch_id": "99999999"} for name in MERCHANTS},
    **{(name, "20013"): lambda _: {"mch_id": "00000013"} for name in TRADES},
    **{(name, "20004"): lambda _: {"paytype": Undocumented("ECNY")} for name in WALLETS},
}


def way(name: str, code: str) -> Callable[[Way], Way]:
    """Another one."""

    def add(function: Way) -> Way:
        WAYS[name, code] = function
        return function

    return add


for name in ("pay", "WECHAT_PreOrder", "ALIPAY_PreOrder"):

    @way(name, "20004")
    def used_number(sandbox: Sandbox) -> Mapping[str, Any]:
        put_order(sandbox, ORDER)
        return {}


for name in ("pay", "facepay", "WECHAT_PreOrder", "ALIPAY_PreOrder"):
    for code, total in (("20006", 414), ("20003", 419), ("30001", 415)):
        WAYS[name, code] = lambda _, total=total: {"total_fee": total}  # type: ignore[misc]


for name in ("orderquery", "refund", "refundquery", "cancel"):
    WAYS[name, "20007"] = lambda _: {}


async def refused(gateway: GatewaySession, request: Request[Any]) -> ChaoyingError:
    with pytest.raises(ChaoyingError) as caught:
        await gateway.send(request)
    return caught.value


def is_refusal(error: ChaoyingError, name: str, state: str, code: str | None) -> None:
    """The error that M-09 has for it, on a loopback address, signed or not."""
    refusal = error
    if not rulebook.nothing_moved(name, state, code):
        assert type(error) is OutcomeUnknownError
        assert error.refusal is not None
        refusal = error.refusal
    assert type(refusal).__name__ == rulebook.refused(name, state, code)
    assert isinstance(refusal, GatewayError)
    assert (refusal.state, refusal.code or None) == (state, code)


@way("authcodetoopenid", "20004")
def bound_elsewhere(sandbox: Sandbox) -> Mapping[str, Any]:
    gateway = sandbox.app.runtime.gateway
    bound = gateway.ledger.bound.put(AUTH_CODE, "00000002")
    gateway.ledger = attrs.evolve(gateway.ledger, bound=bound)
    return {}


@way("WXA_Code2Session", "20004")
def used_code(sandbox: Sandbox) -> Mapping[str, Any]:
    gateway = sandbox.app.runtime.gateway
    codes = gateway.ledger.js_codes.put("js-code-0001", "wx1")
    gateway.ledger = attrs.evolve(gateway.ledger, js_codes=codes)
    return {}


@way("refund", "20006")
def refund_error(sandbox: Sandbox) -> Mapping[str, Any]:
    put_order(sandbox, ORDER, payable=1000)
    return {"total_fee": 1000, "refund_fee": 506}


@way("refund", "20008")
def refund_too_large(sandbox: Sandbox) -> Mapping[str, Any]:
    put_refund(sandbox, put_order(sandbox, ORDER), "R-0", part=99)
    return {}


@way("orderquery", "20009")
def query_error(sandbox: Sandbox) -> Mapping[str, Any]:
    _with_scenario(sandbox, 423)
    return {}


@way("refundquery", "20010")
def refund_query_error(sandbox: Sandbox) -> Mapping[str, Any]:
    put_refund(sandbox, put_order(sandbox, ORDER), REFUND)
    gateway = sandbox.app.runtime.gateway
    refund = gateway.ledger.refunds[MCH_ID, REFUND]
    gateway.ledger = gateway.ledger.with_refund(attrs.evolve(refund, scenario=508))
    return {}


@way("cancel", "20011")
def cancel_too_late(sandbox: Sandbox) -> Mapping[str, Any]:
    order = put_order(sandbox, ORDER)
    late = attrs.evolve(order, created=order.created.replace(year=2025))
    gateway = sandbox.app.runtime.gateway
    gateway.ledger = gateway.ledger.with_order(late)
    return {}


@way("cancel", "20006")
def cancel_error(sandbox: Sandbox) -> Mapping[str, Any]:
    _with_scenario(sandbox, 420, Status.OPEN)
    return {}


@way("cancel", "30001")
def cancel_unclear(sandbox: Sandbox) -> Mapping[str, Any]:
    _with_scenario(sandbox, 421, Status.OPEN)
    return {}


@way("GetMchId", "20005")
def unknown_login(_: Sandbox) -> Mapping[str, Any]:
    return {"mobile": "13711111111"}


@way("GetMchId", "20004")
def wrong_code(sandbox: Sandbox) -> Mapping[str, Any]:
    put_sms(sandbox, "13800000000", "1111")
    return {}


@way("wx_addsubdevconfig", "20004")
def no_room_left(sandbox: Sandbox) -> Mapping[str, Any]:
    gateway = sandbox.app.runtime.gateway
    full = attrs.evolve(gateway.ledger.merchants[MCH_ID], appids=("wx8", "wx9"))
    merchants = gateway.ledger.merchants.put(MCH_ID, full)
    gateway.ledger = attrs.evolve(gateway.ledger, merchants=merchants)
    return {}


def _with_scenario(sandbox: Sandbox, number: int, status: Status = Status.PAID) -> None:
    order = attrs.evolve(put_order(sandbox, ORDER, status=status), scenario=number)
    gateway = sandbox.app.runtime.gateway
    gateway.ledger = gateway.ledger.with_order(order)
