"""Bugs that are planted one at a time, so that the simulated world shows what it can find.

    python -m tests.hard.planted_bugs [NAME ...] [--first SEED] [--seeds N]

Each is planted by its behaviour, at a seam that users know or in a table of the rules, in a process
of its own. A bug that is not found within so many seeds means that the world is too mild.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import aiosqlite
import attrs
import pytest

from chaoying_async.exceptions import OutcomeUnknownError, RequestNotSentError, TransportError
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.notifications.handler import NotificationHandler
from chaoying_async.payments import claims, running
from chaoying_async.payments import resume as resuming
from chaoying_async.polling.consumers import Collector
from chaoying_async.polling.poller import Poller
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox.bank.ledger import MCH_ID
from chaoying_async.sansio import matching, meaning, signing
from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.api.follow_up import Refund
from chaoying_async.sansio.api.preorder import WechatPreOrder
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.notifications import decide, reading
from chaoying_async.sansio.notifications.decide import Decision, NotificationAnswer
from chaoying_async.sansio.payments import machine, moves
from chaoying_async.sansio.polling import status
from chaoying_async.session import GatewaySession
from chaoying_async.testing.simulation import blank_files, campaign, world

Plant = Callable[[pytest.MonkeyPatch], None]

MOST = 2000


@attrs.frozen
class Planted:
    """One bug."""

    name: str
    rule: str
    plant: Plant


PLANTED: list[Planted] = []


def planted(name: str, rule: str) -> Callable[[Plant], Plant]:
    def note(plant: Plant) -> Plant:
        PLANTED.append(Planted(name, rule, plant))
        return plant

    return note


def everywhere(patch: pytest.MonkeyPatch, old: object, new: object) -> None:
    """Put ``new`` in the place of a function wherever the library has imported it."""
    found = 0
    for name, module in list(sys.modules.items()):
        if not name.startswith("chaoying_async") or not isinstance(module, ModuleType):
            continue
        for attribute, value in list(vars(module).items()):
            if value is old:
                patch.setattr(module, attribute, new)
                found += 1
    assert found, f"{old!r} is nowhere: plant this bug somewhere else"


def without_row(patch: pytest.MonkeyPatch, *gone: str) -> None:
    """Take rows out of the table of M-15, by the names of their functions."""
    kept = tuple(each for each in decide.ROWS if each[1].__name__.lstrip("_") not in gone)
    assert len(kept) == len(decide.ROWS) - len(gone)
    patch.setattr(decide, "ROWS", kept)


def with_trigger(patch: pytest.MonkeyPatch, trigger: str) -> None:
    """Have the inbox's own database do something wrong."""
    files = dict(blank_files.blank_files())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, blank_files.SHOP)
        path.write_bytes(files[blank_files.SHOP])
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"CREATE TRIGGER planted {trigger}")
        files[blank_files.SHOP] = path.read_bytes()
    patch.setattr(world, "blank_files", lambda: files)


# ------------------------------------------------------------------------------------ notifications


@planted("acknowledged before the commit", "M-14")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def early(self: NotificationHandler, body: bytes, **options: Any) -> NotificationAnswer:
        task = asyncio.create_task(handle(self, body, **options))
        await asyncio.wait([task], timeout=0.02)
        return task.result() if task.done() else NotificationAnswer(status=200, body=b"success")

    patch.setattr(NotificationHandler, "handle", early)


@planted("a timeout is acknowledged", "M-14")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def hopeful(self: NotificationHandler, body: bytes, **options: Any) -> NotificationAnswer:
        answer = await handle(self, body, **options)
        if answer.decision is None and answer.status == 200:
            return NotificationAnswer(status=200, body=b"success")
        return answer

    patch.setattr(NotificationHandler, "handle", hopeful)


@planted("a failed COMMIT is taken for one", "M-16")
def _(patch: pytest.MonkeyPatch) -> None:
    commit = aiosqlite.Connection.commit

    async def careless(self: aiosqlite.Connection) -> None:
        try:
            await commit(self)
        except sqlite3.Error:
            await self.rollback()

    patch.setattr(aiosqlite.Connection, "commit", careless)


