"""Numbers of a whole fleet, read from its tables: nothing is taken, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
from sqlalchemy import JSON, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.exceptions import StoreError, StoreTrouble
from chaoying_async.pollstore.failures import told
from chaoying_async.sansio.polling.record import POLL
from chaoying_async.sansio.stored import UNREADABLE
from chaoying_async.sql.dialects import dialect_of
from chaoying_async.sql.transactions import connected, whole
from chaoying_async.workers.database import FLEET, Sharding
from chaoying_async.workers.outcomes import OUTCOME
from chaoying_async.workers.tables import FRESH, KEPT, WATCH, FleetTables

_MICRO = 1_000_000


@attrs.frozen(kw_only=True)
class ShardStatus:
    """One shard; ages in seconds."""

    number: int | None
    """None: what was handed over, and no process has taken up yet."""
    owner: str | None = None
    """The process that serves it."""
    token: int = 0
    """Grows with each owner."""
    pending: int = 0
    """What is waited for."""
    undelivered: int = 0
    """Outcomes that are still on their way to their tasks."""
    oldest_undelivered: float | None = None
    """How long the oldest of these has been known."""
    due: int = 0
    """Orders whose turn has come, as its owner last said."""
    lag: float = 0.0
    """By how much the latest query is late; of what nobody took up: how long the oldest waits."""


@attrs.frozen(kw_only=True)
class WorkerStatus:
    """One process that serves, as it last spoke of itself."""

    name: str
    seen: float
    """Until when its lease runs: seconds from now; below 0 it is silent."""
    says: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class MerchantStatus:
    """Orders and refunds that are asked about, and outcomes on their way, of one merchant."""

    mch_id: str
    pending: int
    undelivered: int


@attrs.frozen(kw_only=True)
class FleetStatus:
    """Numbers of a whole fleet."""

    sharding: Sharding
    shards: Sequence[ShardStatus]
    workers: Sequence[WorkerStatus]
    merchants: Sequence[MerchantStatus]
    """Empty where they were not asked for: to count them, every row is read."""

    @property
    def pending(self) -> int:
        """What is waited for, taken up or not."""
        return sum(shard.pending for shard in self.shards)

    @property
    def undelivered(self) -> int:
        """Outcomes that are still on their way to their tasks."""
        return sum(shard.undelivered for shard in self.shards)

    @property
    def oldest_undelivered(self) -> float | None:
        """Seconds since the oldest of these was known."""
        ages = [s.oldest_undelivered for s in self.shards if s.oldest_undelivered is not None]
        return max(ages, default=None)

    @property
    def due(self) -> int:
        """Orders whose turn has come."""
        return sum(shard.due for shard in self.shards)

    @property
    def lag(self) -> float:
        """Seconds by which the latest query, or taking up, is late."""
        return max(shard.lag for shard in self.shards)

    @property
    def unserved(self) -> Sequence[int]:
        """The shards that nobody serves now."""
        return [s.number for s in self.shards if s.number is not None and s.owner is None]


async def fleet_status(
    engine: AsyncEngine, tables: FleetTables, clock: Clock, *, merchants: bool = False
) -> FleetStatus:
    """Read the numbers of a fleet; :class:`StoreError` where there is none."""
    with told():
        return await whole(engine, _StatusReading(engine, tables, clock).read(merchants=merchants))


class _StatusReading:
    def __init__(self, engine: AsyncEngine, tables: FleetTables, clock: Clock) -> None:
        self._engine = engine
        self._tables = tables
        self._dialect = dialect_of(engine)
        self._time = self._dialect.timed(clock)

    async def read(self, *, merchants: bool) -> FleetStatus:
        columns, workers, owners = (
            self._tables.rows.c,
            self._tables.workers.c,
            self._tables.shards.c,
        )
        now = self._dialect.now
        async with connected(self._engine) as connection:
            said = await self._all(
                connection, select(workers.name, workers.body, workers.held_until - now)
            )
            cut = next((row.body for row in said if row.name == FLEET), None)
            if cut is None:
                words = "there is no fleet in this database"
                raise StoreError(words, kind=StoreTrouble.TABLE_MISSING)
            owned = await self._all(
                connection, select(owners.id, owners.token, owners.held_until - now)
            )
            # The index has all that this counts.
            counted = select(columns.shard, columns.kind, func.count().label("rows"))
            counts = await self._all(connection, counted.group_by(columns.shard, columns.kind))
            waits = select(columns.shard, now - func.min(columns.created))
            late = await self._all(
                connection, waits.where(columns.kind == OUTCOME).group_by(columns.shard)
            )
            fresh = await self._oldest_fresh(connection, counts)
            of_merchants = await self._merchants(connection) if merchants else []
        sharding = Sharding(**json.loads(cut))
        live = [
            WorkerStatus(name=name, seen=left / _MICRO, says=_says_in(body))
            for name, body, left in said
            if name != FLEET
        ]
        return FleetStatus(
            sharding=sharding,
            shards=_shards(
                sharding,
                workers=live,
                owned=owned,
                counts=counts,
                late={int(shard): age for shard, age in late},
                fresh=fresh,
            ),
            workers=sorted(live, key=lambda worker: worker.name),
            merchants=of_merchants,
        )

    async def _oldest_fresh(self, connection: AsyncConnection, counts: Sequence[Any]) -> float:
        """How long the first of what nobody took up has waited; by the index, not by all rows."""
        columns, ages = self._tables.rows.c, [0.0]
        for kind in [row.kind for row in counts if row.shard == FRESH]:
            first = (
                select(self._dialect.now - columns.created)
                .where(columns.shard == FRESH, columns.kind == kind)
                .where(columns.due <= self._dialect.now)  # else its sender is still at it
                .order_by(columns.seq)
                .limit(1)
            )
            ages += [_age(age) for (age,) in await self._all(connection, first)]
        return max(ages)

    async def _merchants(self, connection: AsyncConnection) -> list[MerchantStatus]:
        columns = self._tables.rows.c
        found: dict[str, list[int]] = {}
        for place, (text, path, mine) in enumerate(
            (
                (columns.item, "$[1]", columns.kind.in_((POLL, WATCH))),
                (columns.body, "$.mch_id", columns.kind == OUTCOME),
            )
        ):
            merchant = self._in_json(text, path).label("merchant")
            counted = select(merchant, func.count()).where(mine, columns.shard != KEPT)
            for mch_id, count in await self._all(connection, counted.group_by(merchant)):
                found.setdefault(str(mch_id), [0, 0])[place] += int(count)
        return [
            MerchantStatus(mch_id=mch_id, pending=pending, undelivered=undelivered)
            for mch_id, (pending, undelivered) in sorted(found.items())
        ]

    def _in_json(self, text: Any, path: str) -> Any:
        if self._dialect.name == "postgresql":
            return func.json_extract_path_text(text.cast(JSON), path.strip("$.[]"))
        if self._dialect.name == "mysql":
            return func.json_unquote(func.json_extract(text, path))
        return func.json_extract(text, path)

    async def _all(self, connection: AsyncConnection, statement: Any) -> Sequence[Any]:
        return (await connection.execute(statement, self._time)).all()


#: What a process says in numbers, of itself or of a shard.
_NUMBERS: Sequence[tuple[Callable[[Any], float], str]] = (
    (int, "pending"),
    (int, "due"),
    (float, "lag"),
)


def _says_in(body: str) -> Mapping[str, Any]:
    """What a process says of itself; nothing where this version cannot read it."""
    try:
        return _says(json.loads(body))
    except UNREADABLE:
        return {}


def _says(members: dict[str, Any]) -> dict[str, Any]:
    """The members as they are; one of :data:`UNREADABLE` for what is no number or no list."""
    of_shards = members.get("of_shards", {})
    for each in (members, *of_shards.values()):
        for kind, name in _NUMBERS:
            kind(each.get(name, 0))
    for number in of_shards:
        int(number)
    len(members.get("shards", ()))
    return members


def _age(micros: Any) -> float:
    """Seconds; 0 for a row that was written after this reader's ``now`` was taken."""
    return max(0.0, int(micros) / _MICRO)


