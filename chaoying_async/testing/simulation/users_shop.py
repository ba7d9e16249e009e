"""A shop that a user brings into the world: what they give, what they are lent, what they see."""

from __future__ import annotations

import sqlite3
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path
from typing import Any

import attrs
from sqlalchemy import MetaData, create_engine
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.exceptions import ParameterError, UsageError
from chaoying_async.notifications.callbacks import resolved, wants_connection
from chaoying_async.notifications.deciding import Lookup
from chaoying_async.notifications.handler import NotificationHandler
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.notifications.case import NoAmountCheck
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.session import GatewaySession
from chaoying_async.testing.simulation.corner_shop import CornerShop
from chaoying_async.testing.simulation.loop import OWNER
from chaoying_async.testing.simulation.process import OutsideDeed, Process
from chaoying_async.testing.simulation.weather import Weather


@attrs.frozen
class ShopProcess:
    """One process of your shop, while it runs: what ``app`` is given."""

    name: str
    """``shop1``, ``shop2``; ``shop1.2`` is the one that was started after ``shop1`` had died."""
    engine: AsyncEngine
    """The shop's database, which has your tables and the inbox's. SQLite, of this process."""
    gateway: GatewaySession
    """An open session with the gateway."""
    credentials: Credentials = attrs.field(repr=False)
    """The agent's key."""
    mch_id: str
    """The merchant's number."""
    clock: Clock
    """The world's clock; ``asyncio.sleep`` is as good."""
    open_file: Callable[[str], AsyncEngine]
    """Another SQLite file of the shop's, by its name; all processes see the same."""


@attrs.frozen
class SoldOrder:
    """An order, as the gateway's books have it when the world has ended."""

    number: str
    """The order's number."""
    total_fee: int
    """The order amount in fen."""
    paid: bool
    """Whether the customer paid it, and the money was not given back by a cancel."""
    amount_is_right: bool
    """Whether the gateway named the order's own amount; else it may not be delivered."""


@attrs.frozen(kw_only=True)
class ClosedBooks:
    """What ``check`` looks at: the gateway's books, the shop's tables, and what it did outside."""

    sales: Sequence[SoldOrder]
    """Every order that reached the gateway."""
    delivered: Counter[str]
    """How often each order took effect, by its number."""
    deeds: Sequence[OutsideDeed]
    """What was noted by :func:`outside`, in the order in which it happened."""
    folder: Path
    """Where the shop's files are."""

    @property
    def paid(self) -> frozenset[str]:
        """Numbers of the orders that are paid, by the right amount."""
        return frozenset(sale.number for sale in self.sales if sale.paid and sale.amount_is_right)

    def done(self, what: str) -> Counter[str]:
        """How often something was done outside, by order number."""
        return Counter(deed.number for deed in self.deeds if deed.what == what)

    def rows(
        self, sql: str, values: Sequence[Any] | Mapping[str, Any] = (), *, file: str = "shop.db"
    ) -> list[Any]:
        """What a SELECT finds in the shop's database, or in another file of it."""
        with closing(sqlite3.connect(self.folder / file, timeout=0)) as connection:
            return connection.execute(sql, values).fetchall()


#: Sentences about what is wrong; or nothing, and an ``AssertionError`` where something is.
Check = Callable[[ClosedBooks], Iterable[str] | None]
#: ``on_paid(order)`` or ``on_paid(order, connection)``, as the handler takes it.
OnPaid = Callable[..., Awaitable[None] | None]
#: ``(number, total_fee, connection)``: writes a new order down.
OnOrder = Callable[[str, int, AsyncConnection], Awaitable[None]]
#: An ASGI app, as frameworks make them.
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
#: Makes what one process of the shop runs: its lifespan, or its web app.
App = Callable[[ShopProcess], AbstractAsyncContextManager[NotificationHandler | None] | AsgiApp]


