"""The core's promises, held against a sandbox that is served over HTTP, in each of its worlds.

``test_client_suite.py`` runs the core's own tests here; these are what those have no gateway
for: a real reply to every documented request, every refusal there is, and the life of an order.
Every request and every reply is held against a signature that is computed by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import attrs
import httpx
import pytest

from chaoying_async import (
    AlipayNotification,
    ChaoyingError,
    ChaoyingWarning,
    GatewayError,
    GatewaySession,
    Hosts,
    Meaning,
    MissingSignatureError,
    NotConfiguredYetError,
    OrderQuery,
    OutcomeUnknownError,
    PayType,
    Poller,
    PollStatus,
    QrConfGet,
    RefundQuery,
    SignatureVerificationError,
    TradeFailedError,
    TradePendingError,
    TradeRefundedError,
    TradeType,
    Undocumented,
    parse_notification,
)
from chaoying_async.sandbox import Sandbox, Status
from chaoying_async.sandbox.serving.server import listening
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.wire.forms import parse_form
from chaoying_async.testing import FakeClock
from tests.factories import AUTH_CODE, MCH_ID, ORDER, REFUND, every_request
from tests.pure import rulebook, spec
from tests.pure.test_examples import REFUSED_REQUESTS, REQUEST_FILES, _typed
from tests.sandbox.worlds import (
    WORLDS,
    Port,
    World,
    check_reply,
    check_request,
    endpoint_at,
    open_port,
    put_order,
    put_refund,
    put_sms,
    put_terminal,
    signed_by_hand,
)

NAMES = sorted(every_request())
pytestmark = pytest.mark.filterwarnings("ignore::chaoying_async.ChaoyingWarning")


@pytest.fixture(scope="module")
def port() -> Generator[Port]:
    with open_port() as made:
        yield made


@pytest.fixture(params=WORLDS, ids=lambda world: world.name)
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.param
    return made


@pytest.fixture
def sandbox(world: World, port: Port) -> Generator[Sandbox]:
    """On a clock that the test moves; what its messages say is as of that clock."""
    with port.showing(world.sandbox(FakeClock())) as made:
        yield made


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


@pytest.fixture
async def gateway(sandbox: Sandbox, port: Port, world: World) -> AsyncGenerator[GatewaySession]:
    async with till(sandbox, port, world) as session:
        yield session


def made(name: str, port: Port, **changes: Any) -> Request[Any]:
    """A request of that kind; a scanned link leads to the sandbox."""
    if name == "QrConfGet":
        changes.setdefault("url", f"{port.url}/qrpay/{MCH_ID}?op_shop_id=1")
    return spec.changed(every_request()[name], **changes)


def prepare(sandbox: Sandbox) -> None:
    """What the requests of ``tests.factories`` speak of."""
    put_refund(sandbox, put_order(sandbox, "B200022", transaction_id="77"), "R-0", part=1)
    put_sms(sandbox, "13800000000", "493817")
    put_terminal(sandbox, "od1")


#: Endpoints about an order that must be there.
ABOUT_ORDERS = ("orderquery", "refund", "cancel")


class TestEveryRequest:
    @pytest.mark.parametrize("name", NAMES)
    async def test_every_endpoint_brings_its_typed_result(
        self, sandbox: Sandbox, gateway: GatewaySession, port: Port, name: str
    ) -> None:
        """All 19: a result of the request's own class, signed where the document signs (M-08)."""
        prepare(sandbox)
        if name in (*ABOUT_ORDERS, "refundquery"):
            order = put_order(sandbox, ORDER)
            if name == "refundquery":
                put_refund(sandbox, order, REFUND)
        request = made(name, port)
        reply = await gateway.send(request)
        assert type(reply.unwrap()) is type(request).result_type
        assert reply.signed == spec.ENDPOINTS[name]["response_signed_example"]
        assert sandbox.requests == {name: 1}

    @pytest.mark.parametrize("file", [*REQUEST_FILES, *REFUSED_REQUESTS])
    async def test_every_printed_request_is_carried_out(
        self, sandbox: Sandbox, gateway: GatewaySession, port: Port, file: str
    ) -> None:
        """The document's own examples, put right where contradictions.md says they are wrong."""
        name = spec.INDEX[file]["endpoint"]
        request = _example(file, port)
        fields = request.wire_fields()
        number = fields.get("out_trade_no", "1497769914931")
        if name in (*ABOUT_ORDERS, "refundquery"):
            order = put_order(sandbox, number, payable=4)
            if name == "refundquery":
                put_refund(sandbox, order, fields["out_refund_no"], part=2)
        put_sms(sandbox, fields.get("mobile", ""), fields.get("valid", ""))
        put_terminal(sandbox, fields.get("op_device_id", ""))
        reply = await gateway.send(request)
        assert type(reply.unwrap()) is type(request).result_type
        assert sandbox.requests == {name: 1}


