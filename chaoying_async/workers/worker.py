"""One process of a fleet: takes its share of the shards, serves them, and hands them back."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

import attrs

from chaoying_async.exceptions import ChaoyingError, StoreInUseError, UsageError
from chaoying_async.polling.outcome import PollStats
from chaoying_async.polling.poller import Poller
from chaoying_async.pollstore.failures import told
from chaoying_async.pollstore.sql.ownership import Ownership
from chaoying_async.sansio.call_numbers import SessionStats
from chaoying_async.workers.bringing_over import OldStore
from chaoying_async.workers.database import FRESH_AT_A_TIME, FleetDatabase, Look, Sharding
from chaoying_async.workers.database_clock import DatabaseClock
from chaoying_async.workers.log_texts import log, said
from chaoying_async.workers.old_orders import OldOrders
from chaoying_async.workers.queues.protocol import OutcomeQueue
from chaoying_async.workers.served_shard import ServedShard
from chaoying_async.workers.shard import Shard
from chaoying_async.workers.shared_gateway import SharedGateway

#: Seconds between two looks at whether a store of one owner has something to be brought over.
_BRING_OVER = 60.0
#: Seconds until old business orders are first looked for, and between two such looks.
_FIRST_PRUNING, _PRUNING = 60.0, 3600.0
#: The shard whose owner does that, so that not every process does.
_PRUNER = 0
#: Seconds for which a process leaves a shard alone that failed in it.
REST = 5.0


@attrs.frozen(kw_only=True)
class FleetStats:
    """Numbers of one process of a fleet."""

    worker: str
    """The name under which the process stands in the database."""
    workers: int
    """How many processes serve, as of the last look."""
    looked: float
    """Seconds since it last saw, and was seen in, the database; infinite where it never was."""
    shards: Mapping[int, PollStats]
    """The shards that the process serves, and the numbers of each one's poller."""
    all_shards: int
    """Into how many shards the fleet is cut."""
    polls: int = 0
    """Queries that ended since the process began, those of shards that were handed back too."""
    errors: int = 0
    """Those of them that ended with an error, refusals among them."""
    store_errors: int = 0
    """Writes of records that failed, in the same time."""
    unreadable: int = 0
    """Records that could not be read, in the same time."""
    failed_deliveries: int = 0
    """How often an outcome could not be given to its task, in the same time; each is tried again.
    """
    session: SessionStats | None = None
    """The calls of this process; None where its gateway is not a :class:`GatewaySession`."""

    @property
    def pending(self) -> int:
        """Orders that this process waits for."""
        return sum(stats.pending for stats in self.shards.values())

    @property
    def lag(self) -> float:
        """Seconds by which the latest query of this process is late."""
        return max((stats.lag for stats in self.shards.values()), default=0.0)


#: Numbers of a shard that only grow; they are added up over all shards that a process has served.
_GROWING = ("polls", "errors", "store_errors", "unreadable", "failed_deliveries")


