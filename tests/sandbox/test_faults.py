"""What goes wrong on purpose: what the client is told, what the books say, and what arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import attrs
import httpx
import pytest

from chaoying_async import (
    ChaoyingError,
    GatewaySession,
    GatewayUnavailableError,
    Hosts,
    MalformedMessageError,
    MissingSignatureError,
    OrderQuery,
    OutcomeUnknownError,
    Pay,
    PayType,
    RequestNotSentError,
    SignatureVerificationError,
    SystemClock,
    TradeType,
    TransportError,
    WechatPreOrder,
    parse_notification,
)
from chaoying_async.cli import main
from chaoying_async.sandbox import Fault, Plan, Sandbox
from chaoying_async.sandbox.bank.scenarios import REFUND_SCENARIOS, SCENARIOS
from chaoying_async.sandbox.serving.catalogue import lines
from chaoying_async.sandbox.serving.faults import SECONDS
from chaoying_async.testing import FakeClock
from tests.sandbox_calls import session_with

QUERY: Any = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011")
PAY: Any = Pay(out_trade_no="A100011", body="b", total_fee=1000, auth_code="130000000000001111")

#: Fault, what pay raises, what a query raises (after its repeats), whether the money was booked.
FAULTS: list[tuple[Fault, type[ChaoyingError], type[ChaoyingError], bool]] = [
    (Fault.REFUSED, RequestNotSentError, RequestNotSentError, False),
    (Fault.RESET_BEFORE, OutcomeUnknownError, TransportError, False),
    (Fault.RESET_AFTER, OutcomeUnknownError, TransportError, True),
    (Fault.HALF_BODY, OutcomeUnknownError, TransportError, True),
    (Fault.HTTP_500, OutcomeUnknownError, GatewayUnavailableError, True),
    (Fault.HTTP_502, OutcomeUnknownError, GatewayUnavailableError, False),
    (Fault.WRONG_SIGN, OutcomeUnknownError, SignatureVerificationError, True),
    (Fault.NO_SIGN, OutcomeUnknownError, MissingSignatureError, True),
]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox() as made:
        yield made


@pytest.fixture
async def session(sandbox: Sandbox) -> AsyncIterator[GatewaySession]:
    async with session_with(sandbox, read_retries=0) as made:
        yield made


class TestRequests:
    @pytest.mark.parametrize(("fault", "raised", "_", "booked"), FAULTS, ids=str)
    async def test_money_that_may_have_moved_is_unknown(
        self,
        sandbox: Sandbox,
        session: GatewaySession,
        fault: Fault,
        raised: type[ChaoyingError],
        _: Any,
        *,
        booked: bool,
    ) -> None:
        """Whatever happens on the way, pay arrives at most once, and only REFUSED is "not sent"."""
        sandbox.faults.add(fault, endpoints=["pay"])
        with pytest.raises(raised):
            await session.send(PAY)
        assert ("A100011" in {number for _, number in sandbox.ledger.orders}) is booked
        assert sandbox.requests.get("pay", 0) == (fault is not Fault.REFUSED)
        assert sandbox.books.received == 1000 * booked

    @pytest.mark.parametrize(("fault", "_", "raised", "booked"), FAULTS, ids=str)
    async def test_reads_get_the_plain_error(
        self,
        sandbox: Sandbox,
        session: GatewaySession,
        fault: Fault,
        _: Any,
        raised: type[ChaoyingError],
        *,
        booked: bool,
    ) -> None:
        """A query that got no answer, or none to be trusted, says which of the two (M-10)."""
        await session.send(PAY)
        sandbox.faults.add(fault, endpoints=["orderquery"])
        with pytest.raises(raised):
            await session.send(QUERY)
        sandbox.faults.clear()
        assert (await session.send(QUERY)).unwrap().base_fee == 1000

    async def test_reads_are_repeated_and_money_is_not(self, sandbox: Sandbox) -> None:
        """Every second request is cut: queries get through, pay was sent once (M-02)."""
        clock = FakeClock()
        async with Sandbox(clock=clock) as made, session_with(made, read_retries=5) as session:
            await session.send(PAY)
            made.faults.add(Fault.RESET_AFTER, probability=0.5)
            for _ in range(20):
                reply = await clock.run(session.send(QUERY))
                assert reply.unwrap().base_fee == 1000
            assert made.requests["pay"] == 1
            assert made.requests["orderquery"] > 20

    async def test_a_slow_reply_meets_the_deadline(self, sandbox: Sandbox) -> None:
        """Carried out at once, answered after the client gave up: outcome unknown, and booked."""
        clock = FakeClock()
        async with Sandbox(clock=clock) as made, session_with(made, deadline=5.0) as session:
            made.faults.add(Fault.SLOW, seconds=6)
            with pytest.raises(OutcomeUnknownError):
                await clock.run(session.send(PAY))
            assert made.books.received == 1000

    async def test_a_skewed_clock_shows_in_time_end(
        self, sandbox: Sandbox, session: GatewaySession
    ) -> None:
        """The gateway's hour is ahead of ours, for this request alone."""
        sandbox.faults.add(Fault.CLOCK_SKEW, endpoints=["pay"])
        time_end = (await session.send(PAY)).unwrap().time_end
        assert time_end is not None
        assert (time_end - sandbox.clock.now()).total_seconds() == SECONDS[Fault.CLOCK_SKEW]

    async def test_the_same_seed_strikes_the_same_calls(self) -> None:
        """Faults come from dice of their own, so nonces and keys do not depend on them."""
        runs = []
        for _ in range(2):
            async with Sandbox(seed=3) as made, session_with(made, read_retries=0) as session:
                await session.send(PAY)
                made.faults.add(Fault.HTTP_502, probability=0.5)
                struck = []
                for _ in range(30):
                    try:
                        await session.send(QUERY)
                    except GatewayUnavailableError:
                        struck.append(True)
                    else:
                        struck.append(False)
                runs.append(struck)
        assert runs[0] == runs[1]
        assert 5 < sum(runs[0]) < 25

    async def test_over_real_http_it_is_never_less_than_unknown(self) -> None:
        """The default engine, a real socket: cut, halved, refused: pay is unknown, sent once."""
        async with Sandbox(clock=SystemClock()) as sandbox, sandbox.serve() as url:
            options: dict[str, Any] = {"transport": None, "hosts": Hosts.single(url), "clock": None}
            async with session_with(sandbox, **options) as session:
                for number, (fault, *_, booked) in enumerate(FAULTS):
                    order = f"A10001{number}"
                    received = sandbox.books.received
                    sent = sandbox.requests.get("pay", 0)
                    sandbox.faults.add(fault, endpoints=["pay"])
                    with pytest.raises(OutcomeUnknownError):
                        await session.send(attrs.evolve(PAY, out_trade_no=order))
                    assert sandbox.books.received - received == 1000 * booked, fault
                    assert sandbox.requests.get("pay", 0) - sent == (fault is not Fault.REFUSED)
                    sandbox.faults.clear()
                    if booked:
                        query = attrs.evolve(QUERY, out_trade_no=order)
                        assert (await session.send(query)).unwrap().base_fee == 1000


