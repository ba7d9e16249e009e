"""The program of a shop whose orders a fleet sees to their end, whichever process took them.

Every process sells, and every one serves its share of the fleet. An order by a code is handed over
in the transaction of its row; what a payment at a till has come to, is told by the till and by the
task, and only the task acts on it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.api.follow_up import OrderQuery, Refund
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.testing.simulation.corner_shop import ShopFailedError
from chaoying_async.testing.simulation.sales import Purchase
from chaoying_async.testing.simulation.shop_program import ShopProgram
from chaoying_async.testing.simulation.surroundings import AGAIN, GivenOutcome, Told
from chaoying_async.workers.fleet import Fleet
from chaoying_async.workers.outcomes import paid_order_of

#: Seconds between two looks of a process at what was handed over, and at refunds that are open.
_LOOK, _ROUND = 10.0, 60.0
#: Seconds after which a fleet that could not be opened is tried again.
_AGAIN = 5.0
#: How an order by a code is asked about: a little longer than it can be paid.
_CODES = PollSchedule(first=20.0, every=20.0, until=900.0)

_KINDS = {"checkout": Told.CHECKOUT, "refund": Told.REFUND}
_UNPAID = (PollStatus.FAILED, PollStatus.CLOSED, PollStatus.REVOKED)

#: The program of the process in which a task is called.
_RUNNING: ContextVar[FleetProgram] = ContextVar("chaoying_async.simulation.fleet")
#: The task's name, as a shop gives it to its fleet.
_THEN = f"{__name__}:order_ended"


class OutcomeNotTakenError(Exception):
    """The shop could not do what an outcome asks for: it has to come again."""


async def order_ended(outcome: Mapping[str, Any]) -> None:
    """The shop's task: called in the process that serves the order."""
    await _RUNNING.get().given(outcome)


class FleetProgram(ShopProgram):
    """One run of the program, in one process of the fleet."""

    _fleet: Fleet | None = None

    @property
    def is_till(self) -> bool:
        """Whether its fleet is open, and so it can sell."""
        return self._fleet is not None and self.is_open

    # ----------------------------------------------------------------------------------- the fleet

    async def _be_till_or_wait(self) -> None:
        _RUNNING.set(self)
        while not self._closing.is_set():
            try:
                async with self._open_fleet():
                    await self._look_after_returns()
            except (ChaoyingError, SQLAlchemyError) as error:
                self._word(Told.ERROR, "fleet", type(error).__name__)
                await self._pause(_AGAIN)

    @asynccontextmanager
    async def _open_fleet(self) -> AsyncGenerator[None]:
        weather = self._world.weather
        engine = self._engine(self._world.inbox_path)
        try:
            fleet = Fleet(
                SqlPollStore(engine, lease=weather.lease, shards=weather.shards, clock=self._clock),
                self._session,
                look=_LOOK,
                name=self.process.name,  # else it names this machine
                rng=self._rng,
            )
            async with fleet:
                self._fleet = fleet
                try:
                    yield
                finally:
                    self._fleet = None
                    await self.process.cancel_work()
        finally:
            await engine.dispose()

    async def _look_after_returns(self) -> None:
        while not self._closing.is_set():
            for each in await self._calmly(self.shop.open_returns, []):
                self.process.start(self.give_back(each), f"refund {each.refund_no}")
            await self._pause(_ROUND)

    # ---------------------------------------------------------------------------------- the task

    async def given(self, outcome: Mapping[str, Any]) -> None:
        """Do what an outcome asks for; what fails raises, so that it comes again."""
        kind = _KINDS.get(outcome["of"], Told.ORDER)
        number = outcome["out_refund_no"] if kind is Told.REFUND else outcome["out_trade_no"]
        status = outcome["status"]
        content = json.dumps(outcome, sort_keys=True)
        self._world.given.append(GivenOutcome(outcome["id"], number, kind, content))
        self._word(kind, number, f"{status} {outcome.get('reason', '')}".strip())
        if kind is Told.REFUND:
            if status != PollStatus.NOTSURE:  # else the same number is sent again
                await self.shop.end_return(number, status)
            return
        paid = paid_order_of(outcome)
        if paid is not None and not await self._settled(paid):
            raise OutcomeNotTakenError
        if kind is Told.ORDER and status in _UNPAID:
            await self.shop.close_order(number)

    # ------------------------------------------------------------------------------------- selling

    async def _write_order(self, sale: Purchase, kind: str) -> None:
        fleet = self._fleet
        if fleet is None:
            raise ShopFailedError("this process closes")

        async def hand_over(connection: AsyncConnection) -> None:
            await self._watch(fleet, sale, connection)
            if self._rng.random() < self._world.weather.takes_back:
                raise ShopFailedError("the customer has changed their mind")

        await self.shop.write_order(
            sale.number,
            self._world.mch_id,
            sale.total_fee,
            kind,
            None if sale.at_till else hand_over,
        )

    async def _watch(self, fleet: Fleet, sale: Purchase, connection: AsyncConnection) -> None:
        query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=sale.number)
        fee = sale.total_fee
        await fleet.watch(query, then=_THEN, expected=fee, schedule=_CODES, connection=connection)

    async def _by_code(self, sale: Purchase) -> None:
        again = self._world.weather.asks_again
        if again and self._rng.random() < again:
            self.process.start(self._ask_again(sale), f"again {sale.number}")
        await super()._by_code(sale)

    async def _ask_again(self, sale: Purchase) -> None:
        """Wait for the order once more, in a transaction that lasts for a while."""
        with self._at_work_on(f"again {sale.number}"):
            try:
                await self._clock.sleep(self._rng.uniform(0.0, 1.1 * _CODES.until))
                if (fleet := self._fleet) is None:
                    return
                async with self.shop.transaction() as connection:
                    await self._watch(fleet, sale, connection)
                    await self._clock.sleep(self._rng.uniform(0.0, 2.0))
                self._word(Told.ORDER, sale.number, AGAIN)
            except (ChaoyingError, SQLAlchemyError):
                self._word(Told.ERROR, sale.number, AGAIN)  # a COMMIT that failed may be made

    async def _at_till(self, sale: Purchase) -> None:
        fleet = self._fleet
        if fleet is None:
            return
        outcome = await fleet.checkout(sale.pay(), then=_THEN)
        if outcome is None:
            return
        said = f"{outcome.status} {outcome.reason}".strip()
        self._word(Told.CHECKOUT, outcome.out_trade_no, said)
        await self._refund_some_of(sale, outcome)

    async def _refund(self, refund: Refund) -> None:
        """Send it; its end comes to the task."""
        if self._fleet is not None:
            await self._fleet.refund(refund, then=_THEN)
