"""Thousands of calls at once: nobody gets another's answer, and cancelling breaks nothing."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from urllib.parse import parse_qsl

import attrs
import httpx
import pytest

from chaoying_async import Credentials, Hosts, OrderQuery, OutcomeUnknownError, Pay, PayType
from chaoying_async.sansio.signing import sign_for
from chaoying_async.testing import FakeClock
from tests.factories import CREDENTIALS, KEY, answer_fields
from tests.fake_gateway import FakeGateway, session
from tests.sizes import FULL
from tests.tcp_server import Link, reply, serving

#: At once, on one session.
CALLS = 600 if FULL else 150


@pytest.mark.slow
async def test_many_merchants_on_one_loop_never_mix(fake_clock: FakeClock) -> None:
    """200 merchants with keys of their own, tasks interleaved at random, zero cross-use."""
    rng = random.Random(39)
    agents = {
        str(number): attrs.evolve(CREDENTIALS, agent_id=str(number), key=f"{KEY}-{number}-of-many")
        for number in range(200)
    }

    class Slow(FakeGateway):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await fake_clock.sleep(rng.random())
            response = await super().handle_async_request(request)
            await fake_clock.sleep(rng.random())
            return response

    gateway = Slow(agents=agents)
    sessions = {
        number: session(gateway, credentials=agents[number], mch_id=f"M{number}", clock=fake_clock)
        for number in agents
    }
    for till in sessions.values():
        await till.__aenter__()

    async def one(index: int) -> None:
        number = str(index % 200)
        order = f"ORDER_{index}"
        query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=order)
        found = (await sessions[number].send(query)).unwrap()
        assert (found.out_trade_no, found.mch_id) == (order, f"M{number}")

    calls = 10_000 if FULL else 400
    order = rng.sample(range(calls), calls)
    await fake_clock.run(asyncio.gather(*(one(index) for index in order)))
    for till in sessions.values():
        await till.aclose()
    assert len(gateway.forms) == calls
    for form in gateway.forms:
        assert form["mch_id"] == f"M{form['agent_id']}"
        assert form["sign"] == sign_for(agents[form["agent_id"]], form)


async def test_one_session_serves_many_merchants() -> None:
    """No ambient merchant: what a request names is what is sent, however they interleave."""
    gateway = FakeGateway()
    async with session(gateway, mch_id="DEFAULT") as till:

        async def one(index: int) -> None:
            mch_id = None if index % 3 == 0 else f"M{index}"
            query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=f"O_{index}", mch_id=mch_id)
            found = (await till.send(query)).unwrap()
            assert (found.out_trade_no, found.mch_id) == (f"O_{index}", mch_id or "DEFAULT")

        await asyncio.gather(*(one(index) for index in range(CALLS)))
    assert Counter(form["mch_id"] for form in gateway.forms)["DEFAULT"] == CALLS // 3


async def honest(link: Link) -> None:
    """Answer each request about its own order, now and then late or in pieces."""
    rng = random.Random(link.number)
    while True:
        data = await link.request()
        form = dict(parse_qsl(data.partition(b"\r\n\r\n")[2].decode()))
        changes = {name: form[name] for name in ("out_trade_no", "mch_id")}
        fields = answer_fields(form["method"], **changes)
        fields["sign"] = sign_for(CREDENTIALS, fields)
        answer = reply(json.dumps(fields).encode())
        cut = rng.randrange(len(answer))
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        await link.send(answer[:cut])
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        await link.send(answer[cut:])


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_cancelling_at_random_leaves_the_pool_whole() -> None:
    """Cancelled at every point against a pool of 5; each call knows its own order (M-06)."""
    rng = random.Random(32)
    calls = 100_000 if FULL else 250
    ended: Counter[str] = Counter()
    async with serving(honest) as server:
        limits = httpx.Limits(max_connections=5, max_keepalive_connections=5)
        hosts = Hosts.single(server.url(""))
        async with session(None, hosts=hosts, limits=limits, read_retries=0) as till:

            async def one(number: int) -> None:
                query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=f"SOAK_{number}")
                try:
                    found = (await till.send(query)).unwrap()
                except asyncio.CancelledError:
                    ended["cancelled"] += 1
                    raise
                assert found.out_trade_no == f"SOAK_{number}"
                ended["answered"] += 1

            async def cancelled_at_random(number: int) -> None:
                task = asyncio.create_task(one(number))
                if rng.random() < 0.7:
                    for _ in range(rng.randrange(60)):
                        await asyncio.sleep(0)
                    task.cancel()
                await asyncio.wait([task])
                if not task.cancelled():
                    task.result()

            for start in range(0, calls, 50):
                batch = range(start, min(start + 50, calls))
                await asyncio.gather(*map(cancelled_at_random, batch))
            for number in range(5):
                await one(-number)
        assert len([link for link in server.links if not link.writer.is_closing()]) <= 5
    assert ended["cancelled"] + ended["answered"] >= calls * 0.9
    assert ended["cancelled"] > calls * 0.1
    assert ended["answered"] > calls * 0.1


async def test_payments_cut_at_every_byte_are_charged_once() -> None:
    """The server cuts after each possible byte of its answer; charges never exceed calls."""
    order = "CUT_1"
    pay = Pay(out_trade_no=order, body="tea", total_fee=100, auth_code="130000000000000001")
    fields = answer_fields("pay", out_trade_no=order)
    fields["sign"] = sign_for(CREDENTIALS, fields)
    answer = reply(json.dumps(fields).encode())
    cuts = iter(range(0, len(answer) + 1, 1 if FULL else 7))

    async def cutting(link: Link) -> None:
        await link.request()
        await link.send(answer[: next(cuts)])

    calls = len(range(0, len(answer) + 1, 1 if FULL else 7))
    async with serving(cutting) as server:
        async with session(None, hosts=Hosts.single(server.url(""))) as till:
            for _ in range(calls):
                try:
                    assert (await till.send(pay)).result is not None
                except OutcomeUnknownError:
                    continue
        assert len(server.requests) == calls


def test_credentials_are_values() -> None:
    """Nothing about a merchant is kept outside the object that was made for it."""
    one = Credentials(agent_id="1", key="one-merchants-own-key", pid="p")
    other = attrs.evolve(one, key="another-merchants-key")
    assert one != other
    assert sign_for(one, {"a": "1"}) != sign_for(other, {"a": "1"})
    assert sign_for(one, {"a": "1"}) == sign_for(attrs.evolve(one), {"a": "1"})
