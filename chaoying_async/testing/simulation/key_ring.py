"""The agent's keys in a simulated world: who signs with which, and whom each process believes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import attrs

from chaoying_async.sandbox.bank.ledger import MERCHANTS
from chaoying_async.sandbox.document.http_messages import HttpRequest, read_form, written_form
from chaoying_async.sandbox.document.signature import is_signed, signature
from chaoying_async.sansio.credentials import Credentials, PreviousKey
from chaoying_async.testing.simulation.process import BEGINNING
from chaoying_async.testing.simulation.surroundings import Surroundings

#: How often a resolver fails during the storm, and how many seconds it takes at most.
_FAILS, _TAKES = 0.05, 0.1


class ResolverFailedError(Exception):
    """The function that finds a merchant's key failed, as such functions do."""


class KeyRing:
    """The old key, the new one, and the key of another agent's merchant."""

    def __init__(self, world: Surroundings, rng: random.Random, old: Credentials) -> None:
        changes = world.weather.changes
        self._world = world
        self._rng = rng
        self._rotation = changes.rotation
        self._may_be_forged = self._rotation is not None and not changes.steps
        self.old = old
        self.new = attrs.evolve(old, key=f"{rng.getrandbits(128):032x}")
        #: Another agent's, whose merchant the resolver knows too.
        self.stranger = attrs.evolve(
            old, agent_id="13000000000000001", key=f"{rng.getrandbits(128):032x}"
        )

    @property
    def all_keys(self) -> tuple[str, ...]:
        """What may stand in no log."""
        return (self.old.key, self.new.key, self.stranger.key)

    @property
    def gateways(self) -> Credentials:
        """As whom the gateway signs now."""
        rotation = self._rotation
        rotated = rotation is not None and self._world.loop.time() >= rotation.at
        return self.new if rotated else self.old

    def given_to(self, slot: int) -> Credentials:
        """What a process that begins now is configured with."""
        rotation = self._rotation
        if rotation is None or self._world.loop.time() < rotation.learns[slot]:
            return self.old
        until = BEGINNING + timedelta(seconds=rotation.until)
        return attrs.evolve(self.new, previous_keys=(PreviousKey(self.old.key, until),))

    def admitted(self, request: HttpRequest) -> HttpRequest:
        """The request as the gateway takes it: whose key is fine is signed with the gateway's own.

        While a key is being replaced both are fine, unless the gateway is strict.
        """
        rotation, own = self._rotation, self.gateways
        if rotation is None or rotation.strict:
            return request
        other = self.old if own is self.new else self.new
        fields = read_form(request.parameters)
        ended = other is self.old and self._world.loop.time() >= rotation.until
        if ended or not is_signed(fields, other):
            return request
        form = written_form({**fields, "sign": signature(fields, own)})
        if request.method == "POST":
            return attrs.evolve(request, body=form)
        return attrs.evolve(request, query=form.decode())

    def ended_for(self, given: Credentials) -> Credentials | None:
        """The old key, where whoever was given these may not believe it any more."""
        rotation = self._rotation
        if rotation is None or not self._may_be_forged or self._world.loop.time() < rotation.until:
            return None
        return self.old if given.key == self.new.key else None

    def resolver(self, slot: int) -> Callable[[str], Awaitable[Credentials | None]]:
        """The function by which a process finds the credentials of a merchant (M-20)."""

        async def credentials_of(mch_id: str) -> Credentials | None:
            if not self._world.is_calm:
                await asyncio.sleep(self._rng.random() * _TAKES)  # noqa: TID251 - virtual here
                if self._rng.random() < _FAILS:
                    raise ResolverFailedError
            known = {MERCHANTS[0].mch_id: self.given_to(slot), MERCHANTS[1].mch_id: self.stranger}
            return known.get(mch_id)

        return credentials_of
