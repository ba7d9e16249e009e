"""Whole journeys: the client's session against the sandbox, in process and over real HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import attrs
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoying_async import (
    AgentError,
    Cancel,
    ChaoyingError,
    Credentials,
    FacePay,
    Fen,
    GatewaySession,
    Hosts,
    InvalidRequestError,
    MchReg,
    Meaning,
    MerchantConfigError,
    MerchantError,
    MissingSignatureError,
    OrderNotFoundError,
    OrderQuery,
    OutcomeUnknownError,
    Pay,
    PayType,
    Refund,
    RefundQuery,
    RefundRefusedError,
    ReplyMismatchError,
    SignatureRefusedError,
    SignatureVerificationError,
    SortOrder,
    SystemClock,
    TradeFailedError,
    TradePendingError,
    TradeRefundedError,
    VersionTooLowError,
)
from chaoying_async.sandbox import Sandbox, Status
from chaoying_async.sandbox.serving.server import listening
from chaoying_async.sandbox.speed import FastClock
from tests.sandbox_calls import session_with
from tests.sizes import QUICK

WORLDS = [
    pytest.param((sign_failures, order), id=f"sign_failures={sign_failures},{order.name}")
    for sign_failures in (True, False)
    for order in SortOrder
]
CODE = "130000000000001111"


@pytest.fixture(params=WORLDS)
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """One of the four worlds."""
    sign_failures, order = request.param
    async with Sandbox(sign_failures=sign_failures, sort_order=order) as made:
        yield made


@pytest.fixture
async def gateway(sandbox: Sandbox) -> AsyncIterator[GatewaySession]:
    async with session_with(sandbox) as session:
        yield session


def pay(total: int = 1000, number: str = "A100011", **more: Any) -> Pay:
    return Pay(out_trade_no=number, body="纸巾", total_fee=total, auth_code=CODE, **more)


def query(number: str = "A100011") -> OrderQuery:
    return OrderQuery(paytype=PayType.WECHAT, out_trade_no=number)


def refund(part: int, total: int = 1000, number: str = "TK-1") -> Refund:
    return Refund(
        paytype=PayType.WECHAT,
        out_trade_no="A100011",
        out_refund_no=number,
        total_fee=total,
        refund_fee=part,
    )


CANCEL = Cancel(paytype=PayType.WECHAT, out_trade_no="A100011")


class TestJourneys:
    """In process, in each of the four worlds: signed failures or not, two orders of names."""

    async def test_paid_refunded_and_known_to_be(
        self, sandbox: Sandbox, gateway: GatewaySession
    ) -> None:
        """Pay, refund in two parts, and both sides have the same books; each call arrives once."""
        paid = (await gateway.send(pay(1409))).unwrap()
        assert (paid.base_fee, paid.total_fee, paid.coupon_fee) == (1409, 1057, 352)
        assert (await gateway.send(query())).unwrap().transaction_id == paid.transaction_id
        first = (await gateway.send(refund(700, 1409, "TK-1"))).unwrap()
        second = (await gateway.send(refund(709, 1409, "TK-2"))).unwrap()
        await sandbox.advance(2)
        entries = (
            await gateway.send(RefundQuery(paytype=PayType.WECHAT, out_refund_no="TK-2"))
        ).unwrap()
        assert [entry.refund_status for entry in entries.refund_list] == ["SUCCESS", "SUCCESS"]
        assert first.refund_fee is not None
        assert second.refund_fee is not None
        assert first.refund_fee + second.refund_fee == paid.total_fee
        assert sandbox.books.kept == 0
        assert sandbox.requests == {"pay": 1, "orderquery": 1, "refund": 2, "refundquery": 1}

    async def test_face_pay_takes_the_same_course(
        self, sandbox: Sandbox, gateway: GatewaySession
    ) -> None:
        """facepay is pay with a face; its answer names no paytype (C 33)."""
        face = FacePay(
            paytype=PayType.WECHAT,
            openid="o1",
            out_trade_no="A100011",
            body="纸巾",
            total_fee=409,
            face_code="120061098828009406",
        )
        result = (await gateway.send(face)).unwrap()
        assert (result.base_fee, result.total_fee) == (409, 307)
        assert sandbox.ledger.order("A100011").status is Status.PAID

    async def test_ask_again_until_it_is_paid(self, gateway: GatewaySession) -> None:
        """Pending answers are pending in every world, signed or not (M-08)."""
        with pytest.raises(TradePendingError):
            (await gateway.send(pay(1403))).unwrap()
        with pytest.raises(TradePendingError):
            (await gateway.send(query())).unwrap()
        assert (await gateway.send(query())).unwrap().base_fee == 1403

    async def test_a_failure_is_a_failure(self, gateway: GatewaySession) -> None:
        """Balance too low ends the order; to a loopback-like transport it needs https (M-09)."""
        with pytest.raises(TradeFailedError, match="10006"):
            (await gateway.send(pay(1406))).unwrap()
        with pytest.raises(TradeFailedError):
            (await gateway.send(query())).unwrap()

    async def test_walked_away_and_cancelled(
        self, sandbox: Sandbox, gateway: GatewaySession
    ) -> None:
        """Nobody pays, the till cancels, the query says closed."""
        await gateway.send(pay(1405))
        await sandbox.advance(15)
        assert (await gateway.send(CANCEL)).unwrap().out_trade_no == "A100011"
        with pytest.raises(TradeFailedError, match="10004"):
            (await gateway.send(query())).unwrap()

    async def test_a_used_number_is_no_proof_that_nothing_moved(
        self, sandbox: Sandbox, gateway: GatewaySession
    ) -> None:
        """20004 on pay may mean that the first try was paid: outcome unknown (M-09)."""
        await gateway.send(pay())
        with pytest.raises(OutcomeUnknownError) as caught:
            await gateway.send(pay())
        assert isinstance(caught.value.refusal, InvalidRequestError)
        assert sandbox.requests == {"pay": 2}
        assert sandbox.books.received == 1000

    async def test_an_error_that_hid_a_payment_is_cleared_up_by_a_query(
        self, sandbox: Sandbox, gateway: GatewaySession
    ) -> None:
        """20006, 20003, no reply: unclear; it arrived once, and the query finds it (M-11)."""
        for number, total in (("A100011", 413), ("B100011", 419), ("C100011", 422)):
            with pytest.raises(OutcomeUnknownError):
                await gateway.send(pay(total, number))
            assert (await gateway.send(query(number))).unwrap().base_fee == total
        assert sandbox.requests["pay"] == 3

    async def test_other_amounts_and_other_orders_are_not_believed(
        self, gateway: GatewaySession
    ) -> None:
        """A signed "paid" of another amount or order is no answer to this call (M-06)."""
        for number, total in (("A100011", 412), ("B100011", 418)):
            with pytest.raises(OutcomeUnknownError) as caught:
                await gateway.send(pay(total, number))
            assert isinstance(caught.value.__cause__, ReplyMismatchError)
        with pytest.raises(ReplyMismatchError):
            await gateway.send(query("B100011"))

    async def test_refusals_have_their_classes(self, gateway: GatewaySession) -> None:
        """Each code of a refused call ends in the error that says what to do."""
        with pytest.raises(OrderNotFoundError):
            await gateway.send(query())
        await gateway.send(pay())
        with pytest.raises(OrderNotFoundError):
            await gateway.send(OrderQuery(paytype=PayType.ALIPAY, out_trade_no="A100011"))
        with pytest.raises(OutcomeUnknownError) as caught:
            await gateway.send(refund(1, 999))
        assert isinstance(caught.value.refusal, RefundRefusedError)
        with pytest.raises(MerchantError):
            await gateway.send(pay(number="B100011", mch_id="99999999"))
        with pytest.raises(MerchantConfigError):
            await gateway.send(pay(number="B100011", mch_id="00000013"))

    async def test_wrong_keys_agents_and_versions_are_told(self, sandbox: Sandbox) -> None:
        """20002, 20012 and VER; a reply signed with a key that is not ours is not believed."""
        agent, key = sandbox.credentials.agent_id, sandbox.credentials.key
        cases: list[tuple[Credentials, type[ChaoyingError]]] = [
            (Credentials(agent_id="1", key=key, pid="p"), AgentError),
            (Credentials(agent_id=agent, key=key, pid="p", version="0.0"), VersionTooLowError),
        ]
        for made, error in cases:
            async with session_with(sandbox, credentials=made) as session:
                with pytest.raises(error):
                    await session.send(query())
        wrong = Credentials(agent_id=agent, key="another", pid="p")
        signed = sandbox.app.runtime.gateway.world.sign_failures
        async with session_with(sandbox, credentials=wrong) as session:
            with pytest.raises(SignatureVerificationError if signed else SignatureRefusedError):
                await session.send(query())

    @pytest.mark.parametrize("sandbox", [(True, SortOrder.ASCII)], indirect=True)
    async def test_a_refunded_order_is_told_with_a_signature(self, gateway: GatewaySession) -> None:
        """Where failures are signed, REFUND is believed (M-08)."""
        await gateway.send(pay())
        await gateway.send(refund(1))
        with pytest.raises(TradeRefundedError):
            (await gateway.send(query())).unwrap()

    @pytest.mark.parametrize("sandbox", [(False, SortOrder.ASCII)], indirect=True)
    async def test_a_refunded_order_without_a_signature_proves_nothing(
        self, gateway: GatewaySession
    ) -> None:
        """Where only successes are signed, REFUND comes bare, and is refused (M-08)."""
        await gateway.send(pay())
        await gateway.send(refund(1))
        with pytest.raises(MissingSignatureError):
            await gateway.send(query())

    async def test_the_same_seed_gives_the_same_messages(self) -> None:
        """Key, nonces and numbers come from the seed and the clock alone."""
        runs = []
        for _ in range(2):
            async with Sandbox(seed=7) as made, session_with(made) as session:
                runs.append((await session.send(pay())).raw)
        assert runs[0] == runs[1]
        assert Sandbox(seed=8).credentials.key != Sandbox(seed=7).credentials.key


class TestConservation:
    """Money is neither made nor lost, whatever is done to it."""

    steps = st.lists(
        st.tuples(
            st.sampled_from(["pay", "orderquery", "refund", "cancel", "wait"]),
            st.integers(0, 3),
            st.sampled_from([0, 0, 1, 401, 403, 405, 406, 409, 410, 411, 413, 420, 421]),
            st.integers(1, 400),
        ),
        max_size=30,
    )

    @settings(deadline=None, max_examples=10 if QUICK else 60)
    @given(steps=steps)
    async def test_paid_minus_refunded_adds_up(
        self, steps: list[tuple[str, int, int, int]]
    ) -> None:
        """What the client was told and what the books say is the same money, at every step."""
        async with Sandbox() as sandbox, session_with(sandbox) as session:
            sent: dict[str, int] = {"pay": 0, "refund": 0, "cancel": 0}
            for at, (what, number, scenario, part) in enumerate(steps):
                order = f"A10000{number}"
                if what == "wait":
                    await sandbox.advance(part)
                    continue
                sent[what] = sent.get(what, 0) + 1
                await _try(session, what, order, 1000 + scenario, part, f"TK-{at}")
                _check(sandbox)
            arrived = sandbox.requests
            assert {name: arrived.get(name, 0) for name in sent} == sent
            await sandbox.advance(3600)
            _check(sandbox)


async def _try(  # noqa: PLR0917 - a row of the table above
    session: GatewaySession, what: str, order: str, total: int, part: int, number: str
) -> None:
    wallet = PayType.WECHAT
    calls: dict[str, Callable[[], Any]] = {
        "pay": lambda: pay(total, order),
        "orderquery": lambda: query(order),
        "cancel": lambda: Cancel(paytype=wallet, out_trade_no=order),
        "refund": lambda: Refund(
            paytype=wallet,
            out_trade_no=order,
            out_refund_no=number,
            total_fee=max(total, part),
            refund_fee=part,
        ),
    }
    try:
        await session.send(calls[what]())
    except ChaoyingError:
        return  # refusals are a part of life


def _check(sandbox: Sandbox) -> None:
    books, ledger = sandbox.books, sandbox.ledger
    assert books.received == books.kept + books.reversed + books.refunded
    assert min(books.received, books.kept, books.reversed, books.refunded) >= 0
    for order in ledger.orders.values():
        refunds = ledger.refunds_of(order)
        assert sum(each.cash for each in refunds) <= order.paid
        assert sum(each.base for each in refunds) <= order.payable
        assert not refunds or order.status is Status.PAID


class TestOverHttp:
    """The same gateway behind uvicorn, through the library's default engine."""

    async def test_a_payments_whole_life_over_real_http(self) -> None:
        """Fifty customers at once, and each call arrived exactly once."""
        async with Sandbox(clock=SystemClock()) as sandbox, sandbox.serve() as url:
            options = {"transport": None, "hosts": Hosts.single(url), "clock": None}
            async with session_with(sandbox, **options) as session:
                orders = [f"A10{number:03d}" for number in range(50)]
                await asyncio.gather(*(session.send(pay(1403, number)) for number in orders))
                await asyncio.gather(*(session.send(query(each)) for each in orders))
                replies = await asyncio.gather(*(session.send(query(each)) for each in orders))
                assert all(reply.result for reply in replies)
                assert {reply.result.out_trade_no for reply in replies if reply.result} == set(
                    orders
                )
            assert sandbox.requests == {"pay": 50, "orderquery": 100}
            assert sandbox.books.received == Fen(50 * 1403)

    async def test_the_books_can_be_read_and_orders_be_paid_from_outside(self) -> None:
        """/_sandbox/books and /_sandbox/act; a page of another site cannot post there."""
        async with (
            Sandbox(clock=SystemClock()) as sandbox,
            session_with(sandbox) as session,
            sandbox.serve() as url,
            httpx.AsyncClient(trust_env=False, base_url=f"{url}/_sandbox") as control,
        ):
            await session.send(pay(405))
            wish = {"deed": "CUSTOMER_PAYS", "out_trade_no": "A100011"}
            assert (await control.post("/act", json=wish)).status_code == 403
            headers = {"X-Sandbox": "1"}
            wrong: list[Any] = [{"deed": "ROB"}, [], {**wish, "out_trade_no": "NOBODY"}]
            for bad in wrong:
                assert (await control.post("/act", json=bad, headers=headers)).status_code == 400
            assert (await control.post("/act", json=wish, headers=headers)).json()[
                "status"
            ] == "PAID"
            books = (await control.get("/books")).json()
            assert books["totals"]["received"] == 405
            assert books["orders"][0]["out_trade_no"] == "A100011"
            assert books["requests"] == {"pay": 1}
            assert (await control.get("/nothing")).status_code == 404

    async def test_large_bodies_are_not_read_to_the_end(self) -> None:
        """413, over HTTP too."""
        async with (
            Sandbox(clock=SystemClock()) as sandbox,
            sandbox.serve() as url,
            httpx.AsyncClient(trust_env=False) as client,
        ):
            reply = await client.post(f"{url}/UnifiedPay/Gateway", content=b"x" * 100_000)
            assert reply.status_code == 413

    async def test_a_port_that_is_taken_is_an_error(self) -> None:
        """At once, as an OSError, and not the end of the program."""
        first, second = Sandbox(clock=SystemClock()), Sandbox(clock=SystemClock())
        async with first, second, first.serve() as url:
            port = int(url.rpartition(":")[2])
            with pytest.raises(OSError, match="in use"):
                async with second.serve(port=port):
                    pass

    async def test_a_clock_that_goes_by_itself_cannot_be_advanced(self) -> None:
        """advance() is for clocks that are moved by hand, and says so."""
        async with Sandbox(clock=SystemClock()) as sandbox:
            with pytest.raises(TypeError, match="SystemClock"):
                await sandbox.advance(1)