@planted("run_due does nothing", "M-17")
def _(patch: pytest.MonkeyPatch) -> None:
    async def idle(_: NotificationHandler) -> int:
        return 0

    patch.setattr(NotificationHandler, "run_due", idle)


@planted("the inbox forgets what is done", "M-16")
def _(patch: pytest.MonkeyPatch) -> None:
    with_trigger(
        patch,
        "AFTER UPDATE ON chaoying_orders WHEN NEW.state = 'DONE' BEGIN"
        " DELETE FROM chaoying_orders WHERE out_trade_no = NEW.out_trade_no; END",
    )


@planted("the amount is not compared", "M-15")
def _(patch: pytest.MonkeyPatch) -> None:
    without_row(patch, "another_amount", "unconfirmed")


@planted("a failed payment takes effect", "M-15")
def _(patch: pytest.MonkeyPatch) -> None:
    without_row(patch, "not_paid", "unreadable")


@planted("an unknown order is acknowledged", "M-15")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def polite(self: NotificationHandler, body: bytes, **options: Any) -> NotificationAnswer:
        answer = await handle(self, body, **options)
        if answer.decision in (Decision.CONFLICT, Decision.UNCONFIRMED, Decision.UNKNOWN_ORDER):
            return NotificationAnswer(status=200, body=b"success", decision=answer.decision)
        return answer

    patch.setattr(NotificationHandler, "handle", polite)


@planted("signatures are not checked", "M-08")
def _(patch: pytest.MonkeyPatch) -> None:
    verify_form = signing.verify_form

    def trusting(*args: Any, **options: Any) -> Any:
        patch.setattr(signing, "_fits", lambda *_: True)
        return verify_form(*args, **options)

    everywhere(patch, verify_form, trusting)
    everywhere(patch, signing.verify_for, lambda *_, **__: None)
    patch.setattr(signing, "_fits", lambda *_: True)


@planted("a number alone is an order, whoever's", "M-18")
def _(patch: pytest.MonkeyPatch) -> None:
    read = reading.read_facts

    def ours(*args: Any, **options: Any) -> Any:
        return attrs.evolve(read(*args, **options), mch_id=MCH_ID)

    everywhere(patch, read, ours)


@planted("what is forged is acknowledged", "M-14")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def polite(self: NotificationHandler, body: bytes, **options: Any) -> NotificationAnswer:
        before = self.stats().unverified
        answer = await handle(self, body, **options)
        refused = self.stats().unverified > before
        return NotificationAnswer(status=200, body=b"success") if refused else answer

    patch.setattr(NotificationHandler, "handle", polite)