class Worker:
    """Looks, once a second, which shards are free and what was handed over."""

    def __init__(
        self,
        name: str,
        database: FleetDatabase,
        gateway: SharedGateway,
        *,
        queue: OutcomeQueue | None,
        old_store: OldStore,
        old_orders: OldOrders,
        then: str | None,
        sharding: Sharding,
        look: float,
        lease: float,
        rate: float | None,
        merchant_rate: float | None,
        clock: DatabaseClock,
        rng: random.Random,
    ) -> None:
        self._name = name
        self._database = database
        self._gateway = gateway
        self._queue = queue
        self._old_store = old_store
        self._old_orders = old_orders
        self._then = then
        self._shards = sharding.shards
        self._sharding = sharding
        self._pause = look
        self._lease = lease
        self._clock = clock
        self._rng = rng
        self._make_poller = partial(
            Poller,
            gateway.in_turn,
            concurrency=gateway.max_connections,
            rate=rate,
            merchant_rate=merchant_rate,
            clock=clock,
            rng=rng,
        )
        self._workers = 1
        self._looked_at = -math.inf
        self._failed: UsageError | None = None
        self._news = asyncio.Event()
        self._stopping = False
        #: The leases that this process asks for, or has.
        self._leases: dict[int, Ownership] = {}
        self.served: dict[int, ServedShard] = {}
        #: What shards had counted that this process serves no more; and whoever asks, which may be
        #: another thread, sees each shard once, there or here.
        self._before: dict[str, int] = dict.fromkeys(_GROWING, 0)
        self._moving = threading.Lock()
        #: Shards that failed, and until when they are left alone.
        self._resting: dict[int, float] = {}

    def wake(self) -> None:
        """Look now: something was handed over in this process."""
        self._news.set()

    def stop(self) -> None:
        """Hand everything back; :meth:`serve` returns when that is done."""
        self._stopping = True
        self._news.set()

    def stats(self) -> FleetStats:
        """Numbers of this process."""
        with self._moving:
            before, served = dict(self._before), dict(self.served)
        shards = {number: each.stats() for number, each in served.items()}
        grown = [served[number].growing(stats) for number, stats in shards.items()]
        return FleetStats(
            worker=self._name,
            workers=self._workers,
            looked=self._clock.monotonic() - self._looked_at,
            shards=shards,
            all_shards=self._shards,
            session=self._gateway.stats(),
            **{name: before[name] + sum(each[name] for each in grown) for name in _GROWING},
        )

    async def serve(self) -> None:
        """Serve until told to stop. A database that fails is tried again."""
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._bring_over(), name="chaoying fleet: bring over"),
                group.create_task(self._prune(), name="chaoying fleet: old orders"),
            ]
            while not self._stopping:
                self._news.clear()
                try:
                    await self._look(group)
                except Exception as error:  # noqa: BLE001 - the fleet outlives every trouble
                    if self._failed is not None:
                        log.error("%s; this process serves no more", said(error))
                        break
                    log.error("%s; tried again in %.3g s", said(error), self._pause)
                with suppress(TimeoutError):
                    async with self._clock.timeout(self._pause):
                        await self._news.wait()
            for task in beside:
                task.cancel()
            for served in self.served.values():
                served.stop()
            # Now, so that others take each shard as soon as it is handed back.
            with suppress(ChaoyingError):  # its row ends by itself
                await self._database.leave(self._name)
        if self._failed is not None:
            raise self._failed

    async def _bring_over(self) -> None:
        """Take over what a store of one owner holds; an older process may still write there."""
        while True:
            try:
                if await self._old_store.bring_over():
                    self._news.set()
            except Exception as error:  # noqa: BLE001 - the fleet outlives every trouble
                log.error(
                    "the poll store could not be brought over into the fleet: %s; tried again in"
                    " %.0f s",
                    *(said(error), _BRING_OVER),
                )
            await self._clock.sleep(_BRING_OVER)

    async def _prune(self) -> None:
        """Forget old business orders, where this process has the shard whose owner does that."""
        pause = _FIRST_PRUNING
        while True:
            await self._clock.sleep(pause)
            pause = _PRUNING
            try:
                await self._old_orders.prune(self._is_pruner)
            except Exception as error:  # noqa: BLE001 - the fleet outlives every trouble
                log.error(
                    "old business orders could not be forgotten: %s; tried again in %.0f s",
                    *(said(error), pause),
                )

    def _is_pruner(self) -> bool:
        return _PRUNER in self.served and self.served[_PRUNER].is_open

    async def _look(self, group: asyncio.TaskGroup) -> None:
        look = await self._database.look(self._name, self._says())
        if look.sharding != self._sharding:
            self._failed = UsageError(
                f"this fleet has {look.sharding} now, not {self._sharding}: begin again with that"
            )
            raise self._failed
        self._workers, self._looked_at = len(look.workers), self._clock.monotonic()
        self._doubt(look)
        share = self._share(look.workers)
        await self._take(group, look, share - len(self.served))
        self._hand_back(len(self.served) - share)
        await self._take_up()

    def _doubt(self, look: Look) -> None:
        """Serve no shard that somebody else has: this process may have been stopped for long."""
        for number, served in self.served.items():
            owned = self._leases[number]
            # Who took it may have given it back since, so that nobody seems to have it.
            if owned.lost or look.taken.get(number, owned.token) != owned.token:
                served.doubt()

    async def _take(self, group: asyncio.TaskGroup, look: Look, wanted: int) -> None:
        free = [number for number in range(self._shards) if number not in look.taken]
        now = self._clock.monotonic()
        self._resting = {number: end for number, end in self._resting.items() if end > now}
        free = [number for number in free if number not in {*self.served, *self._resting}]
        self._rng.shuffle(free)  # or all processes would try the same one
        for number in free[: max(0, wanted)]:
            owned = self._lease_of(number)
            with told():
                taken = await owned.take_if_free()
            if taken:
                self._begin(group, number, owned)

    def _share(self, workers: Sequence[str]) -> int:
        """How many shards this process serves, so that all serve alike and none is left over."""
        each, left = divmod(self._shards, len(workers))
        return each + (workers.index(self._name) < left)

    def _lease_of(self, number: int) -> Ownership:
        if number not in self._leases:
            database = self._database
            self._leases[number] = Ownership(
                *(database.engine, database.tables.shards, self._clock.own, self._lease, number),
                turns=database.leases,
            )
        return self._leases[number]

    def _begin(self, group: asyncio.TaskGroup, number: int, owned: Ownership) -> None:
        database = self._database
        shard = Shard(
            *(number, database.engine, database.tables, owned),
            queue=self._queue,
            then=self._then,
            clock=self._clock,
            turns=database.work,
        )
        served = ServedShard(
            *(shard, self._gateway, self._make_poller(store=shard)),
            queue=self._queue,
            clock=self._clock,
            rng=self._rng,
        )
        self.served[number] = served
        task = group.create_task(served.serve(), name=f"chaoying fleet: shard {number}")
        task.add_done_callback(lambda _: self._ended(number, served))

    def _ended(self, number: int, served: ServedShard) -> None:
        if served.failed:  # what went wrong may go wrong again
            self._resting[number] = self._clock.monotonic() + REST
        grown = served.growing(served.stats())
        with self._moving:
            for name, count in grown.items():
                self._before[name] += count
            del self.served[number]
        del self._leases[number]
        self._news.set()

    def _hand_back(self, too_many: int) -> None:
        """Leave shards to the processes that have fewer."""
        for number in list(self.served)[: max(0, too_many)]:
            self.served[number].stop()

    async def _take_up(self) -> None:
        """Take up what was handed over to the shards of this process."""
        mine = {number for number, served in self.served.items() if served.is_open}
        if not mine:
            return
        rows = await self._database.fresh(mine, self._shards)
        by_shard: dict[int, list[object]] = {number: [] for number in mine}
        for row in rows:
            by_shard[row.slot % self._shards].append(row)
        # Together: where the database hangs, a look must not take longer than one of them.
        taken = sum(
            await asyncio.gather(
                *(
                    asyncio.create_task(
                        self._take_up_in(self.served[number], theirs),
                        name="chaoying fleet: take up",
                    )
                    for number, theirs in by_shard.items()
                    if number in self.served
                )
            )
        )
        if taken and len(rows) >= FRESH_AT_A_TIME:
            self._news.set()  # there is more

    async def _take_up_in(self, served: ServedShard, rows: Sequence[object]) -> int:
        try:
            return await served.take_up(rows)
        except StoreInUseError:
            served.doubt()
        except ChaoyingError as error:  # the other shards' orders do not wait for this one
            log.error("%s; its new orders wait for the next look", said(error))
        return 0

    def _says(self) -> dict[str, object]:
        """What the process says of itself to whoever asks for the whole fleet's numbers."""
        stats = self.stats()
        return {
            "shards": sorted(stats.shards),
            "pending": stats.pending,
            "due": sum(each.due for each in stats.shards.values()),
            "lag": round(stats.lag, 3),
            "polls": sum(each.polls for each in stats.shards.values()),
            "errors": sum(each.errors for each in stats.shards.values()),
            "of_shards": {
                number: {"due": each.due, "lag": round(each.lag, 3)}
                for number, each in stats.shards.items()
            },
        }
