"""The inbox in Redis; every change is one script."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError

from chaoying_async.abc import Clock
from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.leases import LEASE, Claim, LeasingInbox
from chaoying_async.inbox.readable import ReadableRecords
from chaoying_async.inbox.redis import scripts
from chaoying_async.inbox.redis.hashes import (
    entry_args,
    key_of,
    microseconds,
    milliseconds,
    name_of,
    text,
    to_aside,
    to_hash,
    to_record,
)
from chaoying_async.sansio.notifications.facts import without_raw
from chaoying_async.sansio.notifications.inbox_values import (
    AHEAD,
    BY_A_PERSON,
    FIRST,
    LONGEST_NUMBER,
    MOST_FOREIGN,
    MOST_MESSAGES,
    Aside,
    Entry,
    Mark,
    OrderKey,
    Record,
    SeenState,
    check_room,
)
from chaoying_async.sansio.notifications.unreadable import UnreadableRecordError, readable
from chaoying_async.sansio.redact import is_certain

_WINDOW = timedelta(days=1)
_KEEP = milliseconds((_WINDOW + AHEAD).total_seconds())
#: How many names are looked at in one go when pruning.
_PAGE = 200

_NO_ADDRESS = (
    "this is no address: write redis://HOST:PORT/NUMBER or redis://USER:PASSWORD@HOST:PORT/NUMBER, "
    "with what is special in the password escaped (@ is %40, : is %3A, / is %2F)"
)

_NO_OPTION = (
    "redis-py does not know one of the options after the address's question mark (for TLS write "
    "rediss://, without an option)"
)


#: An order or a message, its hash as Redis replied, and what PTTL says of its lease.
_Kept = tuple[OrderKey, str | None, Any, int]
#: How an error begins that says that somebody else has written under that key.
_NO_HASH = "WRONGTYPE"
#: The order of a name that somebody else wrote: it is not there.
_NOBODY = OrderKey("", "")


def _record(key: OrderKey, reply: Any, left: int) -> Record | None:
    """An order's record, None where there is none; UnreadableRecordError."""

    def made() -> Record | None:
        fields = to_hash(reply)
        return to_record(key, fields, left) if fields else None

    return readable(made, key)


def _message(kept: _Kept) -> Aside | None:
    key, fingerprint, reply, _ = kept

    def made() -> Aside | None:
        fields = to_hash(reply)
        return to_aside(key, fingerprint or "", fields) if fields else None

    return readable(made, key)


def _thing(kept: _Kept) -> Record | Aside | None:
    key, fingerprint, reply, left = kept
    return _record(key, reply, left) if fingerprint is None else _message(kept)