SCANNED = "QrConfGet.scanned_url.txt"
#: What printed requests lack or garble, beyond what ``put_right`` takes from the request's fixed
#: print (C 59 to C 61, table I).
PUT_RIGHT: Mapping[str, dict[str, Any]] = {
    "facepay.request.txt": {"openid": "oHmbktxFlpoEPo2Ol5GOJniV2q-A"},
    "refund.request.txt": {"total_fee": 4, "refund_fee": 2},
    "wx_addsubdevconfig.request.txt": {"mch_id": MCH_ID},
    "WECHAT_PreOrder.request.txt": {
        "mch_id": MCH_ID,
        "trade_type": TradeType.NATIVE,
        "goods_detail": None,
    },
    "pay.request.txt": {"goods_detail": None},
}


def _example(file: str, port: Port) -> Request[Any]:
    cls = spec.CLASSES[spec.INDEX[file]["endpoint"]]
    printed = parse_form(spec.example(file))
    values = _typed(cls, printed) | PUT_RIGHT.get(file, {})
    if cls.endpoint.name == "Mch_Reg":
        values["extra"] = {field: printed[field] for field in ("key1", "key2")}
    if cls is QrConfGet:
        link = urlsplit(spec.example(SCANNED))
        values["url"] = f"{port.url}{link.path}?{link.query}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChaoyingWarning)  # NATIVE without product_id (C 63)
        return cls(**values)


# -------------------------------------------------------------------------------- every refusal

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


for _name in ("pay", "WECHAT_PreOrder", "ALIPAY_PreOrder"):

    @way(_name, "20004")
    def used_number(sandbox: Sandbox) -> Mapping[str, Any]:
        put_order(sandbox, ORDER)
        return {}


for _name in ("pay", "facepay", "WECHAT_PreOrder", "ALIPAY_PreOrder"):
    for _code, _total in (("20006", 414), ("20003", 419), ("30001", 415)):
        WAYS[_name, _code] = lambda _, total=_total: {"total_fee": total}  # type: ignore[misc]
for _name in ("orderquery", "refund", "refundquery", "cancel"):
    WAYS[_name, "20007"] = lambda _: {}


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


for _name in ("PayBoxConfGet", "QrConfGet"):
    WAYS[_name, "20004"] = lambda _: {"pid": "yunpos"}


def _with_scenario(sandbox: Sandbox, number: int, status: Status = Status.PAID) -> None:
    order = attrs.evolve(put_order(sandbox, ORDER, status=status), scenario=number)
    gateway = sandbox.app.runtime.gateway
    gateway.ledger = gateway.ledger.with_order(order)


async def _refused(gateway: GatewaySession, request: Request[Any]) -> ChaoyingError:
    with pytest.raises(ChaoyingError) as caught:
        await gateway.send(request)
    return caught.value


