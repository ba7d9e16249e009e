"""What a type checker knows of the public names. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any, assert_type

import httpx

from chaoying_async import (
    AlipayNotification,
    AlipayPreOrder,
    AlipayPreOrderResult,
    AuthCodeToOpenId,
    AuthCodeToOpenIdResult,
    Cancel,
    CancelResult,
    Clock,
    Code,
    Credentials,
    Exchange,
    FacePay,
    FacePayResult,
    Fen,
    Gateway,
    GatewaySession,
    GetFaceAuth,
    GetFaceAuthResult,
    GetMchId,
    GetMchIdResult,
    GetMchInfo,
    GetMchInfoResult,
    GetMchSmsValid,
    GetMchSmsValidResult,
    GetPartnerId,
    GetPartnerIdResult,
    GoodsDetail,
    Hosts,
    MchReg,
    MchRegResult,
    OrderQuery,
    OrderQueryResult,
    OutcomeUnknownError,
    PaidOrder,
    Pay,
    PayBoxConfGet,
    PayBoxConfGetResult,
    PayResult,
    PayType,
    Poller,
    PollOutcome,
    PollSchedule,
    PollStatus,
    PreviousKey,
    QrConfGet,
    QrConfGetResult,
    Refund,
    RefundItem,
    RefundQuery,
    RefundQueryResult,
    RefundResult,
    Reply,
    SignAlgorithm,
    SortOrder,
    State,
    SystemClock,
    TradeState,
    TradeType,
    Undocumented,
    Wallet,
    WechatNotification,
    WechatPreOrder,
    WechatPreOrderResult,
    WxaCode2Session,
    WxaCode2SessionResult,
    WxAddSubDevConfig,
    WxAddSubDevConfigResult,
    credentials_from_env,
    fen,
    parse_notification,
    peek_mch_id,
    wait_for_terminal,
)
from chaoying_async.exceptions import GatewayError
from chaoying_async.sansio.signing import canonical_string, sign, verify
from chaoying_async.testing import FakeClock, sign_notification, signed_reply

credentials = Credentials(
    "17",
    "key",
    pid="pid",
    version="1.0",
    algorithm=SignAlgorithm.HMAC_SHA256,
    sort_order=SortOrder.IGNORE_CASE,
    previous_keys=(PreviousKey("old", datetime(2026, 1, 1, tzinfo=UTC)),),
)
assert_type(credentials_from_env(), Credentials)

clock: Clock = SystemClock()
fake: Clock = FakeClock()


async def barcode(gateway: GatewaySession) -> None:
    """被扫支付 and what follows."""
    pay = Pay(
        out_trade_no="A100011",
        body="tea",
        total_fee=fen("12.30"),
        auth_code="1",
        goods_detail=[GoodsDetail(goods_id="1", quantity=1, price=Fen(1))],
        extra={"x": "y"},
    )
    assert_type((await gateway.send(pay)).result, PayResult | None)
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011")
    reply = await gateway.send(query, timeout=5.0)
    assert_type(reply, Reply[OrderQueryResult])
    assert_type((await gateway.send(query)).result, OrderQueryResult | None)
    assert_type(reply.unwrap(), OrderQueryResult)
    assert_type(reply.unwrap().base_fee, Fen)
    assert_type(reply.unwrap().time_end, datetime | None)
    assert_type(reply.state, State)
    assert_type(reply.code, Code | str | None)
    assert_type(reply.trade_state, TradeState | str | None)
    assert_type(reply.signed, bool)
    refund = Refund(
        paytype=Undocumented("ECNY"),
        transaction_id="1",
        out_refund_no="R-1",
        total_fee=2,
        refund_fee=Fen(2) - 1,
        op_user_id="1",
    )
    assert_type((await gateway.send(refund)).result, RefundResult | None)
    refunds = await gateway.send(RefundQuery(paytype=PayType.ALIPAY, out_refund_no="R-1"))
    assert_type(refunds.result, RefundQueryResult | None)
    assert_type(refunds.unwrap().refund_list, tuple[RefundItem, ...])
    cancel = Cancel(paytype=PayType.QQ, out_trade_no="A100011", op_user_id="1")
    assert_type((await gateway.send(cancel)).result, CancelResult | None)
    buyer = AuthCodeToOpenId(sub_appid="wx", auth_code="1")
    assert_type((await gateway.send(buyer)).result, AuthCodeToOpenIdResult | None)
    assert_type(PayType.from_auth_code("1"), PayType | None)


async def face_and_preorder(gateway: GatewaySession) -> None:
    """刷脸, 预下单."""
    auth = GetFaceAuth(
        paytype=PayType.WECHAT, store_id="1", store_name="s", device_id="d", rawdata="r"
    )
    assert_type((await gateway.send(auth)).result, GetFaceAuthResult | None)
    face = FacePay(
        paytype=PayType.WECHAT,
        openid="o",
        face_code="f",
        out_trade_no="A100011",
        body="b",
        total_fee=1,
    )
    assert_type((await gateway.send(face)).result, FacePayResult | None)
    wechat = WechatPreOrder(
        body="b",
        out_trade_no="A100011",
        total_fee=1,
        trade_type=TradeType.NATIVE,
        time_expire=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert_type((await gateway.send(wechat)).result, WechatPreOrderResult | None)
    alipay = AlipayPreOrder(
        body="b", out_trade_no="A100011", total_fee=1, trade_type=TradeType.NATIVE
    )
    preorder = await gateway.send(alipay)
    assert_type(preorder.result, AlipayPreOrderResult | None)
    assert_type(preorder.unwrap().pay_info_json(), Any)


async def operations(gateway: GatewaySession) -> None:
    """运维管理."""
    assert_type((await gateway.send(MchReg(extra={"a": "b"}))).result, MchRegResult | None)
    sms = await gateway.send(GetMchSmsValid(mobile="1"))
    assert_type(sms.result, GetMchSmsValidResult | None)
    assert_type(sms.unwrap().valid_minutes, int | None)
    login = GetMchId(username="u", password="p")
    assert_type((await gateway.send(login)).result, GetMchIdResult | None)
    assert_type((await gateway.send(GetPartnerId())).result, GetPartnerIdResult | None)
    assert_type((await gateway.send(GetMchInfo(mch_id="1"))).result, GetMchInfoResult | None)
    code = WxaCode2Session(appid="wx", js_code="c")
    assert_type((await gateway.send(code)).result, WxaCode2SessionResult | None)
    bind = WxAddSubDevConfig(appid="wx")
    assert_type((await gateway.send(bind)).result, WxAddSubDevConfigResult | None)
    box = PayBoxConfGet(op_device_id="1")
    assert_type((await gateway.send(box)).result, PayBoxConfGetResult | None)
    link = QrConfGet(url="https://...", allow=("shop",), op_device_id="1")
    assert_type((await gateway.send(link)).result, QrConfGetResult | None)


async def sessions() -> None:
    """Every knob, and the session as what engines are handed."""

    async def hook(request: httpx.Request) -> None: ...

    def audit(exchange: Exchange) -> None: ...

    async with GatewaySession(
        credentials,
        mch_id="1",
        op_user_id="2",
        device_info="3",
        hosts=Hosts.v3_2(),
        timeout=httpx.Timeout(5.0),
        deadline=None,
        limits=httpx.Limits(max_connections=5),
        max_reply_bytes=1000,
        verify=True,
        cert=("cert.pem", "key.pem"),
        proxy="http://localhost:3128",
        trust_env=False,
        require_signed=True,
        transport=httpx.MockTransport(lambda request: httpx.Response(200)),
        event_hooks={"request": [hook]},
        on_exchange=audit,
        clock=fake,
    ) as gateway:
        assert_type(gateway, GatewaySession)
        handed: Gateway = gateway
        reply = await handed.send(OrderQuery(paytype=PayType.QQ, out_trade_no="A100011"))
        assert_type(reply.result, OrderQueryResult | None)
    overrides = {Pay: "https://gateway.example/pay"}
    Hosts(pay="https://p", api="https://a", qrpay="https://q", overrides=overrides)
    Hosts.single("http://127.0.0.1:1", dangerous_allow_http=False)
    assert_type(Hosts.document(), Hosts)


def pure(body: bytes) -> None:
    """Signing and notifications."""
    assert_type(canonical_string({"a": 1, "b": None, "c": PayType.QQ}), str)
    assert_type(sign({"a": "1"}, "key", SignAlgorithm.MD5, SortOrder.ASCII), str)
    verify({"a": "1", "sign": "0"}, ["key", "old"])
    notification = parse_notification(body, credentials, kind=Wallet.ALIPAY, now=clock.now())
    assert_type(notification, WechatNotification | AlipayNotification)
    assert_type(notification.total_fee, Fen | None)
    assert_type(peek_mch_id(body), str)
    assert_type(fen("1.00") + 1, Fen)
    assert_type(signed_reply(Pay, credentials, base_fee=1), bytes)
    assert_type(sign_notification(credentials, total_fee=1), bytes)


def errors(error: OutcomeUnknownError) -> None:
    """What they carry."""
    assert_type(error.refusal, GatewayError | None)
    assert_type(error.order, str)


async def polling(gateway: Gateway, query: OrderQuery, refund: RefundQuery) -> None:
    """What waiting brings back."""
    async with Poller(gateway, PollSchedule(), concurrency=10, rate=5.0, clock=clock) as poller:
        assert_type((await poller.wait(query, expected=100)).unwrap(), PaidOrder)
        assert_type((await poller.wait(refund)).unwrap(), RefundItem)
        assert_type((await poller.wait(query)).status, PollStatus)
        poller.track(refund, expected=None, schedule=PollSchedule.refunds())
        assert_type(poller.outcomes(), AsyncGenerator[PollOutcome[PaidOrder | RefundItem]])
        assert_type(poller.drain(), AsyncGenerator[PollOutcome[PaidOrder | RefundItem]])
        assert_type(poller.stats().unread, int)
        async for outcome in poller.run([query, (refund, 40)]):
            assert_type(outcome.paid, PaidOrder | None)
            assert_type(outcome.unwrap(), PaidOrder | RefundItem)
        async for order in poller.run([query, (query, 40)], at_once=5):
            assert_type(order.unwrap(), PaidOrder)
        async for back in poller.run((refund for _ in range(2)), expected=40):
            assert_type(back.unwrap(), RefundItem)
        async for one in poller.run([(query, None)]):
            assert_type(one.unwrap(), PaidOrder)
        async for mixed in poller.outcomes():
            assert_type(mixed.unwrap(), PaidOrder | RefundItem)
            assert_type(mixed.refund, RefundItem | None)
    assert_type(
        await wait_for_terminal(gateway, PayBoxConfGet(op_device_id="1"), every=5.0),
        PayBoxConfGetResult,
    )