class TestFastClock:
    async def test_it_runs_faster_and_measures_the_same(self) -> None:
        """now() and monotonic() agree, and sleeping an hour takes a moment."""
        clock = FastClock(1_000_000)
        began, zero = clock.now(), clock.monotonic()
        await clock.sleep(3600)
        assert clock.now() - began >= timedelta(seconds=3600)
        assert clock.monotonic() - zero >= 3600

    @pytest.mark.parametrize("speed", [0, -1, float("nan")])
    def test_it_goes_forward(self, speed: float) -> None:
        """A speed that is not above 0 is refused."""
        with pytest.raises(ValueError, match="above 0"):
            FastClock(speed)


async def test_meanings_are_the_same_in_every_world(sandbox: Sandbox) -> None:
    """What a reply means does not depend on whether failures are signed."""
    async with session_with(sandbox) as session:
        meanings = [
            (await session.send(pay(total, f"A1000{total}"))).meaning
            for total in (1000, 1403, 1405, 1406, 1409)
        ]
    assert meanings == [
        Meaning.RESULT,
        Meaning.PENDING,
        Meaning.PENDING,
        Meaning.FAILED,
        Meaning.RESULT,
    ]


async def test_answers_leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP_NODELAY is on where connections are accepted; else each answer would wait 40 ms."""
    made: list[socket.socket] = []
    create = socket.create_server

    def kept(*args: Any, **options: Any) -> socket.socket:
        made.append(create(*args, **options))
        return made[-1]

    monkeypatch.setattr(socket, "create_server", kept)

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        """Serve nobody."""

    async with listening(nothing):
        assert made[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("chosen", [None, *SortOrder])
@pytest.mark.parametrize("own", SortOrder)
async def test_the_worlds_order_of_names_holds_for_credentials_of_your_own(
    own: SortOrder, chosen: SortOrder | None
) -> None:
    """``sort_order`` is taken where it is given; else the credentials say it."""
    yours = Credentials(agent_id="17", key="a-key", pid="pid", sort_order=own)
    async with Sandbox(credentials=yours, sort_order=chosen) as sandbox:
        assert sandbox.credentials == attrs.evolve(yours, sort_order=chosen or own)
        # Capitals beside small letters: the two orders sign it differently (C 1).
        request = MchReg(extra={"Zkey": "1", "akey": "2"})
        right = sandbox.credentials.sort_order
        assert (await _asked(sandbox, right, request)).unwrap().mch_id
        with pytest.raises(SignatureRefusedError):
            await _asked(sandbox, next(order for order in SortOrder if order is not right), request)


async def _asked(sandbox: Sandbox, order: SortOrder, request: MchReg) -> Any:
    credentials = attrs.evolve(sandbox.credentials, sort_order=order)
    async with GatewaySession(
        credentials, transport=sandbox.transport, clock=sandbox.clock
    ) as session:
        return await session.send(request)
