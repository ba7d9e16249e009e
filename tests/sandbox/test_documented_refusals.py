"""Every refusal that the document names, met over HTTP in each of the sandbox's worlds."""

from __future__ import annotations

import pytest

from chaoying_async import (
    OutcomeUnknownError,
    SignatureVerificationError,
)
from chaoying_async.sandbox import Sandbox
from tests.pure import rulebook
from tests.sandbox.documented import (
    NAMES,
    WAYS,
    is_refusal,
    made,
    opened,
    refused,
    till,
)
from tests.sandbox.worlds import (
    Port,
    World,
)
from tests.table import table

pytestmark = [
    pytest.mark.outside,
    pytest.mark.filterwarnings("ignore::chaoying_async.ChaoyingWarning"),
]


class TestEveryRefusal:
    @table(("name", "code"), sorted(WAYS))
    async def test_every_code_has_its_error(
        self, port: Port, world: World, name: str, code: str
    ) -> None:
        """M-09, in both columns: the class that says what to do, signed or not."""
        async with opened(port, world) as (sandbox, gateway):
            changes = WAYS[name, code](sandbox)
            is_refusal(await refused(gateway, made(name, port, **changes)), name, "FAIL", code)

    @table("name", NAMES)
    async def test_strangers_are_told_apart(
        self, sandbox: Sandbox, port: Port, world: World, name: str
    ) -> None:
        """20012 for another agent, and VER for a version that is too old, on every endpoint."""
        for changes, state, code in (
            ({"agent_id": "99999999999999999"}, "FAIL", "20012"),
            ({"version": "0.0"}, "VER", None),
        ):
            async with till(sandbox, port, world, **changes) as gateway:
                error = await refused(gateway, made(name, port))
            is_refusal(error, name, state, code)

    @table("name", NAMES)
    async def test_a_wrong_key_is_20002_or_a_reply_that_nobody_should_believe(
        self, sandbox: Sandbox, port: Port, world: World, name: str
    ) -> None:
        """Signed, the refusal is signed with the key that we lack; unsigned it is told (M-09)."""
        async with till(sandbox, port, world, key="another-key") as gateway:
            error = await refused(gateway, made(name, port))
        unsigned = name in rulebook.PRINTED_UNSIGNED or not world.sign_failures
        if unsigned:
            is_refusal(error, name, "FAIL", "20002")
        elif name in rulebook.MONEY:
            assert type(error) is OutcomeUnknownError
            assert isinstance(error.__cause__, SignatureVerificationError)
        else:
            assert type(error) is SignatureVerificationError

    def test_every_code_of_the_document_is_met(self) -> None:
        """No code of a refusal is left out, and no endpoint."""
        refusals = {code for code in rulebook.CODES if code and code[:2] in ("20", "30")}
        assert {code for _, code in WAYS} | {"20002", "20012"} == refusals