@attrs.frozen(kw_only=True)
class UsersShop:
    """All that a user gave to ``simulate``."""

    on_paid: OnPaid | None = None
    on_paid_after_close: OnPaid | None = None
    expected: Lookup | NoAmountCheck | None = None
    on_order: OnOrder | None = None
    app: App | None = None
    notify_path: str = ""
    tables: MetaData | str = ""
    delivered: str = ""
    check: Check | None = None

    def __attrs_post_init__(self) -> None:
        names = ("on_paid", "on_paid_after_close", "on_order", "app", "check")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        problems = {name: "must be a function" for name in given if not callable(given[name])}
        if self.on_paid is None and self.app is None:
            problems["on_paid"] = "give it, or an app that yields a NotificationHandler"
        if self.notify_path and (self.app is None or self.on_paid is not None):
            problems["notify_path"] = "is for an app that takes notifications itself: no on_paid"
        if self.on_paid is None and not self.delivered:
            problems["delivered"] = (
                "a handler of your own needs it: a SELECT of the order numbers that took effect"
            )
        if problems:
            raise ParameterError(problems)

    def weather(self, weather: Weather) -> Weather:
        """The same weather, as far as this shop can stand in it."""
        own = self.on_paid is None
        return attrs.evolve(
            weather,
            raises=0.0,  # their function raises where it does, and nowhere else
            after_close=weather.after_close and self.on_paid_after_close is not None,
            total_is_paid=weather.total_is_paid and not own,
            closes=weather.closes and self.expected is None and not own,
            # Behind a web app there is nobody to tell of what was learnt in another way.
            tills=0.0 if self.notify_path else weather.tills,
            polls=weather.polls and not self.notify_path,
        )

    def files(self, blank: Mapping[str, bytes], folder: Path, name: str) -> Mapping[str, bytes]:
        """The files of a new world, with the tables of this shop in them."""
        if not self.tables:
            return blank
        path = folder / f"made-{name}"
        path.write_bytes(blank[name])
        if isinstance(self.tables, MetaData):
            engine = create_engine(f"sqlite:///{path}")
            self.tables.create_all(engine)
            engine.dispose()
        else:
            with closing(sqlite3.connect(path)) as connection:
                connection.executescript(self.tables)
        try:
            return {**blank, name: path.read_bytes()}
        finally:
            path.unlink()

    def complaints(self, books: ClosedBooks) -> Iterator[str]:
        """What their own check finds wrong."""
        if self.check is None:
            return
        try:
            yield from self.check(books) or ()
        except Exception as error:  # noqa: BLE001 - the world has to come to its end all the same
            yield f"your check: {_told(error)}"


class UsersCounter(CornerShop):
    """The corner shop with a user behind its counter."""

    def __init__(self, users: UsersShop, **options: Any) -> None:
        super().__init__(**options)
        self._users = users
        given = {
            "paid": ("on_paid", users.on_paid),
            "late": ("on_paid_after_close", users.on_paid_after_close),
        }
        self._calls: dict[str, tuple[OnPaid, bool]] = {
            how: (function, wants_connection(name, function, "order", lends=True))
            for how, (name, function) in given.items()
            if function is not None
        }

    async def _hand_over(self, how: str, order: PaidOrder, connection: AsyncConnection) -> None:
        await self._take_time()
        function, takes_connection = self._calls[how]
        given = (order, connection) if takes_connection else (order,)
        try:
            await resolved(function(*given))
        except Exception as error:
            self._note(f"{how} {order.out_trade_no} raises {type(error).__name__}: {error}")
            raise

    async def _write_down(self, number: str, total_fee: int, connection: AsyncConnection) -> None:
        if self._users.on_order is not None:
            await self._users.on_order(number, total_fee, connection)

    @property
    def lookup(self) -> Lookup | NoAmountCheck:
        """What says how much an order should cost."""
        return self.expected if self._users.expected is None else self._users.expected


def _told(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if frame.filename != __file__][-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


def outside(what: str, number: str = "") -> None:
    """Note that the shop did something outside of its database, where no rollback undoes it.

    For the fakes of your tests: the mail that was sent, the parcel that left, the coffee that was
    poured, and for which order. ``check`` finds it in ``books.done(what)``, whatever became of the
    process and of its transaction. :class:`UsageError` outside of a simulated world.
    """
    owner = OWNER.get()
    if not isinstance(owner, Process):
        raise UsageError("outside() was called outside of a simulated world")
    owner.did(what, number)
