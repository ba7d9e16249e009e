"""``simulate``: a user's shop in many worlds, until one of them shows what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs
from sqlalchemy import MetaData

from chaoying_async.exceptions import ParameterError, UsageError
from chaoying_async.notifications.deciding import Lookup
from chaoying_async.sansio.notifications.case import NoAmountCheck
from chaoying_async.testing.simulation.campaign import stories, story_of
from chaoying_async.testing.simulation.shrink import shrunk
from chaoying_async.testing.simulation.story import Story
from chaoying_async.testing.simulation.users_shop import App, Check, OnOrder, OnPaid, UsersShop
from chaoying_async.threads import running_loop

#: How many seeds, where nothing else is said.
SEEDS = 200


class SimulationFailedError(AssertionError):
    """A rule was broken; the message is the seed, the rule, and what happened to the order."""

    def __init__(self, story: Story, taken: Sequence[str] = ()) -> None:
        rules = "".join(f"\n  {what}" for what in story.broken)
        plainer = f", without={list(taken)}" if taken else ""
        super().__init__(
            f"in the world of seed {story.seed} a rule was broken:{rules}\n\n{story.brief}\n\n"
            f"the same again, to the byte: simulate(..., first={story.seed}, seeds=1{plainer})"
        )
        self.story = story


@attrs.frozen
class Simulated:
    """What :func:`simulate` did, where no rule was broken."""

    first: int
    """The first seed."""
    seeds: int
    """How many there were."""


def simulate(
    on_paid: OnPaid | None = None,
    check: Check | None = None,
    app: App | None = None,
    *,
    tables: MetaData | str = "",
    delivered: str = "",
    expected: Lookup | NoAmountCheck | None = None,
    on_paid_after_close: OnPaid | None = None,
    on_order: OnOrder | None = None,
    notify_path: str = "",
    first: int = 1,
    seeds: int = SEEDS,
    seconds: float | None = None,
    without: Sequence[str] = (),
    shrink: bool = True,
) -> Simulated:
    """Let your shop sell in many worlds that try to lose its money.

    Each seed is a world of its own, the same every time: one to three processes of your shop on one
    SQLite file, the gateway, its customers, and what goes wrong. ``on_paid`` is the function that
    you give the :class:`NotificationHandler`. In the end the gateway's books are held against the
    shop's, and the first world in which a rule is broken (docs/rules.md) raises a
    :class:`SimulationFailedError` that tells its story.

    - ``tables``: your tables, a ``MetaData`` or a script of SQL. They are made in the shop's file.
    - ``delivered``: a SELECT of the order numbers that took effect, one row for each time, from
      what ``on_paid`` writes. Without it the world counts how often ``on_paid`` was committed.
    - ``check``: looks at the :class:`ClosedBooks` of a world that has ended. It returns sentences
      about what is wrong, or nothing; it may use ``assert``. It is asked again until it is content,
      or the world's time is over, so it must change nothing.
    - ``app``: an async context manager, entered by every process with a :class:`ShopProcess`: your
      lifespan. It may yield a handler of your own in place of ``on_paid``; then ``delivered`` is
      needed. With ``notify_path`` it returns your ASGI app instead (Starlette, FastAPI, ...),
      made anew for every process: its lifespan is run, and notifications are a POST to that path.
      Orders are sold by a code then, and nobody polls but you. Your engine cannot be used in
      here, since its threads are nobody's to repeat: take
      ``process.engine``, and ``process.clock`` for the handler and its inbox.
    - ``expected``, ``on_paid_after_close``: as for the handler. Without ``expected`` the world
      knows what its orders cost. ``on_order(number, total_fee, connection)`` writes a new order
      into your tables, before it can be paid.
    - what your fakes do outside of the database they say with :func:`outside`.

    ``seconds`` ends it after so much real time, however many seeds are left. What is not needed to
    break the rule is taken out of the story (up to 40 more worlds); ``shrink=False`` leaves that
    out, and ``without`` takes out what an earlier message named. It cannot be called where an event
    loop runs: make the test a plain function.
    """
    if running_loop() is not None:
        raise UsageError("simulate() has an event loop of its own: call it where none is running")
    if isinstance(seeds, bool) or seeds < 1:
        raise ParameterError({"seeds": "must be a whole number, 1 or more"})
    users = UsersShop(
        on_paid=on_paid,
        on_paid_after_close=on_paid_after_close,
        expected=expected,
        on_order=on_order,
        app=app,
        notify_path=notify_path,
        tables=tables,
        delivered=delivered,
        check=check,
    )
    done = 0
    again = partial(story_of, users=users)
    for story in stories(first, seeds, seconds, users=users, without=without):
        done += 1
        if story.broken and shrink and not without:
            raise SimulationFailedError(*shrunk(story, partial(again, story.seed)))
        if story.broken:
            raise SimulationFailedError(story, without)
    return Simulated(first, done)
