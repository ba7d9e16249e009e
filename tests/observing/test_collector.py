"""What Prometheus reads: every metric once, with the numbers of ``stats()``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chaoying_async import (
    Decision,
    ExpectedOrder,
    MemoryInbox,
    NotificationHandler,
    OrderQuery,
    PaidOrder,
    ParameterError,
    PayType,
    Poller,
    PollSchedule,
    SessionClosedError,
)
from chaoying_async.observing.whole_fleet import WholeFleetStats
from chaoying_async.polling.outcome import PollStats
from chaoying_async.sansio.call_numbers import CallDurations, SessionStats
from chaoying_async.workers.database import Sharding
from chaoying_async.workers.fleet_status import (
    FleetStatus,
    MerchantStatus,
    ShardStatus,
    WorkerStatus,
)
from chaoying_async.workers.worker import FleetStats
from tests.factories import AUTH_CODE, CANARIES, CREDENTIALS, MCH_ID, OPENID, ORDER, every_request
from tests.fake_gateway import FakeGateway, session

prometheus_client = pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from chaoying_async.observing.metric_table import MERCHANT_METRICS, METRICS  # noqa: E402
from chaoying_async.observing.prometheus import ChaoyingCollector, exposition  # noqa: E402

AT_ONCE = PollSchedule(first=0.0, every=1.0, until=5.0, jitter=0)
Samples = Mapping[tuple[str, tuple[str, ...]], float]


@pytest.mark.parametrize("version", ["1.0.0", "abc", "1..0", ""])
def test_whatever_a_scraper_accepts_is_answered(version: str) -> None:
    """A stranger's header makes no error: prometheus_client compares its version with numbers."""
    accept = f"application/openmetrics-text; version={version}, text/plain; version={version}"
    assert exposition(CollectorRegistry(), accept)[0]


def read(collector: ChaoyingCollector) -> Samples:
    """All samples, by name and values of the labels."""
    registry = CollectorRegistry()
    registry.register(collector)
    content_type, body = exposition(registry)
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


class Fixed:
    """Whatever has these numbers."""

    def __init__(self, stats: Any) -> None:
        self._stats = stats

    def stats(self) -> Any:
        if isinstance(self._stats, Exception):
            raise self._stats
        return self._stats


def poll_stats(**numbers: Any) -> PollStats:
    zeros = dict.fromkeys(("pending", "in_flight", "due", "polls", "errors"), 0)
    return PollStats(**(zeros | {"lag": 0.0, "breaker_open": False} | numbers))


def fleet_stats(**numbers: Any) -> FleetStats:
    zeros: dict[str, Any] = {"worker": "w", "workers": 2, "looked": 0.5, "all_shards": 16}
    return FleetStats(**(zeros | {"shards": {}} | numbers))


def whole_stats(age: float = 3.0) -> WholeFleetStats:
    """Two shards, one of them served; what nobody took up; two processes, one of them silent."""
    return WholeFleetStats(
        age=age,
        status=FleetStatus(
            sharding=Sharding(shards=2, by_merchant=False),
            shards=[
                ShardStatus(number=0, owner="one", pending=5, due=2, lag=1.5),
                ShardStatus(number=1, pending=3, undelivered=1, oldest_undelivered=90.0),
                ShardStatus(number=None, pending=7, due=7, lag=12.0),
            ],
            workers=[
                WorkerStatus(name="one", seen=9.0, says={"shards": [0], "pending": 5}),
                WorkerStatus(name="two", seen=-30.0, says={}),
            ],
            merchants=[MerchantStatus(mch_id=MCH_ID, pending=8, undelivered=1)],
        ),
    )


def test_a_whole_fleet_is_told_by_shard_process_and_merchant() -> None:
    """Merchants only where both the reader and the collector were asked for them."""
    found = read(ChaoyingCollector(whole_fleet=Fixed(whole_stats()), merchants=True))
    pending = {
        labels: value
        for (name, labels), value in found.items()
        if name == "chaoying_fleet_whole_pending"
    }
    assert pending == {("0",): 5, ("1",): 3, ("new",): 7}
    assert found["chaoying_fleet_whole_served", ("0",)] == 1
    assert found["chaoying_fleet_whole_served", ("1",)] == 0
    assert ("chaoying_fleet_whole_served", ("new",)) not in found
    assert found["chaoying_fleet_whole_lag_seconds", ("new",)] == 12.0
    assert found["chaoying_fleet_whole_oldest_undelivered_seconds", ("0",)] == 0
    assert found["chaoying_fleet_whole_oldest_undelivered_seconds", ("1",)] == 90.0
    assert found["chaoying_fleet_worker_shards", ("one",)] == 1
    assert found["chaoying_fleet_worker_pending", ("two",)] == 0
    assert found["chaoying_fleet_worker_lease_seconds", ("two",)] == -30.0
    assert found["chaoying_fleet_merchant_undelivered", (MCH_ID,)] == 1
    assert found["chaoying_fleet_whole_read_seconds", ()] == 3.0
    alone = read(ChaoyingCollector(whole_fleet=Fixed(whole_stats())))
    assert not [name for name, labels in alone if MCH_ID in labels]
    never = ChaoyingCollector(whole_fleet=Fixed(SessionClosedError("not read")))
    assert read(never) == {}


