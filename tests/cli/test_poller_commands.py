"""poller: what is given before `status`, `reshard` or `release` counts for it, or is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from chaoying_async import GatewaySession
from chaoying_async.cli.commands.poller import poller
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.workers import Fleet
from tests.cli_calls import call

#: The words that each command needs.
NEEDED = {"status": (), "reshard": ("2",), "release": ("7551000001", "A10001")}
#: A value of each option that is given before a command.
GIVEN: dict[str, str] = {
    "lease": "3",
    "rate": "3",
    "merchant_rate": "3",
    "grace": "3",
    "whole_fleet": "3",
    "port": "8090",
    "shards": "8",
    "concurrency": "8",
    "keep_orders": "400",
    "log_level": "debug",
    "url": "https://pay.example",
    "algorithm": "MD5",
    "order": "ignore-case",
    "hosts": "v3.2",
    "app_dir": ".",
    "mch_id": "7551000001",
}


def typed(option: click.Parameter) -> tuple[str, ...]:
    """The option as somebody types it."""
    if isinstance(option, click.Option) and option.is_flag:
        return (option.opts[0],)
    return option.opts[0], GIVEN.get(option.name or "", "given")


@pytest.mark.parametrize("name", NEEDED)
def test_a_store_of_one_owner_is_no_fleet(name: str, tmp_path: Path) -> None:
    """The store is well: what is said is where to look instead, and not to try again."""
    store = tmp_path / "polls.db"

    async def made() -> None:
        async with SqlPollStore(store):
            """A shop of one process."""

    asyncio.run(made())
    asked = ("poller", name, *NEEDED[name], "--store", str(store))
    result = call(*asked)
    assert result.exit_code == 2
    assert "has a store of one owner, not a fleet: `chaoying explain` shows" in result.stderr
    assert "run it again" not in result.stderr
    elsewhere = call(*asked, "--prefix", "mine_")
    assert "no fleet's tables named mine_... are there" in elsewhere.stderr
    assert "单进程存储" in call(*asked, env={"LC_ALL": "zh_CN.UTF-8"}).stderr


def shared(*, by_command: bool) -> list[Any]:
    """Each command with each option of the group that it has too, or has not."""
    return [
        pytest.param(name, option, id=f"{name} {option.opts[0]}")
        for name, command in sorted(poller.commands.items())
        for option in poller.params
        if option.expose_value
        and by_command
        is (option.name in {each.name for each in command.params if isinstance(each, click.Option)})
    ]


@pytest.fixture
def got(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a command is called with; nothing else is done."""
    found = dict[str, Any]()
    callback: Callable[..., None] = found.update
    for command in poller.commands.values():
        monkeypatch.setattr(command, "callback", callback)
    return found


@pytest.mark.parametrize(("name", "option"), shared(by_command=True))
def test_an_option_before_the_command_counts_for_the_command(
    got: dict[str, Any], name: str, option: click.Option
) -> None:
    """Also where the environment says something else; after the command's name it counts more."""
    env = {"CHAOYING_STORE": "another.db"}
    result = call("poller", *typed(option), name, *NEEDED[name], env=env)
    assert result.exit_code == 0, result.output
    assert got[option.name or ""] == (True if option.is_flag else "given")
    if not option.is_flag:
        after = (option.opts[0], "nearer")
        call("poller", *typed(option), name, *after, *NEEDED[name], env=env)
        assert got[option.name or ""] == "nearer"


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_without_an_option_the_environment_names_the_store(got: dict[str, Any], name: str) -> None:
    """CHAOYING_STORE counts for every command, and without it a store has to be named."""
    call("poller", name, *NEEDED[name], env={"CHAOYING_STORE": "usual.db"})
    assert (got["store"], got["prefix"]) == ("usual.db", "chaoying_")
    got.clear()
    result = call("poller", name, *NEEDED[name], env={"CHAOYING_STORE": None})
    assert (result.exit_code, got) == (2, {})
    assert "--store" in result.stderr
    assert "CHAOYING_STORE" in result.stderr


@pytest.mark.parametrize(("name", "option"), shared(by_command=False))
def test_an_option_that_the_command_lacks_is_refused_before_it_too(
    got: dict[str, Any], name: str, option: click.Option
) -> None:
    """It would be ignored, and somebody meant something by it."""
    result = call("poller", "--store", "a.db", *typed(option), name, *NEEDED[name])
    assert (result.exit_code, got) == (2, {})
    assert re.search(f"No such option:? '?{option.opts[0]}\\b", result.stderr), result.stderr


def test_another_fleet_in_the_environment_is_not_touched(tmp_path: Path) -> None:
    """`poller --store A reshard` cuts A's orders, whatever CHAOYING_STORE names."""

    async def made(file: Path, shards: int) -> None:
        fleet = Fleet(SqlPollStore(file, shards=shards), GatewaySession.from_env)
        async with fleet.handing_over():
            await fleet._database.open(fleet._sharding)

    mine, another = tmp_path / "mine.db", tmp_path / "another.db"
    asyncio.run(made(mine, 4))
    asyncio.run(made(another, 8))
    env = {"CHAOYING_STORE": str(another)}
    assert call("poller", "--store", str(mine), "reshard", "2", env=env).exit_code == 0
    told = [
        call("poller", "reshard", "16", "--store", str(each)).stdout for each in (mine, another)
    ]
    assert ["it was 2 shards" in told[0], "it was 8 shards" in told[1]] == [True, True], told