def _shards(
    sharding: Sharding,
    *,
    workers: Sequence[WorkerStatus],
    owned: Sequence[Any],
    counts: Sequence[Any],
    late: Mapping[int, Any],
    fresh: float,
) -> list[ShardStatus]:
    says: dict[int, tuple[str, Mapping[str, Any]]] = {}
    for worker in workers:
        for number, told_of in worker.says.get("of_shards", {}).items():
            says[int(number)] = worker.name, told_of
    tokens = {int(row.id): (int(row.token), int(row[2]) > 0) for row in owned}
    pending, undelivered = dict[int, int](), dict[int, int]()
    for shard, kind, count in counts:
        among = undelivered if kind == OUTCOME else pending
        among[shard] = among.get(shard, 0) + int(count)

    def status(number: int) -> ShardStatus:
        token, held = tokens.get(number, (0, False))
        name, told_of = says.get(number, ("", {})) if held else ("", {})
        age = late.get(number)
        return ShardStatus(
            number=None if number == FRESH else number,
            owner=(name or "a process that ends") if held else None,
            token=token,
            pending=pending.get(number, 0),
            undelivered=undelivered.get(number, 0),
            oldest_undelivered=None if age is None else _age(age),
            due=pending.get(FRESH, 0) if number == FRESH else int(told_of.get("due", 0)),
            lag=fresh if number == FRESH else float(told_of.get("lag", 0.0)),
        )

    return [status(number) for number in (*range(sharding.shards), FRESH)]
