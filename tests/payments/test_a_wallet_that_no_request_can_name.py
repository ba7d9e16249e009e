"""A reply or a record names a wallet that no query can be sent with: the payment goes on."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from chaoying_async import PollStore
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sansio.payments.intent import CHECKOUT
from tests.tills import EXACT, Counter, TillOnSandbox, a_till, pay

NAMES = ["UNIONPAY&sign=1", "\ud800"]
#: A code of no published prefix, whose wallet only a reply names.
CODE = "999999999999999999"


def named(shop: TillOnSandbox, name: str) -> None:
    """The reply to the payment names this wallet."""

    def naming(request: Any, reply: Any) -> Any:
        if request.endpoint.name != "pay":
            return reply
        return attrs.evolve(reply, raw={**reply.raw, "paytype": name})

    shop.till.after = naming


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("amount", "status"), [(401, "PAID"), (405, "CANCELLED"), (100, "PAID")])
async def test_a_payment_that_left_ends_with_an_outcome_whatever_wallet_its_reply_names(
    name: str, amount: int, status: str
) -> None:
    """M-24: ParameterError says that nothing was sent; it is asked about under every wallet."""
    async with a_till() as shop:
        named(shop, name)
        outcome = await shop.checkout(amount, pay=pay(amount, auth_code=CODE), allow_no_cancel=True)
        assert outcome.status == status
        assert len(shop.till.at("pay")) == 1


@pytest.mark.parametrize("name", NAMES)
async def test_a_stored_wallet_that_no_query_can_name_is_asked_about_under_every_one(
    name: str,
) -> None:
    """M-24: as earlier versions wrote it; resume tells how it ended, and not UNKNOWN for ever."""

    async def resumed(store: PollStore) -> list[Any]:
        return [each async for each in resume(shop.till, store, schedule=EXACT, clock=shop.clock)]

    async with a_till() as shop:
        store = MemoryPollStore()
        async with store:
            running = shop.charging(
                401, pay=pay(401, auth_code=CODE), allow_no_cancel=True, store=store
            )
            with pytest.raises(TimeoutError):
                await shop.clock.run(running, within=2)
            ((key, text),) = [each async for each in store.load(CHECKOUT)]
            text = json.dumps(json.loads(text) | {"paytype": name})
            await store.put(CHECKOUT, {key: text})
        shop.till = Counter(shop.till.session, shop.clock)
        await shop.clock.advance(300)
        async with store:
            (outcome,) = await shop.clock.run(resumed(store))
        assert (outcome.status, shop.status()) == ("PAID", "PAID")