@planted("an order that failed once is given up", "M-17")
def _(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> Sequence[Any]:
        return ()

    patch.setattr(SqlInbox, "unfinished", nothing)


@planted("settle promises before it is durable", "M-16")
def _(patch: pytest.MonkeyPatch) -> None:
    settle = NotificationHandler.settle

    async def hasty(self: NotificationHandler, paid: Any) -> Decision:
        task = asyncio.create_task(settle(self, paid))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return Decision.APPLY

    patch.setattr(NotificationHandler, "settle", hasty)


@planted("a task is left behind", "M-17")
def _(patch: pytest.MonkeyPatch) -> None:
    handle = NotificationHandler.handle

    async def littering(
        self: NotificationHandler, body: bytes, **options: Any
    ) -> NotificationAnswer:
        asyncio.get_running_loop().create_task(asyncio.Event().wait())
        return await handle(self, body, **options)

    patch.setattr(NotificationHandler, "handle", littering)


@planted("the key is logged", "M-27")
def _(patch: pytest.MonkeyPatch) -> None:
    import logging

    send = GatewaySession.send

    async def talkative(self: GatewaySession, request: Any, **options: Any) -> Any:
        logging.getLogger("chaoying_async").debug("%s", getattr(request, "auth_code", ""))
        return await send(self, request, **options)

    patch.setattr(GatewaySession, "send", talkative)


# ----------------------------------------------------------------------------------------- payments


@planted("pay is sent again", "M-02")
def _(patch: pytest.MonkeyPatch) -> None:
    send = GatewaySession.send

    async def again(self: GatewaySession, request: Any, **options: Any) -> Any:
        try:
            return await send(self, request, **options)
        except OutcomeUnknownError:
            if not isinstance(request, Pay):
                raise
        return await send(self, request, **options)

    patch.setattr(GatewaySession, "send", again)


@planted("a pre-order is sent again", "M-02")
def _(patch: pytest.MonkeyPatch) -> None:
    send = GatewaySession.send

    async def again(self: GatewaySession, request: Any, **options: Any) -> Any:
        try:
            return await send(self, request, **options)
        except OutcomeUnknownError:
            if not isinstance(request, WechatPreOrder):
                raise
        return await send(self, request, **options)

    patch.setattr(GatewaySession, "send", again)


@planted("a cancel leaves after 14 seconds", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "CANCEL_AFTER", 14.0)


@planted("a vague refusal of a payment is believed", "M-09")
def _(patch: pytest.MonkeyPatch) -> None:
    table = cast("dict[Any, frozenset[str]]", meaning.SETTLED_REFUSALS)
    patch.setitem(table, Family.PAY, table[Family.PAY] | {"20003", "20006", "30001"})


@planted("a payment after a cancel counts as cancelled", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    paid_end = machine._paid_end

    def careless(till: Any) -> moves.CheckoutEnd:
        end = paid_end(till)
        late = end.status is moves.CheckoutStatus.PAID_AFTER_CANCEL
        return moves.CheckoutEnd(moves.CheckoutStatus.CANCELLED) if late else end

    patch.setattr(machine, "_paid_end", careless)


@planted("a number is never given back after a payment", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims.NumberClaim, "release", lambda _: None)
    patch.setattr(claims.NumberClaim, "settle", lambda *_: None)


@planted("a refund that failed counts as made", "M-25")
def _(patch: pytest.MonkeyPatch) -> None:
    ends = cast("dict[str, status.PollStatus]", status.REFUND_ENDS)
    patch.setitem(ends, "FAIL", status.PollStatus.REFUNDED)


@planted("a refund is renumbered", "M-25")
def _(patch: pytest.MonkeyPatch) -> None:
    send = GatewaySession.send

    async def renumbered(self: GatewaySession, request: Any, **options: Any) -> Any:
        try:
            return await send(self, request, **options)
        except OutcomeUnknownError:
            if type(request) is not Refund:
                raise
        other = attrs.evolve(cast("Any", request), out_refund_no=f"{request.out_refund_no}B")
        return await send(self, other, **options)

    patch.setattr(GatewaySession, "send", renumbered)


@planted("a lost reply counts as not sent", "M-01")
def _(patch: pytest.MonkeyPatch) -> None:
    judged = GatewaySession._judged

    def rash(outgoing: Any, error: Any) -> Any:
        if type(error) is TransportError and outgoing.endpoint.moves_money:
            return RequestNotSentError("nothing came back")
        return judged(outgoing, error)

    patch.setattr(GatewaySession, "_judged", staticmethod(rash))


@planted("no second look at an end", "M-06")
def _(patch: pytest.MonkeyPatch) -> None:
    together = status.taken_together

    def sure(before: status.Standing, answer: status.Answer) -> status.Standing:
        return together(before, attrs.evolve(answer, sure=True))

    everywhere(patch, together, sure)


@planted("what is undecided counts as paid", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    paid = status.Answer(status.Says.ENDED, status.PollStatus.PAID, about_order=True)
    patch.setattr(status, "_undecided", lambda _: paid)


@planted("amounts of queries are not compared", "M-13")
def _(patch: pytest.MonkeyPatch) -> None:
    everywhere(patch, status.amount_fits, lambda *_: True)


@planted("20007 is a failure", "M-11")
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        status,
        "_ABSENT",
        status.Answer(status.Says.ENDED, status.PollStatus.FAILED, about_order=True),
    )


@planted("another order's reply is believed", "M-06")
def _(patch: pytest.MonkeyPatch) -> None:
    everywhere(patch, matching.check_answers, lambda *_, **__: None)


@planted("a cancelled order is never looked at again", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    verdict = machine._verdict

    def quick(till: Any, now: float) -> Any:
        if till.cancels.carried_out:
            return moves.CheckoutEnd(moves.CheckoutStatus.CANCELLED)
        return verdict(till, now)

    patch.setattr(machine, "_verdict", quick)


@planted("what is undecided counts as failed", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    verdict = machine._verdict

    def hasty(till: Any, now: float) -> Any:
        end = verdict(till, now)
        if end is not None and end.status is moves.CheckoutStatus.UNKNOWN:
            return moves.CheckoutEnd(moves.CheckoutStatus.FAILED)
        return end

    patch.setattr(machine, "_verdict", hasty)


@planted("a lost store is not noticed", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    async def sure(_: SqlPollStore) -> None:
        return

    patch.setattr(SqlPollStore, "hold", sure)


@planted("resume finds nothing", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> AsyncIterator[Any]:
        return
        yield  # a generator

    everywhere(patch, resuming.resume, nothing)


@planted("what is intended is not written down before it leaves", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    put = SqlPollStore.put

    async def lazy(self: SqlPollStore, kind: str, items: Any) -> None:
        if kind != "checkout":
            await put(self, kind, items)

    patch.setattr(SqlPollStore, "put", lazy)


@planted("resume takes what was sent for unsent", "M-24")
def _(patch: pytest.MonkeyPatch) -> None:
    async def unsent(_: Any, intent: Any, claim: Any) -> Any:
        claim.release()
        end = moves.CheckoutEnd(moves.CheckoutStatus.FAILED)
        return intent, running.outcome_of(intent, end, None, (), None), False

    patch.setattr(resuming._Resuming, "_asked", unsent)


@planted("the poller forgets what its store holds", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    load = SqlPollStore.load

    async def nothing(self: SqlPollStore, kind: str) -> AsyncIterator[Any]:
        async for each in load(self, kind):
            if kind == "checkout":
                yield each

    patch.setattr(SqlPollStore, "load", nothing)


@planted("a consumer is not woken", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    def silent(self: Collector, outcome: Any) -> None:
        self.open -= 1
        self._ready.append(outcome)

    patch.setattr(Collector, "deliver", silent)


@planted("an outcome is forgotten before it took effect", "M-23")
def _(patch: pytest.MonkeyPatch) -> None:
    outcomes = Poller.outcomes

    async def forgetful(self: Poller) -> AsyncIterator[Any]:
        async for outcome in outcomes(self):
            await outcome.done()
            if self.stats().polls % 2:
                yield outcome

    patch.setattr(Poller, "outcomes", forgetful)


# ------------------------------------------------------------------------------------------ running


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def find(name: str, first: int, most: int) -> int:
    """Plant one bug in this process, and look for it; 0 when it was found."""
    bug = next(each for each in PLANTED if each.name == name)
    blank_files.blank_files()  # nothing is wrong with those
    began, seeds = time.monotonic(), 0
    with pytest.MonkeyPatch.context() as patch:
        bug.plant(patch)
        for story in campaign.stories(first, most):
            seeds += 1
            if story.broken:
                took = time.monotonic() - began
                say(f"| {bug.name} | {bug.rule} | {seeds} | {took:.0f} s | {story.broken[0]} |")
                return 0
    say(f"| {bug.name} | {bug.rule} | NOT FOUND in {seeds} | | |")
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hard.planted_bugs")
    parser.add_argument("names", nargs="*", help="the bugs to look for; all of them by default")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=MOST)
    parser.add_argument("--here", action="store_true", help="look for one bug in this process")
    options = parser.parse_args(arguments)
    if options.here:
        return find(options.names[0], options.first, options.seeds)
    say("| planted | rule | seeds | time | what was found |\n| --- | --- | --- | --- | --- |")
    missed = 0
    for name in options.names or [each.name for each in PLANTED]:
        sys.stdout.flush()
        command = [sys.executable, "-m", "tests.hard.planted_bugs", name, "--here"]
        command += ["--first", str(options.first), "--seeds", str(options.seeds)]
        missed += bool(subprocess.run(command, check=False).returncode)
    say(f"{missed} were not found")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