def _is_refusal(error: ChaoyingError, name: str, state: str, code: str | None) -> None:
    """The error that M-09 has for it, on a loopback address, signed or not."""
    refusal = error
    if not rulebook.nothing_moved(name, state, code):
        assert type(error) is OutcomeUnknownError
        assert error.refusal is not None
        refusal = error.refusal
    assert type(refusal).__name__ == rulebook.refused(name, state, code)
    assert isinstance(refusal, GatewayError)
    assert (refusal.state, refusal.code or None) == (state, code)


class TestEveryRefusal:
    @pytest.mark.parametrize(("name", "code"), sorted(WAYS))
    async def test_every_code_has_its_error(
        self, sandbox: Sandbox, gateway: GatewaySession, port: Port, name: str, code: str
    ) -> None:
        """M-09, in both columns: the class that says what to do, signed or not."""
        changes = WAYS[name, code](sandbox)
        if code != "20005" or name != "QrConfGet":
            _is_refusal(await _refused(gateway, made(name, port, **changes)), name, "FAIL", code)

    @pytest.mark.parametrize("name", NAMES)
    async def test_strangers_are_told_apart(
        self, sandbox: Sandbox, port: Port, world: World, name: str
    ) -> None:
        """20012 for another agent, and VER for a version that is too old, on every endpoint."""
        for changes, state, code in (
            ({"agent_id": "99999999999999999"}, "FAIL", "20012"),
            ({"version": "0.0"}, "VER", None),
        ):
            async with till(sandbox, port, world, **changes) as gateway:
                error = await _refused(gateway, made(name, port))
            _is_refusal(error, name, state, code)

    @pytest.mark.parametrize("name", NAMES)
    async def test_a_wrong_key_is_20002_or_a_reply_that_nobody_should_believe(
        self, sandbox: Sandbox, port: Port, world: World, name: str
    ) -> None:
        """Signed, the refusal is signed with the key that we lack; unsigned it is told (M-09)."""
        async with till(sandbox, port, world, key="another-key") as gateway:
            error = await _refused(gateway, made(name, port))
        unsigned = name in rulebook.PRINTED_UNSIGNED or not world.sign_failures
        if unsigned:
            _is_refusal(error, name, "FAIL", "20002")
        elif name in rulebook.MONEY:
            assert type(error) is OutcomeUnknownError
            assert isinstance(error.__cause__, SignatureVerificationError)
        else:
            assert type(error) is SignatureVerificationError

    def test_every_code_of_the_document_is_met(self) -> None:
        """No code of a refusal is left out, and no endpoint."""
        refusals = {code for code in rulebook.CODES if code and code[:2] in ("20", "30")}
        assert {code for _, code in WAYS} | {"20002", "20012"} == refusals


# ---------------------------------------------------------------------------- the life of an order

QUERY = OrderQuery(paytype=PayType.WECHAT, out_trade_no=ORDER)