async def shop(handler_told: str) -> NotificationHandler:
    """A handler of one paid order, which a query told of."""

    async def on_paid(order: PaidOrder) -> None:
        assert order.out_trade_no == handler_told

    def expected(mch_id: str, number: str) -> ExpectedOrder:
        return ExpectedOrder(total_fee=100, mch_id=mch_id)

    return NotificationHandler(CREDENTIALS, MemoryInbox(), on_paid, expected=expected)


async def test_the_numbers_are_those_of_stats() -> None:
    """A session, a poller and a handler, after a call each, and none of them is read twice."""
    async with session(FakeGateway()) as till, Poller(till, schedule=AT_ONCE) as poller:
        reply = await till.send(every_request()["orderquery"])
        outcome = await poller.wait(OrderQuery(paytype=PayType.WECHAT, out_trade_no=ORDER))
        handler = await shop(ORDER)
        await handler.handle(b"out_trade_no=1&sign=forged")
        assert outcome.paid is not None
        await handler.settle(outcome.paid)
        found = read(ChaoyingCollector(session=till, poller=poller, handler=handler))
        assert reply.result is not None
        again = read(ChaoyingCollector(session=till, poller=poller, handler=handler))
    assert found["chaoying_calls_total", ("orderquery", "RESULT")] == 2
    assert found["chaoying_call_duration_seconds_count", ("orderquery",)] == 2
    assert found["chaoying_call_duration_seconds_bucket", ("orderquery", "+Inf")] == 2
    assert found["chaoying_calls_in_flight", ()] == 0
    assert found["chaoying_poller_polls_total", ("poller",)] == 1
    assert found["chaoying_refused_bodies_total", ("unverified",)] == 1
    assert sum(found["chaoying_decisions_total", (str(each),)] for each in Decision) == 1
    assert again == found


async def test_every_metric_of_the_table_is_given_out_and_no_other() -> None:
    """With all that a process can have; those by merchant only where they are asked for."""
    async with session(FakeGateway()) as till, Poller(till, schedule=AT_ONCE) as poller:
        await till.send(every_request()["pay"])
        outcome = await poller.wait(OrderQuery(paytype=PayType.WECHAT, out_trade_no=ORDER))
        handler = await shop(ORDER)
        assert outcome.paid is not None
        await handler.settle(outcome.paid)
        everything: dict[str, Any] = {
            "session": till,
            "poller": poller,
            "handler": handler,
            "fleet": Fixed(fleet_stats(shards={3: poll_stats()})),
            "whole_fleet": Fixed(whole_stats()),
        }
        for merchants in (False, True):
            collector = ChaoyingCollector(**everything, merchants=merchants)
            families = {family.name: family for family in collector.collect()}
            names = {
                f"{name}_total" if family.type == "counter" else name
                for name, family in families.items()
            }
            late = {"chaoying_callback_delay_longest_seconds"}  # there is none before a callback
            wanted = METRICS.keys() - late - (set() if merchants else MERCHANT_METRICS)
            assert names == wanted
            for family in families.values():
                assert family.documentation.endswith(".")


def test_counters_are_zero_before_the_first_of_their_kind() -> None:
    """Else the first conflict, or the first forged reply, is no increase to Prometheus."""
    till = session(FakeGateway())
    found = read(ChaoyingCollector(session=till))
    assert found["chaoying_call_errors_total", ("ReplyMismatchError",)] == 0
    assert found["chaoying_call_errors_total", ("SignatureVerificationError",)] == 0
    handler = NotificationHandler(
        CREDENTIALS, MemoryInbox(), lambda _: None, expected=lambda *_: None
    )
    found = read(ChaoyingCollector(handler=handler))
    assert found["chaoying_decisions_total", ("CONFLICT",)] == 0
    assert found["chaoying_paid_orders_total", ("query",)] == 0