class TestNotifications:
    async def _run(
        self, *faults: Fault, orders: int = 1, seconds: float = 1000
    ) -> tuple[Sandbox, list[tuple[float, bytes]]]:
        clock, came = FakeClock(), []

        def shop(request: httpx.Request) -> httpx.Response:
            came.append((clock.monotonic(), request.content))
            return httpx.Response(200, content=b"success")

        sandbox = Sandbox(clock=clock, seed=1, notify_transport=httpx.MockTransport(shop))
        for fault in faults:
            sandbox.faults.add(fault)
        async with sandbox, session_with(sandbox) as session:
            for number in range(orders):
                order = WechatPreOrder(
                    out_trade_no=f"Q10000{number}",
                    body="b",
                    total_fee=1000,
                    trade_type=TradeType.NATIVE,
                    product_id="1",
                    notify_url="http://shop.example/notify",
                )
                await session.send(order)
            await sandbox.advance(seconds)
        return sandbox, came

    @pytest.mark.parametrize(
        ("fault", "moments"),
        [
            (Fault.NOTIFY_NEVER, []),
            (Fault.NOTIFY_TWICE, [2, 17]),
            (Fault.NOTIFY_LATE, [302]),
            (Fault.NOTIFY_FORGED, [2, 2]),
        ],
    )
    async def test_notifications_go_astray(self, fault: Fault, moments: list[float]) -> None:
        """Never, twice, late, and a forgery ahead of the true one."""
        _, came = await self._run(fault)
        assert [moment for moment, _ in came] == moments

    async def test_a_forgery_does_not_verify(self) -> None:
        """It says paid and looks right, but nobody had the key; its success ends nothing."""
        sandbox, came = await self._run(Fault.NOTIFY_FORGED)
        with pytest.raises(SignatureVerificationError):
            parse_notification(came[0][1], sandbox.credentials)
        assert parse_notification(came[1][1], sandbox.credentials).out_trade_no == "Q100000"
        assert [delivery.forged for delivery in sandbox.deliveries] == [True, False]

    async def test_orders_overtake_each_other(self) -> None:
        """Reordered: all of them come, and not in the order of their payments."""
        sandbox, came = await self._run(Fault.NOTIFY_REORDERED, orders=5)
        numbers = [parse_notification(body, sandbox.credentials).out_trade_no for _, body in came]
        assert sorted(numbers) == [f"Q10000{number}" for number in range(5)]
        assert numbers != sorted(numbers)