class TestLives:
    async def test_refunds_in_parts_add_up(
        self, sandbox: Sandbox, gateway: GatewaySession, port: Port
    ) -> None:
        """Two parts, then too much, then known again: to the fen on both sides."""
        pay = made("pay", port, total_fee=1409)
        paid = (await gateway.send(pay)).unwrap()
        parts = [
            (await gateway.send(_part(port, f"R-{part}", part, total=1409))).unwrap()
            for part in (700, 709)
        ]
        assert sum(part.refund_fee for part in parts) == paid.total_fee == 1057
        error = await _refused(gateway, _part(port, "R-3", 1, total=1409))
        _is_refusal(error, "refund", "FAIL", "20008")
        again = (await gateway.send(_part(port, "R-700", 700, total=1409))).unwrap()
        assert again.refund_id == parts[0].refund_id
        port.run(sandbox.advance(2))
        found = (
            await gateway.send(RefundQuery(paytype=PayType.WECHAT, out_refund_no="R-709"))
        ).unwrap()
        assert [each.refund_status for each in found.refund_list] == ["SUCCESS", "SUCCESS"]
        assert sandbox.books.kept == 0

    async def test_a_refunded_order_is_told_with_a_signature_or_not_at_all(
        self, sandbox: Sandbox, gateway: GatewaySession, world: World
    ) -> None:
        """M-08: REFUND is no success, so it may come bare, and bare it proves nothing."""
        put_refund(sandbox, put_order(sandbox, ORDER), REFUND)
        if world.sign_failures:
            with pytest.raises(TradeRefundedError):
                (await gateway.send(QUERY)).unwrap()
        else:
            with pytest.raises(MissingSignatureError):
                await gateway.send(QUERY)

    @pytest.mark.parametrize(
        ("total", "error", "meaning"),
        [
            (405, TradePendingError, Meaning.PENDING),
            (406, TradeFailedError, Meaning.FAILED),
            (403, TradePendingError, Meaning.PENDING),
        ],
    )
    async def test_what_is_not_paid_is_not_paid(
        self,
        gateway: GatewaySession,
        port: Port,
        total: int,
        error: type[ChaoyingError],
        meaning: Meaning,
    ) -> None:
        """Pending and failed are what they are, signed or not (M-08, M-11)."""
        reply = await gateway.send(made("pay", port, total_fee=total))
        assert reply.meaning is meaning
        with pytest.raises(error):
            reply.unwrap()

    async def test_cancel_works_for_five_minutes(
        self, sandbox: Sandbox, gateway: GatewaySession, port: Port
    ) -> None:
        """An unpaid order is closed, a paid one given back, and neither after five minutes."""
        await gateway.send(made("pay", port, total_fee=405))
        await gateway.send(made("pay", port, out_trade_no="B200022"))
        port.run(sandbox.advance(300))
        for number, status in ((ORDER, Status.CLOSED), ("B200022", Status.REVOKED)):
            assert (await gateway.send(made("cancel", port, out_trade_no=number))).unwrap()
            assert sandbox.ledger.order(number).status is status
        await gateway.send(made("pay", port, out_trade_no="C300033"))
        port.run(sandbox.advance(301))
        error = await _refused(gateway, made("cancel", port, out_trade_no="C300033"))
        _is_refusal(error, "cancel", "FAIL", "20011")
        assert sandbox.books.kept == 100

    async def test_a_terminal_waits_for_its_merchant(
        self, gateway: GatewaySession, port: Port
    ) -> None:
        """Twice SUCCESS without one, then configured; a scanned code configures at once."""
        for _ in range(2):
            with pytest.raises(NotConfiguredYetError):
                (await gateway.send(made("PayBoxConfGet", port))).unwrap()
        assert (await gateway.send(made("PayBoxConfGet", port))).unwrap().mch_id == MCH_ID
        link = f"{port.url}/qrpay/00000002?op_shop_id=1"
        scanned = made("QrConfGet", port, url=link, op_device_id="od2")
        assert (await gateway.send(scanned)).unwrap().mch_id == "00000002"

    async def test_a_merchant_registers_logs_in_and_trades(
        self, sandbox: Sandbox, gateway: GatewaySession, port: Port
    ) -> None:
        """Mch_Reg, review, trade; an SMS code, its minutes and the login behind it."""
        number = (await gateway.send(made("Mch_Reg", port))).unwrap().mch_id
        told = (await gateway.send(made("GetMchInfo", port, mch_id=number))).unwrap()
        assert told.FullName == "新商户有限公司"
        error = await _refused(gateway, made("pay", port, mch_id=number))
        _is_refusal(error, "pay", "FAIL", "20005")
        port.run(sandbox.advance(60))
        assert (await gateway.send(made("pay", port, mch_id=number))).unwrap().mch_id == number
        sms = (await gateway.send(made("GetMchSMSValid", port))).unwrap()
        assert sms.valid_minutes == 20
        login = made("GetMchId", port, valid="0000")
        assert (await gateway.send(login)).unwrap().mch_id == MCH_ID
        port.run(sandbox.advance(20 * 60))
        _is_refusal(await _refused(gateway, login), "GetMchId", "FAIL", "20004")


