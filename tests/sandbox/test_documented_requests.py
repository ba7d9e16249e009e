"""The core's promises, held against a sandbox that is served over HTTP, in each of its worlds.

``test_client_suite.py`` runs the core's own tests here; these are what those have no gateway
for: a real reply to every documented request, every refusal there is, and the life of an order.
Every request and every reply is held against a signature that is computed by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from chaoying_async import (
    AlipayNotification,
    ChaoyingError,
    ChaoyingWarning,
    GatewaySession,
    Hosts,
    Meaning,
    MissingSignatureError,
    NotConfiguredYetError,
    OrderQuery,
    PayType,
    Poller,
    PollStatus,
    QrConfGet,
    RefundQuery,
    TradeFailedError,
    TradePendingError,
    TradeRefundedError,
    TradeType,
    parse_notification,
)
from chaoying_async.sandbox import Sandbox, Status
from chaoying_async.sandbox.serving.server import listening
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.wire.forms import parse_form
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID, ORDER, REFUND
from tests.pure import spec
from tests.pure.test_examples import REFUSED_REQUESTS, REQUEST_FILES, _typed
from tests.sandbox.documented import (
    NAMES,
    is_refusal,
    made,
    opened,
    refused,
)
from tests.sandbox.worlds import (
    Port,
    World,
    check_reply,
    put_order,
    put_refund,
    put_sms,
    put_terminal,
    signed_by_hand,
)
from tests.table import table

pytestmark = [
    pytest.mark.outside,
    pytest.mark.filterwarnings("ignore::chaoying_async.ChaoyingWarning"),
]


def prepare(sandbox: Sandbox) -> None:
    """What the requests of ``tests.factories`` speak of."""
    put_refund(sandbox, put_order(sandbox, "B200022", transaction_id="77"), "R-0", part=1)
    put_sms(sandbox, "13800000000", "493817")
    put_terminal(sandbox, "od1")


#: Endpoints about an order that must be there.
ABOUT_ORDERS = ("orderquery", "refund", "cancel")


class TestEveryRequest:
    @table("name", NAMES)
    async def test_every_endpoint_brings_its_typed_result(
        self, port: Port, world: World, name: str
    ) -> None:
        """All 19: a result of the request's own class, signed where the document signs (M-08)."""
        async with opened(port, world) as (sandbox, gateway):
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

    @table("file", [*REQUEST_FILES, *REFUSED_REQUESTS])
    async def test_every_printed_request_is_carried_out(
        self, port: Port, world: World, file: str
    ) -> None:
        """The document's own examples, put right where contradictions.md says they are wrong."""
        name = spec.INDEX[file]["endpoint"]
        request = _example(file, port)
        fields = request.wire_fields()
        number = fields.get("out_trade_no", "1497769914931")
        async with opened(port, world) as (sandbox, gateway):
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
        error = await refused(gateway, _part(port, "R-3", 1, total=1409))
        is_refusal(error, "refund", "FAIL", "20008")
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
        error = await refused(gateway, made("cancel", port, out_trade_no="C300033"))
        is_refusal(error, "cancel", "FAIL", "20011")
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
        error = await refused(gateway, made("pay", port, mch_id=number))
        is_refusal(error, "pay", "FAIL", "20005")
        port.run(sandbox.advance(60))
        assert (await gateway.send(made("pay", port, mch_id=number))).unwrap().mch_id == number
        sms = (await gateway.send(made("GetMchSMSValid", port))).unwrap()
        assert sms.valid_minutes == 20
        login = made("GetMchId", port, valid="0000")
        assert (await gateway.send(login)).unwrap().mch_id == MCH_ID
        port.run(sandbox.advance(20 * 60))
        is_refusal(await refused(gateway, login), "GetMchId", "FAIL", "20004")


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

    mch_id = None

    def __init__(self, sandbox: Sandbox, port: Port, world: World) -> None:
        self._credentials, self._port, self._world = sandbox.credentials, port, world

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
