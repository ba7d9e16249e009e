"""Sessions of SQLAlchemy on the inbox's transaction: they join it and never end it (M-16)."""

from __future__ import annotations

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from chaoying_async.exceptions import UsageError
from tests.sql_shop import KEY, Effect, Single, SqlShop, singles, take_effect

NUMBER = KEY.out_trade_no


async def test_a_session_joins_and_its_commit_ends_nothing(shop: SqlShop) -> None:
    """M-16: AsyncSession(bind=connection); commit releases the session's own savepoint."""
    async with shop.working() as connection:
        async with AsyncSession(bind=connection) as session:
            session.add(Effect(number=NUMBER))
            await session.commit()
        assert await shop.effects() == 0
    assert (await shop.effects(), await shop.state()) == (1, "DONE")


async def test_a_session_in_begin_joins_too(shop: SqlShop) -> None:
    """The usual ``async with session.begin()``, and expire_on_commit as one likes."""
    async with shop.working() as connection:
        session = AsyncSession(bind=connection, expire_on_commit=False)
        async with session, session.begin():
            session.add(Effect(number=NUMBER))
    assert (await shop.effects(), await shop.state()) == (1, "DONE")


async def test_a_session_rolls_back_its_own_part_only(shop: SqlShop) -> None:
    """An error that on_paid handles does not cost what it did before."""
    async with shop.working() as connection:
        await take_effect(connection)
        await connection.execute(insert(singles).values(number=NUMBER))
        async with AsyncSession(bind=connection) as session:
            session.add(Single(number=NUMBER))
            with pytest.raises(IntegrityError):
                await session.commit()
            await session.rollback()
    assert (await shop.effects(), await shop.state()) == (1, "DONE")


async def test_a_session_that_was_not_committed_did_nothing(shop: SqlShop) -> None:
    """SQLAlchemy's rule, stated in the docs: closing a session rolls back what it flushed."""
    async with shop.working() as connection, AsyncSession(bind=connection) as session:
        session.add(Effect(number=NUMBER))
        await session.flush()
    assert (await shop.effects(), await shop.state()) == (0, "DONE")


async def test_a_session_left_open_is_an_error_not_a_guess(shop: SqlShop) -> None:
    """Flushed and neither committed nor closed: nobody can say what was meant."""
    sessions = []

    async def on_paid(connection: AsyncConnection) -> None:
        session = AsyncSession(bind=connection)
        sessions.append(session)
        session.add(Effect(number=NUMBER))
        await session.flush()

    with pytest.raises(UsageError, match="still open"):
        await shop.paid(on_paid)
    await sessions[0].close()
    assert (await shop.effects(), await shop.state()) == (0, None)