class TestPlans:
    @pytest.mark.parametrize(
        ("text", "plan"),
        [
            ("refused", Plan(Fault.REFUSED)),
            ("slow:0.2", Plan(Fault.SLOW, 0.2, seconds=10.0)),
            ("pay/slow:0.2:5", Plan(Fault.SLOW, 0.2, frozenset({"pay"}), 5.0)),
            ("notify-late:1", Plan(Fault.NOTIFY_LATE, 1.0, seconds=300.0)),
        ],
    )
    def test_plans_are_read_from_the_command_line(self, text: str, plan: Plan) -> None:
        """[ENDPOINT/]FAULT[:PROBABILITY[:SECONDS]]."""
        assert Plan.parse(text) == plan

    @pytest.mark.parametrize("text", ["", "nothing", "slow:2", "slow:x", "slow:1:2:3", "slow:-1"])
    def test_bad_plans_are_refused(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        """With a ValueError, and on the command line with status 2."""
        with pytest.raises(ValueError, match=r"FAULT|0 to 1"):
            Plan.parse(text)
        assert main(["sandbox", "--fault", text]) == 2
        assert "--fault" in capsys.readouterr().err

    def test_everything_that_can_happen_is_listed(self, capsys: pytest.CaptureFixture[str]) -> None:
        """`chaoying sandbox --scenarios` names each scenario with what triggers it, each fault."""
        assert main(["sandbox", "--scenarios"]) == 0
        listed = capsys.readouterr().out
        assert listed == "\n".join(lines()) + "\n"
        named = [(each.number, each.name, each.says) for each in SCENARIOS.values()]
        named += [(each.number, each.name, each.says) for each in REFUND_SCENARIOS.values()]
        for number, name, says in named:
            assert f"{number or 'other':>5}  {name} " in listed
            assert says in listed
        assert all(fault in listed for fault in Fault)


async def test_half_a_reply_is_not_read_as_a_whole_one(
    sandbox: Sandbox, session: GatewaySession
) -> None:
    """A body that breaks off never reaches the parser as if it had ended."""
    sandbox.faults.add(Fault.HALF_BODY)
    with pytest.raises(TransportError) as caught:
        await session.send(QUERY)
    assert not isinstance(caught.value, MalformedMessageError)