class RedisInbox(LeasingInbox):
    """Keeps everything in Redis; see :class:`~chaoying_async.abc.Inbox`.

    **At least once, not exactly once.** There is no transaction that ``on_paid`` could be part of:
    when its process dies after the effect and before the record, the redelivery runs it again. So
    make the effect repeatable (``INSERT ... ON CONFLICT DO NOTHING`` by ``out_trade_no``), or use
    ``SqlInbox``. Never two at a time, as long as the holder's event loop does not stall for longer
    than its lease (30 s): whoever stalls that long may wake up beside a second one, and is
    cancelled, but what it has done by then is done.

    Redis has to keep what it was told: ``maxmemory-policy noeviction``, ``appendonly yes`` and
    ``appendfsync always`` (``everysec`` may forget the last second, and then an order takes effect
    twice; so may a failover to a replica). A database that is flushed has forgotten everything.
    An order that ended is forgotten a day (``window``) later.

    ``client`` is a ``redis.asyncio.Redis``, with ``decode_responses`` or without, of Redis 5 or
    later. It stays yours, and is never closed. ``prefix`` begins every key; on a cluster's node it
    needs a hash tag, ``"{chaoying}:"``. Handlers that do different things need a prefix each: each
    takes up whatever waits. ``clock`` says when a claim is renewed; how long it lasts, Redis says.
    """

    def __init__(
        self, client: Redis, *, prefix: str = "chaoying:", clock: Clock | None = None
    ) -> None:
        super().__init__(clock)
        self._client: Any = client  # whose types promise less than it does
        self._prefix = prefix
        if not isinstance(client, Redis):
            raise UsageError("RedisInbox takes a redis.asyncio.Redis")
        self._sets = [f"{prefix}{name}" for name in ("due", "open", "ended")]
        self._due, self._open, self._ended = self._sets
        self._scripts: dict[str, Any] = {}
        self._readable = ReadableRecords()

    def __repr__(self) -> str:
        return f"<RedisInbox {self._prefix}>"

    @property
    def window(self) -> timedelta:
        return _WINDOW

    async def look(self, key: OrderKey) -> Record | None:
        ((_, _, reply, left),) = await self._kept([(key, None)])
        return _record(key, reply, left)

    async def _claim(self, key: OrderKey, entry: Entry) -> Claim | None:
        args = (milliseconds(LEASE), *entry_args(entry))
        token, before, left = await self._on_order(scripts.CLAIM, key, *args)
        record = _record(key, before, left)
        if token or (record is not None and record.state is SeenState.DONE):
            return Claim(key, record, token)
        return None

    async def _renew(self, claim: Claim) -> bool:
        return bool(await self._on_claim(scripts.RENEW, claim, milliseconds(LEASE)))

    async def _save(self, claim: Claim, record: Record) -> bool:
        told = (str(record.state), *entry_args(record.entry), record.failures, record.reason)
        args = (*told, round(claim.retry_in * 1000), _KEEP)
        return bool(await self._on_claim(scripts.SAVE, claim, *args))

    async def _leave(self, claim: Claim) -> None:
        before = claim.before
        told: Sequence[Any] = [""]
        if before is not None:
            told = [before.token, str(before.state), *entry_args(before.entry)]
        await self._on_claim(scripts.LEAVE, claim, _KEEP, *told)

    async def set_aside(self, aside: Aside, *, retry_in: float | None) -> bool:
        told = (aside.decision, aside.reason, aside.payload, microseconds(aside.first_seen))
        args = (_retry(retry_in), *told, int(aside.foreign), MOST_MESSAGES, MOST_FOREIGN)
        answer = await self._on_aside(scripts.SET_ASIDE, aside, *args)
        if isinstance(answer, list):
            messages, of_it, orders = answer
            check_room(aside, messages=messages, of_it=bool(of_it), orders=orders)
        return bool(answer)

    async def postpone(self, aside: Aside, *, retry_in: float | None) -> None:
        await self._on_aside(scripts.POSTPONE, aside, _retry(retry_in))

    async def close(self, aside: Aside) -> None:
        await self._on_aside(scripts.CLOSE, aside, _KEEP)

    async def asides(self, key: OrderKey) -> Sequence[Aside]:
        fingerprints = [text(one) for one in await self._client.smembers(self._siblings(key))]
        kept = await self._kept([(key, fingerprint) for fingerprint in fingerprints])
        found = [aside for each in kept if (aside := _message(each)) is not None]
        return sorted(found, key=lambda aside: aside.first_seen)

    async def aside(self, key: OrderKey, fingerprint: str) -> Aside | None:
        (found,) = await self._kept([(key, fingerprint)])
        return _message(found)

    async def unfinished(self, limit: int) -> Sequence[Record | Aside]:
        async def first(most: int) -> list[_Kept]:
            args = [most, f"{self._prefix}lease:"]
            return await self._named(await self._run(scripts.DUE, [self._due, self._open], args))

        return await self._readable.page(limit, first, _thing)

    async def listing(self, limit: int) -> Sequence[Record | Aside]:
        async def first(most: int) -> list[_Kept]:
            return await self._named(await self._client.zrange(self._open, 0, most - 1))

        return await self._readable.page(limit, first, _thing)

    async def mark(self, key: OrderKey, mark: Mark, fingerprint: str | None = None) -> bool:
        if fingerprint is None:
            done = int(mark is Mark.DISMISS)
            decided = BY_A_PERSON if mark is Mark.APPLY else ""
            return bool(await self._on_order(scripts.MARK_ORDER, key, _KEEP, done, decided))
        args = (key, fingerprint, _KEEP, str(mark))
        return bool(await self._on_message(scripts.MARK_ASIDE, *args))

    async def prune(self, before: datetime, *, keys: bool = False) -> int:
        """As every inbox's ``prune``; what ended is forgotten after a day in any case."""
        until = microseconds(before)
        pruned = 0
        ended = [text(name) for name in await self._client.zrange(self._ended, 0, -1)]
        names = [name for name in ended if (key := self._key_of(name)) and key[1] != FIRST]
        for at in range(0, len(names), _PAGE):
            pruned += await self._prune(names[at : at + _PAGE], until)
        waiting = [text(name) for name in await self._client.zrange(self._open, 0, -1)]
        for at in range(0, len(waiting), _PAGE):
            kept = await self._named(waiting[at : at + _PAGE])
            for item in self._readable.each(kept, _thing):
                if isinstance(item, Aside) and item.first_seen < before:
                    pruned += await self._prune_waiting(item, before, keys=keys)
        return pruned

    async def _prune_waiting(self, aside: Aside, before: datetime, *, keys: bool) -> int:
        if keys and aside.foreign and aside.first_seen < before - _WINDOW - AHEAD:
            await self.close(aside)
            return 1
        payload = without_raw(aside.payload)
        if payload == aside.payload:
            return 0
        return int(await self._on_aside(scripts.REPLACE, aside, aside.payload, payload))

    async def _prune(self, names: Iterable[str], until: int) -> int:
        # The block gives the connection back even where loading the scripts is cancelled.
        async with self._client.pipeline(transaction=False) as pipeline:
            for name in names:
                keys = [self._hash(name), self._ended]
                await self._run(scripts.PRUNE, keys, [name, until], client=pipeline)
            return int(sum(await pipeline.execute()))

    async def _named(self, names: Iterable[Any]) -> list[_Kept]:
        """What is kept of the orders and messages of these names, in their order."""
        return await self._kept([self._key_of(name) or (_NOBODY, None) for name in names])

    def _key_of(self, name: Any) -> tuple[OrderKey, str | None] | None:
        """The order or message of a name; None where somebody else wrote it."""
        try:
            return key_of(text(name))
        except (ValueError, TypeError):
            shown = name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
            self._readable.tell(UnreadableRecordError(OrderKey("", shown[:LONGEST_NUMBER])))
            return None

    async def _kept(self, named: Sequence[tuple[OrderKey, str | None]]) -> list[_Kept]:
        """The hash of each order, or of its message, and what is left of its lease."""
        async with self._client.pipeline(transaction=True) as pipeline:
            for key, of in named:
                pipeline.hgetall(self._order(key) if of is None else self._aside(key, of))
                pipeline.pttl(self._lease(key))
            replies = await pipeline.execute(raise_on_error=False) if named else []
        for reply in replies:
            if isinstance(reply, Exception) and not str(reply).startswith(_NO_HASH):
                raise reply
        return [
            (key, of, reply, left)
            for (key, of), reply, left in zip(named, replies[::2], replies[1::2], strict=True)
        ]

    async def _on_order(self, script: str, key: OrderKey, *args: Any) -> Any:
        keys = [self._order(key), self._lease(key), *self._sets]
        return await self._run(script, keys, [name_of(key), *args])

    async def _on_claim(self, script: str, claim: Claim, *args: Any) -> int:
        return int(await self._on_order(script, claim.key, claim.token, *args))

    async def _on_aside(self, script: str, aside: Aside, *args: Any) -> Any:
        return await self._on_message(script, aside.key, aside.fingerprint, *args)

    async def _on_message(self, script: str, key: OrderKey, fingerprint: str, *args: Any) -> Any:
        foreign = f"{self._prefix}foreign:{key.mch_id}"
        keys = [self._aside(key, fingerprint), self._siblings(key), *self._sets, foreign]
        return await self._run(script, keys, [name_of(key, fingerprint), fingerprint, *args])

    async def _run(
        self, script: str, keys: Sequence[str], args: Sequence[Any], client: Any = None
    ) -> Any:
        known = self._scripts.get(script)
        if known is None:
            known = self._scripts[script] = self._client.register_script(script)
        try:
            return await known(keys=keys, args=args, client=client)
        except ReadOnlyError:  # after a failover the address leads elsewhere, and these do not
            await self._client.connection_pool.disconnect(inuse_connections=False)
            raise

    def _hash(self, name: str) -> str:
        key, fingerprint = key_of(name)
        return self._order(key) if fingerprint is None else self._aside(key, fingerprint)

    def _order(self, key: OrderKey) -> str:
        return f"{self._prefix}order:{name_of(key)}"

    def _lease(self, key: OrderKey) -> str:
        return f"{self._prefix}lease:{name_of(key)}"

    def _aside(self, key: OrderKey, fingerprint: str) -> str:
        return f"{self._prefix}aside:{name_of(key, fingerprint)}"

    def _siblings(self, key: OrderKey) -> str:
        return f"{self._prefix}asides:{name_of(key)}"


@asynccontextmanager
async def redis_inbox_at(url: str, *, prefix: str = "chaoying:") -> AsyncGenerator[RedisInbox]:
    """The inbox at a ``redis://`` URL, for the command line; its connections close with the block.

    :class:`~chaoying_async.exceptions.UsageError` for an address that can be read in two ways: a
    part of its password would become the name of a server.
    """
    if not is_certain(url):
        raise UsageError(_NO_ADDRESS)
    scheme, _, rest = url.partition("://")
    client = _client(f"{scheme.lower()}://{rest}")
    if client is None:  # raised here, since an error of redis-py's has the options in its frames
        raise UsageError(_NO_OPTION)
    try:
        yield RedisInbox(client, prefix=prefix)
    finally:
        await client.aclose()


def _client(url: str) -> Redis | None:
    """None where an option of the address is wrong, which making a connection shows."""
    try:
        client: Redis = Redis.from_url(url)
        pool: Any = client.connection_pool
        pool.make_connection()
    except (TypeError, ValueError):
        return None
    return client


def _retry(seconds: float | None) -> int | str:
    return "" if seconds is None else round(seconds * 1000)
