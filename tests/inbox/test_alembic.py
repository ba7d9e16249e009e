"""The inbox's tables kept by Alembic, as docs/inboxes.md says."""

from __future__ import annotations

import asyncio
import io
from contextlib import ExitStack
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.inbox.sql import SqlInbox
from tests.servers import Servers
from tests.sql_shop import DATABASES, working

ENV = """
import asyncio

from alembic import context
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.inbox.sql import inbox_metadata

target_metadata = [MetaData(), inbox_metadata()]


def migrate(connection):
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()


async def run():
    engine = create_async_engine(context.config.get_main_option("sqlalchemy.url"))
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
        await connection.commit()
    await engine.dispose()


asyncio.run(run())
"""
TEMPLATE = '''
"""${message}"""
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''


def scripts(directory: Path, url: str) -> Config:
    (directory / "versions").mkdir()
    (directory / "env.py").write_text(ENV)
    (directory / "script.py.mako").write_text(TEMPLATE)
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(directory))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


@pytest.mark.parametrize("kind", DATABASES)
def test_alembic_makes_the_tables_and_sees_no_difference_afterwards(
    servers: Servers, tmp_path: Path, kind: str
) -> None:
    """Autogenerate, upgrade, check: what was generated needs nothing of ours to be imported."""
    with ExitStack() as stack:
        url = DATABASES[kind](servers, stack)
        config = scripts(tmp_path, url)
        command.revision(config, "the inbox", autogenerate=True)
        (made,) = (tmp_path / "versions").glob("*.py")
        assert "chaoying_async" not in made.read_text()
        command.upgrade(config, "head")
        command.check(config)
        asyncio.run(_works(url))
        command.downgrade(config, "base")


async def _works(url: str) -> None:
    engine = create_async_engine(url)
    inbox = SqlInbox(engine)
    async with working(inbox):
        pass
    await inbox.create_tables()  # harmless: all is there
    await engine.dispose()