def _part(port: Port, number: str, part: int, *, total: int) -> Request[Any]:
    return made("refund", port, out_refund_no=number, refund_fee=part, total_fee=total)


@pytest.mark.parametrize("name", ["WECHAT_PreOrder", "ALIPAY_PreOrder"])
async def test_a_preorder_is_notified_and_the_notification_verifies(
    sandbox: Sandbox, gateway: GatewaySession, port: Port, world: World, name: str
) -> None:
    """From a QR code to a signed form at a real address, checked by hand and by the library."""
    came: asyncio.Queue[bytes] = asyncio.Queue()

    async def shop(scope: Any, receive: Any, send: Any) -> None:
        del scope
        came.put_nowait((await receive()).get("body", b""))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"success"})

    async with listening(shop) as url:
        address = f"{url}/notify"
        asked = {"total_fee": 405, "notify_url": address, "trade_type": TradeType.NATIVE}
        reply = await gateway.send(made(name, port, **asked))
        assert reply.unwrap().code_url
        assert (reply.signed, sandbox.ledger.order(ORDER).status) == (False, Status.OPEN)
        port.run(_pays(sandbox))
        body = await came.get()
    fields = dict(parse_form(body.decode()))
    assert fields["sign"] == signed_by_hand(fields, world)
    told = parse_notification(body, sandbox.credentials, now=sandbox.clock.now())
    assert (told.out_trade_no, told.total_fee, told.outcome.name) == (ORDER, 405, "PAID")
    assert isinstance(told, AlipayNotification) == (name == "ALIPAY_PreOrder")


async def _pays(sandbox: Sandbox) -> None:
    sandbox.customer_pays(ORDER)  # on the loop that will notify


#: Amount to how a poller ends: what the scenarios of the sandbox are for.
ENDS = {
    100: PollStatus.PAID,
    403: PollStatus.PAID,
    404: PollStatus.PAID,
    405: PollStatus.EXPIRED,
    406: PollStatus.FAILED,
    409: PollStatus.PAID,
    412: PollStatus.MISMATCH,
    413: PollStatus.PAID,
    414: PollStatus.NOT_FOUND,
    422: PollStatus.PAID,
    423: PollStatus.PAID,
}


class Blocking:
    """A ``Gateway`` for a clock that stands still: it waits for the sandbox's socket in place."""

    def __init__(self, sandbox: Sandbox, port: Port, world: World) -> None:
        self._credentials, self._port, self._world = sandbox.credentials, port, world

    mch_id = None

    async def send(self, request: Request[Any], *, timeout: Any = None) -> Any:
        del timeout
        sent = build_request(request, self._credentials, hosts=Hosts.single(self._port.url))
        headers = dict(sent.headers)
        body = self._port.ask(sent.method, sent.url, sent.body, headers)
        check_reply(sent.endpoint.name, body, self._world)
        return read_reply(sent, 200, body, self._credentials, now=None)


async def test_a_poller_brings_every_scenario_to_its_end(
    sandbox: Sandbox, gateway: GatewaySession, port: Port, world: World
) -> None:
    """Eleven courses of a payment, to the end that M-22 and M-23 have for each."""
    for total in ENDS:
        with contextlib.suppress(ChaoyingError):
            await gateway.send(made("pay", port, out_trade_no=f"A{total:06}", total_fee=total))
    clock, found = FakeClock(), {}
    async with Poller(Blocking(sandbox, port, world), clock=clock) as poller:
        for total in ENDS:
            number = f"A{total:06}"
            query = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=number)
            waiting = poller.wait(query, expected=total)
            found[total] = (await clock.run(waiting)).status
    assert found == ENDS