def test_several_of_a_kind_are_added_up_and_the_latest_counts() -> None:
    """Counts are sums; of two lags, or two ages, it is the larger. Pollers keep their names."""
    calls = SessionStats(
        in_flight=1,
        calls={("pay", "RESULT"): 2, ("pay", "OutcomeUnknownError"): 1},
        durations={"pay": CallDurations(seconds=1.5, counts=(1, 0, 0, 0, 2, 0, 0, 0, 0, 0))},
    )
    shards = {
        1: poll_stats(pending=2, lag=3.0, breaker_open=True),
        2: poll_stats(pending=5, lag=1.0),
    }
    found = read(
        ChaoyingCollector(
            session=[Fixed(calls), Fixed(calls)],
            poller={"orders": Fixed(poll_stats(pending=7)), "refunds": Fixed(poll_stats(due=1))},
            fleet=Fixed(fleet_stats(shards=shards, polls=40, failed_deliveries=6, session=calls)),
        )
    )
    assert found["chaoying_calls_total", ("pay", "RESULT")] == 6
    assert found["chaoying_call_errors_total", ("OutcomeUnknownError",)] == 3
    assert found["chaoying_calls_in_flight", ()] == 3
    assert found["chaoying_call_duration_seconds_bucket", ("pay", "0.5")] == 3
    assert found["chaoying_call_duration_seconds_bucket", ("pay", "1.0")] == 9
    assert found["chaoying_call_duration_seconds_sum", ("pay",)] == 4.5
    assert found["chaoying_poller_pending", ("orders",)] == 7
    assert found["chaoying_poller_due", ("refunds",)] == 1
    assert found["chaoying_poller_pending", ("fleet",)] == 7
    assert found["chaoying_poller_lag_seconds", ("fleet",)] == 3.0
    assert found["chaoying_poller_breaker_open", ("fleet",)] == 1
    assert found["chaoying_poller_polls_total", ("fleet",)] == 40
    assert found["chaoying_fleet_shards_served", ()] == 2
    assert found["chaoying_fleet_failed_deliveries_total", ()] == 6


def test_a_fleet_that_is_not_open_is_left_out_and_one_without_shards_shows_zeros() -> None:
    """A scrape that comes before the start, or after the end, is no error."""
    closed = Fixed(SessionClosedError("the fleet is not open"))
    assert read(ChaoyingCollector(fleet=closed)) == {}
    found = read(ChaoyingCollector(fleet=Fixed(fleet_stats(looked=float("inf")))))
    assert found["chaoying_poller_pending", ("fleet",)] == 0
    assert found["chaoying_poller_lag_seconds", ("fleet",)] == 0
    assert found["chaoying_fleet_looked_seconds", ()] == float("inf")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"poller": object()},
        {"session": [object()]},
        {"poller": {"fleet": Fixed(None)}, "fleet": Fixed(None)},
    ],
    ids=["nothing", "no stats", "one without", "a name twice"],
)
def test_what_cannot_be_read_is_refused_at_once(given: dict[str, Any]) -> None:
    """When the collector is made, and not at the first scrape."""
    with pytest.raises(ParameterError):
        ChaoyingCollector(**given)


def test_a_second_collector_in_one_registry_is_refused() -> None:
    """Two would give out the same series twice, and Prometheus would drop the whole answer."""
    registry = CollectorRegistry()
    registry.register(ChaoyingCollector(poller=Fixed(poll_stats())))
    with pytest.raises(ValueError, match="chaoying_poller_pending"):
        registry.register(ChaoyingCollector(poller=Fixed(poll_stats())))


async def test_nothing_secret_or_personal_is_in_what_is_given_out() -> None:
    """M-27: calls with codes and buyers, notifications, an error: no canary, no order number."""
    async with (
        session(FakeGateway(200, 500), read_retries=0) as till,
        Poller(till, schedule=AT_ONCE) as poller,
    ):
        for request in every_request().values():
            try:
                await till.send(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, it counts
                assert type(error).__module__.startswith("chaoying_async")
        outcome = await poller.wait(OrderQuery(paytype=PayType.WECHAT, out_trade_no=ORDER))
        handler = await shop(ORDER)
        assert outcome.paid is not None
        await handler.settle(outcome.paid)
        await handler.handle(f"openid={OPENID}&auth_code={AUTH_CODE}&sign=forged".encode())
        for merchants in (False, True):
            registry = CollectorRegistry()
            registry.register(
                ChaoyingCollector(session=till, poller=poller, handler=handler, merchants=merchants)
            )
            text = exposition(registry)[1].decode()
            assert not [secret for secret in (*CANARIES, ORDER, "op1") if secret in text]
            assert (MCH_ID in text) is merchants


def test_no_metric_has_a_label_that_may_be_personal() -> None:
    """The labels are these, and each of them has few values; a merchant's only where asked for."""
    few = {"endpoint", "outcome", "error", "poller", "decision", "reason", "source"}
    few |= {"shard", "worker"}
    for row in METRICS.values():
        assert set(row.labels) <= few | {"mch_id"}
        assert ("mch_id" in row.labels) is (row.name in MERCHANT_METRICS)
        assert row.name.endswith("_total") is (row.kind == "counter")
