"""The world's shop, run by another version of the library in one of its processes."""

from __future__ import annotations

from functools import cache
from typing import Any

import httpx

from chaoying_async.exceptions import ChaoyingError, RequestNotSentError, TransportError
from chaoying_async.notifications.keys import Resolver
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.testing.simulation import fleet_program
from chaoying_async.testing.simulation.computer import Launch
from chaoying_async.testing.simulation.network import NetworkCard
from chaoying_async.testing.simulation.shop_program import ShopProgram
from tests.hard.versions.loading import WORLD, Version


def program_of(version: Version, launch: Launch) -> ShopProgram:
    """The shop's program in one process, on another version."""
    made: ShopProgram = _class(version, fleet=bool(launch.world.weather.shards))(
        launch.world,
        launch.process,
        files=launch.files,
        card=_card_class(version)(NetworkCard(launch.network, launch.process)),
        clock=launch.clock,
        rng=launch.rng,
        wants_till=launch.wants_till,
        credentials=version.own(launch.credentials),
        verified_by=_verified_by(version, launch.verified_by),
    )
    return made


def _verified_by(version: Version, given: Credentials | Resolver) -> Any:
    if isinstance(given, Credentials):
        return version.own(given)

    async def credentials_of(mch_id: str) -> Any:
        found: Any = given(mch_id)
        return version.own(await found)

    return credentials_of


@cache
def _class(version: Version, *, fleet: bool) -> type[Any]:
    """The program's class, which is told of a sale by the world's own values."""
    base = version.of("testing.simulation.shop_program", "ShopProgram")
    if fleet:
        module = version.module(f"{WORLD}.fleet_program")
        # A task is called by its name, in whichever version the process is that serves the order.
        vars(module).update(_THEN=fleet_program._THEN, _RUNNING=fleet_program._RUNNING)
        base = module.FleetProgram

    class ProgramOfAVersion(base):  # type: ignore[misc,valid-type]
        async def sell(self, sale: Any) -> None:
            await super().sell(version.own(sale))

    return ProgramOfAVersion


@cache
def _card_class(version: Version) -> type[Any]:
    """An end of the wire whose replies and errors are that version's."""
    base = version.of("transport.base", "NativeTransport")
    reply_class = version.of("transport.base", "HttpReply")

    def own_error(error: ChaoyingError) -> Exception:
        made: Exception = version.of("exceptions", type(error).__name__)(*error.args)
        return made

    class Card(base):  # type: ignore[misc,valid-type]
        def __init__(self, card: NetworkCard) -> None:
            self._card = card

        async def round_trip(self, *given: Any, **options: Any) -> Any:
            try:
                reply = await self._card.round_trip(*given, **options)
            except (RequestNotSentError, TransportError) as error:
                raise own_error(error) from None
            return reply_class(reply.status, reply.headers, reply.body)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await self._card.handle_async_request(request)

    return Card
