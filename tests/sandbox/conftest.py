"""A served sandbox in each of its worlds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest

from chaoying_async import (
    GatewaySession,
)
from chaoying_async.sandbox import Sandbox
from chaoying_async.testing import FakeClock
from tests.sandbox.documented import (
    till,
)
from tests.sandbox.worlds import (
    WORLDS,
    Port,
    World,
    open_port,
)
from tests.sizes import cases


@pytest.fixture(scope="module")
def port() -> Generator[Port]:
    with open_port() as made:
        yield made


#: The two that differ in everything; the two between them with FULL=1.
SOME_WORLDS = cases([WORLDS[0], WORLDS[3]], more=WORLDS[1:3])


@pytest.fixture(params=SOME_WORLDS, ids=lambda world: world.name)
def world(request: pytest.FixtureRequest) -> World:
    made: World = request.param
    return made


@pytest.fixture
def sandbox(world: World, port: Port) -> Generator[Sandbox]:
    """On a clock that the test moves; what its messages say is as of that clock."""
    with port.showing(world.sandbox(FakeClock())) as made:
        yield made


@pytest.fixture
async def gateway(sandbox: Sandbox, port: Port, world: World) -> AsyncGenerator[GatewaySession]:
    async with till(sandbox, port, world) as session:
        yield session
