"""The program that every process of the shop runs: it sells, polls, refunds, is notified.

Whichever process holds the poll store is the till; the others only take notifications, and try now
and then to get the store.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from functools import partial
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from chaoying_async.exceptions import (
    AttemptInProgressError,
    ChaoyingError,
    GatewayError,
    RequestNotSentError,
    SessionClosedError,
    StoreError,
    StoreInUseError,
)
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.notifications.handler import NotificationHandler
from chaoying_async.notifications.keys import Resolver
from chaoying_async.payments.checkout import DEFAULT_SCHEDULE, checkout
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.payments.refunds import refund_and_track
from chaoying_async.payments.resume import resume
from chaoying_async.polling.outcome import PollOutcome
from chaoying_async.polling.poller import Poller
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.api.endpoint import order_of
from chaoying_async.sansio.api.follow_up import OrderQuery, Refund
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.session import GatewaySession
from chaoying_async.testing.simulation.corner_shop import CornerShop, Return, ShopFailedError
from chaoying_async.testing.simulation.front_door import FrontDoor, HandlersDoor, web_door
from chaoying_async.testing.simulation.inline_sqlite import SimulatedFiles
from chaoying_async.testing.simulation.network import NetworkCard
from chaoying_async.testing.simulation.process import Process, SimulatedClock
from chaoying_async.testing.simulation.sales import Purchase
from chaoying_async.testing.simulation.surroundings import Surroundings, Told, Word
from chaoying_async.testing.simulation.timeline import Happening
from chaoying_async.testing.simulation.users_shop import ShopProcess, UsersCounter

#: Seconds between two looks at what is left to do.
_ROUND = 60.0
#: Seconds after which a till that lost its store, or failed to read it, tries again.
_AGAIN = 5.0
#: Refunds are asked about for so long at a time: no world lasts for a bank's days.
_REFUNDS = PollSchedule(first=10.0, every=60.0, until=2700.0, longest=600.0, factor=1.3)


class ShopProgram:
    """One run of the program, in one process."""

    def __init__(
        self,
        world: Surroundings,
        process: Process,
        *,
        files: SimulatedFiles,
        card: NetworkCard,
        clock: SimulatedClock,
        rng: random.Random,
        wants_till: bool,
        credentials: Credentials,
        verified_by: Credentials | Resolver,
    ) -> None:
        self.process = process
        self._wants_till = wants_till
        self._credentials = credentials
        self._verified_by = verified_by
        self._world = world
        self._files = files
        self._card = card
        self._clock = clock
        self._rng = rng
        self._closing = asyncio.Event()
        self._door: FrontDoor | None = None
        self._gateway: GatewaySession
        self._store: SqlPollStore | None = None
        self._poller: Poller | None = None
        self._busy: set[str] = set()
        #: The engines that it opened.
        self.engines: list[AsyncEngine] = []

    @property
    def is_open(self) -> bool:
        """Whether it takes notifications."""
        return self._door is not None

    @property
    def is_till(self) -> bool:
        """Whether it holds the poll store, and so can sell."""
        return self._store is not None and self.is_open

    @property
    def is_busy(self) -> bool:
        """Whether a sale, a refund or a resumption is under way."""
        return bool(self._busy)

    def close(self) -> None:
        """Ask it to come to its end."""
        self._closing.set()

    async def main(self) -> None:
        """Run until :meth:`close`."""
        async with AsyncExitStack() as stack:
            engine = self._engine(self._world.inbox_path)
            stack.push_async_callback(engine.dispose)
            self.shop = self._made_shop(engine)
            self._gateway = await stack.enter_async_context(self._session())
            self._door = await self._open_door(engine, stack)
            stack.callback(self._shut)
            try:
                await self._be_till_or_wait()
            finally:
                await self.process.cancel_work()

    def _session(self) -> GatewaySession:
        return GatewaySession(
            self._credentials,
            mch_id=self._world.mch_id,
            op_user_id="cashier01",
            transport=self._card,
            clock=self._clock,
            rng=self._rng,
        )

    def _made_shop(self, engine: AsyncEngine) -> CornerShop:
        users = self._world.users
        make = CornerShop if users is None else partial(UsersCounter, users)
        return make(
            engine=engine,
            process=self.process,
            clock=self._clock,
            timeline=self._world.timeline,
            rng=self._rng,
            weather=self._world.weather,
            is_calm=lambda: self._world.is_calm,
        )

    async def _open_door(self, engine: AsyncEngine, stack: AsyncExitStack) -> FrontDoor:
        users, weather = self._world.users, self._world.weather
        if users is not None and users.app is not None:
            lent = ShopProcess(
                self.process.name,
                engine,
                self._gateway,
                self._credentials,
                self._world.mch_id,
                self._clock,
                partial(self._open_file, stack),
            )
            given = users.app(lent)
            if not isinstance(given, AbstractAsyncContextManager):
                return await stack.enter_async_context(web_door(given, users.notify_path))
            if own := await stack.enter_async_context(given):
                return HandlersDoor(own)
        handler = NotificationHandler(
            self._verified_by,
            SqlInbox(engine, clock=self._clock),
            self.shop.on_paid,
            expected=self.shop.lookup,
            confirm=self._gateway if weather.confirms else None,
            on_paid_after_close=self.shop.on_paid_after_close if weather.after_close else None,
            clock=self._clock,
        )
        return HandlersDoor(await stack.enter_async_context(handler))

    def _open_file(self, stack: AsyncExitStack, name: str) -> AsyncEngine:
        engine = self._engine(self._world.file_path(name))
        stack.push_async_callback(engine.dispose)
        return engine

    async def _be_till_or_wait(self) -> None:
        if not self._wants_till:
            await self._closing.wait()
        while not self._closing.is_set():
            try:
                async with self._till() as (store, poller):
                    await self._rounds(store, poller)
            except StoreInUseError:
                await self._pause(self._world.weather.lease)
            except (StoreError, SessionClosedError) as error:
                self._word(Told.ERROR, "till", type(error).__name__)
                await self._pause(_AGAIN)

    def _engine(self, path: str) -> AsyncEngine:
        engine = self._files.engine(path)
        self.engines.append(engine)
        return engine

    def _shut(self) -> None:
        self._door = None

    @contextmanager
    def _at_work_on(self, what: str) -> Generator[None]:
        """A block before whose end nobody begins the same, and the world does not end."""
        self._busy.add(what)
        try:
            yield
        finally:
            self._busy.discard(what)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with self._clock.timeout(seconds):
                await self._closing.wait()

    # ---------------------------------------------------------------------------------- the till

    @asynccontextmanager
    async def _till(self) -> AsyncGenerator[tuple[SqlPollStore, Poller]]:
        """Hold the poll store for as long as it is ours."""
        engine = self._engine(self._world.store_path)
        weather = self._world.weather
        try:
            async with (
                SqlPollStore(engine, lease=weather.lease, clock=self._clock) as store,
                Poller(self._gateway, store=store, clock=self._clock, rng=self._rng) as poller,
            ):
                consumer = self.process.start(self._consume(poller), "outcomes", lasts=True)
                self._store, self._poller = store, poller
                try:
                    yield store, poller
                finally:
                    self._store = self._poller = None
                    consumer.cancel()
                    await asyncio.wait([consumer])
                    if self._closing.is_set():  # nothing may use a store that is closed
                        await self.process.cancel_work()
        finally:
            await engine.dispose()

    async def _rounds(self, store: SqlPollStore, poller: Poller) -> None:
        while not self._closing.is_set():
            await self._resume(store)
            if self._world.weather.polls and not self._world.weather.tracks_once:
                await self._track_open(poller)
            for each in await self._calmly(self.shop.open_returns, []):
                self.process.start(self.give_back(each), f"refund {each.refund_no}")
            await self._pause(_ROUND)

    async def _calmly(self, read: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return await read()
        except SQLAlchemyError:
            return otherwise

    async def _resume(self, store: SqlPollStore) -> None:
        if "resume" in self._busy:
            return

        async def resume_all() -> None:
            with self._at_work_on("resume"):
                try:
                    resuming = resume(self._gateway, store, clock=self._clock, rng=self._rng)
                    async with aclosing(resuming):
                        async for outcome in resuming:
                            if not await self.took(outcome):
                                return  # to go on would forget it; the next round begins again
                except ChaoyingError as error:
                    self._word(Told.ERROR, "resume", type(error).__name__)

        self.process.start(resume_all(), "resume")

    async def _track_open(self, poller: Poller) -> None:
        for number, total_fee in await self._calmly(self.shop.open_orders, []):
            with suppress(ChaoyingError):
                poller.track(
                    OrderQuery(paytype=PayType.WECHAT, out_trade_no=number),
                    expected=total_fee,
                    schedule=PollSchedule(first=20.0, every=20.0, until=300.0),
                )

    async def _track_once(self, sale: Purchase) -> None:
        """Have the poller's store remember an order, before it can be paid."""
        weather, poller = self._world.weather, self._poller
        if poller is None or not (weather.polls and weather.tracks_once):
            return
        with suppress(ChaoyingError):
            poller.track(
                OrderQuery(paytype=PayType.WECHAT, out_trade_no=sale.number),
                expected=sale.total_fee,
                schedule=PollSchedule(first=20.0, every=20.0, until=900.0),
            )
            await poller.kept()
            self._world.tracked.add(sale.number)

    async def _consume(self, poller: Poller) -> None:
        with suppress(StoreInUseError, SessionClosedError):
            while not await self._consumed(poller.outcomes()):
                await self._clock.sleep(_AGAIN)

    async def _consumed(self, outcomes: AsyncGenerator[PollOutcome[Any]]) -> bool:
        """Whether all came to their end; else one has to come again, and going on forgets it."""
        async with aclosing(outcomes):
            async for outcome in outcomes:
                if not await self._polled(outcome):
                    return False
        return True

    async def _polled(self, outcome: PollOutcome[Any]) -> bool:
        number = str(order_of(outcome.query))
        self._word(Told.ORDER, number, outcome.status)
        if outcome.status is PollStatus.PAID and outcome.paid is not None:
            if not await self._settled(outcome.paid):
                return False
        elif outcome.status in (PollStatus.FAILED, PollStatus.CLOSED, PollStatus.REVOKED):
            try:
                await self.shop.close_order(number)
            except SQLAlchemyError:
                return False
        with suppress(ChaoyingError):
            await outcome.done()
        return True

    async def _settled(self, paid: PaidOrder) -> bool:
        """Whether the payment's effect is durable, or it was set aside for a person."""
        door = self._door
        if not isinstance(door, HandlersDoor):
            return False
        try:
            decision = await door.handler.settle(paid)
        except Exception as error:  # noqa: BLE001 - the database's; the outcome comes again
            self._word(Told.ERROR, f"settle {paid.out_trade_no}", type(error).__name__)
            return False
        self._word(Told.ORDER, paid.out_trade_no, f"settle: {decision}")
        return decision is not Decision.IN_PROGRESS

    # ------------------------------------------------------------------------------------- selling

    async def sell(self, sale: Purchase) -> None:
        """Sell something to a customer."""
        with self._at_work_on(sale.number):
            await self._sell(sale)

    async def _sell(self, sale: Purchase) -> None:
        fee, kind = sale.total_fee, "till" if sale.at_till else "code"
        try:
            await self._write_order(sale, kind)
        except (SQLAlchemyError, ShopFailedError):
            return  # nothing was sold
        self._note(Happening.SALE, f"{sale.number} {kind} {fee} fen")
        try:
            await (self._at_till(sale) if sale.at_till else self._by_code(sale))
        except ChaoyingError as error:
            sent = getattr(error, "sent", None)
            self._word(Told.ERROR, sale.number, f"{type(error).__name__} sent={sent}")
        except SQLAlchemyError as error:
            self._word(Told.ERROR, sale.number, type(error).__name__)

    async def _write_order(self, sale: Purchase, kind: str) -> None:
        await self.shop.write_order(sale.number, self._world.mch_id, sale.total_fee, kind)

    async def _at_till(self, sale: Purchase) -> None:
        store = self._store
        if store is None:
            return
        patience = self._world.weather.patience
        outcome = await checkout(
            self._gateway,
            sale.pay(),
            store=store,
            schedule=PollSchedule(every=2.0, until=patience) if patience else DEFAULT_SCHEDULE,
            clock=self._clock,
            rng=self._rng,
        )
        if await self.took(outcome):
            await self._refund_some_of(sale, outcome)

    async def _refund_some_of(self, sale: Purchase, outcome: CheckoutOutcome) -> None:
        if outcome.status is CheckoutStatus.PAID and sale.gives_back:
            wanted = sale.given_back(outcome.paytype)
            await self.shop.write_return(wanted)
            await self.give_back(wanted)

    async def took(self, outcome: CheckoutOutcome) -> bool:
        """Do what a checkout's end asks for; False where it has to be told once more."""
        said = f"{outcome.status} {outcome.reason}".strip()
        self._word(Told.CHECKOUT, outcome.out_trade_no, said)
        ends = (CheckoutStatus.PAID, CheckoutStatus.PAID_EARLIER)
        paid = outcome.paid if outcome.status in ends else None
        if paid is not None and not await self._settled(paid):
            return False
        with suppress(ChaoyingError):
            await outcome.done()
        return True

    async def _by_code(self, sale: Purchase) -> None:
        request = sale.pre_order(self._clock.now())
        await self._track_once(sale)
        try:
            await self._gateway.send(request)
        except (GatewayError, RequestNotSentError) as error:
            self._word(Told.ORDER, sale.number, f"refused: {type(error).__name__}")
            await self.shop.close_order(sale.number)
            return
        except ChaoyingError as error:
            self._word(Told.ERROR, sale.number, type(error).__name__)
        if sale.closed_after:
            await self._clock.sleep(sale.closed_after)
            await self.shop.close_order(sale.number)

    # ----------------------------------------------------------------------------------- refunding

    async def give_back(self, wanted: Return) -> None:
        """Refund, under the one number of this return."""
        name = wanted.refund_no
        if not self.is_till or name in self._busy:
            return
        refund = Refund(
            paytype=wanted.paytype,
            out_trade_no=wanted.number,
            out_refund_no=name,
            total_fee=wanted.total_fee,
            refund_fee=wanted.amount,
        )
        with self._at_work_on(name):
            try:
                await self._refund(refund)
            except AttemptInProgressError:
                pass
            except (ChaoyingError, SQLAlchemyError) as error:
                self._word(Told.ERROR, name, type(error).__name__)

    async def _refund(self, refund: Refund) -> None:
        """Wait until the end of the refund is known."""
        outcome = await refund_and_track(
            self._gateway,
            refund,
            store=self._store,
            schedule=_REFUNDS,
            clock=self._clock,
            rng=self._rng,
        )
        name, never = refund.out_refund_no, " never made" if outcome.never_made else ""
        self._word(Told.REFUND, name, f"{outcome.status}{never}")
        if outcome.status is not PollStatus.NOTSURE:  # else the same number is sent again
            await self.shop.end_return(name, outcome.status)
            with suppress(ChaoyingError):
                await outcome.done()

    # --------------------------------------------------------------------------- notifications

    async def serve(self, body: bytes, answered: Callable[[bytes], None]) -> None:
        """Answer a notification."""
        door = self._door
        if door is None:
            return
        answer = await door.answer(body)
        if answer.paid is not None and self._poller is not None:
            with suppress(ChaoyingError):
                self._poller.settle(answer.paid)
        answered(answer.text)

    def _word(self, told: Told, number: str, status: str) -> None:
        word = Word(self._world.timeline.now(), self.process.name, told, number, status)
        self._world.words.append(word)
        self._note(Happening.TOLD, f"{told} {number}: {status}")

    def _note(self, happening: Happening, what: str) -> None:
        self._world.timeline.note(happening, what, self.process.name)
